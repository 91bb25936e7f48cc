"""Figures of fits from small made-up draws and maps: drawn, the same twice, right numbers and labels, parts that may be absent."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from galmass.figures import fits, style
from galmass.units import LIGHT
from galmass.visibilities.imaging import Beam

NO_NUMBER = re.compile(r"(?<![A-Za-z])(nan|NaN|inf|None)(?![A-Za-z])")
NAMES, UNITS = ("log_m_bh", "r_break", "still"), ("log10 M_sun", "pc", "km/s")
LABELS = [fits.label(name, unit) for name, unit in zip(NAMES, UNITS, strict=True)]
TRUTH = [8.1, 200.0, None]
CELL, N = 0.2, 40
BEAM = Beam(0.6, 0.3, 30.0)
CHECKED = {"noise_jy_per_beam": 1e-3, "beam_arcsec": 0.5, "beam_pc": 25.0, "inclination": 30.0, "best": {"v_sys": 1200.0}}


def draws(seed=1, n=400):
    """Mass, break radius, and a parameter that never moves."""
    generator = np.random.default_rng(seed)
    return np.c_[generator.normal(8.0, 0.1, n), generator.lognormal(np.log(200), 0.3, n), np.full(n, 7.0)]


def prior(n=1000):
    generator = np.random.default_rng(2)
    return np.c_[generator.uniform(6, 10, n), np.exp(generator.uniform(np.log(2), np.log(2000), n)), generator.uniform(1, 10, n)]


def tables():
    low, high = np.full(5, 0.9), np.full(5, 1.1)
    by_channel = pd.DataFrame({"velocity_km_s": 20.0 * np.arange(5), "chi2": [1, 0.95, 1.05, 1.3, 1], "low": low, "high": high})
    return by_channel, by_channel.rename(columns={"velocity_km_s": "baseline_kilolambda"})


def moments(empty=False):
    """A patch of 100 pixels, 0.6 arcsec east, and a speck."""
    maps = np.full((3, N, N), np.nan)
    if not empty:
        columns = np.arange(18, 28)
        maps[:, 15:25, 18:28] = np.array([np.full(10, 0.5), 1200 + 10 * (columns - 22.5), np.full(10, 20.0)])[:, None]
        maps[:, 2, 2] = 0.004, 5000.0, 0.0
    return maps


RADIUS = np.geomspace(1, 1000, 60)
SPREAD = np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3])[:, None]


def curves(gas=True, rising=False):
    """Velocities with seven quantiles; half the total is the black hole's at the centre."""
    hole, stars = 1000 * RADIUS**-0.5, np.full(60, 200.0) if not rising else 0.5 * RADIUS
    parts = {"black_hole": hole if not rising else 1e-3 * hole, "stars": stars} | ({"gas": np.full(60, 30.0)} if gas else {})
    total = np.sqrt(sum(v**2 for v in parts.values()))
    return {"radius": RADIUS} | {f"velocity_{name}": SPREAD * v for name, v in {"total": total, **parts}.items()}


def slit():
    """A line from -150 to 150 km/s within 2 arcsec, in a band of 800 km/s and a slit of 12 arcsec."""
    offset, velocity = np.arange(-6, 6.01, 0.1), 1600 - 20.0 * np.arange(41)
    data = 1e-4 * np.random.default_rng(3).normal(size=(41, len(offset)))
    line = (abs(offset) < 2) & (abs(velocity[:, None] - 1200 - 75 * offset) < 25)
    return {"offset": offset, "velocity": velocity, "slit_data": data + 0.02 * line, "slit_model": 0.02 * line, **curves()}


CURVES = {"nuker": (RADIUS, curves()["velocity_total"]), "mge": (RADIUS, 1.1 * curves()["velocity_total"])}
CURVES |= {"mge_without_innermost": (RADIUS, 0.95 * curves()["velocity_total"])}


