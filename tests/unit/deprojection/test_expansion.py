"""The public interface: shapes, precision, gradients, and what it refuses."""

import warnings

import numpy as np
import pytest
import torch

from galmass import deprojection
from galmass.deprojection import direct, expansion, models
from galmass.discs import velocity
from galmass.errors import InputError
from galmass.profiles import mge

from .conftest import column

SANE = {"alpha": 1.5, "beta": 1.6, "gamma": 0.7, "r_break": 150.0}


@pytest.fixture(scope="module", params=expansion.METHODS)
def either(request):
    return deprojection.load(method=request.param)


@pytest.fixture(scope="module")
def surrogate():
    return deprojection.load()


@pytest.fixture(scope="module", params=expansion.METHODS)
def clamping(request):
    return deprojection.load(method=request.param, extrapolate="clamp")


def surface_density(deprojection_, radii, *parameters):
    return mge.surface_density(radii, deprojection_(*parameters).double(), deprojection_.sigma)


# --- what it answers


def test_gaussians_are_the_64_and_then_the_wings(either, basis):
    assert either.n_core == 64
    assert either.sigma.dtype == torch.float64
    np.testing.assert_array_equal(either.sigma, basis.sigma)


def test_both_ways_are_the_profile(either, surface_radii):
    expected = torch.exp(expansion.nuker.log_surface_density(surface_radii, *SANE.values()))
    found = surface_density(either, surface_radii, *column(*SANE.values()))[0, 0]
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)  # ten times the median of the surrogate, 99 % of profiles


def test_committed_weights_are_the_default(surrogate):
    named = deprojection.load(models.COMMITTED)
    assert torch.equal(named(*column(*SANE.values())), surrogate(*column(*SANE.values())))


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,)])
def test_shape_is_that_of_the_parameters(either, shape):
    found = either(*(torch.full(shape, v, dtype=torch.float64) for v in SANE.values()))
    assert found.shape == (*shape, len(either.sigma))


def test_parameters_broadcast(either):
    alpha, r_break = torch.tensor([[0.5], [1.5], [4.0]], dtype=torch.float64), torch.tensor([20.0, 150.0], dtype=torch.float64)
    found = either(alpha, 1.6, 0.7, r_break)
    assert found.shape == (3, 2, len(either.sigma))
    for i, k in np.ndindex(3, 2):
        one = either(alpha[i, 0], 1.6, 0.7, r_break[k])
        radii = torch.tensor([3.0, 90.0, 2e3], dtype=torch.float64)
        both = (mge.surface_density(radii, a, either.sigma) for a in (found[i, k], one))
        torch.testing.assert_close(*both, rtol=1e-7, atol=0)  # float64; batches sum in another order


def test_scalars_arrays_and_tensors_give_the_same(either):
    tensors = either(*(torch.tensor([v], dtype=torch.float64) for v in SANE.values()))
    arrays = either(*(np.array([v]) for v in SANE.values()))
    scalars = either(**SANE)
    mixed = either(torch.tensor([1.5], dtype=torch.float64), 1.6, 0.7, 150)
    assert tensors.dtype == arrays.dtype == scalars.dtype == torch.float64
    assert torch.equal(tensors, arrays)
    assert torch.equal(tensors[0], scalars)
    assert torch.equal(tensors, mixed)


def test_float32_in_float32_out(either, draw, surface_radii):
    parameters = draw(300)
    single = either(*(p.float() for p in parameters))
    assert single.dtype == torch.float32
    exact = surface_density(either, surface_radii, *parameters)
    found = mge.surface_density(surface_radii, single.double(), either.sigma)
    ratio = (found / exact - 1).abs()
    # amplitudes are differences about ten times the profile; exponents of up to 40 round to 5e-6, parameters to 6e-8 times them
    assert ratio.max() < 3e-4
    assert ratio.median() < 3e-6


def test_numpy_float32_stays_float32(surrogate):
    assert surrogate(*(np.float32([v]) for v in SANE.values())).dtype == torch.float32


# --- gradients


def test_gradients_of_the_surrogate_agree_with_finite_differences(surrogate):
    leaves = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (1.5, 1.6, 0.7, 150.0)]
    assert torch.autograd.gradcheck(lambda *p: surrogate(*p)[..., :104], leaves, eps=1e-5, atol=1e-4, rtol=1e-4)  # eps^2 f''' / 6


