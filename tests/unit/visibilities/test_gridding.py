"""Cells of the uv plane: a loop over cells, closed forms, Student's t, and input that cannot be used."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import integrate, stats

from galmass.errors import InputError
from galmass.visibilities import gridding
from galmass.visibilities.gridding import ARCSEC
from galmass.visibilities.io import Visibilities

N_PIX, CELL = 16, 0.5  # [arcsec]
SCALE = N_PIX * CELL * ARCSEC  # cells per wavelength


LIMIT = gridding.MOST_OUTSIDE


@pytest.fixture(autouse=True)
def _filled_to_the_rim(monkeypatch):
    """Visibilities all over the small grid leave it at the Nyquist rows and columns; what too many of them do is tested alone."""
    monkeypatch.setattr(gridding, "MOST_OUTSIDE", 1.0)


def observation(u, v, vis, weight=None, flag=None, n_chan=1):
    """Visibilities at u, v (n_vis,) in cells, the same in every channel."""
    shape = (n_chan, len(u))
    vis = np.broadcast_to(vis, shape).copy()
    weight = np.broadcast_to(1.0 if weight is None else weight, shape).copy()
    flag = np.broadcast_to(False if flag is None else flag, shape).copy()
    return Visibilities(np.asarray(u) / SCALE, np.asarray(v) / SCALE, vis, weight, flag, 1e11 + 1e7 * np.arange(n_chan), {"notes": ["before"]})


def noise(n, seed=1, reach=N_PIX / 2 + 0.4, n_chan=2):
    """Random visibilities all over the grid, with different weights."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-reach, reach, (2, n))
    vis = 3 - 2j + rng.normal(size=(n_chan, n)) + 1j * rng.normal(size=(n_chan, n))
    return observation(u, v, vis, rng.uniform(0.5, 2, (n_chan, n)), n_chan=n_chan)


def looped(data, channel, support, beta, min_effective=5):
    """The arrays of every cell (mean, std, propagated, count, nu, du, dv) by a loop over cells, from the definition: a cell (k, j) of the sky and (-k, -j)."""
    half, result = N_PIX // 2, np.zeros((7, N_PIX, N_PIX // 2 + 1), complex)
    u, v, vis, weight = data.u * SCALE, data.v * SCALE, data.vis[channel], data.weight[channel]
    for column, row in ((k, j) for k in range(half + 1) for j in (range(half + 1) if k in (0, half) else range(-half, half))):
        parts = []
        for side in (1, -1) if (column, row) != (0, 0) else (1,):
            weights = gridding.kernel(u - side * column, support, beta) * gridding.kernel(v - side * row, support, beta)
            near = np.flatnonzero(weights)
            du, dv = side * u[near] - column, side * v[near] - row
            parts.append((weight[near], weights[near], vis.real[near] + side * 1j * vis.imag[near], du, dv))
        columns = [np.concatenate(c) for c in zip(*parts, strict=True)]
        if len(columns[0]):
            result[:, row % N_PIX, column] = statistics(*columns, min_effective)
    return result


def statistics(weight, kernel, values, du, dv, min_effective):
    w = weight * kernel
    mean, count = np.sum(w * values) / w.sum(), w.sum() ** 2 / np.sum(w**2)
    propagated = np.sqrt(np.sum(kernel**2 * weight)) / np.sum(kernel * weight)
    std, nu = propagated * (1 + 1j), np.inf
    # quadratic forms of normal numbers with variances 1 / weight: the scatter V A V and the mean b V
    covariance, scatter, b = np.diag(1 / weight), np.diag(w) - np.outer(w, w) / w.sum(), w / w.sum()
    product = scatter @ covariance
    if count >= min_effective:
        satterthwaite = np.trace(product) ** 2 / np.trace(product @ product)
        correlation = b @ covariance @ scatter @ covariance @ b / (b @ covariance @ b * np.trace(product))
        parts = [np.sqrt(f(values) @ scatter @ f(values) / np.trace(product) * (b @ covariance @ b)) for f in (np.real, np.imag)]
        std, nu = parts[0] + 1j * parts[1], satterthwaite * (1 + satterthwaite * correlation)
    return mean, std, propagated, count, nu, np.sum(w * du) / w.sum(), np.sum(w * dv) / w.sum()