def models(truth=8.07):
    medians = np.array([8.0, 8.2, 7.9])
    limits = {"low_68": medians - 0.1, "high_68": medians + 0.1, "low_95": medians - 0.3, "high_95": medians + 0.3}
    return pd.DataFrame({"model": list(CURVES), "log_m_bh": medians, **limits, "truth": truth})


TRUE_CURVE = pd.DataFrame({"radius_pc": RADIUS, "velocity_km_s": curves()["velocity_total"][3]})
FIGURES = {
    "corner": lambda: fits.corner_plot(draws(), LABELS, TRUTH, "a galaxy"),
    "corner without truth": lambda: fits.corner_plot(draws(), LABELS, [None] * 3, "a galaxy"),
    "corner of one": lambda: fits.corner_plot(draws()[:, :1], LABELS[:1], [None], "a galaxy"),
    "traces": lambda: fits.traces(draws().reshape(4, 100, 3), LABELS, "a galaxy"),
    "prior and posterior": lambda: fits.prior_and_posterior(prior(), draws(), LABELS, TRUTH, "a galaxy"),
    "prior and posterior without truth": lambda: fits.prior_and_posterior(prior(), draws(), LABELS, [None] * 3, "a galaxy"),
    "misfit": lambda: fits.misfit(*tables(), "a galaxy"),
    "moments": lambda: fits.moment_maps(moments(), moments(), CELL, 3.0, "a galaxy", beam=BEAM),
    "moments of nothing": lambda: fits.moment_maps(moments(empty=True), moments(empty=True), CELL, 3.0, "a galaxy"),
    "position-velocity": lambda: fits.position_velocity(slit(), CHECKED, "a galaxy"),
    "position-velocity of nothing": lambda: fits.position_velocity(
        slit() | dict.fromkeys(("slit_data", "slit_model"), np.zeros((41, 121))), CHECKED, "a galaxy"
    ),
    "rotation": lambda: fits.rotation_curve(curves(), 25.0, "a galaxy", TRUE_CURVE),
    "rotation without gas and truth": lambda: fits.rotation_curve(curves(gas=False), 25.0, "a galaxy"),
    "comparison": lambda: fits.comparison(CURVES, models(), 25.0, "a galaxy"),
    "comparison without truth": lambda: fits.comparison(CURVES, models(np.nan), 25.0, "a galaxy"),
}


def vectors(path) -> str:
    return re.sub(r'"data:image/png;base64,[^"]*"', '""', path.read_text())


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
@pytest.mark.filterwarnings("error")
def test_a_figure_is_valid_without_holes_and_has_the_same_bytes_twice(draw, tmp_path):
    for name in ("first.svg", "second.svg"):
        style.save(draw(), tmp_path / name)
    assert ET.fromstring((tmp_path / "first.svg").read_bytes()).tag == "{http://www.w3.org/2000/svg}svg"
    assert "a galaxy" in vectors(tmp_path / "first.svg")
    assert not NO_NUMBER.search(vectors(tmp_path / "first.svg"))
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


def legend_texts(legend) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


def test_labels_have_units():
    assert fits.label("r_break", "pc") == r"$r_b$ [pc]"
    assert fits.label("thickness", "arcsec") == "thickness [arcsec]"
    assert fits.label("sersic_index", "") == "sersic_index"


# --- draws -------------------------------------------------------------------------------------------------------


def test_the_corner_plot_labels_its_margins_and_marks_the_truth():
    drawn = fits.corner_plot(draws(), LABELS, TRUTH, "t")
    axes = np.reshape(drawn.axes, (3, 3))
    assert [axis.get_xlabel() for axis in axes[2]] == LABELS
    assert [axis.get_ylabel() for axis in axes[1:, 0]] == LABELS[1:]
    assert [float(line.get_xdata()[0]) for line in axes[0, 0].lines] == [8.1]
    assert not axes[2, 2].lines
    for axis, name in zip(np.diag(axes), NAMES, strict=True):
        assert axis.get_title(), name
    assert "orange: truth" in drawn.get_suptitle()
    assert "truth" not in FIGURES["corner without truth"]().get_suptitle()


