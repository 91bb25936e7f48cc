"""A whole fit of the small galaxy: what its summary says, what is kept, and what is refused. Chains are short: their statistics are tested elsewhere."""

import numpy as np
import pytest
import torch
from conftest import GALAXY, PRIORS, TRUTH, setup_of

from galmass.errors import InputError
from galmass.inference import assembly, delayed, diagnostics, fit, optimise, sampling

torch.set_num_threads(1)
# a rotation curve of one shape: what is left is found in a second
SHAPE = {name: {"kind": "fixed", "value": TRUTH[name]} for name in ("alpha", "gamma", "beta_minus_gamma")}
MASS = {name: {"kind": "fixed", "value": TRUTH[name]} for name in ("inclination", "log_m_bh", "r_break", "log_sigma_break")}
NEAR = {"position_angle": {"kind": "uniform", "low": 0.0, "high": 60.0}}
FITTING = {
    **{"sampler": "delayed", "scouts": 32, "starts": 1, "chains": 4},
    **{"target_ess": 20, "max_r_hat": 1.5, "max_steps": 40, "checkpoint_seconds": 60},
}
SEED = 2


@pytest.fixture(scope="module", autouse=True)
def small():
    """As few points as the surrogate's posterior is found from: with half of them fewer are effective than a mixture needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delayed, "DEFAULTS", delayed.DEFAULTS | {"n_rounds": 4, "n_points": 1000, "n_effective": 300, "n_components": 8, "n_pilot": 24})
        yield


def _assembled(gridded, priors=None):
    galaxy = {**GALAXY, "priors": {**SHAPE, **NEAR, **(priors or {})}}
    return assembly.assemble(setup_of(galaxy=galaxy), gridded), galaxy


def _fit(gridded, folder, priors=None, **options):
    posterior, galaxy = _assembled(gridded, priors)
    return posterior, *fit.fit(posterior, gridded, galaxy, {**FITTING, **options}, SEED, folder, {"code": "x"}, "small")


@pytest.fixture(scope="module")
def short(gridded, tmp_path_factory):
    """A fit that has to stop early, under a prior that excludes the flux."""
    folder = tmp_path_factory.mktemp("short")
    below = {"flux": {"kind": "uniform", "low": 1.0, "high": 7.0}}
    return folder, *_fit(gridded, folder, below, target_ess=10**6, max_steps=20)


def test_summary_of_every_parameter(short):
    _, posterior, drawn, summary = short
    assert set(summary["parameters"]) == set(posterior.names)
    assert summary["fixed"] == posterior.parameters.fixed
    for name, of in summary["parameters"].items():
        assert of["unit"] == posterior.units[name]
        edges = [
            of[key][side]
            for side, keys in ((0, ("interval_997", "interval_95", "interval_68")), (1, ("interval_68", "interval_95", "interval_997")))
            for key in keys
        ]
        assert edges == sorted(edges), name
        assert of["interval_68"][0] <= of["median"] <= of["interval_68"][1], name
        assert of["interval_997"][0] >= posterior.prior[name].low - 1e-9, name
    assert drawn.chains.shape == (4, summary["n_draws"], posterior.n)
    assert drawn.prior.shape == (fit.N_PRIOR, posterior.n)
    assert summary["log_posterior"] == pytest.approx(float(drawn.log_prob.max()))
    z = posterior.parameters.coordinates(torch.from_numpy(drawn.chains).clone())
    likelihoods = torch.from_numpy(drawn.log_prob) - posterior.log_prior(z)
    assert summary["max_log_likelihood"] == pytest.approx(float(likelihoods.max()))
    assert [set(mode) for mode in summary["modes"]] == [{"x", "log_posterior", "converged", "distance", "weight"}] * len(summary["modes"])
    assert summary["modes"][0]["distance"] == 0
    assert sum(mode["weight"] for mode in summary["modes"]) == pytest.approx(1)
    assert summary["n_data"] == len(posterior.used)


def test_convergence_is_of_the_parameters_that_are_told(short):
    """Of log_sigma_break, too, whose coordinate is the surface density at the pivot."""
    _, posterior, drawn, summary = short
    assert "log_sigma_break" in posterior.names
    found = diagnostics.diagnose(drawn.chains)
    for key, expected in (("r_hat", found.r_hat), ("ess_bulk", found.bulk_ess), ("ess_tail", found.tail_ess)):
        assert [of[key] for of in summary["parameters"].values()] == pytest.approx(expected.tolist()), key
    assert summary["r_hat"] == pytest.approx(found.r_hat.max())


def test_best_draw_has_the_density_that_is_told(short):
    _, posterior, _drawn, summary = short
    best = torch.tensor([of["best"] for of in summary["parameters"].values()], dtype=torch.float64)
    found = float(posterior.log_density(posterior.parameters.coordinates(best)))
    assert found == pytest.approx(summary["log_posterior"], abs=0.1)  # float32 sums, at coordinates that went to and fro


def test_an_early_end_is_told(short):
    *_, drawn, summary = short
    assert summary["converged"] is False
    assert drawn.attributes["converged"] == 0
    assert any("max_steps" in note for note in summary["notes"])


def test_a_prior_that_excludes_the_optimum_is_named(short):
    *_, summary = short
    assert any(line.startswith("flux: ") and "high = 7" in line for line in summary["at_bound"])


def test_a_prior_that_holds_everything_is_not_named(short):
    *_, summary = short
    assert not any(line.startswith(("x_offset", "v_sys")) for line in summary["at_bound"])


def test_what_the_data_do_not_know_is_named(gridded):
    """Gas seen within 5 arcsec, or 270 pc, says nothing of a break far beyond."""
    posterior, _ = _assembled(gridded, {"r_break": {"kind": "log_uniform", "low": 1500.0, "high": 2000.0}})
    rng = np.random.default_rng(1)
    x = posterior.parameters.physical(posterior.parameters.sobol(256, 1))
    chains = np.tile(TRUTH["flux"] * (1 + 0.01 * rng.standard_normal((4, 64, 1))), posterior.n)
    chains[..., posterior.names.index("r_break")] = x[:, posterior.names.index("r_break")].reshape(4, 64)
    assert list(posterior.parameters.unidentified(chains)) == ["r_break"]


def test_modes_of_an_earlier_attempt_are_gone_on_from(short, gridded, monkeypatch):
    folder, _, drawn, summary = short

    def search(*_args, **_options):
        raise AssertionError("the modes were there")

    monkeypatch.setattr(optimise, "search", search)
    _, again, other = _fit(gridded, folder, {"flux": {"kind": "uniform", "low": 1.0, "high": 7.0}}, target_ess=10**6, max_steps=20)
    np.testing.assert_array_equal(again.chains, drawn.chains)
    assert other["modes"] == summary["modes"]


def test_a_line_outside_the_band_is_refused_before_any_sampling(gridded, tmp_path):
    """A prior that pushes v_sys to the edge of the band: half of the line is beyond."""
    far = MASS | {"v_sys": {"kind": "uniform", "low": 1230.0, "high": 1250.0}}
    with pytest.raises(InputError, match="of the line lies outside the channels"):
        _fit(gridded, tmp_path, far, scouts=8)
    assert not list(tmp_path.rglob("chains.ckpt"))


def test_emission_beyond_the_image_is_refused(gridded, tmp_path):
    large = MASS | {"scale_length": {"kind": "uniform", "low": 5.0, "high": 6.0}}
    with pytest.raises(InputError, match="of the flux lies outside the image"):
        _fit(gridded, tmp_path, large, scouts=8)
    assert PRIORS["scale_length"]["kind"] == "log_uniform"  # of the galaxy alone


def test_a_position_angle_to_the_north_has_a_median_and_intervals(gridded, monkeypatch, tmp_path):
    """Draws of 0 +- 0.3 deg under a prior of a whole turn, half of the chains begun a turn away: chains are given, the rest is the fit's."""
    galaxy = {**GALAXY, "priors": SHAPE}
    posterior = assembly.assemble(setup_of(galaxy=galaxy), gridded)
    i, draws = posterior.names.index("position_angle"), torch.Generator().manual_seed(1)
    z = posterior.parameters.coordinates(torch.tensor([TRUTH[name] for name in posterior.names], dtype=torch.float64))
    z = z + 1e-3 * torch.randn(4, 500, posterior.n, dtype=torch.float64, generator=draws)
    z[..., i] = torch.deg2rad(-180.0 + 0.3 * torch.randn(4, 500, dtype=torch.float64, generator=draws))
    z[2:, :, i] += 2 * torch.pi
    found = diagnostics.diagnose(posterior.reported(z))
    result = sampling.Result(z, -torch.arange(2000.0).reshape(4, 500), 0.8, "delayed", True, [], found, 2000, 1.0)
    mode = {"z": z[0, 0].tolist(), "x": dict(zip(posterior.names, posterior.parameters.physical(z[0, 0]).tolist(), strict=True))}
    monkeypatch.setattr(fit, "_modes", lambda *_: [{**mode, "log_posterior": 0.0, "converged": True, "distance": 0.0, "weight": 1.0}])
    monkeypatch.setattr(sampling, "run", lambda *_: result)
    drawn, summary = fit.fit(posterior, gridded, galaxy, FITTING, SEED, tmp_path, {}, "north")
    angle = summary["parameters"]["position_angle"]
    assert abs(angle["median"] - 360 * round(angle["median"] / 360)) < 0.05  # 0.3 deg / sqrt(2000), six times
    assert 0 <= angle["median"] < 360
    for key, sigma in (("interval_68", 0.994), ("interval_95", 1.96), ("interval_997", 2.97)):
        low, high = angle[key]
        assert high - low == pytest.approx(2 * sigma * 0.3, rel=0.15)  # the outermost quantile rests on three draws a side
        assert low < angle["median"] < high
    assert angle["r_hat"] < 1.02
    assert angle["ess_bulk"] > 1000
    assert abs(angle["best"] - angle["median"]) < 1.5
    assert abs(summary["modes"][0]["x"]["position_angle"] - angle["median"]) < 1.5
    assert float(np.ptp(drawn.chains[..., i])) < 3
    assert abs(np.median(drawn.prior[:, i]) - angle["median"]) < 15  # uniform over a turn: 104 deg / sqrt(4000) is 1.6, of a median twice that
    assert abs(drawn.prior[:, i] - angle["median"]).max() < 181
