"""Priors as densities, samples, coordinates and their Jacobians; what config errors say."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from galmass.errors import InputError
from galmass.inference import priors
from galmass.inference.parameters import Parameters
from galmass.profiles import nuker, sersic

torch.set_num_threads(1)

PRIORS = {
    "log_m_bh": {"kind": "uniform", "low": 6.0, "high": 10.0},
    "alpha": {"kind": "log_uniform", "low": 0.1, "high": 10.0},
    "gamma": {"kind": "uniform", "low": 0.001, "high": 1.2},
    "beta_minus_gamma": {"kind": "uniform", "low": 0.3, "high": 3.0},
    "r_break": {"kind": "log_uniform", "low": 2.0, "high": 2000.0},
    "log_sigma_break": {"kind": "uniform", "low": 1.0, "high": 7.0},
    "q_intr": {"kind": "fixed", "value": 0.7},
    "inclination": {"kind": "isotropic", "low": 20.0, "high": 89.0},
    "position_angle": {"kind": "uniform", "low": 0.0, "high": 360.0},
    "v_sys": {"kind": "normal", "mean": 1240.0, "sd": 20.0},
    "distance": {"kind": "normal", "mean": 11.4, "sd": 2.0, "low": 8.0, "high": 13.0},
}
UNITS = {"r_break": "pc", "inclination": "deg", "position_angle": "deg", "v_sys": "km/s", "distance": "Mpc"}
DECLARED = {
    "uniform": {"kind": "uniform", "low": -2.0, "high": 3.0},
    "log_uniform": {"kind": "log_uniform", "low": 0.1, "high": 10.0},
    "normal": {"kind": "normal", "mean": 3.0, "sd": 0.5},
    "normal above": {"kind": "normal", "mean": 3.0, "sd": 0.5, "low": 2.8},
    "normal below": {"kind": "normal", "mean": 3.0, "sd": 0.5, "high": 2.0},
    "normal tail": {"kind": "normal", "mean": 3.0, "sd": 0.5, "low": 8.0, "high": 12.0},  # ten sigma out
    "isotropic": {"kind": "isotropic", "low": 0.0, "high": 90.0},
    "isotropic narrow": {"kind": "isotropic", "low": 70.0, "high": 89.0},
    "turn": {"kind": "uniform", "low": 0.0, "high": 360.0},
}
REFERENCE = {
    "uniform": stats.uniform(-2, 5).cdf,
    "log_uniform": stats.loguniform(0.1, 10).cdf,
    "normal": stats.norm(3, 0.5).cdf,
    "normal above": stats.truncnorm(-0.4, np.inf, 3, 0.5).cdf,
    "normal below": stats.truncnorm(-np.inf, -2, 3, 0.5).cdf,
    "normal tail": stats.truncnorm(10, 18, 3, 0.5).cdf,
    "isotropic": lambda i: 1 - np.cos(np.radians(i)),
    "isotropic narrow": lambda i: (np.cos(np.radians(70)) - np.cos(np.radians(i))) / (np.cos(np.radians(70)) - np.cos(np.radians(89))),
    "turn": stats.uniform(0, 360).cdf,
}


def _one(case):
    return Parameters.from_config({"x": DECLARED[case]}, ["x"], {"x": "deg"})


def _all(pivot=50.0):
    return Parameters.from_config(PRIORS, list(PRIORS), UNITS, pivot)


def _log_density(p, x):
    """Of the prior in physical values (..., n): the product of its parts."""
    return sum(prior.log_density(v) for prior, v in zip(p.priors.values(), x.unbind(-1), strict=True))


def _draws(p, n=64, seed=3):
    return p.sample(torch.Generator().manual_seed(seed), n)


@pytest.mark.parametrize("case", DECLARED)
def test_density_integrates_to_one_in_both_coordinates(case):
    p = _one(case)
    prior = p.priors["x"]

    def density(log_density):
        return lambda t: float(torch.exp(log_density(torch.tensor([t], dtype=torch.float64))))

    low, high = (-math.pi, math.pi) if prior.periodic else (-40.0, 40.0)  # exp(-40) is left outside
    assert integrate.quad(density(p.log_prior), low, high, points=[0.0], limit=200)[0] == pytest.approx(1, abs=1e-8)  # that of quad
    low, high = max(prior.low, -10.0), min(prior.high, 400.0 if prior.periodic else 92.0)
    assert integrate.quad(density(lambda x: _log_density(p, x)), low, high, points=[min(low + 1, high)], limit=400)[0] == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("case", DECLARED)
def test_samples_follow_the_prior(case):
    p = _one(case)
    x = p.physical(_draws(p, 4000)).numpy()[:, 0]
    assert stats.kstest(x, REFERENCE[case]).pvalue > 0.01  # the seed is fixed: a wrong prior gives 1e-20
    even = p.physical(p.sobol(1000, seed=1)).numpy()[:, 0]
    assert len(even) == 1000
    # a Sobol sequence leaves about 1 / n, independent draws 0.03
    assert stats.kstest(even, REFERENCE[case]).statistic < 0.005


@pytest.mark.parametrize("case", DECLARED)
def test_one_jacobian_between_both_densities(case):
    p = _one(case)
    z = _draws(p, 200)
    slope = torch.func.vmap(torch.func.grad(lambda v: p.physical(v[None])[0]))(z[:, 0])
    expected = _log_density(p, p.physical(z)) + torch.log(slope.abs())
    torch.testing.assert_close(p.log_prior(z), expected, rtol=0, atol=1e-9)  # rounding, where the share of a tail is 1e-4


@pytest.mark.parametrize("pivot", [None, 50.0])
def test_one_jacobian_of_all_parameters(pivot):
    p = _all(pivot)
    z = _draws(p)
    volume = torch.linalg.slogdet(torch.func.vmap(torch.func.jacfwd(p.physical))(z))[1]
    torch.testing.assert_close(p.log_prior(z), _log_density(p, p.physical(z)) + volume, rtol=0, atol=1e-9)


@pytest.mark.parametrize("pivot", [None, 50.0])
def test_round_trip_and_order_one_coordinates(pivot):
    p = _all(pivot)
    z = _draws(p, 2000)
    torch.testing.assert_close(p.coordinates(p.physical(z)), z, rtol=1e-9, atol=1e-9)  # the share of a prior rounds to 1e-16, 1e-4 of it is left
    assert p.names == tuple(n for n in PRIORS if n != "q_intr")
    assert p.fixed == {"q_intr": 0.7}
    assert float(z.std(0).max()) < 3
    assert float(z.std(0).min()) > 0.5


def test_the_pivot_coordinate_is_the_surface_density_there():
    p = _all(50.0)
    z = _draws(p)
    x = p.complete(p.physical(z))
    sigma = nuker.surface_density(50.0, x["alpha"], x["gamma"] + x["beta_minus_gamma"], x["gamma"], x["r_break"], 10 ** x["log_sigma_break"])
    s = 4.0 + 6 / math.sqrt(12) * z[:, p.names.index("log_sigma_break")]
    torch.testing.assert_close(torch.log10(sigma), s, rtol=1e-12, atol=1e-12)


def test_the_pivot_of_a_core_sersic_profile():
    declared = {name: PRIORS[name] for name in ("alpha", "gamma", "r_break", "log_sigma_break")}
    declared |= {"sersic_index": {"kind": "uniform", "low": 1, "high": 8}, "r_e": {"kind": "fixed", "value": 3000.0}}
    p = Parameters.from_config(declared, list(declared), {}, 50.0)
    z = _draws(p)
    x = p.complete(p.physical(z))
    sigma = sersic.core_surface_density(50.0, *(x[n] for n in ("alpha", "gamma", "r_break", "sersic_index", "r_e")), 10 ** x["log_sigma_break"])
    s = 4.0 + 6 / math.sqrt(12) * z[:, p.names.index("log_sigma_break")]
    torch.testing.assert_close(torch.log10(sigma), s, rtol=1e-12, atol=1e-12)


def test_walls_at_a_pivot_are_hard_with_finite_gradients():
    p = _all(50.0)
    z = _draws(p, 1)
    z[0, p.names.index("log_sigma_break")] += 20.0
    z.requires_grad_()
    value = p.log_prior(z)
    assert value.item() == -math.inf
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert bool(gradient.isfinite().all())


def test_pivot_works_with_fixed_shapes():
    declared = PRIORS | {"r_break": {"kind": "fixed", "value": 100.0}}
    p = Parameters.from_config(declared, list(declared), UNITS, 50.0)
    z = _draws(p)
    torch.testing.assert_close(p.coordinates(p.physical(z)), z, rtol=1e-9, atol=1e-9)
    fixed = PRIORS | {"log_sigma_break": {"kind": "fixed", "value": 4.0}}
    assert Parameters.from_config(fixed, list(fixed), UNITS, 50.0).fixed["log_sigma_break"] == 4.0


def test_far_coordinates_have_finite_gradients_and_stay_inside():
    declared = PRIORS | {"tilt": DECLARED["isotropic"], "above": DECLARED["normal above"], "tail": DECLARED["normal tail"]}
    p = Parameters.from_config(declared, list(declared), UNITS)
    for far in (-700.0, -40.0, 40.0, 700.0):
        z = torch.full((p.n,), far, dtype=torch.float64, requires_grad=True)
        x = p.physical(z)
        for name, value in zip(p.names, x.tolist(), strict=True):
            assert p.priors[name].low <= value <= p.priors[name].high
        for result in (x.sum(), p.log_prior(z)):
            (gradient,) = torch.autograd.grad(result, z, retain_graph=True)
            assert bool(gradient.isfinite().all())


def test_batches_vmap_and_dtype():
    p = _all()
    z = _draws(p, 12)
    for f in (p.physical, p.log_prior):
        batched = f(z)
        torch.testing.assert_close(torch.func.vmap(f)(z), batched)
        torch.testing.assert_close(f(z.reshape(3, 4, -1)).reshape(batched.shape), batched)
        assert f(z.float()).dtype == torch.float64
    torch.testing.assert_close(_log_density(p, p.physical(z).reshape(3, 4, -1)), _log_density(p, p.physical(z)).reshape(3, 4))
    assert torch.func.vmap(torch.func.grad(p.log_prior))(z).isfinite().all()


def test_the_angle_has_no_wall():
    p = _one("turn")
    step = torch.tensor([[1e-3]], dtype=torch.float64)
    edge = p.coordinates(torch.tensor([[359.99]], dtype=torch.float64))
    assert float(p.physical(edge + step)) == pytest.approx(359.99 + math.degrees(1e-3) - 360)
    torch.testing.assert_close(p.log_prior(edge + step), p.log_prior(edge))
    torch.testing.assert_close(p.physical(edge + 2 * math.pi), p.physical(edge))
    z = torch.linspace(-20, 20, 999, dtype=torch.float64)[:, None]
    assert bool(((p.physical(z) >= 0) & (p.physical(z) < 360)).all())
    half = Parameters.from_config({"x": DECLARED["turn"] | {"high": 180.0}}, ["x"], {"x": "deg"})
    assert float(half.physical(torch.tensor([500.0]))) == 180.0


def test_same_seed_same_draws():
    p = _all()
    assert torch.equal(_draws(p), _draws(p))
    assert torch.equal(p.sobol(10, 4), p.sobol(10, 4))
    assert not torch.equal(p.sobol(10, 4), p.sobol(10, 5))


def test_complete_and_ranges():
    p = _all()
    x = p.physical(_draws(p, 5))
    full = p.complete(x)
    assert list(full) == [*p.names, "q_intr"]
    assert full["gamma"].shape == (5,)
    assert float(full["q_intr"]) == 0.7
    assert p.ranges["q_intr"] == (0.7, 0.7)
    assert p.ranges["r_break"] == (2.0, 2000.0)
    assert p.ranges["v_sys"] == (-math.inf, math.inf)


@pytest.mark.parametrize("case", [c for c in DECLARED if c != "turn"])
def test_centre_and_width_describe_the_prior(case):
    p = _one(case)
    prior, x = p.priors["x"], p.physical(p.sobol(2048, 1))
    if "normal " not in case:  # those of the whole normal
        assert float(x.std()) == pytest.approx(prior.sd, rel=0.01)
        assert float(x.quantile(0.5)) == pytest.approx(prior.centre, rel=0.01)


def test_samples_at_a_wall_are_named():
    p = _all()
    generator = torch.Generator().manual_seed(1)
    x = p.physical(_draws(p, 4000)).clone()
    n = {name: i for i, name in enumerate(p.names)}
    noise = torch.randn(4000, generator=generator, dtype=torch.float64)
    x[:, n["log_m_bh"]] = 6 + 0.1 * noise.abs()  # cut off at its maximum
    x[:, n["gamma"]] = 0.15 + 0.03 * noise  # five widths away from the wall
    x[:, n["position_angle"]] = torch.remainder(2 * noise, 360)  # across the turn, where no wall is
    found = p.at_bound(x)
    assert list(found) == ["log_m_bh"]
    assert "low = 6" in found["log_m_bh"]
    assert "excludes the optimum" in found["log_m_bh"]
    high = p.physical(_draws(p, 4000)).clone()
    high[:, n["r_break"]] = 2000 * torch.exp(-noise.abs())
    assert "high = 2000 pc" in p.at_bound(high)["r_break"]


def test_unconstrained_parameters_are_named():
    p = _all()
    x = p.physical(_draws(p, 4000)).clone()
    n = {name: i for i, name in enumerate(p.names)}
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[:, n["log_m_bh"]] = 8 + 0.1 * noise
    x[:, n["position_angle"]] = torch.remainder(2 * noise, 360)
    found = p.unidentified(x.reshape(4, 1000, -1))
    assert set(found) == set(p.names) - {"log_m_bh", "position_angle"}
    assert found["r_break"].startswith("r_break: not constrained by these data")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"kind": "unifrom", "low": 0, "high": 1}, "priors.x: kind is 'unifrom'.*uniform, log_uniform"),
        ({"low": 0, "high": 1}, "kind is None"),
        (3.0, "kind is 3.0"),
        ({"kind": "uniform", "low": 0, "hi": 1}, "priors.x.hi = 1 is no key of a prior .high, low, mean, sd, value."),
        ({"kind": "uniform", "low": 0}, "priors.x.high is missing"),
        ({"kind": "uniform", "low": 2, "high": 1}, "priors.x.low is 2.0; it must be below high .1."),
        ({"kind": "uniform", "low": 1, "high": 1}, "take {kind: fixed, value: 1}"),
        ({"kind": "uniform", "low": math.nan, "high": 1}, "priors.x.low is nan; it must be a finite number"),
        ({"kind": "uniform", "low": 0, "high": math.inf}, "priors.x.high is inf"),
        ({"kind": "uniform", "low": "1e6", "high": 1}, "priors.x.low is '1e6'.*1.0e"),
        ({"kind": "uniform", "low": False, "high": 1}, "priors.x.low is False"),
        ({"kind": "log_uniform", "low": 0, "high": 1}, "priors.x.low is 0.0; it must be above 0"),
        ({"kind": "normal", "mean": 0, "sd": 0}, "priors.x.sd is 0.0; it must be above 0"),
        ({"kind": "normal", "mean": 0, "sd": 1, "low": 60, "high": 70}, "nothing of the normal is left between 60 and 70"),
        ({"kind": "isotropic", "low": -5, "high": 80}, "priors.x.low is -5.0.*0 and 90"),
        ({"kind": "isotropic", "low": 5, "high": 120}, "priors.x.high is 120.0.*position_angle"),
        ({"kind": "fixed", "value": None}, "priors.x.value is None"),
    ],
)
def test_config_errors_name_key_value_and_remedy(declared, message):
    with pytest.raises(InputError, match=message):
        Parameters.from_config({"x": declared}, ["x"], {})


def test_other_errors():
    with pytest.raises(InputError, match="priors lacks y"):
        Parameters.from_config({"x": DECLARED["normal"]}, ["x", "y"], {})
    with pytest.raises(InputError, match="pivot radius is -1"):
        _all(-1.0)
    with pytest.raises(InputError, match=r"alpha.* is no parameter; leave the pivot out"):
        Parameters.from_config({"x": DECLARED["normal"]}, ["x"], {}, 50.0)
    p = _all()
    x = p.physical(_draws(p, 3)).clone()
    x[1, p.names.index("r_break")] = 3000.0
    with pytest.raises(InputError, match="r_break is 3000, outside its prior, 2 to 2000"):
        p.coordinates(x)
    x[1, p.names.index("r_break")] = math.nan
    with pytest.raises(InputError, match="r_break is nan"):
        p.coordinates(x)
    x[1, p.names.index("r_break")] = 3000.0
    assert _log_density(p, x).isinf().tolist() == [False, True, False]


def test_repeated_names_are_one_and_other_priors_are_left_out():
    p = Parameters.from_config(PRIORS, ["gamma", "inclination", "gamma"], UNITS)
    assert p.names == ("gamma", "inclination")
    assert p.units == {"gamma": "", "inclination": "deg"}


def test_values_on_a_wall_have_coordinates():
    p = _one("log_uniform")
    z = p.coordinates(torch.tensor([[0.1], [10.0]], dtype=torch.float64))
    assert bool(z.isfinite().all())
    torch.testing.assert_close(p.physical(z), torch.tensor([[0.1], [10.0]], dtype=torch.float64), rtol=1e-14, atol=0)


def test_nothing_but_fixed():
    p = Parameters.from_config({"x": {"kind": "fixed", "value": 2}}, ["x"], {})
    assert p.n == 0
    assert float(priors.prior("x", {"kind": "fixed", "value": 2})) == 2.0


def test_an_overlay_that_changes_the_kind_leaves_keys_of_the_old_one_behind():
    """Snakemake merges tables: a fixed value stays beside the limits that replace it."""
    merged = priors.prior("q_intr", {"kind": "uniform", "value": 0.7, "low": 0.2, "high": 1.0})
    assert (merged.low, merged.high) == (0.2, 1.0)


def _turns(angle, n=2000, width=0.3, low=0.0):
    """Draws (4, n / 4, 1) of an angle as `physical` gives them, within the turn from `low`; their parameters, and what they are without a wrap."""
    p = Parameters.from_config({"x": {"kind": "uniform", "low": low, "high": low + 360.0}}, ["x"], {"x": "deg"})
    straight = angle + width * torch.randn(4, n // 4, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    return p, p.physical(p.coordinates(straight)), straight


@pytest.mark.parametrize(("angle", "low"), [(0.05, 0.0), (359.9, 0.0), (180.0, -180.0), (90.0, 0.0)])
def test_an_angle_at_the_edge_of_its_turn_is_continuous(angle, low):
    p, wrapped, straight = _turns(angle, low=low)
    found = p.unwrapped(wrapped)
    torch.testing.assert_close((found - found.mean()).sort(1).values, (straight - straight.mean()).sort(1).values, rtol=0, atol=1e-11)
    assert low <= float(found.quantile(0.5)) < low + 360
    assert float((found - wrapped).remainder(360).abs().max()) == 0  # whole turns, no rounding


def test_others_lie_about_the_same_direction():
    p, wrapped, _ = _turns(0.05)
    prior = p.physical(_draws(p, 4000))
    assert float(prior.max()) > 359
    turned = p.unwrapped(prior, wrapped)
    middle = float(p.unwrapped(wrapped).quantile(0.5))
    assert float(turned.min()) == pytest.approx(middle - 180, abs=1)  # 4000 draws of 360 deg, and a mean known to 0.01
    assert float(turned.max()) == pytest.approx(middle + 180, abs=1)
    assert p.unwrapped(torch.tensor([359.9], dtype=torch.float64), wrapped) == pytest.approx(-0.1)


def test_what_is_no_whole_turn_is_left_as_it_is():
    p = _all()
    x = p.physical(_draws(p))
    where = [i for i, name in enumerate(p.names) if i not in p.periodic]
    assert torch.equal(p.unwrapped(x)[:, where], x[:, where])
    assert [p.names[i] for i in p.periodic] == [name for name, prior in p.priors.items() if prior.periodic]