def test_a_truth_beyond_all_draws_is_inside_the_corner_plot():
    axis = fits.corner_plot(draws(), LABELS, [9.5, None, None], "t").axes[0]
    assert axis.get_xlim()[0] < 8.0 < 9.5 < axis.get_xlim()[1]


def test_constrained_layout_does_not_move_the_axes_of_the_corner_plot():
    drawn = FIGURES["corner"]()
    assert drawn.get_layout_engine() is None
    assert style.figure(1, 1).get_layout_engine() is not None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([1.0, 2.0, 4.0]), "$2.00^{+1.36}_{-0.68}$"),  # 16 and 84 % of three values: 1.32 and 3.36
        (1000 * np.array([1.0, 2.0, 4.0]), "$2000^{+1360}_{-680}$"),
        (np.full(3, 7.0), "7"),
    ],
)
def test_intervals_have_two_digits_of_the_smaller_side(values, text):
    assert fits._interval(values) == text


def test_traces_show_every_chain_of_every_parameter():
    chains = draws().reshape(4, 100, 3)
    drawn = fits.traces(chains, LABELS, "t")
    shown = [axis for axis in drawn.axes if axis.lines]
    assert [axis.get_ylabel() for axis in shown] == LABELS
    for i, axis in enumerate(shown):
        np.testing.assert_array_equal([line.get_ydata() for line in axis.lines], chains[..., i])


def test_prior_and_posterior_have_one_height_and_say_the_ratio_of_their_widths():
    drawn = fits.prior_and_posterior(prior(), draws(), LABELS, TRUTH, "t")
    mass, radius, still = drawn.axes[:3]
    assert mass.get_title() == f"{LABELS[0]}: {100 * np.std(draws()[:, 0]) / np.std(prior()[:, 0]):.2g} %"
    assert radius.get_title() == f"{LABELS[1]}: {100 * np.std(np.log(draws()[:, 1])) / np.std(np.log(prior()[:, 1])):.2g} %"
    assert still.get_title() == f"{LABELS[2]}: 0 %"
    assert [axis.get_xscale() for axis in (mass, radius, still)] == ["linear", "log", "linear"]
    for patch in mass.patches:
        assert patch.get_data().values.max() == 1
    # the filled ones: 40 bins over the draws
    counts, edges = np.histogram(draws()[:, 0], 40)
    np.testing.assert_allclose(mass.patches[2].get_data().values, counts / counts.max())
    np.testing.assert_allclose(mass.patches[2].get_data().edges, edges)
    assert legend_texts(drawn.legends[0]) == ["prior", "posterior", "truth"]
    assert legend_texts(FIGURES["prior and posterior without truth"]().legends[0]) == ["prior", "posterior"]


def test_a_wide_uniform_prior_from_near_zero_stays_linear():
    """0 to 360 deg: its smallest draw is positive, too."""
    angles = np.random.default_rng(1).uniform(0, 360, (500, 1))
    assert fits.prior_and_posterior(angles, angles / 10 + 100, ["PA"], [None], "t").axes[0].get_xscale() == "linear"


# --- misfit and maps ---------------------------------------------------------------------------------------------


def test_misfit_shows_data_over_the_range_of_replicas():
    drawn = fits.misfit(*tables(), "t")
    for axis, label in zip(drawn.axes, ("velocity, radio [km/s]", "baseline [kilo-wavelengths]"), strict=True):
        assert axis.get_xlabel() == label
        np.testing.assert_array_equal(axis.lines[0].get_ydata(), tables()[0]["chi2"])
        ends = np.array([segment[:, 1] for segment in axis.collections[0].get_segments()])
        np.testing.assert_array_equal(ends, np.tile([0.9, 1.1], (5, 1)))
    assert legend_texts(drawn.legends[0]) == ["95 % of replicas", "data"]


