"""Components of information: gates, identities, the prior, averages with intervals."""

import re

import numpy as np
import pandas as pd
import pytest

from galmass.errors import InputError
from galmass.information import averages, components, convergence, decomposition, densities, prior, prior_nll, questions, report

LN2 = np.log(2)
EDGES = np.linspace(8, 12, 17)


def gate(name, n=4000, seed=0):
    """Cross-entropies [nat] that an ideal network has on a gate of two bits: of the first input, the second, both, the prior."""
    g = np.random.default_rng(seed)
    a, b = g.integers(0, 2, (2, n))
    zero, one = np.zeros(n), np.full(n, LN2)
    if name == "XOR":
        return one, one, zero, one
    if name == "RDN":
        return zero, zero, zero, one
    if name == "UNQ":
        return one, one, zero, 2 * one
    y = a & b
    alone = [np.where(x == 0, np.where(y == 0, 0.0, np.inf), LN2) for x in (a, b)]
    return *alone, zero, np.where(y == 1, -np.log(0.25), -np.log(0.75))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("XOR", {"redundant": 0, "unique_1": 0, "unique_2": 0, "synergistic": LN2}),
        ("RDN", {"redundant": LN2, "unique_1": 0, "unique_2": 0, "synergistic": 0}),
        # minimum mutual information calls two independent bits redundant and synergistic: its known failure
        ("UNQ", {"redundant": LN2, "unique_1": 0, "unique_2": 0, "synergistic": LN2}),
    ],
)
@pytest.mark.parametrize("kind", ["mean", "pointwise"])
def test_gates(name, expected, kind):
    found = components(*gate(name), kind=kind)
    assert {key: pytest.approx(float(np.mean(value)), abs=1e-12) for key, value in found.items()} == expected


def test_and_gate_has_the_known_components():
    found = components(*gate("AND", 400_000), kind="mean")
    alone, both = 0.3112781 * LN2, 0.8112781 * LN2
    assert found["redundant"] == pytest.approx(alone, abs=0.004)  # 400 000 draws
    assert found["synergistic"] == pytest.approx(both - alone, abs=0.004)


def test_components_add_up_and_pointwise_is_never_more_redundant():
    nlls = np.random.default_rng(1).normal(3, 1, (4, 500))
    pointwise, mean = components(*nlls), components(*nlls, kind="mean")
    i_1, i_2, i_12 = nlls[3] - nlls[:3]
    assert pointwise["redundant"] + pointwise["unique_1"] == pytest.approx(i_1)
    assert pointwise["redundant"] + pointwise["unique_2"] == pytest.approx(i_2)
    assert sum(pointwise.values()) == pytest.approx(i_12)
    assert sum(mean.values()) == pytest.approx(i_12.mean())
    assert pointwise["redundant"].mean() <= mean["redundant"]


@pytest.mark.parametrize(
    ("arrays", "kind", "message"),
    [
        (([1.0], [1.0, 2.0], [1.0], [1.0]), "mean", "one length"),
        (([], [], [], []), "mean", "one length"),
        (([np.nan], [1.0], [1.0], [1.0]), "pointwise", "nll_1 of 1 galaxies"),
        (([1.0], [1.0], [1.0], [1.0]), "median", "pointwise, mean"),
    ],
)
def test_what_cannot_be_decomposed_is_named(arrays, kind, message):
    with pytest.raises(InputError, match=message):
        components(*arrays, kind=kind)


@pytest.mark.parametrize("smoothing", [{"kind": "pseudo_count", "count": 0.5}, {"kind": "kernel", "bandwidth_dex": 0.1}])
def test_prior_is_normalised_and_nowhere_zero(smoothing):
    probability = prior.prior_probability(np.full(50, 10.1), EDGES, smoothing)
    assert probability.sum() == pytest.approx(1)
    assert probability.min() > 0
    assert probability.argmax() == np.searchsorted(EDGES, 10.1) - 1