def test_gradients_of_the_profile_are_those_of_nuker(either, surface_radii):
    for radius in surface_radii[::80]:
        leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in SANE.values()]
        found = torch.log(mge.surface_density(radius[None], either(*leaves), either.sigma)).sum()
        exact = expansion.nuker.log_surface_density(radius, *leaves)
        for a, b, scale in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(exact, leaves), (1.0, 1.0, 1.0, 1e-2), strict=True):
            # errors of 2e-4 that change over a tenth of the box, in alpha and slopes; d ln Sigma / d ln r_break is of order 1
            assert abs(a - b) < 2e-2 * scale


def test_amplitudes_stand_inside_vmap(either, draw):
    parameters = [p[:, :, None] for p in draw(6)]
    found = torch.func.vmap(either.amplitudes)(*parameters)
    expected = either.amplitudes(*(p[:, :, 0] for p in parameters))
    radii = torch.tensor([3.0, 90.0, 2e3], dtype=torch.float64)
    torch.testing.assert_close(*(mge.surface_density(radii, a, either.sigma) for a in (found[:, 0], expected)), rtol=1e-7, atol=0)  # order of sums


def test_jacobian_by_torch_func(surrogate):
    jacobian = torch.func.jacfwd(surrogate.amplitudes, argnums=3)(*column(*SANE.values()))[0, :, 0, 0]
    leaf = column(*SANE.values())
    leaf[3].requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate(*leaf)[0, 0].sum(), leaf[3])
    assert float(jacobian.sum()) == pytest.approx(float(gradient), rel=1e-6, abs=1e-9)  # a sum of 105 of either sign


# --- profiles of infinite mass


@pytest.mark.parametrize("beta", [1.0, 1.6, 2.0, 2.0000001])
def test_density_and_velocity_stay_finite_where_the_mass_does_not(either, beta):
    radii = torch.logspace(0, 4, 41, dtype=torch.float64)
    amplitudes = either(1.5, beta, 0.5, 100.0)
    density = mge.density(radii, amplitudes, either.sigma)
    speed = velocity.circular_velocity(radii, amplitudes, either.sigma, 0.6, 1.0, -np.inf, 0.0)
    assert ((density > 0) & torch.isfinite(density)).all()
    assert ((speed > 0) & torch.isfinite(speed)).all()


# --- refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.09}, r"alpha is 0\.09, outside the box of the deprojection, 0\.1 to 10;"),
        ({"alpha": 10.1}, r"alpha is 10\.1, outside"),
        ({"gamma": 1.21, "beta": 2.0}, r"gamma is 1\.21, outside the box of the deprojection, 0\.001 to 1\.2;"),
        ({"gamma": 0.0, "beta": 1.0}, r"gamma is 0, outside"),
        ({"beta": 0.9}, r"beta_minus_gamma is 0\.2, outside the box of the deprojection, 0\.3 to 3;"),
        ({"beta": 3.8}, r"beta_minus_gamma is 3\.1, outside"),
        ({"r_break": 1.9}, r"r_break is 1\.9 pc, outside the box of the deprojection, 2 to 2000 pc;"),
        ({"r_break": 2100.0}, r"r_break is 2100 pc, outside"),
    ],
)
def test_outside_the_box_is_refused(either, change, message):
    with pytest.raises(InputError, match=message + r".*|" + message):
        either(**(SANE | change))


