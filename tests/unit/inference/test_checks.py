"""Predictive checks at the truth, the images behind the figures, and the mass that a rotation curve stands for."""

import numpy as np
import pytest
import torch
from conftest import GALAXY, REST, setup_of
from scipy import stats

from galmass.inference import assembly, checks
from galmass.inference.samples import Samples
from galmass.units import LIGHT, G
from galmass.visibilities import imaging

torch.set_num_threads(1)


def _replaced(gridded, posterior, values):
    """The grid with other used numbers (n_data,), all others 0."""
    numbers = np.zeros(2 * int(gridded.mask.sum()))
    numbers[posterior.used.numpy()] = values
    mean = np.zeros_like(gridded.mean)
    mean[gridded.mask] = numbers[0::2] + 1j * numbers[1::2]
    return type(gridded)(**{**vars(gridded), "mean": mean})


def test_p_values_are_uniform_for_noise_as_declared(posterior, truth):
    """Data drawn about the truth from the declared noise: p of 25 groups of them, four times."""
    rng = np.random.default_rng(5)
    with torch.no_grad():
        model = posterior.predict_at(truth)
    groups, noise, found = np.arange(len(model)) % 25, posterior.noise, []
    try:
        for _ in range(4):
            posterior.noise = noise.replicate(model, rng)
            found += [row["p"] for row in checks.predictive_chi_squared(posterior, truth.expand(60, -1), groups, rng)]
    finally:
        posterior.noise = noise
    assert stats.kstest(found, "uniform").pvalue > 1e-3  # of a fixed seed
    posterior.noise = type(noise)(noise.data, noise.std / 1.3, noise.nu)
    try:
        low = [row["p"] for row in checks.predictive_chi_squared(posterior, truth.expand(60, -1), groups, rng)]
    finally:
        posterior.noise = noise
    assert np.median(low) < 0.05  # errors too small by 1.3: chi^2 of 300 numbers too large by 0.7 of its expectation


def test_a_row_says_what_it_counts(posterior, truth):
    groups = np.repeat([0, 1], [100, len(posterior.used) - 100])
    rows = checks.predictive_chi_squared(posterior, truth.expand(20, -1), groups, np.random.default_rng(1))
    assert [row["n"] for row in rows] == [100, len(posterior.used) - 100]
    with torch.no_grad():
        square = posterior.noise.chi_squared(posterior.predict_at(truth))
    assert rows[0]["chi2"] == pytest.approx(float(square[:100].mean()))
    for row in rows:
        assert row["low"] < 1 < row["high"]  # the expectation, within 95 % of the replicas
    assert rows[1]["high"] - rows[1]["low"] < rows[0]["high"] - rows[0]["low"]


def test_correlated_data_are_fewer_and_scatter_more(posterior, truth):
    """Every datum given four times, with errors twice as large: the numbers of one."""
    once, groups = posterior.noise, np.zeros(len(posterior.used), int)
    (alone,) = checks.predictive_chi_squared(posterior, truth.expand(60, -1), groups, np.random.default_rng(2))
    posterior.noise = type(once)(once.data, 2 * once.std, once.nu, 4.0)
    try:
        (row,) = checks.predictive_chi_squared(posterior, truth.expand(60, -1), groups, np.random.default_rng(2))
        assert row["n"] == posterior.n_independent == round(len(once.data) / 4)
    finally:
        posterior.noise = once
    assert row["chi2"] == pytest.approx(alone["chi2"])
    # a quarter of the numbers scatter twice as much; both have the same seed
    assert row["high"] - row["low"] == pytest.approx(2 * (alone["high"] - alone["low"]))


def test_groups_cover_all_data(gridded, posterior):
    used = posterior.used.numpy()
    filled, channel = checks.group_by_channel(gridded, used)
    assert len(channel) == gridded.n_data
    np.testing.assert_array_equal(filled, np.arange(len(gridded.frequency)))
    np.testing.assert_array_equal(np.bincount(channel), 2 * gridded.mask.sum((1, 2)) - (gridded.mask & gridded.real_only).sum((1, 2)))
    groups, edges = checks.group_by_baseline(gridded, used, 6)
    sizes = np.bincount(groups, minlength=6)
    assert sizes.sum() == gridded.n_data
    assert sizes.min() > 0.8 * sizes.max()  # lengths repeat in every channel: no group can be cut there
    length = np.hypot(*imaging.uv_cells(gridded.n_pix, gridded.cell_arcsec))
    lengths = np.repeat(np.broadcast_to(length, gridded.mask.shape)[gridded.mask], 2)[used]
    assert (lengths >= edges[groups] * (1 - 1e-12)).all()
    assert (lengths <= edges[groups + 1] * (1 + 1e-12)).all()


def test_residual_is_data_minus_model_and_the_data_are_the_grids(gridded, posterior, truth):
    with torch.no_grad():
        model = posterior.visibilities(truth).numpy()
    data, drawn, residual, _ = checks.images(gridded, model, 32)
    np.testing.assert_array_equal(residual, data - drawn)
    np.testing.assert_array_equal(data, imaging.dirty_cube(gridded, gridded.mean, 32)[0])
    left = gridded.mean.copy()
    left[gridded.mask] -= model
    # an image is linear in its visibilities
    np.testing.assert_allclose(residual, imaging.dirty_cube(gridded, left, 32)[0], atol=1e-12 * abs(data).max())