@pytest.mark.parametrize(("support", "beta"), [(1, 0.0), (1, 2.0), (2, 1.4), (3, 4.0)])
def test_cells_equal_a_loop(support, beta):
    data = noise({1: 1500, 2: 300, 3: 120}[support])
    found = gridding.grid(data, N_PIX, CELL, support, beta)
    both = np.ones(found.real_only.shape, bool)
    both[0, 0] = False  # V and its partner are one: the sign of their odd parts is a convention
    for channel in range(2):
        mean, std, propagated, count, nu, du, dv = looped(data, channel, support, beta)
        assert np.array_equal(found.mask[channel], count.real > 0)
        for name, expected in {"mean": mean, "std": std, "propagated": propagated, "count": count}.items():
            values = getattr(found, name)[channel]
            np.testing.assert_allclose(values[both], expected[both], rtol=1e-11, atol=1e-12, err_msg=name)  # sums of tens of numbers
            np.testing.assert_allclose(values[~both].real, expected[~both].real, rtol=1e-11, err_msg=name)
        np.testing.assert_allclose(found.nu[channel][both], nu[both].real, rtol=1e-6)  # float32
        np.testing.assert_allclose(found.du[channel][both], du[both].real, atol=1e-7 * support)  # float32
        np.testing.assert_allclose(found.dv[channel][both], dv[both].real, atol=1e-7 * support)
    assert 0.02 < np.mean(found.count[found.mask] < 5) < 0.98  # both kinds of error were there