def test_refusal_names_the_remedy_and_the_first_outside(either):
    with pytest.raises(InputError, match=r"r_break is 3000 pc.*narrow the prior, or set deprojection\.extrapolate: clamp"):
        either(1.5, 1.6, 0.7, np.array([100.0, 3000.0, 4000.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_corners_of_the_box_are_inside(either, dtype):
    """In float32 beta - gamma comes back as 0.30000001 or 2.9999998."""
    corners = torch.cartesian_prod(*(torch.tensor(models.BOX[n], dtype=dtype) for n in ("alpha", "gamma", "beta_minus_gamma", "r_break")))
    alpha, gamma, delta, r_break = corners.unbind(1)
    assert torch.isfinite(either(alpha, gamma + delta, gamma, r_break)).all()


@pytest.mark.parametrize("name", SANE)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(either, clamping, name, value):
    for deprojection_ in (either, clamping):
        with pytest.raises(InputError, match=f"Nuker profile: {name} is {value}; it must be a finite number"):
            deprojection_(**(SANE | {name: value}))


@pytest.mark.parametrize("beta", [0.7, 0.5])
def test_a_profile_that_does_not_steepen_is_refused(either, clamping, beta):
    for deprojection_ in (either, clamping):
        with pytest.raises(InputError, match=r"beta - gamma is .*; it must be above 0"):
            deprojection_(**(SANE | {"beta": beta}))


@pytest.mark.parametrize(("name", "value"), [("r_break", 0.0), ("r_break", -5.0), ("alpha", -1.0)])
def test_a_negative_size_is_refused(clamping, name, value):
    with pytest.raises(InputError, match=f"{name} is {value:g}; it must be above 0"):
        clamping(**(SANE | {name: value}))


@pytest.mark.parametrize(
    ("change", "edge"),
    [
        ({"alpha": 12.0}, {"alpha": 10.0}),
        ({"alpha": 0.05}, {"alpha": 0.1}),
        ({"beta": 4.7}, {"beta": 3.7}),
        ({"beta": 0.8}, {"beta": 1.0}),
        ({"r_break": 1.0}, {"r_break": 2.0}),
        ({"r_break": 5e3}, {"r_break": 2e3}),
        ({"gamma": 1.4, "beta": 2.4}, {"gamma": 1.2, "beta": 2.2}),
    ],
)
def test_clamping_takes_the_edge(clamping, change, edge):
    with pytest.warns(UserWarning, match="1 of 1 Nuker profiles lie outside the box and were moved to its edge"):
        moved = clamping(**(SANE | change))
    radii = torch.tensor([3.0, 90.0, 2e3], dtype=torch.float64)
    both = (mge.surface_density(radii, a, clamping.sigma) for a in (moved, clamping(**(SANE | edge))))
    torch.testing.assert_close(*both, rtol=1e-8, atol=0)  # beta - gamma rounds before it is clamped


def test_clamping_counts_profiles_not_parameters(clamping):
    with pytest.warns(UserWarning, match="2 of 4 Nuker profiles"):
        clamping(np.array([1.5, 11.0, 2.0, 12.0]), 1.6, 0.7, np.array([150.0, 3000.0, 20.0, 20.0]))


def test_the_warning_points_at_the_caller(clamping):
    with pytest.warns(UserWarning, match="lie outside") as caught:
        clamping(**(SANE | {"alpha": 12.0}))
    assert caught[0].filename == __file__


def test_clamping_says_nothing_inside(clamping):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clamping(**SANE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "exact"}, r"deprojection\.method is 'exact'; it is one of surrogate, direct"),
        ({"extrapolate": "yes"}, r"deprojection\.extrapolate is 'yes'; it is error or clamp"),
        ({"path": "w.safetensors", "method": "direct"}, r"direct takes no weights, but w\.safetensors is given"),
        ({"path": "/nowhere/w.safetensors"}, r"/nowhere/w\.safetensors is no safetensors file"),
    ],
)
def test_load_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        deprojection.load(**arguments)


def test_direct_answers_as_the_solver(basis, draw):
    parameters = draw(5)
    assert torch.equal(deprojection.load(method="direct")(*(p[:, 0] for p in parameters)), direct.solve(basis, *parameters))


def test_dtypes_are_promoted(surrogate):
    mixed = surrogate(torch.tensor(1.5, dtype=torch.float32), torch.tensor(1.6, dtype=torch.float64), 0.7, 150.0)
    assert mixed.dtype == torch.float64


def test_other_dtypes_are_refused(surrogate):
    with pytest.raises(InputError, match="float32 or float64 is needed"):
        surrogate(*(torch.tensor(v, dtype=torch.bfloat16) for v in (1.0, 2.0, 0.5, 128.0)))


def test_inference_mode_leaves_nothing_behind(either):
    """What is kept between calls may first have been made where no gradients are wanted."""
    with torch.inference_mode():
        deprojection.load()(*column(*SANE.values()))
        either(*column(*SANE.values()))
    leaves = [v.requires_grad_() for v in column(*SANE.values())]
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(either(*leaves).sum(), leaves))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_what_the_cpu_gives(either, draw):
    parameters = draw(100)
    on_gpu = either(*(p.cuda() for p in parameters))
    assert on_gpu.device.type == "cuda"
    torch.testing.assert_close(on_gpu.cpu(), either(*parameters), rtol=1e-6, atol=1e-9)  # float64 sums in another order, condition 1e3