def test_the_noise_of_an_image_is_the_scatter_of_one_without_signal(gridded, posterior):
    rng = np.random.default_rng(6)
    errors = np.stack([gridded.std[gridded.mask].real, gridded.std[gridded.mask].imag], 1).reshape(-1)[posterior.used.numpy()]
    empty = _replaced(gridded, posterior, errors * rng.standard_normal(len(errors)))
    nothing = np.zeros(int(gridded.mask.sum()), complex)
    _, _, residual, noise = checks.images(empty, nothing, 32)
    scatter = residual.std() / np.sqrt((noise**2).mean())
    # 16 channels of about 200 independent complex cells: 1 / sqrt(2 * 16 * 400) = 0.9 % of a standard deviation, four of it
    assert scatter == pytest.approx(1, abs=0.036)


def test_the_mass_of_a_black_hole_alone_is_its_mass(posterior, truth):
    x = truth.repeat(3, 1)
    x[:, posterior.names.index("log_sigma_break")] = 1.0
    inside = checks.enclosed_mass(posterior, x, 30.0)
    np.testing.assert_allclose(inside["black_hole"], float(truth[posterior.names.index("log_m_bh")]), atol=1e-9)
    assert "gas" not in inside  # none in this model: no logarithm of 0
    assert inside["total"][0] == pytest.approx(inside["black_hole"][0], abs=0.01)  # stars of 10 M_sun / pc^2: 1e-4 of it


def test_enclosed_mass_goes_with_the_rotation_curve(posterior, truth):
    curves = checks.rotation_curves(posterior, truth[None])
    place = 150
    radius = float(posterior.mass.radius[place])
    expected = np.log10(curves["total"][:, place] ** 2 * radius / G)
    np.testing.assert_allclose(checks.enclosed_mass(posterior, truth[None], radius)["total"], expected, atol=1e-6)
    squares = sum(curves[name] ** 2 for name in ("stars", "black_hole", "gas"))
    np.testing.assert_allclose(curves["total"] ** 2, squares, rtol=1e-6)


@pytest.fixture(scope="module")
def checked(gridded, posterior, truth):
    rng = np.random.default_rng(7)
    spread = 1e-4 * rng.standard_normal((2, 4, posterior.n))
    chains = truth.numpy() * (1 + spread)
    with torch.no_grad():
        density = np.array([[float(posterior(torch.from_numpy(x))) for x in chain] for chain in chains])
    units = {name: posterior.units[name] for name in posterior.names}
    drawn = Samples(list(posterior.names), units, chains, chains[0], density, {})
    return drawn, checks.check(posterior, drawn, gridded, GALAXY, 3)


def test_a_whole_check_speaks_of_the_best_draw_and_all_data(gridded, posterior, checked):
    drawn, found = checked
    best = drawn.flat[drawn.log_prob.argmax()]
    assert list(found.numbers["best"].values())[: posterior.n] == best.tolist()
    assert sum(row["n"] for row in found.channels) == sum(row["n"] for row in found.baselines) == gridded.n_data == found.numbers["chi2_per_datum"]["n"]
    expected = LIGHT * (1 - gridded.frequency / REST)
    np.testing.assert_allclose([row["velocity_km_s"] for row in found.channels], expected)
    assert found.numbers["beam_pc"] == pytest.approx(found.numbers["beam_arcsec"] * 11.4e6 * np.pi / 648000)
    assert found.numbers["gas_extent_arcsec"] == pytest.approx(4.743865 * best[posterior.names.index("scale_length")], rel=1e-3)
    # noise of 16 images of 32 x 32 pixels, of the order of a beam each: the largest of some 4000 normal numbers
    assert 2.5 < found.numbers["largest_residual_over_noise"] < 6


def test_a_channel_without_data_is_left_out(gridded, checked):
    """All of one channel flagged: it has no row and no noise, and the others are as they were."""
    drawn, whole = checked
    mask = gridded.mask.copy()
    mask[7] = False
    flagged = type(gridded)(**{**vars(gridded), "mask": mask, **{name: np.where(mask, getattr(gridded, name), 0) for name in ("mean", "std", "propagated")}})
    found = checks.check(assembly.assemble(setup_of(), flagged, dtype=torch.float64), drawn, flagged, GALAXY, 3)
    expected = np.delete(LIGHT * (1 - gridded.frequency / REST), 7)
    np.testing.assert_allclose([row["velocity_km_s"] for row in found.channels], expected)
    assert [row["n"] for row in found.channels] == [row["n"] for k, row in enumerate(whole.channels) if k != 7]
    assert found.numbers["chi2_per_datum"]["n"] == flagged.n_data
    assert 2.5 < found.numbers["largest_residual_over_noise"] < 6
    assert found.numbers["noise_jy_per_beam"] == pytest.approx(whole.numbers["noise_jy_per_beam"], rel=0.05)
    assert all(np.isfinite(values).all() for name, (values, *_) in found.arrays.items() if not name.startswith("moments"))


def test_a_slit_along_the_major_axis_shows_the_receding_side_at_positive_offsets(checked):
    _, found = checked
    (slit, _, _), (offset, _, _), (velocity, _, _) = (found.arrays[name] for name in ("slit_model", "offset", "velocity"))
    bright = np.clip(slit, 0, None) * (slit > 0.3 * slit.max())
    mean = (bright * velocity[:, None]).sum(0) / np.maximum(bright.sum(0), 1e-30)
    side = (abs(offset) > 0.5) & (abs(offset) < 2) & (bright.sum(0) > 0)
    assert np.corrcoef(offset[side], mean[side])[0, 1] > 0.8


def test_quantiles_are_those_of_the_named_probabilities():
    values = torch.linspace(0, 1, 10001, dtype=torch.float64)[:, None]
    np.testing.assert_allclose(checks.quantiles(values)[:, 0], checks.PROBABILITIES, atol=1e-9)
