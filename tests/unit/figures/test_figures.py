"""Figures from small made-up tables: they are drawn, valid, the same twice, and say the right numbers."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from galmass.figures import catalogue, estimates, graphs, independence, style

N = 120
CLASSES = ["star-forming", "passive", "other"]
# what numpy and matplotlib write where there is no number, as a word of its own
NO_NUMBER = re.compile(r"(?<![A-Za-z])(nan|NaN|inf|None)(?![A-Za-z])")


def galaxies() -> pd.DataFrame:
    generator = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "z": generator.uniform(0.01, 0.3, N),
            "log_mass": generator.normal(10.5, 0.5, N),
            "log_mass_err": generator.uniform(0.01, 0.1, N),
            "galaxy_class": np.array(CLASSES)[np.arange(N) % 7 % 3],
            "abs_mag_r": generator.normal(-21, 1, N),
            "rest_u_r": generator.normal(2, 0.4, N),
            **{f"petro_mag_err_{band}": generator.lognormal(-3, 0.5, N) for band in "ugriz"},
        }
    )


def embeddings(dimensions: int = 4) -> pd.DataFrame:
    generator = np.random.default_rng(2)
    truth = galaxies()["log_mass"]
    latent = generator.normal(size=(N, dimensions)) * np.arange(dimensions, 0, -1)
    return pd.DataFrame(
        {
            "log_mass": truth,
            "mass_mean": truth + generator.normal(0.02, 0.1, N),
            "pit_raw": generator.random(N) ** 2,
            "pit": generator.random(N),
            **{f"latent_{i:02d}": latent[:, i] for i in range(dimensions)},
        }
    )


def metrics() -> dict:
    def entry(value):
        return {"value": value, "interval": [0.9 * value, 1.2 * value]}

    return {
        "n_test": N,
        "recalibration": "smooth_pit",
        "network": {"sigma_mad": entry(0.1), "pit_ks": entry(0.02)},
        "network_not_recalibrated": {"pit_ks": entry(0.25)},
    }


def history() -> pd.DataFrame:
    step = np.arange(1, 11) * 25
    falling = np.geomspace(8, 4, 10)
    validation = np.array([5, 4, 3, 2.5, 2.2, 2.1, 2.05, 2.125, 2.3, 2.4])
    columns = {name: falling * factor for name, factor in (("cross_entropy", 1), ("reconstruction", 0.1), ("latent_contrast", 0.05), ("output_contrast", 1.5))}
    return pd.DataFrame({"step": step, "validation_cross_entropy": validation, **columns})


TESTS = [("z", ""), ("mag_k", ""), ("mag_k", "z")]


def independence_tests(defined: bool = True) -> tuple[pd.DataFrame, dict]:
    """Table and summary of the local tests; not `defined`: mag_k is constant among all neighbours."""
    generator, table, rows = np.random.default_rng(3), {}, []
    for query, condition in TESTS:
        name = f"{query}|{condition}" if condition else query
        known = defined or query == "z"
        for kind in ("", "_permuted", "_permuted_again"):
            table[f"{name}:correlation{kind}"] = generator.uniform(-0.4, 0.4, N) if known else np.full(N, np.nan)
            table[f"{name}:efficiency{kind}"] = generator.uniform(0, 0.3, N) if known else np.zeros(N)
        for chosen in ("all", *CLASSES):
            row = {"query": query, "condition": condition, "class": chosen, "n": N}
            row |= {"p_value": 0.004, "p_value_holm": 0.052} if known else {"p_value": None, "p_value_holm": None}
            for statistic, undefined in (("correlation", None), ("efficiency", 0.0)):
                row[f"{statistic}_distance"] = (0.87 if chosen == "all" else 0.11) if known else undefined
                row[f"{statistic}_distance_of_permutations"] = 0.04 if known else undefined
            rows.append(row)
    return pd.DataFrame(table | {"galaxy_class": galaxies()["galaxy_class"]}), {"tests": rows, "n": N, "k": 50, "split": "test"}


FIGURES = {
    "quality": lambda: catalogue.quality(galaxies()),
    "against_truth": lambda: estimates.against_truth(embeddings(), metrics()),
    "pit_histogram": lambda: estimates.pit_histogram(embeddings(), metrics()),
    "training_curves": lambda: estimates.training_curves(history()),
    "latent_map": lambda: estimates.latent_map(embeddings()),
    "panels": lambda: independence.panels(*independence_tests()),
    "quality without one class": lambda: catalogue.quality(galaxies().query("galaxy_class != 'passive'")),
    "training_curves of one validation": lambda: estimates.training_curves(history()[:1]),
    "latent_map of two dimensions": lambda: estimates.latent_map(embeddings(2)),
}


def vectors(path) -> str:
    """The SVG without the pixels inside it."""
    return re.sub(r'"data:image/png;base64,[^"]*"', '""', path.read_text())


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
@pytest.mark.filterwarnings("error")
def test_a_figure_is_valid_without_holes_and_has_the_same_bytes_twice(draw, tmp_path):
    for name in ("first.svg", "second.svg"):
        style.save(draw(), tmp_path / name)
    root = ET.fromstring((tmp_path / "first.svg").read_bytes())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 20
    assert not NO_NUMBER.search(vectors(tmp_path / "first.svg"))
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


def test_the_search_for_holes_would_find_them(tmp_path):
    """Matplotlib writes texts as comments beside their outlines."""
    drawn = style.figure(2, 2)
    drawn.subplots().set_title(f"scatter {np.nan:.2f} dex")
    style.save(drawn, tmp_path / "f.svg")
    assert NO_NUMBER.search(vectors(tmp_path / "f.svg"))


def test_a_figure_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    def fail(path, **_):
        path.write_text("<svg")
        raise OSError("disk full")

    path, drawn = tmp_path / "f.svg", style.figure(2, 2)
    path.write_text("old")
    monkeypatch.setattr(drawn, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        style.save(drawn, path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("f.svg", "old")]


def test_saved_figures_hold_no_date_and_leave_no_scratch(tmp_path):
    (tmp_path / "f.svg").write_text("old")
    style.save(FIGURES["latent_map"](), tmp_path / "f.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["f.svg"]
    assert "date" not in vectors(tmp_path / "f.svg")


@pytest.mark.parametrize("draw", [catalogue.quality, lambda t: estimates.against_truth(t, metrics()), estimates.latent_map], ids=["quality", "truth", "latent"])
def test_dense_points_are_pixels(draw, tmp_path):
    """Ten times the galaxies, the same number of paths: a survey must not become a file of a hundred megabytes."""
    table = galaxies().join(embeddings().drop(columns="log_mass"))
    for name, drawn in (("few.svg", table), ("many.svg", pd.concat([table] * 10, ignore_index=True))):
        style.save(draw(drawn), tmp_path / name)
    few, many = (len(list(ET.parse(tmp_path / name).getroot().iter())) for name in ("few.svg", "many.svg"))
    assert abs(many - few) < 0.2 * few  # ticks and the digits of counts
    assert "data:image/png" in (tmp_path / "many.svg").read_text()


def texts(drawn) -> str:
    parts = [drawn.get_suptitle()]
    for axis in drawn.axes:
        parts += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
        parts += [text.get_text() for text in axis.get_legend().get_texts()] if axis.get_legend() else []
    return "\n".join(parts)


def test_quality_counts_the_galaxies_of_each_class():
    counts = galaxies()["galaxy_class"].value_counts()
    drawn = catalogue.quality(galaxies())
    assert texts(drawn).startswith(f"{N} galaxies: " + ", ".join(f"{counts[c]} {c}" for c in CLASSES))
    bars = drawn.axes[0].patches
    left = sorted({bar.get_x() for bar in bars})
    tops = [max(bar.get_y() + bar.get_height() for bar in bars if bar.get_x() == x) for x in left]
    # three histograms on top of each other: the highest edge counts all
    np.testing.assert_array_equal(tops, np.histogram(galaxies()["z"], [*left, galaxies()["z"].max()])[0])
    assert f"{galaxies()['log_mass_err'].median():.3f} dex" in texts(drawn)
    assert "[mag]" in texts(drawn)


def test_against_truth_gives_scatter_and_running_medians():
    table = embeddings()
    drawn = estimates.against_truth(table, metrics())
    assert "= 0.1000 (0.0900 to 0.1200) dex" in texts(drawn)
    assert f"{N} test galaxies" in texts(drawn)
    medians = drawn.axes[1].lines[0].get_ydata(orig=False)
    assert len(medians) == 10
    difference, order = (table["mass_mean"] - table["log_mass"]).to_numpy(), np.argsort(table["log_mass"].to_numpy())
    # ten equal parts in order of true mass; a galaxy on an edge may count in both, which moves a median of 12 by less than its spread
    np.testing.assert_allclose(medians, [np.median(part) for part in np.split(difference[order], 10)], atol=0.03)


def test_the_pit_histogram_holds_every_galaxy_twice():
    drawn = estimates.pit_histogram(embeddings(), metrics())
    outlines = [patch.get_xy() for patch in drawn.axes[0].patches]
    assert len(outlines) == 2
    for outline, name in zip(outlines, ("pit_raw", "pit"), strict=True):
        counts, _ = np.histogram(embeddings()[name], 20, (0, 1))
        np.testing.assert_array_equal(outline[1:-1:2, 1], counts)
    assert "as trained: KS 0.250 (0.225 to 0.300)" in texts(drawn)
    assert "recalibrated (smooth_pit): KS 0.020" in texts(drawn)


def test_the_pit_histogram_without_recalibration_shows_one_outline():
    drawn = estimates.pit_histogram(embeddings(), metrics() | {"recalibration": "none"})
    assert len(drawn.axes[0].patches) == 1
    assert "recalibrated" not in texts(drawn)


def test_training_curves_mark_the_best_validation():
    drawn = estimates.training_curves(history())
    assert "best: 2.050 nat" in texts(drawn)
    mark = drawn.axes[0].lines[2]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (175, 2.05)
    np.testing.assert_allclose(drawn.axes[0].lines[0].get_ydata(), history()["cross_entropy"] / 2)
    assert len(drawn.axes[1].lines) == 3


def test_the_latent_map_shows_principal_components():
    table = embeddings()
    latent = table.filter(like="latent_").to_numpy()
    values, vectors = np.linalg.eigh(np.cov(latent.T))
    drawn = estimates.latent_map(table)
    shares = values[::-1] / values.sum()
    assert f"first component of the latent ({shares[0]:.0%})" in texts(drawn)
    assert f"second component ({shares[1]:.0%})" in texts(drawn)
    shown = drawn.axes[0].collections[0].get_offsets()
    projected = (latent - latent.mean(0)) @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(shown), np.abs(projected), atol=1e-9)  # the sign of a component is free
    np.testing.assert_array_equal(drawn.axes[0].collections[0].get_array(), table["log_mass"])


def test_panels_show_every_test_with_its_distances():
    drawn = independence.panels(*independence_tests())
    titles = [axis.get_title() for axis in drawn.axes]
    assert titles == [f"{name}: KS 0.87, by chance 0.04" for name in ("z", "z", "mag_k", "mag_k", "mag_k given z", "mag_k given z")]
    assert texts(drawn).startswith(f"{N} test galaxies, k = 50 nearest training galaxies")
    assert [axis.texts[0].get_text() for axis in drawn.axes[1::2]] == ["in blocks: p = 0.004, adjusted 0.052"] * 3


def test_panels_show_the_columns_of_their_test():
    table, summary = independence_tests()
    drawn = independence.panels(table, summary)
    for axis, column in zip(drawn.axes, [f"{q}{'|' if c else ''}{c}:{s}" for q, c in TESTS for s in ("correlation", "efficiency")], strict=True):
        edges = np.linspace(-1 if "correlation" in column else 0, axis.get_xlim()[1], 61)
        for outline, name in zip(axis.patches[:2], (f"{column}_permuted", column), strict=True):
            density, _ = np.histogram(table[name], edges, density=True)
            # a filled outline goes on along the bottom: the first 120 corners are the bins
            np.testing.assert_allclose(outline.get_xy()[1:121:2, 1], density, err_msg=name)


@pytest.mark.filterwarnings("error")
def test_panels_of_an_undefined_statistic_are_empty_and_without_numbers(tmp_path):
    drawn = independence.panels(*independence_tests(defined=False))
    assert [axis.get_title() for axis in drawn.axes][2:4] == ["mag_k", "mag_k: KS 0.00, by chance 0.00"]
    assert drawn.axes[3].texts[0].get_text() == "in blocks: p undefined"
    style.save(drawn, tmp_path / "f.svg")
    assert not NO_NUMBER.search(vectors(tmp_path / "f.svg"))


def test_graphs_with_what_a_network_says_stand_below_those_of_all_galaxies():
    edge = {"a": "z", "b": "log_mass", "frequency": 1.0, "mark_a": "o", "mark_b": ">"}
    shared = {"method": "fci", "edges": [edge], "replicates": 10}
    later = shared | {"tiers": [["z"], ["log_mass"], ["estimate_Mopt"]], "table": {"complete": 840}}
    content = shared | {"tiers": [["z"], ["log_mass"]], "table": {"complete": 3000}, "given_network": {"Mopt": later}}
    drawn = graphs.side_by_side([content, content | {"method": "pc"}], "mock")
    titles = [axis.get_title() for axis in drawn.axes]
    assert titles[0] == "FCI, 3000 galaxies, 10 replicates"
    assert titles[2] == "FCI, 840 galaxies that Mopt has not seen, 10 replicates"
    assert len(titles) == 4
    assert "estimate\nMopt" in {text.get_text() for text in drawn.axes[2].texts}


def test_edges_of_a_graph_are_straight_unless_a_box_is_in_the_way():
    start, end, size = np.zeros(2), np.array([2.0, 0.0]), np.array([0.2, 0.1])
    free = graphs._curve(start, end, [(np.array([1.0, 1.0]), size)])
    np.testing.assert_allclose(free[[0, -1]], [start, end])
    assert (free[:, 1] == 0).all()
    bent = graphs._curve(start, end, [(np.array([1.0, 0.0]), size)])
    assert np.abs((bent - [1.0, 0.0]) / size).max(1).min() > 1


def test_marks_of_an_edge_stand_where_it_enters_its_boxes():
    edge = {"a": "z", "b": "log_mass", "frequency": 1.0, "mark_a": "o", "mark_b": ">"}
    content = {"method": "fci", "edges": [edge], "replicates": 10, "tiers": [["z"], ["log_mass"]], "table": {"complete": 9}, "given_network": {}}
    axis = graphs.side_by_side([content], "mock").axes[0]
    (circle,) = (line.get_xydata()[0] for line in axis.lines if line.get_marker() == "o")
    (head,) = (text.xy for text in axis.texts if not text.get_text())
    z, mass = graphs.places(content["tiers"]).values()
    assert z[0] < circle[0] < z[0] + 0.3
    assert mass[0] - 0.3 < head[0] < mass[0]


def test_marks_of_an_edge_are_drawn_also_where_boxes_overlap():
    edge = {"a": "z" * 200, "b": "log_mass", "frequency": 1.0, "mark_a": "o", "mark_b": ">"}
    content = {"method": "fci", "edges": [edge], "replicates": 10, "tiers": [[edge["a"]], ["z"], ["log_mass"]], "table": {"complete": 9}, "given_network": {}}
    axis = graphs.side_by_side([content], "mock").axes[0]
    assert [line.get_marker() for line in axis.lines].count("o") == 1
    assert sum(not text.get_text() for text in axis.texts) == 1
