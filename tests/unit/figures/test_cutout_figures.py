"""Figures of cutouts: colours, masks, scale, the same bytes again."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from galmass.figures import cutouts, style

BANDS = list("ugriz")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Ten round galaxies with noise, (10, 5, 16, 16)."""
    g = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] - 7.5
    form = np.exp(-np.hypot(x, y) / 2)
    return form * g.uniform(1, 30, (10, 5, 1, 1)) + g.normal(0, 0.1, (10, 5, 16, 16))


@pytest.fixture(scope="module")
def mask(images) -> np.ndarray:
    mask = np.zeros(images.shape, np.uint8)
    mask[0, 2, :4, :4] = 1  # r of the first galaxy
    mask[1, 0, :, :] = 1  # u, which no colour shows
    return mask


def test_channels():
    assert [BANDS[i] for i in cutouts.channels(BANDS)] == ["i", "r", "g"]
    assert cutouts.channels(["w1", "w2", "w3"]) == [2, 1, 0]
    assert cutouts.channels(["g"]) == [0, 0, 0]


def test_colours_are_those_of_the_fluxes(images):
    flat = np.zeros((1, 5, 16, 16))
    flat[0, 3], flat[0, 2] = 2.0, 1.0  # i twice r, no g; the border has no scatter: units of nanomaggy
    rgb = cutouts.colour_image(flat, BANDS)[0, 8, 8]
    assert rgb[0] == pytest.approx(2 * rgb[1])
    assert rgb[2] == 0
    everything = cutouts.colour_image(images, BANDS)
    assert everything.shape == (10, 16, 16, 3)
    assert (everything.min(), everything.max()) >= (0, 0)
    assert everything.max() <= 1
    assert (everything[:, 7:9, 7:9].mean((1, 2, 3)) > 2 * everything[:, 0].mean((1, 2))).all()  # galaxies in the middle


def test_a_flux_above_white_keeps_its_hue():
    flat = np.zeros((1, 5, 16, 16))
    flat[0, 3], flat[0, 2], flat[0, 1] = 4e9, 2e9, 1e9
    np.testing.assert_allclose(cutouts.colour_image(flat, BANDS)[0, 3, 3], [1, 0.5, 0.25], rtol=1e-6)


def test_masked_pixels_of_the_bands_shown_are_purple(images, mask):
    rgb = cutouts.colour_image(images, BANDS, mask)
    purple = np.isclose(rgb, to_rgb(cutouts.MASKED)).all(-1)
    assert purple[0].sum() == 16
    assert purple[0, :4, :4].all()
    assert not purple[1:].any()


def _figures(images, mask):
    titles = [f"galaxy {i}" for i in range(len(images))]
    shift = np.random.default_rng(1).normal(0, 0.1, (4, 16, 16))
    return {
        "montage": cutouts.montage(images, mask, BANDS, titles, 0.396, columns=4),
        "saliency": cutouts.saliency(images[:4], mask[:4], BANDS, shift, titles[:4], 4),
        "saliency_profile": cutouts.saliency_profile(np.array([1.0, 2.0, 3.0]), np.array([0.2, 0.1, 0.01]), 4),
    }


@pytest.mark.parametrize("name", ["montage", "saliency", "saliency_profile"])
def test_figures_are_drawn_and_the_same_twice(name, images, mask, tmp_path):
    paths = [tmp_path / f"{i}.svg" for i in range(2)]
    for path in paths:
        style.save(_figures(images, mask)[name], path)
    one, two = (path.read_bytes() for path in paths)
    assert one == two
    assert b"<svg" in one


def test_the_montage_says_how_much_is_masked_and_how_large_things_are(images, mask):
    drawn = cutouts.montage(images, mask, BANDS, [str(i) for i in range(10)], 0.396, columns=4)
    share = (16 + 256) / images.size
    assert drawn.get_suptitle() == f"10 galaxies; red, green, blue: i, r, g; {share:.1%} of the pixels masked"
    axes = drawn.get_axes()
    assert [axis.get_visible() for axis in axes] == [True] * 10 + [False] * 2
    (bar,) = axes[0].get_lines()
    # 16 pixels of 0.396 arcsec are 6.3 arcsec: the largest round number below half of it is 2
    assert np.ptp(bar.get_xdata()) == pytest.approx(2 / 0.396)
    assert axes[0].texts[0].get_text() == '2"'


def test_one_galaxy_and_one_band(images, mask):
    cutouts.montage(images[:1, :1], mask[:1, :1], ["r"], ["a"], 0.396)
    cutouts.saliency(images[:1, :1], mask[:1, :1], ["r"], np.zeros((1, 16, 16)), ["a"], 2)
