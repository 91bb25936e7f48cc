"""Circular velocity in the plane of a galaxy: stars as a sum of Gaussians, a black hole, a disc of gas.

With the homoeoid integral (Binney & Tremaine 2008, eq. 2.132; Cappellari 2002) and ``x = R / sigma``, ``e^2 = 1 - q^2``

    v_stars^2 = sqrt(8 pi) G q_obs R sum_i A_i L(R / sigma_i),    L(x) = x int_0^1 t^2 exp(-x^2 t^2 / 2) / sqrt(1 - e^2 t^2) dt.

L rises as x, falls as 1 / x^2: nothing overflows in float32 for sigma up to 1e16 pc. `squared_velocity` sums it as it stands and is
differentiable in everything; `VelocityTable` knows sigma beforehand and is 10 to 100 times faster. Tensors in, tensors out; amplitudes
(..., n_gauss), other parameters (...) or scalars, radii (n_radius,) to the last axis; all take dtype and device of `amplitudes`.
"""

import math
from functools import lru_cache, partial

import numpy as np
import torch

from galmass.errors import InputError
from galmass.profiles.mge import observed_axial_ratio
from galmass.units import G

CUT = 8.0  # R / sigma beyond which t stops at CUT / x: exp(-32) = 1e-14 of the Gaussian is left
N_NODES = 32  # the positive half of a rule of 64: all integrands are even
STEP = 0.07  # largest step in ln R of the grid of a VelocityTable
POINTS = 10  # of that grid in one local polynomial
MIN_SPACING = 0.02  # of ln sigma: a finer common grid would need more ratios than it saves
SAME = 3e-7  # in ln sigma, what float32 cannot tell apart
FAR = 20.0  # R / 2 R_d: beyond, the Bessel functions of the disc cancel by FAR^2 and their series is exact to exp(-2 FAR)


def circular_velocity(radius, amplitudes, sigma, q_intr, inclination, log_m_bh, softening, gas_surface_density=None, gas_scale=None):
    """Circular velocity (..., n_radius) [km/s], ``v^2 = v_stars^2 + G M R^2 / (R^2 + eps^2)^(3/2) + v_gas^2``.

    Parameters
    ----------
    radius : (n_radius,) tensor
        [pc], > 0.
    amplitudes : (..., n_gauss) tensor
        Observed peak surface densities [M_sun / pc^2], of either sign.
    sigma : (n_gauss,) tensor
        Dispersions of the Gaussians along the projected major axis [pc].
    q_intr, inclination : float or (...) tensor
        Intrinsic axial ratio, 0 < q <= 1 (oblate); inclination [rad], 0 is face-on.
    log_m_bh, softening : float or (...) tensor
        log10 of the black-hole mass [M_sun], -inf for none; softening length eps [pc].
    gas_surface_density, gas_scale : float or (...) tensor, optional
        Central surface density [M_sun / pc^2] and scale length [pc] of a thin exponential disc; both or neither.

    Raises
    ------
    InputError
        For values outside these ranges, NaN, or shapes that do not fit.

    Notes
    -----
    Where amplitudes of mixed sign make v^2 <= 0 the velocity is 0 and so is its gradient. Checks look at values, so this
    function cannot stand inside ``torch.func.vmap``; `squared_velocity`, `VelocityTable` and `speed` can. Unless gradients of
    sigma are wanted, v_stars comes from a cached `VelocityTable` (see there for its error).
    """
    amplitudes = _float_tensor(amplitudes)
    radius, sigma, *parameters = _like(amplitudes, radius, sigma, q_intr, inclination, log_m_bh, softening)
    gas = _gas(amplitudes, gas_surface_density, gas_scale)
    _check(radius, amplitudes, sigma, *parameters)
    table = None if sigma.requires_grad else _table_for(radius, sigma)
    return speed(squared_velocity(radius, amplitudes, sigma, *parameters, *gas, table=table))


def squared_velocity(radius, amplitudes, sigma, q_intr, inclination, log_m_bh, softening, gas_surface_density=None, gas_scale=None, table=None):
    """v^2 (..., n_radius) [km^2/s^2] without checks, negative where the amplitudes say so; arguments of `circular_velocity`.

    `table` is a `VelocityTable` of `sigma`; without one the stars take n_gauss * n_radius * 32 exponentials.
    """
    radius, sigma, q_intr, inclination = _like(amplitudes, radius, sigma, q_intr, inclination)
    gaussians = table or partial(stars_squared, sigma=sigma)
    total = gaussians(radius, amplitudes, q_intr=q_intr, inclination=inclination) + black_hole_squared(radius, *_like(amplitudes, log_m_bh, softening))
    if gas_scale is None:
        return total
    return total + disc_squared(radius, *_like(amplitudes, gas_surface_density, gas_scale))