def test_moment_maps_show_data_model_and_difference_in_their_units():
    data, model = moments(), moments() * np.array([0.9, 1.0, 1.1])[:, None, None]
    drawn = fits.moment_maps(data, model, CELL, 3.0, "t")
    axes = np.reshape(drawn.axes[:9], (3, 3))
    patch = np.s_[15:25, 18:28]
    for row, one, other, scale in zip(axes, data, model, (1e3, 1, 1), strict=True):
        for axis, expected in zip(row, (one, other, one - other), strict=True):
            found = np.ma.filled(axis.images[0].get_array(), np.nan)[:, ::-1]
            np.testing.assert_allclose(found[patch], scale * expected[patch])
            assert np.isfinite(found).sum() == 100  # the speck is white
    assert [axis.get_title() for axis in axes[0]] == ["data", "model", "data - model"]
    labels = [axis.get_ylabel() for axis in drawn.axes[9:]]
    assert labels == ["moment 0 [mJy / beam km/s]", "mJy / beam km/s", "moment 1 [km/s]", "km/s", "moment 2 [km/s]", "km/s"]


def test_the_limits_of_moment_maps_are_common_and_those_of_differences_symmetric():
    axes = np.reshape(fits.moment_maps(moments(), 1.01 * moments(), CELL, 3.0, "t").axes[:9], (3, 3))
    for row in axes:
        assert row[0].images[0].get_clim() == row[1].images[0].get_clim()
        low, high = row[2].images[0].get_clim()
        assert low == -high < 0
    # percentiles 1 and 99 of the model: 1155 to 1245 km/s times 1.01; the speck of 5000 km/s does not count
    np.testing.assert_allclose(axes[1, 0].images[0].get_clim(), [1.01 * 1155, 1.01 * 1245])


def test_moment_maps_are_cut_to_the_emission_and_to_no_less_than_asked_for():
    """Rows 15 to 24, columns 18 to 27: middles half a cell south and 2.5 cells east; 1.3 times 10 cells are 2.6 arcsec."""
    for asked, width in ((1.0, 2.6), (4.0, 4.0)):
        axis = fits.moment_maps(moments(), moments(), CELL, asked, "t").axes[0]
        np.testing.assert_allclose(axis.get_xlim(), [2.5 * CELL + width / 2, 2.5 * CELL - width / 2])
        np.testing.assert_allclose(axis.get_ylim(), [-0.5 * CELL - width / 2, -0.5 * CELL + width / 2])


def test_the_diagram_shows_data_residual_and_contours_of_the_model():
    arrays = slit()
    drawn = fits.position_velocity(arrays, CHECKED, "t")
    left, right = drawn.axes[:2]
    np.testing.assert_allclose(left.collections[0].get_array(), 1e3 * arrays["slit_data"])
    np.testing.assert_allclose(right.collections[0].get_array(), 1e3 * (arrays["slit_data"] - arrays["slit_model"]))
    for axis in (left, right):
        low, high = axis.collections[0].get_clim()
        assert low == -high < 0
    np.testing.assert_allclose(left.collections[1].levels, [3e-3, 6e-3, 12e-3])  # 24 noises are above all of it
    assert left.get_ylabel() == "velocity, radio [km/s]"
    assert left.get_xlim()[0] == -left.get_xlim()[1]
    # line within 2 arcsec and 1050 to 1350 km/s: seen with some margin, not the whole band of 1600 - 800
    assert 2 < left.get_xlim()[1] < 3.5
    assert 900 < left.get_ylim()[0] < 1050 < 1350 < left.get_ylim()[1] < 1500


def test_the_band_is_the_projected_velocity_from_one_beam_outward():
    """50 pc per arcsec: one beam is 25 pc; sin 30 deg = 1/2; radio velocities are smaller by 1 - 1200 km/s / c."""
    slowed = 0.5 * (1 - 1200 / LIGHT)
    arrays = slit()
    bands = fits.position_velocity(arrays, CHECKED, "t").axes[0].collections[2:4]
    seen = RADIUS > 25
    for band, side in zip(bands, (1, -1), strict=True):
        x, y = band.get_paths()[0].vertices.T
        assert abs(x).min() == pytest.approx(RADIUS[seen][0] / 50)
        reach = side * (y - 1200)
        assert reach.max() == pytest.approx(slowed * arrays["velocity_total"][5][seen].max())
        assert reach.min() == pytest.approx(slowed * arrays["velocity_total"][1][seen].min())
        assert set(np.sign(x)) == {side}


