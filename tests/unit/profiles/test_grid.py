"""The regular grid of profiles: its nodes, their order, what is held out, the full size of the paper."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from galmass.errors import InputError
from galmass.profiles import grid

CONFIG = Path(__file__).parents[3] / "config"
AXES = {
    "alpha": {"low": 0.1, "high": 10.0, "count": 5, "spacing": "log"},
    "gamma": {"low": 0.0, "high": 1.2, "count": 4, "spacing": "linear"},
    "beta_minus_gamma": {"low": 0.3, "high": 3.0, "count": 3, "spacing": "linear"},
    "r_break": {"low": 2.0, "high": 2000.0, "count": 7, "spacing": "log"},
}


def overlaid(base, overlay):
    """Nested mappings merged as Snakemake merges several --configfile."""
    if not isinstance(overlay, dict):
        return overlay
    return {**base, **{key: overlaid(base.get(key, {}), value) for key, value in overlay.items()}}


def full_config() -> dict:
    return overlaid(*(yaml.safe_load((CONFIG / name).read_text()) for name in ("config.yaml", "nuker.yaml")))


def held_out(seed, fraction=0.1):
    many = {name: axis | {"count": 10} for name, axis in AXES.items()}
    return grid.build(many, fraction, seed)["held_out"][0]


def test_nodes_of_a_linear_axis():
    np.testing.assert_allclose(grid.axis("gamma", 0.0, 1.2, 4, "linear"), [0.0, 0.4, 0.8, 1.2], rtol=1e-15)  # rounding of float64


def test_nodes_of_a_logarithmic_axis():
    np.testing.assert_allclose(grid.axis("r_break", 2.0, 2000.0, 4, "log"), [2.0, 20.0, 200.0, 2000.0], rtol=1e-14)  # pow rounds


@pytest.mark.parametrize("name", AXES)
def test_both_ends_are_nodes(name):
    nodes = grid.build(AXES, 0.1, 1)[name][0]
    assert nodes[[0, -1]].tolist() == [np.float32(AXES[name]["low"]), np.float32(AXES[name]["high"])]
    assert len(nodes) == AXES[name]["count"]


def test_every_combination_once_and_the_last_axis_fastest():
    arrays = grid.build(AXES, 0.1, 1)
    rows = arrays["parameters"][0]
    assert rows.shape == (5 * 4 * 3 * 7, 4)
    assert rows.dtype == np.float32
    for place in ((0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (3, 2, 1, 5)):
        expected = [arrays[name][0][k] for name, k in zip(grid.NAMES, place, strict=True)]
        assert rows[np.ravel_multi_index(place, (5, 4, 3, 7))].tolist() == expected
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_every_array_is_labelled():
    for name, (array, dimensions, label) in grid.build(AXES, 0.1, 1).items():
        assert array.ndim == len(dimensions), name
        assert label.description, name


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5])
def test_fraction_held_out(fraction):
    spread = np.sqrt(fraction * (1 - fraction) / 10**4)  # binomial
    assert held_out(1, fraction).mean() == pytest.approx(fraction, abs=4 * spread)


def test_held_out_nodes_follow_from_the_seed_alone():
    np.random.seed(1)  # noqa: NPY002 - that the global state does not matter
    first = held_out(1)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, held_out(1))
    assert not np.array_equal(first, held_out(2))


def test_held_out_nodes_lie_everywhere():
    chosen = held_out(1).reshape(10, 10, 10, 10)
    for i in range(4):
        assert chosen.any(axis=tuple(k for k in range(4) if k != i)).all(), grid.NAMES[i]


@pytest.mark.parametrize(
    ("low", "high", "spacing"), [(2.0, 1.0, "linear"), (1.0, 1.0, "log"), (0.0, 1.0, "log"), (-1.0, 1.0, "log"), (float("nan"), 1.0, "linear")]
)
def test_a_range_that_is_none_is_refused(low, high, spacing):
    with pytest.raises(InputError, match=r"deprojection\.grid\.axes\.alpha runs from .* it must rise") as raised:
        grid.axis("alpha", low, high, 5, spacing)
    assert ("from above 0" in str(raised.value)) == (spacing == "log")


def test_build_names_the_axis_of_a_wrong_range():
    with pytest.raises(InputError, match=r"axes\.r_break runs from 0 to"):
        grid.build(AXES | {"r_break": AXES["r_break"] | {"low": 0}}, 0.1, 1)


def test_nuker_parameters_add_the_inner_slope():
    rows = np.array([[1.5, 0.25, 0.5, 100.0], [2.0, 0.75, 1.5, 10.0]], np.float32)
    alpha, beta, gamma, r_break = grid.nuker_parameters(rows)
    assert all(v.shape == (2, 1) and v.dtype == np.float64 for v in (alpha, beta, gamma, r_break))
    assert [v[:, 0].tolist() for v in (alpha, beta, gamma, r_break)] == [[1.5, 2.0], [0.75, 2.25], [0.25, 0.75], [100.0, 10.0]]


def test_slopes_of_nodes_add_in_float64():
    """beta - gamma must come back as it stands in the grid: in float32 the sum would lose its last digits."""
    rows = grid.build(AXES, 0.1, 1)["parameters"][0]
    _, beta, gamma, _ = grid.nuker_parameters(rows)
    np.testing.assert_allclose((beta - gamma)[:, 0], rows[:, 2], rtol=1e-14)  # rounding of float64


def test_the_full_grid_has_the_size_of_the_paper():
    config = full_config()["deprojection"]["grid"]
    arrays = grid.build(config["axes"], config["held_out"], 1)
    assert arrays["parameters"][0].shape == (6_250_000, 4)
    assert {len(arrays[name][0]) for name in grid.NAMES} == {50}
    expected = config["held_out"]
    assert arrays["held_out"][0].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / 6.25e6))  # binomial