def test_prior_of_masses_outside_the_bins_and_at_the_last_edge():
    found = prior_nll([7.0, 12.0, 13.0], EDGES, [9.0, 11.9, 20.0])
    assert np.isnan(found[[0, 2]]).all()
    assert np.isfinite(found[1])


def test_a_wide_kernel_moves_mass_and_keeps_the_mean_of_a_middle_galaxy():
    narrow, wide = (prior.prior_probability([10.125], EDGES, {"kind": "kernel", "bandwidth_dex": s}) for s in (0.01, 0.6))
    assert narrow.max() > 2 * wide.max()
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    assert wide @ middle == pytest.approx(10.125, abs=0.1)  # cut at the ends, and a share spread evenly


def test_prior_without_a_mass_in_the_bins_is_refused():
    with pytest.raises(InputError, match="none of 2 reference masses"):
        prior_nll([9.0], EDGES, [1.0, 2.0])
    with pytest.raises(InputError, match="known: pseudo_count, kernel"):
        prior_nll([9.0], EDGES, smoothing={"kind": "spline"})


def test_held_out_prior_does_not_see_its_own_fold():
    mass, fold = np.array([9.0, 9.0, 11.0, 11.0]), np.array([0, 0, 1, 1])
    smoothing = {"kind": "pseudo_count", "count": 1.0}
    # the fold of a galaxy holds only masses that the other fold lacks: the pseudo-count alone is left
    assert prior.held_out(mass, fold, EDGES, smoothing) == pytest.approx(np.log(18))


def test_ensemble_is_the_mean_density():
    nll = np.array([[1.0, 3.0]])
    assert decomposition.ensemble_nll(nll)[0] == pytest.approx(-np.log((np.exp(-1) + np.exp(-3)) / 2))
    assert decomposition.ensemble_nll(nll, [1, 1])[0] == pytest.approx(3.0)


def made_up(n=3000, members=3, seed=2):
    """Cross-entropies (n, n_member) whose mean informations are 0.5, 0.3 and 0.7 nat before noise of the networks."""
    g = np.random.default_rng(seed)
    h = g.normal(3, 0.5, n)
    nlls = [(h - information - g.normal(0, 0.8, n))[:, None] + g.normal(0, 0.1, (n, members)) for information in (0.5, 0.3, 0.7)]
    return nlls, h


BINS = {"log_mass": [9.0, 10.0, 11.0, 12.0], "petro_mag_r": [14.0, 17.0]}


def averaged(nlls, h, seed=3, n_bootstrap=200):
    g = np.random.default_rng(5)
    mass, magnitude = g.uniform(9, 11, len(h)), g.uniform(14, 17, len(h))
    chosen = averages.groups(mass, magnitude, np.where(mass > 10, "passive", "star-forming"), BINS)
    return averages.averages(nlls, h, chosen, n_bootstrap, np.random.default_rng(seed))


def test_averages_agree_with_components_of_the_ensemble():
    nlls, h = made_up()
    rows = averaged(nlls, h)
    ensemble = [decomposition.ensemble_nll(nll) for nll in nlls]
    for kind in ("mean", "pointwise"):
        row = next(r for r in rows if r["label"] == "all" and r["kind"] == kind)
        for name, value in components(*ensemble, h, kind=kind).items():
            assert row[name][0] == pytest.approx(np.mean(value))
            assert row[name][1] is None or row[name][1] <= row[name][0] <= row[name][2]
        assert row["gain_2"][0] == pytest.approx(row["unique_2"][0] + row["synergistic"][0])


def test_what_is_zero_by_definition_has_no_interval():
    nlls, h = made_up()
    pointwise, mean = (next(r for r in averaged(nlls, h) if r["label"] == "all" and r["kind"] == kind) for kind in ("pointwise", "mean"))
    assert mean["unique_2"] == [0.0, None, None]
    assert report.words(mean["unique_2"]) == "0.000"
    assert mean["unique_1"][1] > 0
    assert pointwise["unique_2"][1] is not None
    # of two inputs that tell as much either may be the weaker one
    tied = next(r for r in averaged([nlls[0], nlls[0][:, ::-1] + np.random.default_rng(1).normal(0, 0.1, (3000, 1)), nlls[2]], h) if r["kind"] == "mean")
    assert tied["unique_1"][1] is not None
    assert tied["unique_2"][1] is not None