# --- velocities and models ---------------------------------------------------------------------------------------


def test_the_rotation_curve_names_its_parts():
    assert legend_texts(FIGURES["rotation"]().axes[0].get_legend()) == ["total", "stars", "gas", "black hole", "truth"]
    assert legend_texts(FIGURES["rotation without gas and truth"]().axes[0].get_legend()) == ["total", "stars", "black hole"]


def test_the_rotation_curve_shows_medians_bands_truth_and_beam():
    axis = FIGURES["rotation"]().axes[0]
    total, truth = axis.lines[0], axis.lines[4]
    np.testing.assert_array_equal(total.get_ydata(), curves()["velocity_total"][3])
    assert truth.get_linestyle() == "--"
    outer, inner = (band.get_paths()[0].vertices[:, 1] for band in axis.collections[:2])
    for band, (low, high) in ((outer, (1, 5)), (inner, (2, 4))):
        assert band.min() == pytest.approx(curves()["velocity_total"][low].min())
        assert band.max() == pytest.approx(curves()["velocity_total"][high].max())
    assert [text.get_text() for text in axis.texts] == [" beam"]
    assert axis.lines[5].get_xdata()[0] == 25.0


@pytest.mark.parametrize("rising", [False, True])
def test_the_height_of_the_rotation_curve_is_that_of_what_is_seen(rising):
    """Without a black hole the velocity is largest far out; with one it runs off inside a quarter beam (6 pc)."""
    arrays = curves(rising=rising)
    top = fits.rotation_curve(arrays, 25.0, "t").axes[0].get_ylim()[1]
    seen = arrays["velocity_total"][3][RADIUS > 6.25].max()
    assert 1.1 * seen < top < 1.6 * seen


def test_models_are_compared_in_per_cent_of_the_first():
    drawn = fits.comparison(CURVES, models(), 25.0, "t")
    left, right = drawn.axes
    medians = [line for line in left.lines if line.get_linewidth() == 1.5]
    for line, percent in zip(medians, (0, 10, -5), strict=True):
        np.testing.assert_allclose(line.get_ydata(), percent, atol=1e-9)
    thin = [line.get_ydata()[0] for line in left.lines if line.get_linewidth() == 0.6]
    np.testing.assert_allclose(thin[:2], [-20, 20])  # the limits of 95 % of the first
    assert legend_texts(left.get_legend()) == ["nuker", "mge", "mge without\ninnermost"]
    assert "over that of nuker [%]" in left.get_ylabel()
    # 1.1 * 1.2: 32 % at the limit of the widest band
    np.testing.assert_allclose(left.get_ylim(), [-1.1 * 32, 1.1 * 32], rtol=1e-6)
    assert [label.get_text() for label in right.get_yticklabels()] == ["nuker", "mge", "mge without\ninnermost"]
    assert right.get_ylim() == (2.5, -0.5)  # the first on top


def test_black_holes_of_models_have_their_intervals_and_the_truth():
    right = fits.comparison(CURVES, models(), 25.0, "t").axes[1]
    found = [tuple(np.round(line.get_xdata(), 6)) for line in right.lines]
    assert found[:3] == [(7.7, 8.3), (7.9, 8.1), (8.0,)]
    assert found[3:6] == [(7.9, 8.5), (8.1, 8.3), (8.2,)]
    assert found[9] == (8.07, 8.07)
    without = fits.comparison(CURVES, models(np.nan), 25.0, "t").axes[1]
    assert len(without.lines) == 9
    assert without.get_legend() is None
