"""The exact expansion: least squares of the relative error, with amplitudes of either sign."""

import torch

from galmass.deprojection import basis as gaussians
from galmass.deprojection.basis import Basis
from galmass.profiles import mge, nuker

RIDGE = 1e-12  # on amplitudes in units of the local surface density: lower ones buy 1e-7 of the profile, and larger amplitudes
CHUNK = 64  # profiles solved at a time: matrices of 4 MB stay in the cache


def solve(basis: Basis, alpha, beta, gamma, r_break):
    """Amplitudes (n, n_gauss) of all Gaussians per unit Sigma_b for Nuker parameters (n, 1), in float64; differentiable.

    With amplitudes ``A_i = Sigma(sigma_i) x_i`` of the core, the sum over the radii of the fit of the squared relative error
    of the surface density plus ``RIDGE |x|^2`` is least. The wings are not fitted: the core takes what they leave.
    """
    kind = alpha.dtype
    parameters = [v.double() for v in (alpha, beta, gamma, r_break)]
    parts = [_solve(basis, *chunk) for chunk in zip(*(v.split(CHUNK) for v in parameters), strict=True)]
    return torch.cat(parts).to(kind)


def _solve(basis: Basis, *parameters):
    core, wings, radii = gaussians.design(basis, parameters[0].device)
    local, at_sigma = gaussians.local_expansion(basis, *parameters)
    outside, at_core = local[:, basis.n_core :], at_sigma[:, : basis.n_core]
    at_radii = torch.exp(nuker.log_surface_density(radii, *parameters))
    wanted = 1 - (outside @ wings) / at_radii
    relative = core.T * at_core[:, None, :] / at_radii[:, :, None]
    normal = relative.mT @ relative + RIDGE * torch.eye(basis.n_core, dtype=core.dtype, device=core.device)
    x = torch.linalg.solve(normal, relative.mT @ wanted[..., None])[..., 0]
    return torch.cat([x * at_core, outside], dim=1)


def relative_error(basis: Basis, amplitudes, radius, *parameters):
    """Sigma_MGE / Sigma - 1 (n, n_radius) in float64 at `radius` (n_radius,) [pc] for Nuker parameters (n, 1)."""
    radius, sigma = (torch.as_tensor(v, dtype=torch.float64) for v in (radius, basis.sigma))
    exact = nuker.log_surface_density(radius, *(v.double() for v in parameters))
    return mge.surface_density(radius, amplitudes.double(), sigma) * torch.exp(-exact) - 1
