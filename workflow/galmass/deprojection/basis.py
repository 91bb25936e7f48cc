"""The Gaussians of the expansion, and their amplitudes where the profile is locally a power law."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import rgamma

from galmass.errors import InputError
from galmass.profiles import mge, nuker

N_INWARD, REACH = 20, 36.0  # points of a quadrature inside the innermost Gaussian, and how many e-folds it reaches
FAR = 120  # steps beyond the last wing: a Gaussian so wide that it is a constant surface density; its mass is out of reach


def _power_law_weights() -> torch.Tensor:
    """Coefficients (DEGREE + 1, 4) in z = s / 2.25 - 1, on DOMAIN, of the factors in `local_amplitudes`: g and its second to fourth derivatives."""
    fitted = Chebyshev.interpolate(lambda s: 2 ** (1 - s / 2) * rgamma(s / 2), DEGREE, domain=DOMAIN)
    derivatives = [fitted, fitted.deriv(2), fitted.deriv(3), fitted.deriv(4)]
    coefficients = torch.zeros(DEGREE + 1, 4, dtype=torch.float64)
    for i, (f, factor) in enumerate(zip(derivatives, FACTORS, strict=True)):
        powers = f.convert(kind=Polynomial, domain=DOMAIN, window=[-1, 1]).coef
        coefficients[: len(powers), i] = torch.from_numpy(powers * factor)
    return coefficients


FACTORS = (1, -1 / 2, 1 / 6, 1 / 8)  # of 1, s', s'' and s'^2
DEGREE, DOMAIN = 12, [0, 4.5]  # steepest slope of the box 4.2; 1e-8 of g, 2e-3 of its fourth derivative, which curvature alone multiplies
WEIGHTS = _power_law_weights()


@dataclass(frozen=True)
class Basis:
    """A log-uniform grid of dispersions: the core, whose amplitudes are fitted, and wings on both sides, whose amplitudes are computed.

    Parameters
    ----------
    n_core : int
        Fitted Gaussians.
    sigma_min, sigma_max : float
        First and last dispersion of the core [pc].
    n_inner, n_outer : int
        Wings, in the steps of the core; the innermost holds also the mass of all that would follow, and one more
        Gaussian far outside holds the constant that all wider ones would add (so ask for the mass inside a radius, never for
        the total). Both 0: no wings at all.

    Raises
    ------
    InputError
        For wings on one side alone.
    """

    n_core: int = 64
    sigma_min: float = 0.22
    sigma_max: float = 2.2e4
    n_inner: int = 24
    n_outer: int = 16

    def __post_init__(self):
        if (self.n_inner > 0) != (self.n_outer > 0):
            raise InputError(f"{self.n_inner} inner and {self.n_outer} outer wings: there are wings on both sides, or none")

    @property
    def step(self) -> float:
        """ln of the ratio of neighbouring dispersions."""
        return math.log(self.sigma_max / self.sigma_min) / (self.n_core - 1)

    @property
    def has_wings(self) -> bool:
        return self.n_inner > 0

    @property
    def index(self) -> np.ndarray:
        """Place of every Gaussian in steps from the first of the core: the core first, then inner and outer wings, nearest first."""
        if not self.has_wings:
            return np.arange(self.n_core)
        inner, outer = -np.arange(1, self.n_inner + 1), self.n_core - 1 + np.arange(1, self.n_outer + 1)
        far = outer[-1:] + FAR
        return np.concatenate([np.arange(self.n_core), inner, outer, far])

    @property
    def sigma(self) -> np.ndarray:
        """Dispersions (n_gauss,) [pc], in the order of `index`."""
        return self.sigma_min * np.exp(self.step * self.index)

    @property
    def radii(self) -> np.ndarray:
        """Radii [pc] of the fit: every half step of the core, so that a profile moved by a step has the same solution moved by one Gaussian."""
        return self.sigma_min * np.exp(self.step / 2 * np.arange(2 * self.n_core - 1))


def local_expansion(basis: Basis, alpha, beta, gamma, r_break):
    """Amplitudes (n, n_gauss) of all Gaussians, in the order of `Basis.sigma`, and the profile (n, n_gauss - 1) at all but the far one.

    The wings as they stay; the core as it were if the slope changed slowly everywhere. Per unit Sigma_b, for Nuker parameters (n, 1).
    """
    ln_sigma, inwards = _places(basis, alpha.dtype, alpha.device)
    amplitudes, density, slope = local_amplitudes(ln_sigma - torch.log(r_break), alpha, beta, gamma, basis.step)
    last, end = basis.n_core + basis.n_inner - 1, basis.n_core + basis.n_inner + basis.n_outer
    if not basis.has_wings:
        return amplitudes, density
    innermost = amplitudes[:, last, None] + amplitudes[:, end:] @ inwards
    far = amplitudes[:, end - 1, None] / torch.expm1(basis.step * slope[:, end - 1, None])
    return torch.cat([amplitudes[:, :last], innermost, amplitudes[:, last + 1 : end], far], dim=1), density[:, :end]


@lru_cache
def _places(basis: Basis, dtype, device):
    """Logarithms of all dispersions but the far one, and of N_INWARD places further in; weights (N_INWARD, 1) of the amplitudes there.

    The weights sum up the mass of all Gaussians inside the innermost, in units of its dispersion squared: Gauss-Legendre in
    the cube root of the distance in ln sigma, since a cusp with 2 - s = 0.1 reaches far and one with 2 - s = 2 does not.
    """
    if not basis.has_wings:
        with torch.inference_mode(False):
            return torch.as_tensor(np.log(basis.sigma), dtype=dtype, device=device), None
    t, weights = np.polynomial.legendre.leggauss(N_INWARD)
    t, weights = (t + 1) / 2, weights / 2
    distance = basis.step / 2 + REACH * t**3  # from half a step on: what the sum over whole steps covers
    ln_sigma = np.log(basis.sigma[:-1])
    places = np.concatenate([ln_sigma, ln_sigma[basis.n_core + basis.n_inner - 1] - distance])
    inwards = weights * 3 * REACH * t**2 * np.exp(-2 * distance) / basis.step
    with torch.inference_mode(False):  # kept for callers that want gradients
        return torch.as_tensor(places, dtype=dtype, device=device), torch.as_tensor(inwards[:, None], dtype=dtype, device=device)


def local_amplitudes(ln_x, alpha, beta, gamma, step: float):
    """Amplitudes of Gaussians at x = sigma / r_b that make up a Nuker profile whose slope changes slowly; its density and slope.

    Notes
    -----
    A power law is ``r^-s = g(s) int dln(sigma) sigma^-s exp(-r^2 / 2 sigma^2)`` with ``g(s) = 2^(1 - s/2) / Gamma(s/2)``, so the
    amplitudes of any profile are ``G(D) Sigma`` with D = dln / dln(sigma) and G(-s) = g(s). For Sigma = exp(L), L' = -s, the
    expansion of that operator in derivatives of the slope is ``exp(L) [g - g'' s' / 2 + g''' s'' / 6 + g'''' s'^2 / 8 + ...]``.
    The trapezoidal rule in ln sigma with the `step` 0.18 leaves exp(-pi^2 / 2 step) = 2e-12.
    """
    rise = torch.sigmoid(alpha * ln_x)
    slope = torch.addcmul(gamma, beta - gamma, rise)
    slope1 = alpha * (beta - gamma) * (rise - rise**2)
    slope2 = alpha * slope1 * (1 - 2 * rise)
    plain, first, second, square = _polynomials(slope)
    density = torch.exp(nuker.log_density_at(ln_x, alpha, beta, gamma))
    return density * (plain + first * slope1 + second * slope2 + square * slope1**2) * step, density, slope


def _polynomials(slope):
    """The four functions of WEIGHTS at `slope` (...), (4, ...), by Horner's rule."""
    z = slope / 2.25 - 1
    first, *others = _coefficients(z.dtype, z.device, z.ndim)
    value = first
    for c in others:
        value = torch.addcmul(c, value, z)
    return value


@lru_cache
def _coefficients(dtype, device, ndim: int):
    """WEIGHTS, highest power first, each ready to broadcast."""
    with torch.inference_mode(False):
        return WEIGHTS.flip(0).to(dtype=dtype, device=device).reshape(DEGREE + 1, 4, *[1] * ndim).unbind(0)


@lru_cache
def design(basis: Basis, device):
    """Gaussians of the core and of the wings at the radii of the fit, float64 (n_core, n_radius) and (n_wing, n_radius), and their radii."""
    with torch.inference_mode(False):
        radii, sigma = (torch.as_tensor(v, device=device) for v in (basis.radii, basis.sigma))
        return *mge.gaussians(radii, sigma).tensor_split([basis.n_core]), radii
