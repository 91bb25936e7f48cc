"""Figures of visibilities from small made-up arrays: drawn, the same twice, cut to the emission, with east to the left."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from galmass.figures import style, visibilities
from galmass.visibilities.imaging import Beam

NO_NUMBER = re.compile(r"(?<![A-Za-z])(nan|NaN|inf|None)(?![A-Za-z])")
CELL, N, N_CHAN = 0.2, 40, 12
VELOCITY = 1300.0 - 20 * np.arange(N_CHAN)
BEAM = Beam(0.6, 0.3, 30.0)
# channel, rows and columns of the pixels with emission: 1.6 arcsec east and 0.8 north of the centre
LINE, ROWS, COLUMNS = slice(4, 8), slice(22, 27), slice(26, 31)


def cube(signal=0.1):
    values = np.random.default_rng(1).normal(0, 1e-3, (N_CHAN, N, N))
    values[LINE, ROWS, COLUMNS] += signal
    return values, np.full(N_CHAN, 1e-3)


def cells(known=True):
    generator = np.random.default_rng(2)
    u, v = generator.uniform(0, 3e5, 50), generator.normal(0, 2e5, 50)
    return u, v, generator.uniform(5, 50, 50) if known else np.full(50, np.nan)


def channels(known=True):
    flux = np.where(np.arange(N_CHAN) // 4 == 1, 0.02, 0.0)
    ratio = np.r_[np.nan, np.linspace(0.97, 1.3, N_CHAN - 1)] if known else np.full(N_CHAN, np.nan)
    return pd.DataFrame({"velocity_km_s": VELOCITY, "flux_jy": flux, "flux_error_jy": 0.002, "scatter_ratio": ratio})


FIGURES = {
    "coverage": lambda: visibilities.coverage(*cells(), "a galaxy"),
    "coverage without counts": lambda: visibilities.coverage(*cells(known=False), "a galaxy"),
    "spectrum": lambda: visibilities.spectrum(channels(), "a galaxy"),
    "spectrum of gridded data": lambda: visibilities.spectrum(channels(known=False), "a galaxy"),
    "channel maps": lambda: visibilities.channel_maps(*cube(), VELOCITY, CELL, "a galaxy", beam=BEAM),
    "channel maps without line": lambda: visibilities.channel_maps(*cube(0.0), VELOCITY, CELL, "a galaxy"),
    "channel maps of nothing": lambda: visibilities.channel_maps(np.zeros((2, N, N)), np.zeros(2), VELOCITY[:2], CELL, "a galaxy", beam=BEAM),
}


def vectors(path) -> str:
    return re.sub(r'"data:image/png;base64,[^"]*"', '""', path.read_text())


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
@pytest.mark.filterwarnings("error")
def test_a_figure_is_valid_without_holes_and_has_the_same_bytes_twice(draw, tmp_path):
    for name in ("first.svg", "second.svg"):
        style.save(draw(), tmp_path / name)
    assert ET.fromstring((tmp_path / "first.svg").read_bytes()).tag == "{http://www.w3.org/2000/svg}svg"
    assert "a galaxy" in vectors(tmp_path / "first.svg")  # as a comment beside the outlines
    assert not NO_NUMBER.search(vectors(tmp_path / "first.svg"))
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


def maps(drawn):
    return [axis for axis in drawn.axes if axis.get_title()]


def shown(axis):
    return axis.images[0].get_array()


def test_coverage_shows_every_cell_with_its_partner_and_east_to_the_left():
    u, v, count = cells()
    drawn = visibilities.coverage(u, v, count, "t")
    axis, points = drawn.axes[0], drawn.axes[0].collections[0]
    np.testing.assert_allclose(points.get_offsets(), np.c_[np.r_[u, -u], np.r_[v, -v]] / 1e3)
    np.testing.assert_array_equal(points.get_array(), np.r_[count, count])
    assert axis.get_xlim()[0] > axis.get_xlim()[1]
    assert drawn.axes[1].get_ylabel() == "effective visibilities in a cell"


def test_cells_without_counts_are_drawn_in_one_colour():
    """Of files that do not tell counts: not a number would be no colour."""
    drawn = visibilities.coverage(*cells(known=False), "t")
    assert len(drawn.axes) == 1
    assert drawn.axes[0].collections[0].get_facecolor()[:, 3].min() == 1


def test_the_spectrum_is_in_millijansky_and_shows_all_ratios():
    drawn = visibilities.spectrum(channels(), "t")
    top, bottom = drawn.axes
    assert "[mJy]" in top.get_ylabel()
    np.testing.assert_allclose(top.lines[0].get_ydata(orig=False), 1e3 * channels()["flux_jy"])
    dots = bottom.lines[-1]
    np.testing.assert_array_equal(dots.get_ydata(orig=False), channels()["scatter_ratio"][1:])
    np.testing.assert_array_equal(dots.get_xdata(), VELOCITY[1:])
    low, high = bottom.get_ylim()
    assert low <= 0.9
    assert high > 1.3
    assert not bottom.texts


def test_weights_that_were_not_checked_are_called_so():
    assert [text.get_text() for text in visibilities.spectrum(channels(known=False), "t").axes[1].texts] == ["not checked"]


def test_channel_maps_show_the_line_and_a_channel_on_either_side():
    values, noise = cube()
    drawn = visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", beam=BEAM)
    assert [axis.get_title() for axis in maps(drawn)] == [f"{v:.0f} km/s" for v in VELOCITY[3:9]]
    for axis, plane in zip(maps(drawn), values[3:9], strict=True):
        np.testing.assert_array_equal(shown(axis), 1e3 * plane[:, ::-1])
        assert axis.images[0].get_clim() == (-1e3 * abs(values).max(), 1e3 * abs(values).max())
    assert drawn.get_suptitle() == "t; noise 1 mJy / beam"
    assert drawn.axes[-1].get_ylabel() == "mJy / beam"


def test_more_channels_than_panels_are_thinned_evenly():
    values, noise = cube()
    drawn = visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", columns=2, rows=1)
    assert [axis.get_title() for axis in maps(drawn)] == [f"{VELOCITY[k]:.0f} km/s" for k in (3, 8)]


def test_without_line_all_channels_are_shown():
    assert len(maps(FIGURES["channel maps without line"]())) == N_CHAN


def test_maps_are_cut_to_the_emission_but_not_below_eight_beams():
    """Pixels 26 to 30 of 40: their middle lies 8 cells east, 4 north; 8 beams are 3.4 arcsec, 1.3 times 5 cells only 1.3."""
    values, noise = cube()
    axis = maps(visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", beam=BEAM))[0]
    half = 4 * BEAM.size
    np.testing.assert_allclose(axis.get_xlim(), (8 * CELL + half, 8 * CELL - half))
    np.testing.assert_allclose(axis.get_ylim(), (4 * CELL - half, 4 * CELL + half))
    small = maps(visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", beam=Beam(0.05, 0.05, 0)))[0]
    np.testing.assert_allclose(small.get_ylim(), np.array([4 - 3.25, 4 + 3.25]) * CELL)
    large = maps(visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", beam=Beam(2, 2, 0)))[0]
    np.testing.assert_allclose(large.get_xlim(), np.array([19.5, -20.5]) * CELL)


def test_a_speck_of_noise_moves_neither_window_nor_channels():
    values, noise = cube()
    expected = maps(visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", beam=BEAM))
    values[0, 1, 1] = 0.05
    found = maps(visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", beam=BEAM))
    assert [axis.get_title() for axis in found] == [axis.get_title() for axis in expected]
    assert found[0].get_xlim() == expected[0].get_xlim()


def test_residuals_are_shown_where_the_data_are_in_their_own_limits():
    (data, noise), (residual, _) = cube(), cube(0.0)
    drawn = visibilities.channel_maps(residual, noise, VELOCITY, CELL, "t", beam=BEAM, like=data)
    expected = maps(visibilities.channel_maps(data, noise, VELOCITY, CELL, "t", beam=BEAM))
    assert [axis.get_title() for axis in maps(drawn)] == [axis.get_title() for axis in expected]
    assert maps(drawn)[0].get_xlim() == expected[0].get_xlim()
    assert maps(drawn)[0].images[0].get_clim()[1] == 1e3 * abs(residual[3:9]).max()


def test_a_bright_pixel_lies_where_it_is_in_the_sky():
    image = np.zeros((N, N))
    image[25, 32] = 1  # 5 cells north, 12 east
    axis = style.figure(2, 2).subplots()
    drawn = visibilities.sky(axis, image, CELL)
    left, right, low, high = drawn.get_extent()
    (row,), (column,) = np.nonzero(drawn.get_array())
    assert left > right
    np.testing.assert_allclose(left + (column + 0.5) / N * (right - left), 12 * CELL)
    np.testing.assert_allclose(low + (row + 0.5) / N * (high - low), 5 * CELL)


def test_the_beam_has_its_size_and_direction():
    values, noise = cube()
    axis = maps(visibilities.channel_maps(values, noise, VELOCITY, CELL, "t", beam=BEAM))[0]
    (ellipse,) = axis.patches
    east, north = (axis.transData.inverted().transform(ellipse.get_verts()) - ellipse.center).T
    radius = np.hypot(east, north)
    # of the curve that matplotlib makes of it
    np.testing.assert_allclose([radius.max(), radius.min()], [BEAM.major / 2, BEAM.minor / 2], rtol=5e-3)
    angle = np.degrees(np.arctan2(east, north))[radius.argmax()] % 180
    np.testing.assert_allclose(angle, BEAM.position_angle, atol=5)  # of the outermost corner of the polygon
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    assert left - 0.3 * (left - right) < ellipse.center[0] < left
    assert low < ellipse.center[1] < low + 0.3 * (high - low)