@pytest.mark.parametrize("support", [1, 2, 3])
def test_partners_give_identical_cells(support):
    data = noise(3000)
    edges = np.array([0.5, -0.5, 1.5, 0.0, 0.0, 2.0, N_PIX / 2])  # where rounding could tell u from -u
    u, v = (np.concatenate([a * SCALE, b]) for a, b in ((data.u, edges), (data.v, edges[::-1])))
    vis, weight = (np.concatenate([x, np.ones((2, len(edges)))], axis=1) for x in (data.vis, data.weight))
    turned = np.random.default_rng(2).random(len(u)) < 0.5
    side = np.where(turned, -1.0, 1.0)
    first = gridding.grid(observation(u, v, vis, weight, n_chan=2), N_PIX, CELL, support)
    second = gridding.grid(observation(side * u, side * v, np.where(turned, vis.conj(), vis), weight, n_chan=2), N_PIX, CELL, support)
    for name in ("mean", "std", "count", "mask", "du", "dv"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


def test_no_cell_twice_and_no_visibility_lost():
    data = noise(20_000, n_chan=1, reach=N_PIX / 2 - 0.5)
    data = replace(data, weight=np.ones_like(data.weight))
    found = gridding.grid(data, N_PIX, CELL, beta=0.0)
    assert found.mask.sum() == (N_PIX - 1) ** 2 // 2 + 1  # half of the full plane without Nyquist, and its centre
    assert not found.mask[:, N_PIX // 2 :, 0].any()
    np.testing.assert_allclose(found.count.sum(), data.u.size, rtol=1e-12)  # of a box, the count is the number
    assert found.metadata["notes"] == ["before"]


def test_nyquist_cells_hold_one_place_of_the_sky():
    """Where the transform of an image repeats itself: u = n/2 is not -n/2."""
    half, n = N_PIX // 2, 9
    for u, v, cell in [
        (3, -half, (half, 3)),
        (-3, half, (half, 3)),
        (3, half, None),
        (0, half, (half, 0)),
        (0, -half, (half, 0)),
        (half, 2, (2, half)),
        (-half, -2, (2, half)),
        (half, -2, None),
        (half, half, (half, half)),
        (half, -half, None),
    ]:
        inside = [1.0] * n  # so that something is left
        data = observation(np.r_[[1.0] * n, [u] * n], np.r_[inside, [v] * n], np.full(2 * n, 1 + 2j))
        found = gridding.grid(data, N_PIX, CELL)
        filled = {(int(j), int(k)) for j, k in np.argwhere(found.mask[0])} - {(1, 1)}
        assert filled == ({cell} if cell else set()), (u, v)
        if cell:
            assert found.mean[0][cell] == (1 + 2j if (u, v) in {(3, -half), (0, half), (half, 2), (half, half)} else 1 - 2j)
    assert found.n_data == 2
    everywhere = gridding.grid(noise(40_000, n_chan=1), N_PIX, CELL)
    assert everywhere.n_data == N_PIX**2  # what determines as many pixels


def test_imaginary_part_of_own_partners_is_no_data():
    """The transform of a real image is real there."""
    image = np.random.default_rng(3).random((N_PIX, N_PIX))
    found = gridding.grid(noise(500), N_PIX, CELL)
    transform = np.fft.rfft2(image)
    assert np.array_equal(np.abs(transform.imag) < 1e-12, found.real_only)


@pytest.mark.parametrize(("support", "beta"), [(1, 0.0), (1, 2.0), (1, 9.0), (4, 5.6)])
def test_taper_is_the_transform_of_the_kernel(support, beta):
    found = gridding.taper(N_PIX, support, beta)
    x = (np.arange(N_PIX) - N_PIX // 2) / N_PIX
    area = integrate.quad(gridding.kernel, -support / 2, support / 2, args=(support, beta))[0]
    profile = [integrate.quad(lambda t, x=x: gridding.kernel(t, support, beta) * np.cos(2 * np.pi * t * x), -support / 2, support / 2)[0] / area for x in x]
    np.testing.assert_allclose(found, np.outer(profile, profile), atol=1e-10)  # of quad
    assert found[N_PIX // 2, N_PIX // 2] == 1
    if beta == 0:
        np.testing.assert_allclose(found[N_PIX // 2], np.sinc(support * x), atol=1e-15)


def nodes(per_cell=12):
    """Gauss-Legendre nodes in every cell of a half plane and a weight each: means are integrals over the cell, to 1e-12 for what turns a few times."""
    s, weight = np.polynomial.legendre.leggauss(per_cell)
    offset_u, offset_v = (a.ravel() / 2 for a in np.meshgrid(s, s))
    columns, rows = (a.ravel() for a in np.meshgrid(np.arange(N_PIX // 2), np.arange(1 - N_PIX // 2, N_PIX // 2)))
    u, v = columns[:, None] + offset_u, rows[:, None] + offset_v
    return u.ravel(), v.ravel(), np.tile(np.outer(weight, weight).ravel(), len(rows))


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_even_coverage_of_a_source_is_the_transform_of_the_tapered_image(beta):
    """A point on a pixel and a Gaussian sum of many pixels, both far from the centre: what the forward model relies on."""
    u, v, weight = nodes()
    rng = np.random.default_rng(4)
    image = np.zeros((N_PIX, N_PIX))
    image[13, 3] = 1.0
    pixel = np.arange(N_PIX) - N_PIX // 2
    image += 0.1 * np.exp(-0.5 * ((pixel[:, None] + 2) ** 2 + (pixel - 4) ** 2) / 2.0) + 0.01 * rng.random(image.shape)
    phase_u, phase_v = (np.exp(-2j * np.pi * np.outer(x, pixel) / N_PIX) for x in (u, v))
    vis = np.einsum("nx,ny,yx->n", phase_u, phase_v, image, optimize=True)
    found = gridding.grid(observation(u, v, vis, weight), N_PIX, CELL, beta=beta)
    expected = np.fft.rfft2(np.fft.ifftshift(image * found.taper))
    inner = found.mask[0] & ~found.real_only
    inner[:, -1], inner[N_PIX // 2] = False, False
    inner[:, 0] = False  # where half a cell of u < 0 was not drawn
    assert inner.sum() == (N_PIX // 2 - 1) * (N_PIX - 1)
    np.testing.assert_allclose(found.mean[0][inner], expected[inner], atol=1e-10 * image.sum())


def test_mean_over_its_error_follows_student_t():
    """Exactly, for the equal weights of a box; a Gaussian does not."""
    n, n_chan = 5, 40
    u, v = (np.repeat(a.ravel(), n) for a in np.meshgrid(np.arange(1, N_PIX // 2), np.arange(-6, 7)))
    rng = np.random.default_rng(5)
    vis = 2 - 1j + 0.3 * (rng.normal(size=(n_chan, len(u))) + 1j * rng.normal(size=(n_chan, len(u))))
    found = gridding.grid(observation(u, v, vis, n_chan=n_chan), N_PIX, CELL, beta=0.0)
    mean, std = found.mean[found.mask], found.std[found.mask]
    z = np.concatenate([(mean.real - 2) / std.real, (mean.imag + 1) / std.imag])
    assert len(z) == 2 * 40 * 7 * 13
    np.testing.assert_allclose(found.nu[found.mask], n - 1, rtol=1e-6)
    assert stats.kstest(z, "t", args=(n - 1,)).pvalue > 0.01
    assert stats.kstest(z, "norm").pvalue < 1e-6


def test_student_t_holds_with_kernel_and_weights():
    """Nearly: with the default kernel and weights within a factor 2; 12 000 numbers show that it is no Gaussian."""
    rng = np.random.default_rng(6)
    n_chan, n = 300, 420
    u, v = rng.uniform(0.5, 6.5, n), rng.uniform(-4.5, 4.5, n)
    weight = rng.uniform(1, 2, (n_chan, n))
    vis = (rng.normal(size=(n_chan, n)) + 1j * rng.normal(size=(n_chan, n))) / np.sqrt(weight)
    found = gridding.grid(observation(u, v, vis, weight, n_chan=n_chan), N_PIX, CELL)
    good = found.mask & (found.count >= 5)
    z, degrees = found.mean[good].real / found.std[good].real, found.nu[good]
    assert stats.kstest(stats.t.cdf(z, degrees), "uniform").pvalue > 0.01
    assert stats.kstest(stats.norm.cdf(z), "uniform").pvalue < 0.01
    # the weights' own error is right where they are: of few visibilities
    thin = gridding.grid(observation(u, v, vis, weight, n_chan=n_chan), N_PIX, CELL, min_effective=1e9)
    chi2 = np.mean((thin.mean[thin.mask].real / thin.std[thin.mask].real) ** 2)
    assert abs(chi2 - 1) < 4 * math.sqrt(2 / thin.mask.sum())


@pytest.mark.parametrize(("n", "scatter"), [(8, 0.0), (8, 0.6), (12, 1.0), (24, 0.0), (24, 1.0)])
def test_errors_are_unbiased_whatever_the_weights(n, scatter):
    """With the default kernel, n a cell, and weights that scatter log-normally: variances, and squares over them as their Student's t expects."""
    rng, n_chan = np.random.default_rng(12), 400
    columns, rows = (a.ravel() for a in np.meshgrid(np.arange(1, 6), np.arange(-4, 6)))
    u, v = (np.repeat(a, n) + rng.uniform(-0.5, 0.5, n * len(a)) for a in (columns, rows))
    weight = np.exp(scatter * rng.normal(size=(n_chan, len(u))))
    vis = (rng.normal(size=(n_chan, len(u))) + 1j * rng.normal(size=(n_chan, len(u)))) / np.sqrt(weight)
    found = gridding.grid(observation(u, v, vis, weight, n_chan=n_chan), N_PIX, CELL)
    good = found.mask & np.isfinite(found.nu)
    assert good.sum() > 5000
    mean, std, nu, true = (a[good] for a in (found.mean, found.std, found.nu.astype(float), found.propagated))
    assert np.mean(np.abs(std) ** 2 / 2) / np.mean(true**2) == pytest.approx(1, abs=0.02)  # 10 000 to 40 000 numbers of nu = 7 and more: 0.2 to 0.5 %
    assert np.mean(nu) == pytest.approx(n - 1, rel=0.03)
    square = (mean.real**2 / std.real**2 + mean.imag**2 / std.imag**2) / 2 * (nu - 2) / nu
    assert np.mean(square) == pytest.approx(1, abs=0.03)  # of 40 000 numbers, 1 % at n = 8; with n_eff - 1 degrees of freedom 0.95


def test_a_kernel_that_leaves_few_visibilities_is_no_gaussian_of_many():
    """Of 24 visibilities under a kernel of beta = 9 a few decide: 95 % intervals hold what they should, where n - 1 degrees of freedom hold 94 %."""
    rng, n, n_chan = np.random.default_rng(13), 24, 300
    columns, rows = (a.ravel() for a in np.meshgrid(np.arange(1, 6), np.arange(-4, 6)))
    u, v = (np.repeat(a, n) + rng.uniform(-0.5, 0.5, n * len(a)) for a in (columns, rows))
    vis = rng.normal(size=(n_chan, len(u))) + 1j * rng.normal(size=(n_chan, len(u)))
    found = gridding.grid(observation(u, v, vis, n_chan=n_chan), N_PIX, CELL, beta=9.0)
    good = found.mask & np.isfinite(found.nu)
    inside = np.abs(found.mean[good].real / found.std[good].real) < stats.t.ppf(0.975, found.nu[good])
    assert good.sum() > 10_000
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)  # 0.2 %, and 0.5 % that the approximation errs by


def test_hardly_any_freedom_takes_the_error_of_the_weights():
    """One visibility at the centre of a kernel that counts the others little, and their weights much: 4 of them, and 2 degrees of freedom."""
    weight = np.array([1.0, 150.0, 150.0, 150.0])
    found = gridding.grid(observation([2, 2.4, 2.4, 2.4], [1, 1.4, 1.4, 1.4], np.arange(4.0), weight), N_PIX, CELL, beta=6.0, min_effective=3)
    assert found.count[0, 1, 2] > 3
    assert np.isinf(found.nu[0, 1, 2])
    assert found.std[0, 1, 2].real == found.propagated[0, 1, 2]


def test_scatter_survives_a_strong_source():
    rng = np.random.default_rng(7)
    scatter = rng.normal(size=50)
    found = gridding.grid(observation(np.full(50, 2.0), np.full(50, 3.0), 1e6 + 1e-3 * scatter + 0j), N_PIX, CELL, beta=0.0)
    # 1e-16 of 1e6 in 1e-3
    np.testing.assert_allclose(found.std[0, 3, 2].real, 1e-3 * np.std(scatter, ddof=1) / np.sqrt(50), rtol=1e-5)


def test_single_visibility_and_empty_cells():
    found = gridding.grid(observation([2.2], [-3.0], [5 + 1j], weight=[4.0]), N_PIX, CELL)
    assert np.flatnonzero(found.mask).tolist() == [(N_PIX - 3) * (N_PIX // 2 + 1) + 2]
    assert found.mean[0, -3, 2] == 5 + 1j
    np.testing.assert_allclose([found.std[0, -3, 2], found.count[0, -3, 2], found.du[0, -3, 2]], [0.5 + 0.5j, 1, 0.2], rtol=1e-6)
    for name in ("mean", "std", "count", "du", "dv"):
        assert np.count_nonzero(getattr(found, name)) <= 1, name


def test_equal_visibilities_take_the_error_of_their_weights():
    found = gridding.grid(observation(np.full(9, 2.0), np.full(9, 1.0), np.full(9, 1 + 1j), weight=np.full(9, 4.0)), N_PIX, CELL)
    np.testing.assert_allclose(found.std[0, 1, 2], (0.5 + 0.5j) / 3, rtol=1e-12)


def test_flags_and_weights_leave_visibilities_out():
    data = noise(600)
    rng = np.random.default_rng(8)
    bad = rng.random(data.vis.shape) < 0.3
    flagged = replace(data, flag=bad, vis=np.where(bad, np.nan, data.vis))
    negative = replace(data, weight=np.where(bad, -1.0, data.weight), vis=np.where(bad, 1e9, data.vis))
    first, second = gridding.grid(flagged, N_PIX, CELL), gridding.grid(negative, N_PIX, CELL)
    for name in ("mean", "std", "count", "mask"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    alone = gridding.grid(observation((data.u * SCALE)[~bad[0]], (data.v * SCALE)[~bad[0]], data.vis[0][~bad[0]], data.weight[0][~bad[0]]), N_PIX, CELL)
    np.testing.assert_allclose(first.mean[0], alone.mean[0], atol=1e-13)
    assert any(f"{bad.sum()} visibilities with a weight <= 0" in note for note in second.metadata["notes"])
    assert not any("weight <= 0" in note for note in first.metadata["notes"])
    assert "before" in first.metadata["notes"]


def test_single_precision_gives_the_same():
    data = noise(3000)
    coarse = replace(data, vis=data.vis.astype(np.complex64), weight=data.weight.astype(np.float32))
    exact = replace(data, vis=coarse.vis.astype(complex), weight=coarse.weight.astype(float))
    first, second = (gridding.grid(d, N_PIX, CELL) for d in (coarse, exact))
    assert first.mean.dtype == complex
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.std, second.std)


def test_baselines_may_differ_in_every_channel(monkeypatch):
    data = noise(3000)
    monkeypatch.setattr(gridding, "CHUNK", 700)  # several chunks, the last not full
    each = replace(data, u=np.stack([data.u, 1.1 * data.u]), v=np.stack([data.v, 1.1 * data.v]))
    both = gridding.grid(each, N_PIX, CELL)
    for k, factor in enumerate((1.0, 1.1)):
        alone = gridding.grid(observation(factor * data.u * SCALE, factor * data.v * SCALE, data.vis[k], data.weight[k]), N_PIX, CELL)
        np.testing.assert_allclose(both.mean[k], alone.mean[0], atol=1e-13)
        np.testing.assert_allclose(both.std[k], alone.std[0], atol=1e-13)


def test_a_few_outside_are_counted(monkeypatch):
    monkeypatch.setattr(gridding, "MOST_OUTSIDE", LIMIT)
    data = noise(2000, reach=7.55)
    found = gridding.grid(data, N_PIX, CELL)
    half, u, v = N_PIX // 2, *(np.where(data.u < 0, -1, 1) * x * SCALE for x in (data.u, data.v))
    column, row = np.floor(u + 0.5), np.floor(v + 0.5)
    beyond = (column > half) | (np.abs(row) > half) | ((row == half) & (column % half != 0)) | ((column == half) & (row < 0))
    outside = 2 * beyond.sum()
    assert 0 < outside <= 0.01 * 4000
    assert any(f"left out {outside} visibilities outside" in note for note in found.metadata["notes"])


@pytest.mark.parametrize("reach", [8.7, 30.0])
def test_more_than_a_hundredth_outside_is_refused_with_the_sizes_that_fit(reach, monkeypatch):
    monkeypatch.setattr(gridding, "MOST_OUTSIDE", LIMIT)
    wide = noise(2000, reach=reach)
    with pytest.raises(InputError, match=r"outside the uv grid.* grid\.cell_arcsec = ") as caught:
        gridding.grid(wide, N_PIX, CELL)
    fits, n_pix = (float(re.search(rf"grid\.{name} = ([\d.]+)", str(caught.value))[1]) for name in ("cell_arcsec", "n_pix"))
    for size, cell in ((N_PIX, fits), (int(n_pix), N_PIX * CELL / n_pix)):
        assert not any("left out" in note for note in gridding.grid(wide, size, cell).metadata["notes"])
    with pytest.raises(InputError, match="outside the uv grid"):  # the corners of a square have enough of the longest
        gridding.grid(wide, N_PIX, 1.1 * fits)


def test_thin_cells_are_told_and_warned_of_where_weights_are_wrong():
    thin, full = (gridding.grid(noise(n, reach=7.0), N_PIX, CELL) for n in (400, 20_000))
    assert thin.thin_share == np.mean(thin.count[thin.mask] < 5) > 0.1
    assert f"{thin.thin_share:.1%} of the cells hold fewer than 5 effective visibilities" in thin.metadata["notes"][-1]
    assert full.metadata["notes"] == ["before"]
    wrong = {"checked": True, "ratio": 1.2, "rescaled": False}
    (said,) = gridding.warn_of_thin_cells(thin, wrong)
    assert said.startswith("warning")
    assert "scatter over weights is 1.200" in said
    assert "channels.rescale_weights: true" in said
    for gridded, weights in (
        (full, wrong),
        (thin, wrong | {"ratio": 1.05}),
        (thin, wrong | {"rescaled": True}),
        (thin, {"checked": False, "because": "-"}),
        (gridding.from_gridded(as_file(thin)), wrong),
    ):
        assert gridding.warn_of_thin_cells(gridded, weights) == []
    assert gridding.warn_of_thin_cells(thin, wrong | {"ratio": 0.8})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_pix": 15}, "n_pix = 15: .* use 16"),
        ({"cell_arcsec": 0.0}, "cell_arcsec = 0.0"),
        ({"cell_arcsec": math.nan}, "cell_arcsec = nan"),
        ({"support": 1.5}, "support = 1.5"),
        ({"support": 0}, "support = 0"),
        ({"beta": -1.0}, "beta = -1.0"),
    ],
)
def test_impossible_grids_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        gridding.grid(noise(10), **{"n_pix": N_PIX, "cell_arcsec": CELL} | options)


def test_broken_visibilities_are_refused():
    data = noise(10)
    for name in ("vis", "weight"):
        broken = getattr(data, name).copy()
        broken[1, 3] = np.nan
        with pytest.raises(InputError, match=r"channel 1: 1 of 10 .* number 3\); flag them"):
            gridding.grid(replace(data, **{name: broken}), N_PIX, CELL)
    with pytest.raises(InputError, match="u or v is NaN"):
        gridding.grid(replace(data, u=np.where(np.arange(10) == 2, np.inf, data.u)), N_PIX, CELL)
    with pytest.raises(InputError, match="no visibility is left"):
        gridding.grid(replace(data, flag=np.ones_like(data.flag)), N_PIX, CELL)


def test_an_empty_channel_is_empty():
    data = noise(500)
    flag = np.zeros(data.vis.shape, bool)
    flag[1] = True
    found = gridding.grid(replace(data, flag=flag), N_PIX, CELL)
    assert found.mask[0].any()
    assert not found.mask[1].any()


@pytest.mark.parametrize(("support", "beta"), [(2, 0.0), (3, 4.0)])
def test_information_factor_is_the_excess_of_the_variance(support, beta):
    """Mean over the whole plane of what has one true value: its variance against that of independent cells."""
    rng = np.random.default_rng(9)
    n_chan, n, size = 300, 10_000, 30
    u, v = rng.uniform(-size / 2, size / 2, (2, n))
    vis = rng.normal(size=(n_chan, n)) + 1j * rng.normal(size=(n_chan, n))
    data = observation(u, v, vis, n_chan=n_chan)
    found = gridding.grid(data, size, CELL * N_PIX / size, support, beta)
    inner = np.zeros(found.mask.shape[1:], bool)
    inner[:12, 3:15] = True
    mean = found.mean[:, inner].real
    measured = np.var(mean.mean(axis=1)) / np.mean(found.std[:, inner].real ** 2) * inner.sum()
    # cells at the rim of the 12 x 12 have fewer neighbours, (1 - 1/12)^2 and less; the variance of 300 numbers is known to 8 %
    assert 0.6 < measured / gridding.information_factor(support, beta) < 1.15
    if beta == 0:
        assert abs(gridding.information_factor(support, beta) - support**2) < 1e-2  # (1 + 2 * 1/2)^2, box by sums of 1000 a cell


def test_one_cell_is_independent():
    assert gridding.information_factor(1, 2.0) == 1


def test_stores_keep_every_number(tmp_path):
    found = gridding.grid(noise(2000), N_PIX, CELL)
    digests = gridding.write(tmp_path / "cells.zarr", found)
    again = gridding.read(tmp_path / "cells.zarr", digests)
    for name in ("mean", "std", "propagated", "count", "nu", "mask", "du", "dv", "taper", "frequency"):
        ours, theirs = getattr(found, name), getattr(again, name)
        assert theirs.dtype == ours.dtype, name
        assert np.array_equal(theirs, ours), name
    assert (again.n_pix, again.cell_arcsec, again.metadata) == (found.n_pix, found.cell_arcsec, found.metadata)


def test_stores_of_before_have_the_degrees_of_freedom_of_then(tmp_path, monkeypatch):
    found = gridding.grid(noise(400), N_PIX, CELL)
    monkeypatch.setattr(gridding, "_FIELDS", {name: kind for name, kind in gridding._FIELDS.items() if name != "nu"})
    gridding.write(tmp_path / "cells.zarr", found)
    monkeypatch.undo()
    again = gridding.read(tmp_path / "cells.zarr")
    thin = found.count < 5
    assert 0 < thin[found.mask].mean() < 1
    np.testing.assert_array_equal(again.nu[found.mask], np.where(thin, np.inf, found.count - 1).astype(np.float32)[found.mask])


def as_file(found, n_pix=N_PIX, turned=False):
    """Visibilities as the reader of a gridded file gives them: one a cell."""
    rows, columns = np.nonzero(found.mask.any(axis=0))
    u, v = columns.astype(float), np.where(rows > N_PIX // 2, rows - N_PIX, rows).astype(float)
    side = -1.0 if turned else 1.0
    std, mask = found.std[:, rows, columns], found.mask[:, rows, columns]
    vis = found.mean[:, rows, columns]
    weight = np.where(mask, 2 / np.where(mask, np.abs(std) ** 2, 1), 0)
    about = {"grid": {"n_pix": n_pix, "cell_arcsec": CELL * N_PIX / n_pix}, "notes": []}
    args = (side * u / SCALE, side * v / SCALE, vis.conj() if turned else vis, weight, ~mask, found.frequency, about)
    return Visibilities(*args, std=std, taper=gridding.taper(n_pix))


@pytest.mark.parametrize("turned", [False, True])
def test_gridded_files_come_back_without_loss(tmp_path, turned):
    found = gridding.grid(noise(2000, reach=6.0), N_PIX, CELL)
    again = gridding.from_gridded(as_file(found, turned=turned))
    for name in ("std", "mask", "taper"):
        assert np.array_equal(getattr(again, name), getattr(found, name)), name
    assert np.array_equal(again.mean.real, found.mean.real)
    assert np.array_equal(again.mean.imag[:, ~found.real_only], found.mean.imag[:, ~found.real_only])
    assert np.isnan(again.count[again.mask]).all()
    assert np.isnan(again.nu[again.mask]).all()
    assert again.thin_share is None
    assert not again.count[~again.mask].any()
    gridding.write(tmp_path / "cells.zarr", again)
    assert np.isnan(gridding.read(tmp_path / "cells.zarr").count[again.mask]).all()


def test_odd_grids_are_embedded_at_the_same_uv_cells():
    found = gridding.grid(noise(2000, reach=6.0), N_PIX, CELL)
    again = gridding.from_gridded(as_file(found, n_pix=N_PIX - 1))
    assert again.n_pix == N_PIX
    np.testing.assert_allclose(again.cell_arcsec, CELL)
    assert np.array_equal(again.mean, found.mean)
    np.testing.assert_allclose(again.taper, found.taper, atol=1e-4)  # a spline through 15 points, and beyond the last
    carried, _ = gridding._carried(gridding.taper(501), 512)
    np.testing.assert_allclose(carried, gridding.taper(512), atol=1e-10)


def test_files_say_what_they_know_of_their_kernel():
    found = gridding.grid(noise(2000, reach=6.0), N_PIX, CELL)
    data = as_file(found)
    silent = gridding.from_gridded(data)
    assert silent.metadata["kernel"]["support"] == 1
    assert "taken for granted" in silent.metadata["notes"][0]
    assert silent.metadata["kernel"]["information_factor"] == 1  # the likelihood divides by its root
    kernel = {"window": "kaiser_bessel", "window_m": 3, "window_beta": 4.0}
    told = replace(data, metadata={"grid": data.metadata["grid"] | kernel, "notes": []}, taper=None)
    again = gridding.from_gridded(told)
    assert again.metadata["kernel"]["support"] == 3
    assert again.metadata["kernel"]["information_factor"] == gridding.information_factor(3, 4.0)
    assert np.array_equal(again.taper, gridding.taper(N_PIX, 3, 4.0))
    np.testing.assert_allclose(again.propagated[again.mask], (np.abs(again.std[again.mask]) ** 2 / 2) ** 0.5, rtol=1e-12)
    nothing = gridding.from_gridded(replace(data, taper=None))
    assert np.all(nothing.taper == 1)
    assert "none is applied" in nothing.metadata["notes"][-1]


def test_either_kind_of_visibilities():
    data = noise(2000, reach=6.0)
    found = gridding.of_visibilities(data, N_PIX, CELL, support=1, beta=2.0, min_effective=5)
    assert np.array_equal(found.mean, gridding.grid(data, N_PIX, CELL).mean)
    assert np.array_equal(gridding.of_visibilities(as_file(found), N_PIX, CELL, support=1).std, found.std)
    with pytest.raises(InputError, match=r"a field of 8 arcsec, .* is 16; set cell_arcsec to 0.5"):
        gridding.of_visibilities(as_file(found), N_PIX, 2 * CELL)


def test_a_kernel_that_is_not_the_files_is_refused_or_noted():
    data = as_file(gridding.grid(noise(2000, reach=6.0), N_PIX, CELL))
    kernel = {"window": "kaiser_bessel", "window_m": 3, "window_beta": 4.0}
    told = replace(data, metadata={"grid": data.metadata["grid"] | kernel, "notes": []})
    with pytest.raises(InputError, match=r"grid\.support is 1, .* a kernel 3 uv cells wide; set it to that or null"):
        gridding.of_visibilities(told, None, None, support=1, beta=2.0, min_effective=5)
    found = gridding.of_visibilities(told, None, None, support=3, beta=2.0, min_effective=5)
    assert found.metadata["kernel"]["support"] == 3
    assert found.metadata["notes"][-2:] == [
        "the file's kernel is 3 uv cells wide; without counts in the file grid.min_effective is not used",
        "the file's kernel has beta = 4.0; grid.beta = 2.0 was not used",
    ]
    silent = gridding.of_visibilities(data, None, None, support=1, beta=2.0, min_effective=5)
    assert silent.metadata["notes"][-1] == "the file does not tell its kernel: grid.support = 1, beta = 2, min_effective = 5 were not used"


def test_ngc4697_takes_the_kernel_of_its_file():
    """viscube's default is 6 cells wide; its non-overlapping engine has 1."""
    options = yaml.safe_load((Path(__file__).parents[3] / "config" / "ngc4697.yaml").read_text())["galaxies"]["ngc4697"]["grid"]
    data = as_file(gridding.grid(noise(2000, reach=6.0), N_PIX, CELL))
    for support in (1, 6):
        kernel = {"window": "kaiser_bessel", "window_m": support, "window_beta": 9.0}
        told = replace(data, metadata={"grid": data.metadata["grid"] | kernel, "notes": []})
        found = gridding.of_visibilities(told, **options)
        assert (found.metadata["kernel"]["support"], found.metadata["kernel"]["beta"]) == (support, 9.0)
        assert found.metadata["kernel"]["information_factor"] == gridding.information_factor(support, 9.0)
        assert not [note for note in found.metadata["notes"] if "beta" in note]
    with pytest.raises(InputError, match=r"grid\.n_pix, cell_arcsec and support may be null for visibilities that came gridded only"):
        gridding.of_visibilities(noise(100), N_PIX, CELL, support=None, beta=None, min_effective=5)


def test_what_is_no_grid_is_refused():
    found = gridding.grid(noise(2000, reach=6.0), N_PIX, CELL)
    data = as_file(found)
    both = {name: np.concatenate([getattr(data, name), -getattr(data, name)]) for name in ("u", "v")}
    both |= {name: np.concatenate([getattr(data, name)] * 2, axis=1) for name in ("vis", "weight", "flag", "std")}
    for broken, message in [
        (noise(10), "not gridded before"),
        (replace(data, **both), "a cell is given twice"),
        (replace(data, u=data.u + 0.5 / SCALE), "do not lie on a grid"),
    ]:
        with pytest.raises(InputError, match=message):
            gridding.from_gridded(broken)
    with pytest.raises(InputError, match="n_pix = 8"):
        gridding.from_gridded(data, n_pix=8)


def test_good_sizes():
    assert [gridding.good_size(n) for n in (1, 2, 7, 16, 17, 161, 315, 501, 513)] == [2, 2, 8, 16, 18, 162, 320, 512, 540]
