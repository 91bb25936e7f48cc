"""Mock observations: coverage, Hankel transform, orientation, rotation curve, noise, determinism."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from galmass.errors import InputError
from galmass.units import LIGHT
from galmass.visibilities import coverage as uv
from galmass.visibilities import gridding, simulation
from galmass.visibilities.gridding import ARCSEC
from galmass.visibilities.simulation import REST_FREQUENCY

CELLS = Path(__file__).parents[3] / "resources" / "ngc4697" / "uv_cells.npz"
TRUTH = {
    "log_m_bh": 8.07,
    "alpha": 1.45,
    "gamma": 0.77,
    "beta_minus_gamma": 0.40,
    "r_break": 3.74 * 11.4e6 * ARCSEC,
    "log_sigma_break": 4.31,
    "q_intr": 0.7,
    "distance": 11.4,
    "inclination": 76.0,
    "position_angle": 247.0,
    "x_offset": 0.0,
    "y_offset": 0.0,
    "v_sys": 1240.0,
    "sigma_gas": 1.65,
    "flux": 16.3,
    "scale_length": 1.3,
}
N = 2**15


@pytest.fixture(scope="module")
def cells():
    return uv.read(CELLS)


@pytest.fixture(scope="module")
def few(cells):
    return uv.thin(cells, 0.05, 3, np.random.default_rng(1))


def observe(coverage, seed=3, sigma=1e-9, **changes):
    """A mock practically without noise, of few clouds and baselines, without primary beam."""
    options = {"n_clouds": N, "dish_diameter_m": None, "median_count": 3.0, "sigma": sigma}
    truth = TRUTH | {name: changes.pop(name) for name in list(changes) if name in TRUTH or name == "thickness"}
    return simulation.simulate(truth, coverage, seed, **options | changes)


def short_baselines(n=40, reach=3000.0, seed=2):
    return np.random.default_rng(seed).uniform(-reach, reach, (2, n))


def test_coverage_is_that_of_the_real_observation(cells):
    assert cells.filled.shape == (83, 3473)
    assert (cells.filled.sum(axis=1).min(), cells.filled.sum(axis=1).max()) == (2981, 3010)
    velocity = LIGHT * (1 - cells.frequency / REST_FREQUENCY)
    assert np.all(np.diff(cells.frequency) > 0)
    np.testing.assert_allclose([velocity[-1], velocity[0], velocity[0] - velocity[1]], [883, 1664, 9.52], rtol=1e-3)  # their rounded values
    assert cells.uv_cell == 2 * 461206.8 / 501
    assert cells.size() == 512
    assert not np.any((cells.u < 0) | ((cells.u == 0) & (cells.v <= 0)))
    # the same antennas at a higher frequency: longer baselines in wavelengths
    mean_length = [np.hypot(cells.u[f], cells.v[f]).mean() for f in cells.filled]
    assert np.corrcoef(mean_length, cells.frequency)[0, 1] > 0.5


def test_thinning_averages_channels(cells):
    thin = uv.thin(cells, 0.2, 3, np.random.default_rng(1))
    assert thin.filled.shape[0] == 27
    assert thin.filled.any(axis=0).all()
    assert thin.filled.shape[1] == round(0.2 * sum(f[:81].reshape(27, 3).all(axis=1).any() for f in cells.filled.T))
    np.testing.assert_allclose(thin.frequency, cells.frequency[1:-2:3], rtol=1e-12)
    np.testing.assert_allclose(np.diff(thin.frequency), thin.channel_width, rtol=1e-9)
    chosen = {(u, v): f for u, v, f in zip(cells.u, cells.v, cells.filled.T, strict=True)}
    for u, v, filled in zip(thin.u, thin.v, thin.filled.T, strict=True):
        assert np.array_equal(filled, chosen[u, v][:81].reshape(27, 3).all(axis=1))
    with pytest.raises(InputError, match="thinning to a fraction 0"):
        uv.thin(cells, 0.0, 3, np.random.default_rng(1))


def test_thinned_does_both(cells):
    found = uv.thinned(cells, 3, 0.5, 2, seed=7)
    assert found.uv_cell == 3 * cells.uv_cell
    assert found.filled.shape[0] == 41
    expected = uv.thin(uv.merged(cells, 3), 0.5, 2, np.random.default_rng(7))
    assert np.array_equal(found.u, expected.u)
    assert uv.merged(cells, 3).size() == 180  # 2 * 83 + 2, and good


def test_velocity_table_is_in_pc():
    (row,) = simulation.velocity_rows({"radius_arcsec": [1.0], "v_c": [200.0]}, 11.4)
    assert row == {"radius_arcsec": 1.0, "radius_pc": pytest.approx(55.27, abs=0.01), "velocity_km_s": 200.0}


def test_coverage_on_other_grids(cells):
    mask = cells.half_plane(512)
    assert mask.sum() == cells.filled.sum()
    assert np.array_equal(cells.half_plane(540).sum(axis=(1, 2)), mask.sum(axis=(1, 2)))
    np.testing.assert_allclose(512 * cells.cell_arcsec(512), 540 * cells.cell_arcsec(540))
    with pytest.raises(InputError, match=r"n_pix = 256: .* 512 or more"):
        cells.half_plane(256)
    wide = uv.merged(cells, 3)
    assert wide.uv_cell == 3 * cells.uv_cell
    # by the full plane: 3 x 3 blocks of which one is filled
    full = np.zeros((513, 513), bool)
    full[256 + cells.v, 256 + cells.u] = cells.filled[0]
    full |= full[::-1, ::-1]
    blocks = full.reshape(171, 3, 171, 3).any(axis=(1, 3))
    expected = blocks[:, 85:].copy()
    expected[:86, 0] = False
    found = np.zeros_like(expected)
    found[85 + wide.v, wide.u] = wide.filled[0]
    assert np.array_equal(found, expected)
    with pytest.raises(InputError, match="not by 2"):
        uv.merged(cells, 2)


def test_baselines_lie_evenly_in_the_filled_cells(cells, few):
    rng = np.random.default_rng(4)
    counts = uv.draw_counts(len(few.u), 24, 0.4, rng)
    u, v, cell = uv.draw_baselines(few, counts, rng)
    assert abs(np.median(counts) - 24) <= 2
    assert counts.min() >= 1
    du, dv = u / few.uv_cell - few.u[cell], v / few.uv_cell - few.v[cell]
    assert stats.kstest(du + 0.5, "uniform").pvalue > 0.01
    assert stats.kstest(dv + 0.5, "uniform").pvalue > 0.01
    data, _ = observe(few, median_count=24.0, sigma=1.0)
    gridded = gridding.grid(data, 512, few.cell_arcsec(512), beta=0.0)
    assert np.array_equal(gridded.mask, few.half_plane(512))
    assert np.median(gridded.count[gridded.mask]) >= 20
    assert gridded.count.sum() == pytest.approx((~data.flag).sum())


@pytest.mark.parametrize("sampling", ["sobol", "kinms"])
def test_zero_spacing_is_the_flux_of_the_channels(cells, sampling):
    radius, v_c = simulation.rotation_curve(TRUTH)
    x, y, velocity = simulation.clouds(TRUTH, radius, v_c, N, "exponential", sampling, np.random.default_rng(1))
    total = 0.0
    for frequency in cells.frequency:
        used, flux = simulation.channel_fluxes(velocity, TRUTH, frequency, cells.channel_width, REST_FREQUENCY)
        (zero,) = simulation.transform(x[used], y[used], flux, np.zeros(1), np.zeros(1))
        assert abs(zero - flux.sum()) < 1e-8 * TRUTH["flux"]  # EPSILON
        total += zero.real * LIGHT * cells.channel_width / REST_FREQUENCY
    # what is faster than 400 km/s, near the black hole, lies outside the band
    inside = np.mean((velocity > 883 - 4.8) & (velocity < 1664 + 4.8))
    assert abs(total / TRUTH["flux"] - inside) < 1e-4
    assert 0.98 < inside < 1


def test_clouds_follow_the_profile():
    """Enclosed flux of the exponential disc, ``1 - (1 + x) exp(-x)``; the other profiles keep their limits."""
    radius, v_c = simulation.rotation_curve(TRUTH)
    face_on = TRUTH | {"inclination": 0.0, "truncation_radius": 2.0, "hole_radius": 0.5, "ring_radius": 3.0, "ring_width": 0.2}
    r = {}
    for profile in simulation.PROFILES:
        for sampling in ("sobol", "kinms"):
            x, y, _ = simulation.clouds(face_on, radius, v_c, N, profile, sampling, np.random.default_rng(2))
            r[profile] = np.hypot(x, y)
            if profile == "exponential":
                distance = stats.kstest(r[profile] / 1.3, lambda s: 1 - (1 + s) * np.exp(-s)).statistic
                # 99 % of random samples are below 1.63 / sqrt(n); the sequence is even to a few of 1 / n
                assert distance < (1.63 / math.sqrt(N) if sampling == "kinms" else 5 / N)
    assert np.quantile(r["truncated_exponential"], 0.999) < 2.0 * 1.3
    assert np.quantile(r["exponential_with_hole"], 0.001) > 0.5 * 0.7
    assert abs(np.average(r["gaussian_ring"]) - (3.0 + 0.2**2 / 3.0)) < 4 * 0.2 / math.sqrt(N)  # weighted by r


@pytest.mark.parametrize(("sampling", "rms", "largest"), [("sobol", 0.25, 1.0), ("kinms", 1.15, 4.0)])
def test_face_on_disc_is_the_hankel_transform(few, sampling, rms, largest):
    """``(1 + (2 pi q h)^2)^(-3/2)`` in the one channel that holds the line, shifted by the offsets."""
    line = 3
    v_sys = LIGHT * (1 - few.frequency[11 + line] / REST_FREQUENCY)
    data, truth = observe(
        replace(few, filled=few.filled[11:18], frequency=few.frequency[11:18]),
        inclination=0.0,
        sigma_gas=0.5,
        v_sys=v_sys,
        x_offset=0.6,
        y_offset=-1.1,
        sampling=sampling,
    )
    flux = TRUTH["flux"] / (LIGHT * few.channel_width / REST_FREQUENCY)
    assert truth["flux_per_channel_jy"][line] == pytest.approx(flux, rel=1e-9)
    q = 2 * np.pi * np.hypot(data.u, data.v) * 1.3 * ARCSEC
    expected = flux * (1 + q**2) ** -1.5 * np.exp(-2j * np.pi * ARCSEC * (0.6 * data.u - 1.1 * data.v))
    used = ~data.flag[line]
    # in units of the error of random clouds, flux / sqrt(n) in both parts together; the sequence does better, least at the longest baselines
    error = np.abs(data.vis[line] - expected)[used] / (flux / math.sqrt(N))
    assert np.sqrt(np.mean(error**2)) < rms
    assert error.max() < largest


@pytest.mark.parametrize(("angle", "receding"), [(0.0, (0, 1)), (90.0, (1, 0)), (180.0, (0, -1)), (270.0, (-1, 0)), (30.0, (0.5, math.sqrt(0.75)))])
def test_position_angle_is_that_of_the_receding_side(few, angle, receding):
    """The centre of the redshifted channels from the phase of short baselines: east is positive l, and l, m enter as exp(-2 pi i (u l + v m))."""
    radius, v_c = simulation.rotation_curve(TRUTH)
    x, y, velocity = simulation.clouds(TRUTH | {"position_angle": angle}, radius, v_c, N, "exponential", "sobol", np.random.default_rng(3))
    frequencies = few.frequency[LIGHT * (1 - few.frequency / REST_FREQUENCY) > 1240 + 100]
    assert np.array_equal(frequencies, few.frequency[: len(frequencies)])  # ascending frequency is descending velocity
    u, v = short_baselines()
    total = 0.0
    for frequency in frequencies:
        used, flux = simulation.channel_fluxes(velocity, TRUTH, frequency, few.channel_width, REST_FREQUENCY)
        total = total + simulation.transform(x[used], y[used], flux, u, v)
    phase = -np.angle(total) / (2 * np.pi * ARCSEC)
    centre = np.linalg.lstsq(np.stack([u, v], axis=1), phase, rcond=None)[0]
    length = np.linalg.norm(centre)
    assert length > 0.5  # arcsec, of a scale length of 1.3
    np.testing.assert_allclose(centre / length, receding, atol=0.02)


def test_minor_axis_is_foreshortened():
    radius, v_c = simulation.rotation_curve(TRUTH)
    x, y, _ = simulation.clouds(TRUTH | {"inclination": 60.0, "position_angle": 90.0}, radius, v_c, N, "exponential", "sobol", np.random.default_rng(4))
    assert np.std(y) / np.std(x) == pytest.approx(0.5, rel=2e-3)
    np.testing.assert_allclose(np.std(x), math.sqrt(3) * 1.3, rtol=2e-3)  # <R^2> = 6 h^2
    thick = TRUTH | {"inclination": 90.0, "position_angle": 90.0, "thickness": 0.3}
    _, y, _ = simulation.clouds(thick, radius, v_c, N, "exponential", "sobol", np.random.default_rng(5))
    np.testing.assert_allclose([np.mean(y), np.std(y)], [0, 0.3], atol=1e-3)


def test_rotation_curve_is_that_of_the_direct_deprojection():
    """Independent code: 64 Gaussians and more, and the homoeoid integral in torch."""
    torch = pytest.importorskip("torch")
    from galmass import deprojection
    from galmass.discs.velocity import circular_velocity

    radius, v_c = simulation.rotation_curve(TRUTH)
    near = (radius > 0.1) & (radius < 20)
    gaussians = deprojection.load(method="direct")
    parameters = (TRUTH["alpha"], TRUTH["gamma"] + TRUTH["beta_minus_gamma"], TRUTH["gamma"], TRUTH["r_break"])
    amplitudes = gaussians.amplitudes(*(torch.tensor([[p]], dtype=torch.float64) for p in parameters))[0] * 10 ** TRUTH["log_sigma_break"]
    pc = torch.as_tensor(radius[near] * 11.4e6 * ARCSEC)
    sigma = torch.as_tensor(gaussians.basis.sigma, dtype=torch.float64)
    expected = circular_velocity(pc, amplitudes, sigma, 0.7, math.radians(76.0), 8.07, 0.0)
    np.testing.assert_allclose(v_c[near], expected.numpy(), rtol=1e-3)
    # KinMS reads it linearly
    middle = np.sqrt(radius[1:] * radius[:-1])
    linear = np.interp(middle, radius, v_c)
    np.testing.assert_allclose(linear, np.sqrt(v_c[1:] * v_c[:-1]), rtol=1e-5)


def test_dispersion_and_channels_are_exact():
    """A still cloud: the fractions of a Gaussian in neighbouring channels, all of it in all; as narrow as a line at 1240 km/s is."""
    frequencies = REST_FREQUENCY * (1 - np.arange(1300, 1180, -10.0) / LIGHT)
    width = REST_FREQUENCY * 10 / LIGHT
    still = TRUTH | {"sigma_gas": 12.0, "flux": 1.0}
    found = [simulation.channel_fluxes(np.array([1242.0]), still, f, width, REST_FREQUENCY)[1] for f in frequencies]
    found = np.array([f[0] if len(f) else 0.0 for f in found])
    low = np.arange(1300, 1180, -10.0) - 5
    sigma = 12 * (1 - 1240 / LIGHT)
    expected = (stats.norm.cdf(low + 10, 1242, sigma) - stats.norm.cdf(low, 1242, sigma)) / 10
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_receding_galaxy_is_seen_at_the_frequencies_of_its_clouds():
    """A thin ring that turns at 300 km/s, at a redshift of 1 / 9: the extremes of frequency are those of 300 km/s at the redshifted line."""
    radius = np.geomspace(1e-4, 300.0, 4000)
    ring = TRUTH | {"v_sys": 0.1 * LIGHT, "inclination": 90.0, "ring_radius": 3.0, "ring_width": 0.01}
    _, _, velocity = simulation.clouds(ring, radius, np.full(len(radius), 300.0), N, "gaussian_ring", "sobol", np.random.default_rng(6))
    frequency = REST_FREQUENCY * (1 - velocity / LIGHT)
    at_redshift = REST_FREQUENCY / (1 + 1 / 9)
    np.testing.assert_allclose([frequency.min(), frequency.max()], at_redshift * (1 + np.array([-1, 1]) * 300 / LIGHT), rtol=1e-8)  # 2^15 azimuths
    width = 4 * REST_FREQUENCY / LIGHT
    still = ring | {"sigma_gas": 20.0, "flux": 1.0}
    channels = at_redshift + width * np.arange(-40, 41)
    line = np.array([simulation.channel_fluxes(np.array([ring["v_sys"]]), still, f, width, REST_FREQUENCY)[1].sum() for f in channels])
    sigma = math.sqrt((line * (channels - at_redshift) ** 2).sum() / line.sum() - width**2 / 12)
    assert sigma == pytest.approx(at_redshift * 20 / LIGHT, rel=1e-6)


def test_primary_beam_of_the_dish():
    fwhm = 1.13 * (LIGHT * 1e3 / 230e9) / 12.0 / ARCSEC
    assert simulation.primary_beam(fwhm / 2, 0.0, 230e9, 12.0, 1.13) == pytest.approx(0.5)
    assert simulation.primary_beam(0.3 * fwhm, 0.4 * fwhm, 230e9, 12.0, 1.13) == pytest.approx(0.5)
    assert simulation.primary_beam(5.0, 0.0, 230e9, None, 1.13) == 1


def test_noise_is_what_is_asked_for(few):
    clean, _ = observe(few)
    noisy, truth = observe(few, sigma=None, signal_to_noise=50.0)
    residual = (noisy.vis - clean.vis)[~clean.flag] / truth["sigma_jy"]
    both = np.concatenate([residual.real, residual.imag])
    assert abs(np.mean(both**2) - 1) < 4 * math.sqrt(2 / len(both))
    assert np.sqrt(np.sum(np.abs(clean.vis) ** 2)) / truth["sigma_jy"] == pytest.approx(50)
    np.testing.assert_allclose(noisy.weight[~noisy.flag], truth["sigma_jy"] ** -2)
    assert not noisy.weight[noisy.flag].any()
    assert not noisy.vis[noisy.flag].any()
    wrong, _ = observe(few, sigma=2.0, weight_factor=3.0)
    np.testing.assert_allclose(wrong.weight[~wrong.flag], 0.75)


def test_the_seed_decides_all(few):
    first, second, other = (observe(few, seed=s, sigma=1.0) for s in (5, 5, 6))
    for name in ("u", "v", "vis", "weight", "flag"):
        assert np.array_equal(getattr(first[0], name), getattr(second[0], name)), name
    assert first[1] == second[1]
    assert not np.array_equal(first[0].vis, other[0].vis)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v_sys": 5000.0, "sigma": None, "signal_to_noise": 10.0}, "outside the band"),
        ({"sigma": None}, "give one of"),
        ({"signal_to_noise": 10.0}, "give one of"),
        ({"profile": "spiral"}, "'spiral' .* is unknown; profiles: exponential"),
        ({"median_count": 0.0}, "baselines a cell"),
        ({"thickness": 0.1, "sampling": "kinms"}, "set sampling to sobol"),
    ],
)
def test_impossible_mocks_are_refused(few, changes, message):
    with pytest.raises(InputError, match=message):
        observe(few, **changes)


def test_a_missing_parameter_is_named(few, tmp_path):
    with pytest.raises(InputError, match="lacks alpha"):
        simulation.simulate({k: v for k, v in TRUTH.items() if k != "alpha"}, few, 1, sigma=1.0)
    with pytest.raises(InputError, match="holds no uv cells"):
        uv.read(tmp_path / "uv_cells.npz")