def speed(v2):
    """Square root of `v2`; 0 with a gradient of 0 where it is zero or negative, NaN where it is NaN."""
    nothing = v2 <= 0
    return torch.where(nothing, 0, torch.sqrt(torch.where(nothing, 1, v2)))


def stars_squared(radius, amplitudes, sigma, q_intr, inclination):
    """v^2 (..., n_radius) [km^2/s^2] of the Gaussians; tensors of one dtype, unchecked."""
    values = kernel(radius / sigma[:, None], q_intr[..., None, None])
    return _scale(q_intr, inclination) * radius * _weighted_sum(amplitudes, values)


def black_hole_squared(radius, log_m_bh, softening):
    """``G M R^2 / (R^2 + eps^2)^(3/2)``, (..., n_radius) [km^2/s^2]."""
    return G * torch.pow(10.0, log_m_bh[..., None]) / radius * (1 + (softening[..., None] / radius) ** 2) ** -1.5


def disc_squared(radius, surface_density, scale):
    """v^2 (..., n_radius) [km^2/s^2] of a thin exponential disc, ``4 pi G Sigma_0 R_d y^2 [I0 K0 - I1 K1](y)``, ``y = R / 2 R_d`` (Freeman 1970)."""
    # float64 throughout: the difference cancels by y^2
    shape = _freeman((0.5 * radius / scale[..., None]).double()).to(radius.dtype)
    return 4 * math.pi * G * (surface_density * scale)[..., None] * shape


def kernel(x, q_intr):
    """L(`x`; q), see the module; broadcasts, differentiable in both, relative error in float64 below 4e-11 for q >= 0.05, 1e-8 at q = 0.02."""
    weights, square, rest = _integrand(x)
    return (weights * torch.rsqrt(rest + q_intr[..., None] ** 2 * square)).sum(-1)


def _integrand(x):
    """Quadrature of L at `x`: weights, t^2 and 1 - t^2, each (..., N_NODES); ``1 - e^2 t^2 = (1 - t^2) + q^2 t^2``."""
    square, rest, weights = (torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in _nodes())
    cut = torch.clamp(CUT / x, max=1)[..., None]
    reach = torch.clamp(x, max=CUT)[..., None]
    return reach * cut**2 * weights * torch.exp(-0.5 * reach**2 * square), cut**2 * square, (1 - cut**2) + cut**2 * rest


@lru_cache
def _nodes():
    """t^2, 1 - t^2 and weights times t^2 of a Gauss-Legendre rule in s, ``t = s (3 - s^2) / 2``.

    dt/ds vanishes at t = 1, so the root of 1 - e^2 t^2 stays 0.6 q away from the interval in s (0.5 q^2 in t).
    """
    s, weights = (v[N_NODES:] for v in np.polynomial.legendre.leggauss(2 * N_NODES))
    t = s * (3 - s**2) / 2
    return t**2, (1 - s**2) ** 2 * (4 - s**2) / 4, weights * 1.5 * (1 - s**2) * t**2


def _scale(q_intr, inclination):
    return math.sqrt(8 * math.pi) * G * observed_axial_ratio(q_intr, inclination)[..., None]


def _weighted_sum(amplitudes, values):
    """Sum over the Gaussians: (..., n_gauss) with (..., n_gauss, n) or (n_gauss, n)."""
    if values.ndim == 2:
        return amplitudes @ values
    return (amplitudes[..., None, :] @ values)[..., 0, :]


