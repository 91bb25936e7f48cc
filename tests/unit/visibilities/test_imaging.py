"""Dirty images, beam, moments and slits against closed forms."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.visibilities import gridding, imaging
from galmass.visibilities.io import Visibilities

N, CELL = 64, 0.2


def half_plane(rng, share=0.2):
    """A random mask without the redundant half of the two columns that are their own partners."""
    mask = rng.random((N, N // 2 + 1)) < share
    mask[N // 2 + 1 :, [0, -1]] = False
    return mask


def direct_sum(values, weight):
    """The definition, cell by cell."""
    u, v = imaging.uv_cells(N, CELL)
    axis = np.radians((np.arange(N) - N // 2) * CELL / 3600)
    image = np.zeros((N, N))
    for k in np.argwhere(weight > 0):
        wave = np.exp(2j * math.pi * (u[*k] * axis[None, :] + v[*k] * axis[:, None]))
        image += weight[*k] * (values[*k] * wave).real
    return image / weight.sum()


def test_dirty_image_is_the_sum_over_cells():
    rng = np.random.default_rng(1)
    weight = np.where(half_plane(rng), rng.uniform(0.5, 2, (N, N // 2 + 1)), 0)
    values = rng.normal(size=weight.shape) + 1j * rng.normal(size=weight.shape)
    values[0, 0] = values[0, 0].real
    np.testing.assert_allclose(imaging.dirty_image(values, weight), direct_sum(values, weight), atol=1e-12)


def test_point_source_is_where_it_was_put():
    rng = np.random.default_rng(2)
    weight = half_plane(rng).astype(float)
    u, v = imaging.uv_cells(N, CELL)
    east, north = np.radians(5 * CELL / 3600), np.radians(-9 * CELL / 3600)
    image = imaging.dirty_image(3 * np.exp(-2j * math.pi * (u * east + v * north)), weight)
    assert np.unravel_index(image.argmax(), image.shape) == (N // 2 - 9, N // 2 + 5)
    assert image.max() == pytest.approx(3, rel=1e-12)


def test_image_without_weight_is_zero():
    assert not imaging.dirty_image(np.ones((2, N, N // 2 + 1), complex), np.zeros((2, N, N // 2 + 1))).any()


def gridded(weight):
    mask = weight > 0
    std = np.where(mask, 1 / np.sqrt(np.where(mask, weight, 1)), 0)
    return SimpleNamespace(mask=mask[None], std=(std * (1 + 1j))[None], propagated=std[None], n_pix=N, cell_arcsec=CELL)


@pytest.mark.parametrize(("major", "minor", "angle"), [(1.0, 0.7, 30.0), (0.9, 0.88, 120.0)])
def test_beam_of_gaussian_weights(major, minor, angle):
    """exp(-2 pi^2 (sigma_u^2 u^2 ...)) is the transform of a Gaussian beam."""
    u, v = imaging.uv_cells(N, CELL)
    a = math.radians(angle)
    scale = math.radians(1 / 3600) / imaging.FWHM
    along, across = u * math.sin(a) + v * math.cos(a), u * math.cos(a) - v * math.sin(a)
    weight = np.exp(-2 * math.pi**2 * scale**2 * ((major * along) ** 2 + (minor * across) ** 2))
    weight[N // 2 + 1 :, [0, -1]] = 0  # partners
    found = imaging.beam(gridded(weight))
    assert found.major == pytest.approx(major, rel=0.01)  # column u = 0 counts half of itself
    assert found.minor == pytest.approx(minor, rel=0.01)
    assert found.size == pytest.approx(math.sqrt(major * minor), rel=0.01)
    if major > 1.1 * minor:
        assert found.position_angle == pytest.approx(angle, abs=1)


def test_cells_on_a_line_have_no_beam():
    weight = np.zeros((N, N // 2 + 1))
    weight[0, 1:9] = 1
    with pytest.raises(InputError, match="no beam"):
        imaging.beam(gridded(weight))


def test_moments_of_gaussian_lines():
    velocity = np.arange(-100.0, 101, 5)
    mean, sigma = np.array([[-20.0, 10], [0, 35]]), 15.0
    cube = np.exp(-0.5 * ((velocity[:, None, None] - mean) / sigma) ** 2)
    zero, first, second = imaging.moments(cube, velocity[:, None, None].ravel(), 0.0)
    np.testing.assert_allclose(zero, sigma * math.sqrt(2 * math.pi), rtol=1e-4)
    np.testing.assert_allclose(first, mean, atol=0.01)
    np.testing.assert_allclose(second, sigma, rtol=1e-3)
    assert all(np.isnan(m).all() for m in imaging.moments(cube, velocity, 2.0))


def test_slit_runs_towards_its_position_angle():
    cube = np.zeros((1, N, N))
    cube[0, N // 2 + 10, N // 2] = 1  # 2 arcsec north
    offsets = np.arange(-3, 3.01, CELL)
    for angle, expected in ((0, 2.0), (180, -2.0)):
        slit = imaging.position_velocity(cube, CELL, angle, 0, 0, offsets, 0.1)
        assert offsets[slit[0].argmax()] == pytest.approx(expected, abs=1e-9)
    assert imaging.position_velocity(cube, CELL, 90, 0, 2.0, offsets, 0.1)[0].argmax() == abs(offsets).argmin()


def test_noise_of_an_image_is_right_where_errors_come_from_the_scatter_of_few_visibilities():
    """Cells of equal weight whose errors scatter as those of 8 visibilities do: cells that seem quiet by chance must not count more."""
    rng = np.random.default_rng(5)
    shape, true = (40, N, N // 2 + 1), 0.01
    mask = np.zeros(shape, bool)
    mask[:, 3 : N // 3, 1 : N // 3] = True
    scattered = [true * np.sqrt(rng.chisquare(7, shape) / 7) for _ in range(2)]
    grid = SimpleNamespace(mask=mask, std=np.where(mask, scattered[0] + 1j * scattered[1], 0), propagated=np.where(mask, true, 0), n_pix=N, cell_arcsec=CELL)
    grid.metadata = {"kernel": {"information_factor": 1.0}}
    values = np.where(mask, true * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)), 0)
    image, noise = imaging.dirty_cube(grid, values, N)
    # 40 channels of 360 complex cells: 1 / sqrt(2 * 40 * 720) = 0.4 %, four of it; weights from the scatter would give 1.3
    assert image.std() / np.sqrt((noise**2).mean()) == pytest.approx(1, abs=0.017)


@pytest.mark.parametrize("support", [1, 3])
def test_noise_of_a_mean_of_cells_that_share_visibilities(support):
    """Pure noise, 200 channels of it: the scatter of the mean over the shortest baselines is what its error says, also with a kernel of three cells."""
    rng = np.random.default_rng(6)
    n_chan, n_vis = 200, 40000
    cell = 1 / (N * CELL) * math.degrees(1) * 3600
    u, v = (rng.uniform(-0.3, 0.3, n_vis) * N * cell for _ in range(2))
    vis = rng.standard_normal((n_chan, n_vis, 2)) @ [1, 1j]
    data = Visibilities(u, v, vis, np.ones((n_chan, n_vis)), np.zeros((n_chan, n_vis), bool), 230e9 + 1e6 * np.arange(n_chan), {})
    flux, error, _ = imaging.short_spacing_spectrum(gridding.of_visibilities(data, n_pix=N, cell_arcsec=CELL, support=support), 0.3)
    # 200 channels: 5 % on a standard deviation, four of it; without the factor the kernel of three cells gives 2.2
    assert flux.std() / np.sqrt((error**2).mean()) == pytest.approx(1, abs=0.2)
