"""Components by counting and by nearest neighbours: gates, Gaussian sources, biases, limits of time, bad input."""

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.figures import information, style
from galmass.information import continuous, cross_check, discrete

BIT = np.log(2)
KSG = {"neighbours": 3, "galaxies": 4000}
IG_AND = np.log2((2 + np.sqrt(2)) / 4) + 0.5  # half way between the chains, in closed form


def gate(name: str) -> np.ndarray:
    """Counts (2, 2, n_mass) of a gate of two bits, each pair equally often."""
    outputs = {"XOR": [[0, 1], [1, 0]], "AND": [[0, 0], [0, 1]], "UNQ": [[0, 1], [2, 3]]}
    counts = np.zeros((2, 2, 4 if name == "UNQ" else 2), int)
    for a, b in [(0, 0), (1, 1)] if name == "RDN" else np.ndindex(2, 2):
        counts[a, b, a if name == "RDN" else outputs[name][a][b]] = 1000
    return counts


def sources(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two noisy views of a Gaussian mass with correlated noise, and the mass."""
    g = np.random.default_rng(seed)
    y = g.normal(size=n)
    noise = g.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], n)
    return y + noise[:, 0], 0.8 * y + noise[:, 1], y


def known() -> np.ndarray:
    """Their informations [nat] in closed form."""
    covariance = np.array([[1, 1, 0.8], [1, 2, 1.1], [0.8, 1.1, 1.64]])

    def determinant(*rows):
        return np.linalg.det(covariance[np.ix_(rows, rows)])

    return np.array([np.log(determinant(*x) / determinant(0, *x)) / 2 for x in ((1,), (2,), (1, 2))])


@pytest.fixture(scope="module")
def gates() -> dict:
    """Atoms [bit] of every gate by every measure of dit."""
    measures = ("mmi", "ig", "broja", "ccs", "dep")
    rows = {name: discrete.decompose({2: gate(name)}, measures, 60, seed=1) for name in ("XOR", "RDN", "UNQ", "AND")}
    names = ("redundant", "unique_1", "unique_2", "synergistic")
    return {(row["measure"], name): [row["plug_in"][atom] / BIT for atom in names] for name in rows for row in rows[name]}


@pytest.mark.parametrize("measure", ["mmi", "ig", "broja", "ccs", "dep"])
@pytest.mark.parametrize(("name", "expected"), [("XOR", [0, 0, 0, 1]), ("RDN", [1, 0, 0, 0]), ("UNQ", [0, 1, 1, 0])])
def test_gates_on_which_measures_agree(gates, measure, name, expected):
    if (measure, name) == ("mmi", "UNQ"):  # its known failure: two independent bits are redundant and synergistic
        expected = [1, 0, 0, 1]
    assert gates[measure, name] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("measure", "redundant", "synergistic"),
    [("mmi", 0.3113, 0.5), ("ig", 2 * 0.3113 - 0.8113 + IG_AND, IG_AND), ("broja", 0.3113, 0.5), ("ccs", 0.1038, 0.2925), ("dep", 0.0817, 0.2704)],
)
def test_and_gate_on_which_they_do_not(gates, measure, redundant, synergistic):
    """Values of the papers of the measures; of ig in closed form."""
    found = gates[measure, "AND"]
    assert found[0] == pytest.approx(redundant, abs=2e-4)
    assert found[3] == pytest.approx(synergistic, abs=2e-4)
    assert found[1] == pytest.approx(found[2], abs=2e-4)


def test_mmi_of_dit_is_the_closed_form_and_atoms_add_up():
    counts = {4: discrete.table(*sources(3000), 4), 8: discrete.table(*sources(3000), 8)}
    for row in discrete.decompose(counts, ["mmi", "ig"], 60, seed=1):
        for correction in discrete.CORRECTIONS:
            found = discrete.informations(counts[row["bins"]], correction)
            discrete.check_sums([row[correction][name] for name in ("redundant", "unique_1", "unique_2", "synergistic")], found, "here")
            if row["measure"] == "mmi":
                assert row[correction] == pytest.approx(discrete.quantities(found), abs=1e-9)


def test_jackknife_is_that_of_its_definition():
    galaxies = np.random.default_rng(1).integers(0, 7, 40)
    plug_in = discrete.entropy(np.bincount(galaxies), "plug_in")
    without_one = [discrete.entropy(np.bincount(np.delete(galaxies, i)), "plug_in") for i in range(40)]
    assert discrete.entropy(np.bincount(galaxies), "jackknife") == pytest.approx(40 * plug_in - 39 * np.mean(without_one))


def test_broja_of_gaussian_sources_is_near_mmi():
    """Of the numbers they are equal (Barrett 2015); in three bins nearly so, and nothing is negative."""
    row = discrete.decompose({3: discrete.table(*sources(20_000), 3)}, ["broja"], 600, seed=1)[0]["plug_in"]
    assert row["redundant"] == pytest.approx(min(row["information_1"], row["information_2"]), abs=2e-3)
    assert min(row.values()) >= 0


def test_atoms_that_do_not_add_up_are_refused():
    discrete.check_sums([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 1.0], "here")
    with pytest.raises(InputError, match=r"dit's ccs at 8 bins: the atoms .* do not add up"):
        discrete.check_sums([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 1.1], "dit's ccs at 8 bins")


def test_informations_of_gaussian_sources_grow_with_the_bins_towards_the_closed_form():
    values = sources(300_000)
    coarse, fine = (discrete.informations(discrete.table(*values, b)) for b in (8, 20))
    assert np.all(coarse < fine)
    assert np.all(fine < known() + 0.005)  # three times the scatter at n = 300 000
    assert fine == pytest.approx(known(), rel=0.05)


def test_corrections_take_the_bias_of_the_synergy_away():
    truth = discrete.quantities(discrete.informations(discrete.table(*sources(2_000_000, 9), 8)))["synergistic"]
    tables = [discrete.table(*sources(3000, seed), 8) for seed in range(10)]
    synergies = {c: [discrete.quantities(discrete.informations(t, c))["synergistic"] for t in tables] for c in discrete.CORRECTIONS}
    bias = {c: abs(np.mean(found) - truth) for c, found in synergies.items()}
    assert bias["miller_madow"] < bias["plug_in"] / 3
    assert bias["jackknife"] < bias["plug_in"] / 6  # 0.0025 of 0.065 nat, and 0.003 of chance


def test_intervals_are_as_wide_as_the_scatter_of_new_galaxies():
    found = [discrete.intervals(discrete.table(*sources(4000, seed), 4), 100, np.random.default_rng(seed)) for seed in range(60)]
    for name in ("information_12", "synergistic"):
        width = np.mean([row[name][2] - row[name][1] for row in found])
        # 60 draws know a standard deviation to 9 %: three of that
        assert width / (2 * 1.96) == pytest.approx(np.std([row[name][0] for row in found]), rel=0.28)


def test_quantile_bins_hold_equally_many():
    assert np.bincount(discrete.quantile_bins(np.random.default_rng(1).normal(size=800), 8, "x")).tolist() == [100] * 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.where(np.arange(len(x)) < 3, np.nan, x), "estimate of the first input: NaN or infinite for 3 of 600"),
        (lambda x: np.full(len(x), 10.0), "estimate of the first input: its 1 different values fill 1 of 4"),
        (lambda x: np.round(x / 3), "estimate of the first input: its .* fill .* of 4 quantile bins; ask for fewer"),
    ],
)
def test_estimates_that_cannot_be_binned_are_named(change, message):
    first, second, mass = sources(600)
    with pytest.raises(InputError, match=message):
        discrete.table(change(first), second, mass, 4)


def test_fewer_galaxies_than_cells_are_refused():
    with pytest.raises(InputError, match="600 galaxies are too few for the 4096 cells of 16 bins"):
        discrete.table(*sources(600), 16)


def test_what_does_not_end_is_killed_and_said_and_the_others_go_on():
    counts = {10: discrete.table(*sources(10_000), 10)}
    slow, quick = discrete.decompose(counts, ["broja", "ig"], 4.0, seed=1)  # half a minute, 0.05 s
    assert slow["why"] == "not ended after 4 s"
    assert slow["plug_in"] is slow["jackknife"] is None
    assert quick["why"] is None
    assert quick["plug_in"]["synergistic"] > 0


def test_what_fails_in_dit_is_said_and_the_others_go_on():
    failed, found = discrete._answers([("none", gate("AND").tolist()), ("mmi", gate("AND").tolist())], 60, seed=1)
    assert failed["failed"] == "KeyError: 'none'"
    assert sum(found["atoms"]) / BIT == pytest.approx(0.8113, abs=1e-4)


def test_a_process_that_dies_is_said(monkeypatch, tmp_path):
    script = tmp_path / "dies.py"
    monkeypatch.setattr(discrete.by_dit, "__file__", str(script))
    script.write_text("print('{}', flush=True)\n")
    rows = discrete.decompose({2: gate("XOR")}, ["mmi", "ig"], 60, seed=1)
    assert [row["why"] for row in rows] == ["its process died"] * 2
    script.write_text("raise SystemExit(1)\n")
    with pytest.raises(InputError, match="dit could not be started"):
        discrete.decompose({2: gate("XOR")}, ["mmi"], 60, seed=1)


def test_nearest_neighbours_find_the_closed_form():
    found, n = continuous.informations(*sources(8000), KSG, np.random.default_rng(1))
    assert n == 4000
    # over seeds the estimates of 4000 galaxies scatter by 0.011 to 0.013: nearly four of that
    assert found == pytest.approx(known(), abs=0.05)
    one = continuous.information(*sources(8000)[::2], KSG, np.random.default_rng(1))
    assert one == pytest.approx(found[0])


def test_nearest_neighbours_name_what_is_wrong():
    first, second, mass = sources(50)
    with pytest.raises(InputError, match="NaN, infinite or constant"):
        continuous.informations(first, np.full(50, 1.0), mass, KSG, np.random.default_rng(1))
    with pytest.raises(InputError, match="3 galaxies are too few for 3 nearest neighbours"):
        continuous.informations(first[:3], second[:3], mass[:3], KSG, np.random.default_rng(1))


def test_methods_side_by_side(tmp_path):
    first, second, mass = sources(300)
    averages = {name: [0.3, 0.2, 0.4] for name in cross_check.SHOWN}
    summary = {"n": 300, "rows": [averages | {"label": "all", "kind": kind} for kind in ("pointwise", "mean")]}
    options = {"bins": [4, 8], "measures": ["ig"], "limit_s": 60, "bootstrap": 20, "ksg": KSG}
    estimates = {"first": first, "second": second, "union": first + second}
    found = cross_check.rows(estimates, mass, summary, options, seed=1)
    methods = [(row["method"], row["bins"]) for row in found]
    expected = [("networks, pointwise", None), ("networks, mean", None), ("mmi", 4), ("mmi", 8), ("ig", 4), ("ig", 8), ("ksg", None), ("ksg, union", None)]
    assert methods == expected
    assert [row["why"] for row in found if row["bins"] == 8] == ["left out: 300 galaxies for 512 cells"] * 2
    shown = cross_check.table(found)
    assert shown[0]["synergistic_nat"] == "0.300 [0.200, 0.400]"
    assert shown[3]["synergistic_nat"] == ""
    assert float(shown[2]["synergistic_plug_in_nat"]) > float(shown[2]["synergistic_nat"].split()[0])
    assert len(list(cross_check.lines(found))) == len(found)
    assert cross_check.rows(estimates, mass, summary, options, seed=1) == found
    drawn = information.methods({"sample": "s", "inputs": {"first": "A", "second": "B"}, "rows": found})
    bars = [bar for bar in drawn.axes[0].patches if round(bar.get_y() + bar.get_height() / 2) == -2]  # mmi, 4 bins: nothing negative
    assert max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(found[2]["information_12"][0])
    assert len(drawn.axes[0].get_yticks()) == 6  # those with numbers
    style.save(drawn, tmp_path / "methods.svg")
    assert "nan" not in (tmp_path / "methods.svg").read_text()
    with pytest.raises(InputError, match="300 galaxies are too few for the 512 cells of 8 bins"):
        cross_check.rows(estimates, mass, summary, options | {"bins": [8, 16]}, seed=1)