class VelocityTable:
    """v_stars^2 for fixed `sigma` at any radii between `r_min` and `r_max`, differentiable in all but sigma.

    The sum over the Gaussians is taken on a grid of ln R whose step divides the spacing of ln sigma, where L is needed for a few
    hundred ratios R / sigma only, and read by local polynomials of degree 9. A sigma on no common grid costs n_gauss times the ratios.
    The polynomials leave less than 6e-8 of ``sqrt(8 pi) G q_obs R sum |A L|``, which is v^2 where no amplitude is negative (tested); float32
    adds 3e-6 of it.

    Parameters
    ----------
    sigma : (n_gauss,) tensor or array
        [pc].
    r_min, r_max : float
        Range of radii [pc]; outside it the result is NaN.
    dtype, device
        Of the tensors it will be called with.
    """

    def __init__(self, sigma, r_min: float, r_max: float, dtype=torch.float64, device="cpu"):
        ln_sigma = np.log(np.asarray(torch.as_tensor(sigma).detach().cpu(), dtype=float))
        self.step, position = _common_grid(ln_sigma)
        ln_r, self.centre = _ln_radii(r_min, r_max, self.step)
        ln_x, index = _distinct(ln_r[None, :] - ln_sigma[:, None], position)
        constants = (*_integrand(torch.as_tensor(np.exp(ln_x))), torch.as_tensor(_lagrange()))
        self.weights, self.square, self.rest, self.polynomials = (v.to(device, dtype) for v in constants)
        self.index, self.n = torch.as_tensor(index, device=device), len(ln_r)
        # what Tensor.unfold gives; that has no batching rule for its derivative
        self.windows = (torch.arange(self.n - POINTS + 1)[:, None] + torch.arange(POINTS)).ravel().to(device)

    def __call__(self, radius, amplitudes, q_intr, inclination):
        """v^2 (..., n_radius) [km^2/s^2] at `radius` (n_radius,); tensors of one dtype, unchecked, fit for ``torch.func.vmap``."""
        ratios = (self.weights * torch.rsqrt(self.rest + q_intr[..., None, None] ** 2 * self.square)).sum(-1)
        values = torch.index_select(ratios, -1, self.index).unflatten(-1, (-1, self.n))
        return _scale(q_intr, inclination) * radius * self._read(radius, _weighted_sum(amplitudes, values))

    def _read(self, radius, values):
        """`values` (..., n) on the grid at `radius` by the polynomial through the POINTS around it."""
        place = torch.log(radius / self.centre) / self.step + (self.n - POINTS) / 2
        cell = place.detach().round().clamp(0, self.n - POINTS)
        local = place - cell
        windows = torch.index_select(values, -1, self.windows).unflatten(-1, (-1, POINTS))
        coefficients = torch.index_select(windows @ self.polynomials, -2, cell.long())
        result = coefficients[..., -1]
        for k in range(2, POINTS + 1):
            result = result * local + coefficients[..., -k]
        return torch.where(local.abs() <= 1, result, torch.nan)


def _common_grid(ln_sigma):
    """Step of the radii, at most STEP, and how many steps each sigma lies above the smallest; None where no grid of ln sigma exists."""
    above = ln_sigma - ln_sigma.min()
    gaps = np.diff(np.sort(above))
    gaps = gaps[gaps > SAME]
    if len(gaps) == 0:
        return STEP, np.zeros(len(above), int)
    number = np.rint(above / gaps.min())
    spacing = (above @ number) / (number @ number)
    if spacing < MIN_SPACING or np.abs(above - number * spacing).max() > SAME:
        return STEP, None
    per_spacing = math.ceil(spacing / STEP)
    return spacing / per_spacing, number.astype(int) * per_spacing


def _ln_radii(r_min, r_max, step):
    """Uniform ln R with half a polynomial and one cell to spare at either end, and the radius [pc] in its middle."""
    centre = math.sqrt(r_min) * math.sqrt(r_max)
    n = math.ceil(math.log(r_max / r_min) / step) + POINTS + 2
    return math.log(centre) + step * (np.arange(n) - (n - 1) / 2), centre


def _distinct(ln_x, position):
    """The distinct values of `ln_x` (n_gauss, n) and the index of each entry, for sigma at the grid `position` (None: all distinct)."""
    keys = np.arange(ln_x.size) if position is None else (np.arange(ln_x.shape[1]) - position[:, None]).ravel()
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return ln_x.ravel()[first], index


def _lagrange():
    """(POINTS, POINTS): values at neighbouring points -> coefficients of the polynomial in the distance from their middle."""
    return np.linalg.inv(np.vander(np.arange(POINTS) - (POINTS - 1) / 2, increasing=True)).T


def _table_for(radius, sigma):
    """Table of whole e-folds around the radii, so that slightly different radii meet the same one."""
    r_min, r_max = (float(r) for r in torch.aminmax(radius.detach()))
    ln_min, ln_max = math.floor(math.log(r_min)), math.ceil(math.log(r_max))
    return _cached_table(tuple(sigma.tolist()), ln_min, max(ln_max, ln_min + 1), sigma.dtype, sigma.device)


@lru_cache(maxsize=32)
def _cached_table(sigma, ln_min, ln_max, dtype, device):
    with torch.inference_mode(False):  # kept for callers that want gradients
        return VelocityTable(torch.tensor(sigma, dtype=torch.float64), math.exp(ln_min), math.exp(ln_max), dtype, device)