def test_groups_cover_their_galaxies_and_an_empty_one_has_no_average():
    rows = averaged(*made_up(300))
    assert sum(r["n"] for r in rows if r["by"] == "class" and r["label"] != "all" and r["kind"] == "mean") == 300
    empty = next(r for r in rows if r["label"] == "11 to 12")
    assert empty["n"] == 0
    assert empty["redundant"] is None


def test_intervals_are_as_wide_as_the_scatter_of_new_galaxies():
    values, widths = [], []
    for seed in range(60):
        nlls, h = made_up(400, members=1, seed=seed)
        row = next(r for r in averaged(nlls, h) if r["label"] == "all" and r["kind"] == "mean")
        values.append(row["information_12"][0])
        widths.append(row["information_12"][2] - row["information_12"][1])
    # 60 draws know a standard deviation to 9 %: three of that
    assert np.mean(widths) / (2 * 1.96) == pytest.approx(np.std(values), rel=0.28)


def test_members_of_the_ensemble_widen_the_intervals():
    g, h = np.random.default_rng(1), np.full(500, 3.0)
    steady = [np.repeat((h - i - g.normal(0, 0.1, 500))[:, None], 3, 1) for i in (0.5, 0.3, 0.7)]
    wavering = [nll + np.array([-0.3, 0.0, 0.3]) for nll in steady]
    narrow, wide = (next(r for r in averaged(nlls, h) if r["label"] == "all")["information_1"] for nlls in (steady, wavering))
    assert wide[2] - wide[1] > 5 * (narrow[2] - narrow[1])


def test_fourth_input_gives_the_gap():
    nlls, h = made_up()
    row = averaged([*nlls, nlls[2] - 0.25], h)[0]
    assert row["gap"][0] == pytest.approx(0.25)
    assert row["gap"][1] > 0


def test_noise_of_networks_lowers_the_pointwise_minimum_and_the_extrapolation_corrects_for_it():
    g = np.random.default_rng(4)
    h, n = np.full(20_000, 3.0), 20_000
    nlls = [np.full((n, 1), 2.5) + g.normal(0, 0.5, (n, 8)) for _ in range(3)]
    found = averages.noise(nlls, h, g)
    assert found["members"] == list(range(1, 9))
    assert np.all(np.diff(found["redundant"]) > 0)
    # the mean density of noisy members is above every one of them (Jensen): more than 0.5
    limit = 0.5 + 0.5**2 / 2
    assert abs(found["extrapolated"] - limit) < abs(found["redundant"][-1] - limit)
    assert averages.noise([nll[:, :1] for nll in nlls], h, g)["extrapolated"] is None


def test_common_galaxies_come_in_one_order():
    tables = {
        "a": {"galaxy_id": np.array(["3", "1", "2"]), "fold": np.array([0, 1, 0])},
        "b": {"galaxy_id": np.array(["1", "3", "9"]), "fold": np.array([1, 0, 0])},
    }
    rows = densities.common(tables)
    assert [list(tables[name]["galaxy_id"][rows[name]]) for name in "ab"] == [["3", "1"]] * 2


def test_densities_that_do_not_belong_together_are_refused():
    one = {"galaxy_id": np.array(["1", "2"]), "fold": np.array([0, 1])}
    with pytest.raises(InputError, match="held out different galaxies"):
        densities.common({"a": one, "b": one | {"fold": np.array([1, 1])}})
    with pytest.raises(InputError, match="no galaxy has densities of all of a, b"):
        densities.common({"a": one, "b": one | {"galaxy_id": np.array(["7", "8"])}})
    with pytest.raises(InputError, match="a and b: seed is 1 and 2"):
        densities.check_plans({"a": {"plan": {}, "seed": 1}, "b": {"plan": {}, "seed": 2}})


