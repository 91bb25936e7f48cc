"""Mass models against quadrature of their profiles, each component's closed form, the direct sum, and their own scaling."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from galmass.discs import mass_models, velocity
from galmass.errors import InputError
from galmass.profiles import abel, mge, sersic
from galmass.profiles.nuker import Nuker
from galmass.units import G

torch.set_num_threads(1)

DISTANCE = 11.4
RADII = np.geomspace(2.0, 5e3, 40)
TABLE = pd.DataFrame({"surface_brightness": [2e5, 3e4, 2e3, 60.0], "sigma_arcsec": [0.05, 0.4, 3.0, 20.0], "q_obs": [0.9, 0.8, 0.7, 0.6]})
TRUTH = {
    "alpha": 1.45,
    "gamma": 0.77,
    "beta_minus_gamma": 0.40,
    "r_break": 206.7,
    "log_sigma_break": 4.31,
    "sersic_index": 4.0,
    "r_e": 1500.0,
    "log_sigma_e": 3.0,
    "log_ml": 0.33,
    "q_intr": 0.7,
    "inclination": 77.0,
    "log_m_bh": 8.07,
    "log_gas_mass": 7.0,
    "scale_length": 1.3,
}
CASES = {
    "nuker": ("nuker", {}),
    "nuker direct": ("nuker", {"method": "direct"}),
    "mge": ("mge", {}),
    "sersic": ("sersic", {}),
    "core_sersic": ("core_sersic", {}),
}


def _make(case, radius=RADII, distance=DISTANCE, dtype=torch.float64, **options):
    name, own = CASES[case]
    return mass_models.make(name, {**own, **options}, radius, distance, TABLE, dtype=dtype)


def _t(**changed):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in (TRUTH | changed).items()}


def _batch(n, seed=0):
    """Parameters a few per cent around the truth, (n,)."""
    generator = torch.Generator().manual_seed(seed)
    return {name: v * (1 + 0.02 * torch.rand(n, generator=generator, dtype=torch.float64)) for name, v in _t().items()}


def _ranges(**changed):
    return {name: (v, v) for name, v in TRUTH.items()} | changed


def _q_obs(q_intr, inclination):
    return np.hypot(q_intr * np.sin(np.radians(inclination)), np.cos(np.radians(inclination)))


def _draw(box, n, seed=5):
    generator = np.random.default_rng(seed)
    logarithmic = ("alpha", "r_e", "r_break")
    return {k: np.exp(generator.uniform(*np.log(v), n)) if k in logarithmic else generator.uniform(*v, n) for k, v in box.items()}


def test_kernel_is_the_direct_sum_at_any_axial_ratio():
    radius, sigma = torch.logspace(-1, 4, 60, dtype=torch.float64), torch.logspace(-2.5, 5, 30, dtype=torch.float64)
    kernel, single = (mass_models.Kernel(radius, sigma, dtype) for dtype in (torch.float64, torch.float32))
    for q in (0.05, 0.0503, 0.06, 0.11, 0.31, 0.63, 0.9, 1.0):
        expected = math.sqrt(8 * math.pi) * G * radius * velocity.kernel(radius / sigma[:, None], torch.tensor(q, dtype=torch.float64))
        for k, tolerance in ((kernel, 5e-8), (single, 1e-6)):  # that of the docstring; rounding of 12 terms
            kind = k.matrix.dtype
            one_by_one = k(torch.eye(30, dtype=kind), torch.full((30, 1), q, dtype=kind), torch.ones(1, dtype=kind))
            torch.testing.assert_close(one_by_one.double(), expected, rtol=tolerance, atol=0)
    for q in (0.049, 1.001):
        assert bool(kernel(torch.eye(30, dtype=torch.float64), torch.tensor([q], dtype=torch.float64), torch.ones(1)).isnan().all())


@pytest.mark.parametrize("case", ["nuker", "nuker direct"])
def test_nuker_is_its_quadrature(case):
    got = _make(case).squared_velocity(_t())["stars"]
    profile = Nuker(1.45, 1.17, 0.77, 206.7, 10**4.31)
    expected = abel.circular_velocity(profile, RADII, 0.7, _q_obs(0.7, 77.0)) ** 2
    np.testing.assert_allclose(got.numpy(), expected, rtol=2e-3)  # 1e-3 of v: the expansion's error for a soft break is below 1e-4, the network's 1e-3


@pytest.mark.parametrize(
    ("box", "profile", "log_density"),
    [
        (mass_models.SERSIC_BOX, sersic.Sersic, sersic.log_surface_density),
        (mass_models.CORE_SERSIC_BOX, sersic.CoreSersic, sersic.log_core_surface_density),
    ],
    ids=["sersic", "core_sersic"],
)
def test_sersic_profiles_over_their_box(box, profile, log_density):
    drawn = _draw(box, 60)
    if "r_break" in drawn:
        drawn["r_break"] = np.minimum(drawn["r_break"], drawn["r_e"])
    edges = np.array(np.meshgrid(*box.values())).reshape(len(box), -1)  # corners of the box
    edges = edges[:, edges[list(box).index("r_break")] <= edges[list(box).index("r_e")]] if "r_break" in box else edges
    shape = [torch.from_numpy(np.concatenate([v, e]))[:, None] for v, e in zip(drawn.values(), edges, strict=True)]
    exact = torch.exp(log_density(torch.from_numpy(RADII), *shape))
    amplitudes = mass_models.solve(log_density, *shape)
    error = mge.surface_density(torch.from_numpy(RADII), amplitudes, torch.from_numpy(mass_models.SIGMA)) / exact - 1
    assert float(error[exact > 1e-6].abs().max()) < 0.01  # the accuracy that is stated
    some = [v[:60:2] for v in shape]
    model = mass_models.make("sersic" if profile is sersic.Sersic else "core_sersic", {}, RADII, DISTANCE)
    named = {name: v[:, 0] for name, v in zip(box, some, strict=True)}
    v2 = model.squared_velocity(_t() | named | {name: torch.zeros((), dtype=torch.float64) for name in ("log_sigma_e", "log_sigma_break")})["stars"]
    with np.errstate(all="ignore"):  # the density underflows far out
        expected = abel.circular_velocity(profile(*(v.numpy() for v in some)), RADII, 0.7, _q_obs(0.7, 77.0))
    np.testing.assert_allclose(np.sqrt(v2.numpy()), expected, rtol=0.01)  # the accuracy that is stated


def test_mge_is_each_gaussian_with_its_own_axial_ratio():
    cos2 = np.cos(np.radians(77.0)) ** 2
    expected = 0
    for row in TABLE.itertuples():
        q = math.sqrt((row.q_obs**2 - cos2) / (1 - cos2))
        sigma = row.sigma_arcsec * 1e6 * DISTANCE * np.pi / 648000
        amplitude = np.array([row.surface_brightness * 10**0.33])
        expected = expected + velocity.circular_velocity(RADII, amplitude, [sigma], q, math.radians(77.0), -math.inf, 0.0) ** 2
    got = _make("mge").squared_velocity(_t())["stars"]
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=0)  # 5e-8 of the kernel and 6e-8 of the table of `velocity`


def test_mge_without_its_innermost_gaussian():
    shuffled = mass_models.make("mge", {"drop_innermost": True}, RADII, DISTANCE, TABLE.iloc[::-1])
    rest = mass_models.make("mge", {}, RADII, DISTANCE, TABLE.iloc[1:])
    assert torch.equal(shuffled.squared_velocity(_t())["stars"], rest.squared_velocity(_t())["stars"])
    with pytest.raises(InputError, match="drop_innermost removes it"):
        mass_models.make("mge", {"drop_innermost": True}, RADII, DISTANCE, TABLE.iloc[:1])


def test_mge_below_its_lowest_inclination_is_nan():
    model = _make("mge")
    lowest = model.stars.lowest_inclination
    assert lowest == pytest.approx(np.degrees(np.arccos(np.sqrt((0.36 - 0.0025) / 0.9975))))  # q_obs = 0.6, Q_MIN = 0.05
    assert bool(model.squared_velocity(_t(inclination=lowest + 0.01))["stars"].isfinite().all())
    assert bool(model.squared_velocity(_t(inclination=lowest - 0.01))["stars"].isnan().all())
    assert bool(model.squared_velocity(_t(inclination=lowest - 0.01))["black_hole"].isfinite().all())
    with pytest.raises(InputError, match=r"priors.inclination .20 to 50 deg.*q_obs = 0.6, needs more than 53"):
        model.check_priors(_ranges(inclination=(20.0, 50.0)))
    model.check_priors(_ranges(inclination=(20.0, 89.0)))


def test_round_gaussians_at_every_inclination():
    model = mass_models.make("mge", {}, RADII, DISTANCE, TABLE.assign(q_obs=1.0))
    flat, tilted = (model.squared_velocity(_t(inclination=i))["stars"] for i in (5.0, 90.0))
    torch.testing.assert_close(flat, tilted, rtol=1e-12, atol=0)


def test_a_black_hole_is_a_point():
    got = _make("nuker").squared_velocity(_t())["black_hole"].numpy()
    np.testing.assert_allclose(got, G * 10**8.07 / RADII, rtol=1e-12)
    assert float(_make("nuker").squared_velocity(_t(log_m_bh=-math.inf))["black_hole"].abs().max()) == 0


def test_gas_is_a_thin_disc_of_that_mass():
    model = _make("nuker", gas_mass=True)
    assert model.names[-3:] == ("log_gas_mass", "scale_length", "distance")
    assert model.units["scale_length"] == "arcsec"
    far = model.enclosed_mass(_t(), [1e5])["gas"]
    scale = 1.3 * 1e6 * DISTANCE * np.pi / 648000
    # 3/4 <r^2> / R^2 of its quadrupole with <r^2> = 6 R_d^2; the next order is 1e-11
    assert float(far) == pytest.approx(1e7 * (1 + 4.5 * (scale / 1e5) ** 2), rel=1e-9)
    expected = velocity.disc_squared(model.radius, *torch.tensor([1e7 / (2 * np.pi * scale**2), scale], dtype=torch.float64))
    torch.testing.assert_close(model.squared_velocity(_t())["gas"], expected, rtol=1e-12, atol=0)
    assert float(_make("nuker").squared_velocity(_t())["gas"].abs().max()) == 0


def test_gas_turns_fastest_where_freeman_says():
    """At 2.15 scale lengths, with 0.88 sqrt(pi G Sigma_0 R_d) (Freeman 1970)."""
    scale = 1.3 * 1e6 * DISTANCE * np.pi / 648000
    v2 = _make("nuker", radius=scale * np.linspace(1.5, 3, 151), gas_mass=True).squared_velocity(_t())["gas"].numpy()
    assert 1.5 + 0.01 * v2.argmax() == pytest.approx(2.15, abs=0.011)
    assert np.sqrt(v2.max() / (np.pi * G * 1e7 / (2 * np.pi * scale))) == pytest.approx(0.88, abs=0.005)  # as it is printed


@pytest.mark.parametrize(("case", "tolerance"), [("mge", 1e-9), ("nuker direct", 2e-4), ("nuker", 4e-3), ("sersic", 1e-3), ("core_sersic", 2e-3)])
def test_distance_scales_as_a_model_made_there(case, tolerance):
    """The angles stay; of the profiles in pc, two places on the grid of Gaussians are compared."""
    nearer, there = 9.0, 9.0 / DISTANCE
    moved = _make(case, gas_mass=True).squared_velocity(_t(distance=nearer))
    made = _make(case, radius=RADII * there, distance=nearer, gas_mass=True).squared_velocity(_t())
    torch.testing.assert_close(moved["stars"], made["stars"], rtol=tolerance, atol=0)
    for name in ("black_hole", "gas"):
        torch.testing.assert_close(moved[name], made[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_batches_vmap_and_shapes(case):
    model, p = _make(case, gas_mass=True), _batch(6)
    batched = model.squared_velocity(p)
    mapped = torch.func.vmap(model.squared_velocity)(p)
    shaped = model.squared_velocity({name: v.reshape(2, 3) for name, v in p.items()})
    for name, v in batched.items():
        assert v.shape == (6, len(RADII))
        torch.testing.assert_close(mapped[name], v, rtol=1e-9, atol=0)  # matrix products in another order, amplitudes of either sign
        torch.testing.assert_close(shaped[name], v.reshape(2, 3, -1), rtol=1e-9, atol=0)
    mixed = model.squared_velocity(_t() | {"log_m_bh": p["log_m_bh"]})
    assert all(v.shape == (6, len(RADII)) for v in mixed.values())
    assert model.squared_velocity(_t())["stars"].shape == (len(RADII),)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_finite_differences(case):
    model = _make(case, radius=[5.0, 40.0, 300.0], gas_mass=True)
    names = model.names
    x = torch.tensor([(TRUTH | {"distance": 11.0})[n] for n in names], dtype=torch.float64)

    def total(x):
        return torch.log(sum(model.squared_velocity(dict(zip(names, x.unbind(-1), strict=True))).values()))

    jacobian = torch.func.jacrev(total)(x)
    for i, name in enumerate(names):
        step = torch.zeros_like(x)
        step[i] = 1e-4 * x[i]
        expected = (total(x + step) - total(x - step)) / (2 * step[i])
        # third derivatives of order one over x^2, and solutions that wander by 1e-8 within the ridge over the step
        torch.testing.assert_close(jacobian[:, i], expected, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    batch = x.expand(3, -1)
    assert bool(torch.func.vmap(torch.func.jacrev(total))(batch).isfinite().all())


@pytest.mark.parametrize("case", CASES)
def test_single_precision_is_close(case):
    double, single = (_make(case, dtype=dtype).squared_velocity(_t()) for dtype in (torch.float64, torch.float32))
    for name, v in single.items():
        assert v.dtype == torch.float32
        torch.testing.assert_close(v.double(), double[name], rtol=1e-4, atol=0)  # amplitudes up to 80 of the local density cancel


def test_other_radii_and_enclosed_mass():
    model = _make("nuker")
    there = model.at([30.0])
    torch.testing.assert_close(there.squared_velocity(_t())["stars"], _make("nuker", radius=[30.0]).squared_velocity(_t())["stars"])
    assert len(model.radius) == len(RADII)
    mass = model.enclosed_mass(_t(distance=9.0), [30.0, 100.0])
    torch.testing.assert_close(mass["black_hole"], torch.full((2,), 10**8.07, dtype=torch.float64), rtol=1e-12, atol=0)
    profile = Nuker(1.45, 1.17, 0.77, 206.7, 10**4.31)
    sphere = model.enclosed_mass(_t(q_intr=1.0), [30.0])["stars"]
    np.testing.assert_allclose(sphere.numpy(), abel.enclosed_mass(profile, 30.0), rtol=2e-3)  # a sphere's is its mass inside


def test_outside_of_what_is_answered_is_nan():
    for case, changed in (
        ("nuker", {"alpha": 0.09}),
        ("nuker", {"gamma": math.nan}),
        ("nuker direct", {"r_break": -1.0}),
        ("nuker", {"r_break": 2001.0}),
        ("nuker", {"r_break": 1900.0, "distance": 10.0}),  # 2166 pc at the nominal distance
        ("nuker", {"q_intr": 0.04}),
        ("nuker", {"q_intr": 1.01}),
        ("sersic", {"sersic_index": 0.5}),
        ("core_sersic", {"r_e": 150.0}),
    ):
        assert bool(_make(case).squared_velocity(_t(**changed))["stars"].isnan().all()), (case, changed)
    one_of_two = _make("nuker direct").squared_velocity(_t() | {"alpha": torch.tensor([1.45, 11.0], dtype=torch.float64)})["stars"]
    assert one_of_two.isnan().all(1).tolist() == [False, True]
    on_edge = _make("nuker").squared_velocity(_t(alpha=0.1, gamma=0.001, beta_minus_gamma=3.0, r_break=2000.0))["stars"]
    assert bool(on_edge.isfinite().all())


def test_priors_beyond_the_box_are_refused_or_clamped_with_a_warning():
    model = _make("nuker")
    model.check_priors(_ranges(alpha=(0.1, 10.0), r_break=(2.0, 2000.0)))
    with pytest.raises(InputError, match=r"priors.r_break runs from 2 to 5000 pc.*answers 2 to 2000 pc; narrow the prior"):
        model.check_priors(_ranges(r_break=(2.0, 5000.0)))
    with pytest.raises(InputError, match=r"priors.r_break runs from"):
        model.check_priors(_ranges(r_break=(2.0, 2000.0), distance=(10.0, 13.0)))
    with pytest.raises(InputError, match=r"priors.distance reaches -inf Mpc; give the normal a low"):
        model.check_priors(_ranges(distance=(-math.inf, math.inf)))
    with pytest.raises(InputError, match=r"priors.q_intr runs from 0.01 to 1, but"):
        model.check_priors(_ranges(q_intr=(0.01, 1.0)))
    clamped = _make("nuker", extrapolate="clamp")
    with pytest.warns(UserWarning, match="the prior of r_break leaves the box"):
        clamped.check_priors(_ranges(r_break=(2.0, 5000.0)))
    beyond, edge = (clamped.squared_velocity(_t(r_break=r))["stars"] for r in (3000.0, 2000.0))
    torch.testing.assert_close(beyond, edge)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clamped.check_priors(_ranges())
    with pytest.raises(InputError, match=r"priors.sersic_index runs from 0.5 to 8"):
        _make("sersic").check_priors(_ranges(sersic_index=(0.5, 8.0)))


def test_what_make_refuses():
    with pytest.raises(InputError, match="mass_model is 'nucker'; it is one of nuker, mge, sersic, core_sersic"):
        mass_models.make("nucker", {}, RADII, DISTANCE)
    with pytest.raises(InputError, match="option metod is unknown; it takes gas_mass, method"):
        mass_models.make("nuker", {"metod": "direct"}, RADII, DISTANCE)
    with pytest.raises(InputError, match="needs the table of an optical MGE"):
        mass_models.make("mge", {}, RADII, DISTANCE)
    with pytest.raises(InputError, match="the distance is -1"):
        mass_models.make("sersic", {}, RADII, -1.0)
    with pytest.raises(InputError, match="option softening_pc is unknown"):  # a fit knows none
        mass_models.make("sersic", {"softening_pc": 1.0}, RADII, DISTANCE)
    for radius in ([0.0, 1.0], [], [math.nan]):
        with pytest.raises(InputError, match="radii must be positive"):
            mass_models.make("sersic", {}, radius, DISTANCE)


def test_every_name_has_a_unit():
    for case in CASES:
        model = _make(case, gas_mass=True)
        assert list(model.units) == list(model.names)
        assert len(set(model.names)) == len(model.names)
