"""Model visibilities against the transform of a disc in closed form, full complex FFTs, direct sums and finite differences."""

import math

import numpy as np
import pytest
import torch

from galmass.discs.cube import LIGHT, DiscCube
from galmass.errors import InputError
from galmass.visibilities import model
from galmass.visibilities.model import ARCSEC, VisibilityModel, primary_beam

torch.set_num_threads(1)

LINE = 230.538e9
FREQUENCY = np.sort(LINE * (1 - 25 * (np.arange(12) - 5.5) / LIGHT))
RADIUS = np.geomspace(1e-3, 60, 200)
N, CELL = 64, 0.2


def _disc(n_pix=48, cell=CELL, dtype=torch.float64, **options):
    return DiscCube(n_pix, cell, FREQUENCY, LINE, RADIUS, dtype=dtype, **options)


def _all_cells(n_pix=N):
    """Every independent cell."""
    cells = np.ones((len(FREQUENCY), n_pix, n_pix // 2 + 1), dtype=bool)
    cells[:, n_pix // 2 + 1 :, [0, -1]] = False
    return cells


def _some_cells(n_pix=N, reach=0.25, share=0.2):
    """Random cells up to `reach` over the cell size from the middle, other ones in each channel."""
    v, u = np.abs(np.fft.fftfreq(n_pix))[:, None], np.arange(n_pix // 2 + 1) / n_pix
    return _all_cells(n_pix) & (np.random.default_rng(3).random(_all_cells(n_pix).shape) < share) & (np.hypot(u, v) < reach)


def _model(disc=None, cells=None, dish=None, dtype=torch.float64, **options):
    return VisibilityModel(disc or _disc(), N, CELL, FREQUENCY, _all_cells() if cells is None else cells, dish, dtype=dtype, **options)


def _geometry(**changed):
    values = {"inclination": 60.0, "position_angle": 35.0, "x_offset": 0.13, "y_offset": -0.31, "v_sys": 7.0, "sigma_gas": 9.0, "flux": 3.0, "h": 0.6}
    return torch.tensor(list((values | changed).values()), dtype=torch.float64)


def _curve():
    return torch.as_tensor(np.sqrt(100**2 + 40**2 / RADIUS))


def _uv(cells, n_pix=N, cell=CELL):
    """u, v of the filled cells [wavelengths]."""
    _, row, column = np.nonzero(cells)
    return column / (n_pix * cell * ARCSEC), np.fft.fftfreq(n_pix)[row] / (cell * ARCSEC)


def _relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def _smooth_taper(n_pix=N, cell=CELL):
    axis = (np.arange(n_pix) - n_pix // 2) * cell
    return np.exp(-(axis[:, None] ** 2) / 60 - (axis - 0.3) ** 2 / 90)


def _hankel(u, v, h, inclination=0.0, angle=0.0):
    """Exponential disc of unit flux in the middle."""
    sin_pa, cos_pa = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    major, minor = u * sin_pa + v * cos_pa, (u * cos_pa - v * sin_pa) * math.cos(math.radians(inclination))
    return (1 + (2 * math.pi * h * ARCSEC) ** 2 * (major**2 + minor**2)) ** -1.5


def test_face_on_disc_has_its_hankel_transform():
    cells = _some_cells()
    g = _geometry(inclination=0.0, x_offset=0.0, y_offset=0.0, sigma_gas=0.1, v_sys=12.5, h=0.5)  # no rotation is seen: one channel holds all
    found, channel = _model(_disc(120, CELL / 2), cells)(_curve(), g).numpy(), np.nonzero(cells)[0]
    # what pixels of 0.1 arcsec fold back, and 1e-4 of the flux outside the image
    np.testing.assert_allclose(25 * found[channel == 5] / 3, _hankel(*_uv(cells), 0.5)[channel == 5], atol=1e-3)
    assert np.abs(found[channel != 5]).max() < 1e-12


def test_all_channels_together_are_the_inclined_and_displaced_disc():
    cells = np.broadcast_to(_some_cells()[:1], (len(FREQUENCY), N, N // 2 + 1))
    u, v = _uv(cells[:1])
    found = _model(_disc(120, CELL / 2), cells)(0 * _curve(), _geometry(v_sys=3.0, h=0.5)).reshape(len(FREQUENCY), -1).sum(0).numpy() * 25 / 3
    phase = np.exp(-2j * math.pi * ARCSEC * (0.13 * u - 0.31 * v))
    np.testing.assert_allclose(found, phase * _hankel(u, v, 0.5, 60.0, 35.0), atol=1e-3, err_msg="as above")


def test_half_plane_is_that_of_the_full_complex_transform():
    disc = _disc()
    image = disc(_curve(), _geometry())
    padded = np.zeros((len(FREQUENCY), N, N))
    padded[:, 8:56, 8:56] = image.numpy()
    full = np.fft.fft2(np.fft.ifftshift(padded, axes=(1, 2)))[:, :, : N // 2 + 1]
    window = np.sinc(np.fft.fftfreq(N))[:, None] * np.sinc(np.arange(N // 2 + 1) / N)
    for cells in (_all_cells(), _some_cells()):
        found = _model(disc, cells)(_curve(), _geometry()).numpy()
        np.testing.assert_allclose(found, (full / window)[cells], atol=1e-12 * np.abs(full).max())


def test_sign_of_the_phase():
    """A point in one pixel north-east of the middle, by the sum that defines V."""
    cells, image = _all_cells(), torch.zeros(len(FREQUENCY), 48, 48, dtype=torch.float64)
    image[:, 24 + 5, 24 + 3] = 2.0
    u, v = _uv(cells)
    expected = 2 * np.exp(-2j * math.pi * ARCSEC * CELL * (3 * u + 5 * v)) / (np.sinc(u * CELL * ARCSEC) * np.sinc(v * CELL * ARCSEC))
    inner = np.abs(v) < 0.49 / (CELL * ARCSEC)  # +- half a period of the pixels is one number with two phases
    np.testing.assert_allclose(_model(cells=cells).transform(image).numpy()[inner], expected[inner], atol=1e-12)


def test_zero_spacing_is_the_line_and_real():
    cells = np.zeros_like(_all_cells())
    cells[:, 0, 0] = True
    disc = _disc()
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-6)):
        found = _model(_disc(dtype=dtype), cells, dtype=dtype)(_curve().to(dtype), _geometry().to(dtype))
        assert (found.imag == 0).all()
        np.testing.assert_allclose(found.real, disc(_curve(), _geometry()).sum((1, 2)), rtol=tolerance * 10)
    assert found.dtype == torch.complex64


def test_offsets_are_phase_ramps():
    cells = _some_cells()
    u, v = _uv(cells)
    still, moved = (_model(cells=cells)(_curve(), _geometry(x_offset=x, y_offset=y, h=0.4)) for x, y in ((0.05, 0.02), (0.65, -0.38)))
    ramp = torch.as_tensor(np.exp(-2j * math.pi * ARCSEC * (0.6 * u - 0.4 * v)))
    assert _relative(moved, still * ramp) < 1e-4, "whole pixels: but for the flux outside the image, 13 exp(-12)"


def test_line_beyond_the_band_is_not_in_the_edge_channels():
    found = _model()(_curve(), _geometry(v_sys=5000.0, sigma_gas=1.0))
    assert found.abs().max() == 0


def test_finer_pixels_hold_the_same_sky():
    cells = _some_cells(reach=0.15)
    coarse, fine = (_model(d, cells, 12.0, taper=_smooth_taper())(_curve(), _geometry()) for d in (_disc(56), _disc(112, CELL / 2)))
    assert _relative(coarse, fine) < 3e-2, "fold-over at coarse pixels"
    assert _relative(coarse, fine) > 1e-6


def test_fold_over_falls_with_finer_pixels():
    cells = _some_cells(reach=0.45)
    once, twice, thrice = (_model(_disc(56 * k, CELL / k), cells)(_curve(), _geometry()) for k in (1, 2, 3))
    assert _relative(twice, thrice) < _relative(once, thrice) / 4


def test_rows_of_the_nyquist_frequency_of_finer_pixels():
    """In the first and last column row n / 2 means v > 0, elsewhere v < 0, as numpy.fft.fftfreq has it."""
    cells = np.zeros_like(_all_cells())
    cells[:, N // 2, [0, 1, N // 2]] = True
    image = torch.zeros(len(FREQUENCY), 96, 96, dtype=torch.float64)
    image[:, 48 + 1, 48 + 3] = 1.0
    u, v = np.array([0, 1, N // 2]) / N, np.array([0.5, -0.5, 0.5])
    expected = np.exp(-1j * math.pi * (3 * u + v)) / (np.sinc(u / 2) * np.sinc(v / 2))
    np.testing.assert_allclose(_model(_disc(96, CELL / 2), cells).transform(image)[:3].numpy(), expected, atol=1e-12)


def test_primary_beam_falls_to_a_half_at_half_its_width():
    beam = primary_beam(256, 0.25, FREQUENCY, 12.0, 1.13)
    fwhm = 1.13 * 299792458 / FREQUENCY[3] / 12.0 / ARCSEC
    assert fwhm == pytest.approx(25.3, abs=0.1)  # arcsec at 230.5 GHz
    axis = (np.arange(256) - 128) * 0.25
    assert np.interp(fwhm / 2, axis, beam[3, 128]) == pytest.approx(0.5, abs=1e-4)
    assert np.interp(-fwhm / 2, axis, beam[3, :, 128]) == pytest.approx(0.5, abs=1e-4)
    assert beam[3, 128, 128] == 1
    np.testing.assert_allclose(np.log(beam[5, 10]) / np.log(beam[0, 10]), (FREQUENCY[5] / FREQUENCY[0]) ** 2, rtol=1e-9)
    assert (primary_beam(8, 0.1, FREQUENCY, None) == 1).all()


def test_beam_and_taper_multiply_the_image():
    cells, taper = _some_cells(), _smooth_taper()
    disc = _disc()
    image = disc(_curve(), _geometry()) * torch.as_tensor(primary_beam(48, CELL, FREQUENCY, 7.0, 1.13) * taper[8:56, 8:56])
    assert _relative(_model(disc, cells, 7.0, taper=taper)(_curve(), _geometry()), _model(disc, cells).transform(image)) < 1e-10


def test_centroids_move_the_frequencies():
    cells = _some_cells()
    rng = np.random.default_rng(4)
    du, dv = rng.uniform(-0.5, 0.5, (2, *cells.shape))
    disc = _disc()
    image = disc(_curve(), _geometry(h=0.4))
    u, v = (f + d[cells] / (N * CELL * ARCSEC) for f, d in zip(_uv(cells), (du, dv), strict=True))
    axis, channel = (np.arange(48) - 24) * CELL * ARCSEC, np.nonzero(cells)[0]
    exact = np.einsum("nyx,nx,ny->n", image.numpy()[channel], np.exp(-2j * math.pi * axis * u[:, None]), np.exp(-2j * math.pi * axis * v[:, None]))
    exact = torch.as_tensor(exact / (np.sinc(u * CELL * ARCSEC) * np.sinc(v * CELL * ARCSEC)))
    found, ignored = (_model(disc, cells, centroids=c)(_curve(), _geometry(h=0.4)) for c in ((du, dv), None))
    assert _relative(found, exact) < 0.2 * _relative(ignored, exact), "second order is left"
    listed = _model(disc, cells, centroids=(du[cells], dv[cells]))(_curve(), _geometry(h=0.4))
    assert torch.equal(found, listed)
    halved = _model(disc, cells, centroids=(du / 10, dv / 10))(_curve(), _geometry(h=0.4))
    assert _relative(halved - ignored, (found - ignored) / 10) < 0.05, "first order it is"


def _loss(visibilities):
    weight = torch.randn(len(visibilities), dtype=torch.complex128, generator=torch.Generator().manual_seed(5))
    return (visibilities * weight).real.sum()


def _gradients(of, points, v_c, g):
    v_c, g = v_c.clone().requires_grad_(), g.clone().requires_grad_()
    return torch.autograd.grad(_loss(of(v_c, g, points)), [v_c, g])


@pytest.mark.parametrize("options", [{}, {"centroids": True}])
def test_gradients_are_the_slopes_and_those_of_plain_torch(options):
    cells = _some_cells()
    if options:
        options = {"centroids": np.random.default_rng(6).uniform(-0.5, 0.5, (2, *cells.shape))}
    of, plain = _model(cells=cells, dish=12.0, **options), _model(_disc(compiled=False), cells, 12.0, **options)
    v_c, g = _curve(), _geometry()
    points = of.disc.points(v_c, g)
    (of_v, of_g), expected = _gradients(of, points, v_c, g), _gradients(plain, points, v_c, g)
    assert _relative(of_v, expected[0]) < 1e-5  # lines cut off at 2e-8
    assert _relative(of_g, expected[1]) < 1e-5
    for k, push in enumerate(torch.eye(len(g), dtype=g.dtype)):
        step = 1e-7 * max(1.0, float(g[k]))
        slope = (_loss(of(v_c, g + step * push, points)) - _loss(of(v_c, g - step * push, points))) / (2 * step)
        assert of_g[k] == pytest.approx(float(slope), rel=1e-4, abs=1e-6 * float(of_g.abs().max())), of.disc.names[k]


def test_blocks_do_not_matter(monkeypatch):
    cells = _some_cells()
    cells[4:7] = False  # channels without data
    of, g = _model(cells=cells), _geometry()
    whole, gradients = of(_curve(), g), _gradients(of, None, _curve(), g)
    for block in (1, 5 * N * len(of.columns)):
        monkeypatch.setattr(model, "BLOCK", block)
        assert torch.equal(of(_curve(), g), whole)
        for a, b in zip(_gradients(of, None, _curve(), g), gradients, strict=True):
            assert torch.allclose(a, b, rtol=1e-12)


def test_float32_is_enough():
    cells = _some_cells()
    found = _model(_disc(dtype=torch.float32), cells, 12.0, torch.float32)(_curve().float(), _geometry().float())
    assert _relative(found.to(torch.complex128), _model(cells=cells, dish=12.0)(_curve(), _geometry())) < 1e-5  # 1e-7 in position over 1 in velocity


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_pix": 63}, "n_pix is 63"),
        ({"n_pix": 32, "cells": np.ones((12, 32, 17), bool)}, "an image of 48 pixels does not fit into 1 x 32"),
        ({"cell_arcsec": 0.3}, "no whole number of times the disc's 0.2"),
        ({"cell_arcsec": 0.1}, "no whole number of times the disc's 0.2"),
        ({"frequency": FREQUENCY / 1e9}, "looks like GHz"),
        ({"cells": np.ones((12, N, N), bool)}, r"cells have shape \(12, 64, 64\); \(12, 64, 33\) is needed"),
        ({"cells": np.zeros((12, N, N // 2 + 1), bool)}, "no cell is filled"),
        ({"dish_diameter": 0.0}, "dish diameter 0.0 m"),
        ({"taper": np.ones((48, 48))}, r"taper has shape \(48, 48\); \(64, 64\)"),
    ],
)
def test_bad_input_is_named(changed, message):
    good = {"disc": _disc(), "n_pix": N, "cell_arcsec": CELL, "frequency": FREQUENCY, "cells": _all_cells(), "dish_diameter": 12.0}
    with pytest.raises(InputError, match=message):
        VisibilityModel(**(good | changed))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_the_cpu():
    cells = _some_cells()
    cuda = VisibilityModel(_disc(device="cuda"), N, CELL, FREQUENCY, cells, 12.0, dtype=torch.float64, device="cuda")
    assert _relative(cuda(_curve().cuda(), _geometry().cuda()).cpu(), _model(cells=cells, dish=12.0)(_curve(), _geometry())) < 1e-6