def summary(gain, tuple_name="t", synergy=0.1, pointwise=0.1):
    row = {key: [0.4, 0.3, 0.5] for key in ("information_1", "information_2", "information_12", "redundant", "unique_1", "unique_2")}
    row |= {"label": "all", "by": "class", "n": 10, "gain_2": gain}
    rows = [row | {"kind": kind, "synergistic": [x, x - 0.01, x + 0.01]} for kind, x in (("pointwise", pointwise), ("mean", synergy))]
    return {"tuple": tuple_name, "sample": "s", "n": 10, "inputs": {"first": "A", "second": "B", "union": "AB"}, "rows": rows, "truth": []}


@pytest.mark.parametrize(("gain", "answer"), [([0.1, 0.05, 0.15], "yes"), ([0.1, -0.05, 0.25], "not seen"), ([-0.1, -0.2, -0.05], "no")])
def test_answer_follows_the_interval(gain, answer):
    row = questions.answers([summary(gain)], {"t": "images"}, [{}])[0]
    assert row["answer"] == answer
    assert row["why"] == ""
    assert f"{gain[0]:.3f} nat ({gain[1]:.3f} to {gain[2]:.3f})" in row["words"]


def test_bands_are_ordered_by_synergy_and_silent_tuples_left_out():
    made = [summary([0.1, 0.0, 0.2], name, synergy) for name, synergy in (("a", 0.1), ("b", 0.3), ("c", 0.2))]
    rows = questions.answers(made, {"a": "bands", "b": "bands", "c": "none"}, [{}] * 3)
    assert [row["tuple"] for row in rows] == ["b", "a"]


@pytest.mark.parametrize(
    ("synergy", "pointwise", "answer"),
    [(0.1, 0.1, "synergistic"), (0.1, 0.0, "depends on the definition"), (0.1, -0.1, "depends on the definition"), (0.0, 0.0, "not seen")],
)
def test_bands_are_synergistic_where_both_definitions_say_so(synergy, pointwise, answer):
    made = summary([0.1, 0.0, 0.2], synergy=synergy, pointwise=pointwise)
    assert questions.answers([made], {"t": "bands"}, [{}])[0]["answer"] == answer


@pytest.mark.parametrize("question", ["images", "infrared", "bands", "control"])
def test_networks_that_had_not_converged_answer_nothing(question):
    doubt = {"second": "3 of 4 networks of B were best at their last step, 100"}
    row = questions.answers([summary([0.1, 0.05, 0.15])], {"t": question}, [doubt])[0]
    assert row["answer"] == "not converged"
    assert row["why"] == doubt["second"]
    assert row["words"].endswith(f"No answer, for {doubt['second']}")


def test_an_input_set_against_both_that_had_not_converged_is_not_compared():
    made = summary([0.1, 0.05, 0.15])
    made["inputs"] |= {"against": "C"}
    for row in made["rows"]:
        row |= {"gap": [-0.8, -0.9, -0.7]}
    sure, unsure = (questions.answers([made], {"t": "images"}, [doubt])[0] for doubt in ({}, {"against": "C was stopped"}))
    assert "C tells less than both: difference -0.800 nat" in sure["words"]
    assert unsure["answer"] == "yes"
    assert "whether C tells more than both is not answered, for C was stopped" in unsure["words"]


def test_no_zero_is_told_as_less_than_nothing():
    made = summary([0.1, -0.0004, 0.15])
    assert "(0.000 to 0.150)" in questions.answers([made], {"t": "images"}, [{}])[0]["words"]