def _freeman(y):
    """``y^2 [I0 K0 - I1 K1](y)`` in float64."""
    near, far = y.clamp(max=FAR), y.clamp(min=FAR)
    bessel = torch.special.i0e(near) * _ScaledK0.apply(near) - torch.special.i1e(near) * _ScaledK1.apply(near)
    series = sum(c * far ** (1 - 2 * k) for k, c in enumerate(_far_coefficients()))
    return torch.where(y < FAR, near**2 * bessel, series)


@lru_cache
def _far_coefficients(terms=14):
    """Coefficients of y^(1 - 2k) in ``y^2 [I0 K0 - I1 K1]``; I_n K_n after DLMF 10.40.6 with mu = 4 n^2."""
    product, coefficients = [1.0, 1.0], [0.0]
    for k in range(1, terms):
        product = [-p * (2 * k - 1) / (2 * k) * (mu - (2 * k - 1) ** 2) / 4 for p, mu in zip(product, (0, 4), strict=True)]
        coefficients.append((product[0] - product[1]) / 2)
    return tuple(coefficients)


class _OfOneTensor(torch.autograd.Function):
    """A function whose derivative follows from its argument."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)


class _ScaledK0(_OfOneTensor):
    """``e^y K0(y)``, with the derivative that torch lacks."""

    @staticmethod
    def forward(y):
        return torch.special.scaled_modified_bessel_k0(y)

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (_ScaledK0.apply(y) - _ScaledK1.apply(y))


class _ScaledK1(_OfOneTensor):
    """``e^y K1(y)``, with the derivative that torch lacks."""

    @staticmethod
    def forward(y):
        return torch.special.scaled_modified_bessel_k1(y)

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (_ScaledK1.apply(y) * (1 - 1 / y) - _ScaledK0.apply(y))


def _float_tensor(values):
    values = torch.as_tensor(values)
    return values if values.is_floating_point() else values.double()


def _like(amplitudes, *values):
    return [torch.as_tensor(v, dtype=amplitudes.dtype, device=amplitudes.device) for v in values]


def _gas(amplitudes, surface_density, scale):
    """Both as checked tensors, or nothing."""
    if surface_density is None and scale is None:
        return []
    if surface_density is None or scale is None:
        raise InputError("circular velocity: gas_surface_density and gas_scale belong together; give both or neither")
    surface_density, scale = _like(amplitudes, surface_density, scale)
    _require("gas_surface_density", surface_density, abs(surface_density) < math.inf, "a finite number [M_sun / pc^2]")
    _require("gas_scale", scale, (scale > 0) & (scale < math.inf), "positive and finite [pc]")
    return [surface_density, scale]


def _check(radius, amplitudes, sigma, q_intr, inclination, log_m_bh, softening) -> None:
    """Raise `InputError` for the first argument that is no galaxy's."""
    if radius.ndim != 1 or sigma.ndim != 1 or amplitudes.shape[-1:] != sigma.shape or not radius.numel() or not sigma.numel():
        shapes = ", ".join(f"{n} {tuple(v.shape)}" for n, v in (("radius", radius), ("amplitudes", amplitudes), ("sigma", sigma)))
        raise InputError(f"circular velocity: the shapes are {shapes}; they must be (n_radius,), (..., n_gauss), (n_gauss,)")
    _require("radius", radius, (radius > 0) & (radius < math.inf), "positive and finite [pc]")
    _require("amplitudes", amplitudes, abs(amplitudes) < math.inf, "a finite number [M_sun / pc^2]")
    _require("sigma", sigma, (sigma > 0) & (sigma < math.inf), "positive and finite [pc]")
    _require("q_intr", q_intr, (q_intr > 0) & (q_intr <= 1), "above 0 and at most 1")
    # float32 rounds pi / 2 up
    _require("inclination", inclination, (inclination >= 0) & (inclination <= math.pi / 2 + 1e-6), "within 0 and pi / 2 [rad]")
    _require("log_m_bh", log_m_bh, log_m_bh < math.inf, "a number, or -inf for none [log10 M_sun]")
    _require("softening", softening, (softening >= 0) & (softening < math.inf), "0 or above and finite [pc]")


def _require(name: str, values, fine, wanted: str) -> None:
    """Name the first value that is not fine; NaN never is."""
    if not bool(fine.all()):
        raise InputError(f"circular velocity: {name} is {float(values[~fine].reshape(-1)[0]):g}; it must be {wanted}")