def test_what_is_zero_by_definition_is_told_without_an_interval():
    made = summary([0.1, 0.05, 0.15])
    for row in made["rows"]:
        row["unique_2"] = [0.0, None, None]
    words = questions.answers([made], {"t": "images"}, [{}])[0]["words"]
    assert "of it nothing unique (of two inputs the one that tells less has none, by this definition) and 0.100 nat" in words


def test_networks_best_at_their_last_step_had_not_converged():
    made = {"inputs": {"first": "A", "second": "B"}, "steps": {"A": {"best": [100, 100, 75], "last": 100}, "B": {"best": [100, 75, 50, 100], "last": 100}}}
    notes = {m: {"members": [{"best_step": step} for step in found["best"]], "options": {"max_steps": 100}} for m, found in made["steps"].items()}
    assert densities.best_steps(notes) == made["steps"]
    assert convergence.unfinished(made) == {"first": "2 of 3 networks of A were best at their last step, 100"}


def test_contrastive_network_that_tells_more_casts_doubt():
    g = np.random.default_rng(1)
    names = np.arange(400).astype(str)
    components = pd.DataFrame({"galaxy_id": names, "nll_1": g.normal(2, 0.5, 400), "nll_2": g.normal(3, 0.5, 400)})
    split = np.where(np.arange(400) < 100, "train", "test")

    def told(column, more, width):
        nll = components[column] - more - np.log(width / 0.05) + g.normal(0, 0.2, 400)
        # what it says of its training galaxies counts for nothing
        return pd.DataFrame({"galaxy_id": names, "split": split, "cross_entropy": np.where(split == "train", -9.0, nll)})[::-1]

    widths, made = {"A": 0.025, "B": 0.05}, {"inputs": {"first": "A", "second": "B"}}
    found = convergence.outdone(made, components, {"A": told("nll_1", 0.3, 0.025), "B": told("nll_2", 0.0, 0.05)}, widths, 0.05)
    assert list(found) == ["first"]
    value, error = (float(x) for x in re.search(r"A tells ([\d.]+) \+- ([\d.]+) nat more of 300 test galaxies", found["first"]).groups())
    assert value == pytest.approx(0.3, abs=0.05)  # four standard errors of 0.2 / sqrt(300)
    assert error == pytest.approx(1.96 * 0.2 / np.sqrt(300), rel=0.15)
    assert convergence.outdone(made, components, {}, widths, 0.05) == {}
    for more, said in ((0.008, []), (0.012, ["second"])):  # the same for every galaxy: no interval
        better = components[["galaxy_id"]].assign(split="test", cross_entropy=components["nll_2"] - more)
        assert list(convergence.outdone(made, components, {"B": better}, {"B": 0.05}, 0.05)) == said


def test_doubts_about_an_input_come_in_one_clause():
    made = {"inputs": {"first": "A", "second": "B"}}
    assert convergence.reasons(made, {"first": "x"}, {"first": "y"}) == {"first": "x, and y"}


def test_page_holds_every_answer_in_both_forms():
    made = summary([0.1, 0.05, 0.15])
    made["truth"] = [{"quantity": "information_1", "found": [0.4, 0.3, 0.5], "truth": 0.6, "truth_error": 0.01, "gap": 0.2}]
    text = questions.markdown(questions.answers([made], {"t": "control"}, [{}]), [made])
    page = questions.html(text)
    assert "**something**" in text
    assert "<b>something</b>" in page
    assert page.count("<li>") == 2
    assert page.count("<ul>") == page.count("</ul>") == 2


def test_known_informations_are_those_of_named_blocks():
    truth = pd.DataFrame({"columns": ["ugriz", "forms"], "nats": [1.0, 2.0], "nats_error": [0.03, 0.2], "nats_bias": [-0.04, 0.0]})
    inputs = {"first": "Mopt", "second": "Morph", "union": "MoptMorph"}
    assert report.known(truth, inputs, {"Mopt": "ugriz", "MoptMorph": "gone"}) == {"information_1": (1.04, pytest.approx(0.05))}
    assert report.known(None, inputs, {"Mopt": "ugriz"}) == {}
