"""A network for the part of the expansion that the local slope does not say.

An infinite log-uniform grid of Gaussians has no place of its own: moving the break by one step moves the solution by one
Gaussian. So the correction to the local expansion, as a fraction of the local surface density, is a function of alpha,
beta - gamma, gamma and the place of the break between two Gaussians (*phase*) alone. The network learns that function on a window
of Gaussians about the break that covers the core for every break radius of the box.

Where the break passes half-way between two Gaussians the window moves by one, and the profile jumps by what the network has not learnt:
4e-5 of Sigma in the median, 1e-3 at the sharpest breaks.
"""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from galmass.deprojection.basis import Basis, local_amplitudes, local_expansion
from galmass.profiles import nuker

MARGIN = 3  # steps that the radii of the exact solution go beyond the window
BEYOND = 60  # steps of local expansion around the window: a grid without ends
RIDGE = 1e-11  # on the correction at the break; it rises with the distance in steps, (1 + (k / 3)^6), where sharp breaks want nothing
FLOOR = 1e-9  # added to the mean normal matrix before its Cholesky factor is taken
N_WAVE = 4  # of the phase, with periods of two steps and less
N_FEATURE = 5 + 2 * N_WAVE
START = 10.2  # bias of the paper network's last layer under symexp, 64 amplitudes of 1/64: about 0 it has no slope


class Correction(nn.Module):
    """(alpha, beta - gamma, gamma, phase) -> corrections of the window, whitened.

    Parameters
    ----------
    n_out : int
        Gaussians of the window.
    width, depth : int
        Of the residual blocks.
    """

    def __init__(self, n_out: int, width: int, depth: int):
        super().__init__()
        self.first = nn.Linear(N_FEATURE, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, n_out)

    def forward(self, features):
        hidden = nn.functional.silu(self.first(features))
        for block in self.blocks:
            hidden = hidden + nn.functional.silu(block(hidden))
        return self.last(hidden)


def features(alpha, delta, gamma, phase):
    """What the network sees, (n, N_FEATURE): the parameters in units of the paper's box, and waves of the phase with a period of two steps.

    The phase is not periodic: at its end the window moves by one.
    """
    centre, scale, waves = _constants(phase.dtype, phase.device)
    angles = phase * waves
    plain = (torch.cat([torch.log10(alpha), alpha, delta, gamma, phase], dim=1) - centre) * scale
    return torch.cat([plain, torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)], dim=1)


@lru_cache
def _constants(dtype, device):
    """Centre and inverse half width of the box in lg alpha, alpha, beta - gamma, gamma and phase; wave numbers of the phase."""
    values = [0.0, 5.0, 1.65, 0.6, 0.0], [1.0, 1 / 5, 1 / 1.35, 1 / 0.6, 2.0], [math.pi * k for k in range(1, N_WAVE + 1)]
    with torch.inference_mode(False):  # kept for callers that want gradients
        return tuple(torch.tensor(v, dtype=dtype, device=device) for v in values)


def place(basis: Basis, r_break):
    """Step of the core nearest to the break (n, 1), integer, and what is left, the phase, from -0.5 to 0.5 steps."""
    steps = (torch.log(r_break) - math.log(basis.sigma_min)) / basis.step
    nearest = torch.round(steps).detach()
    return nearest.long(), steps - nearest


def window(basis: Basis, r_break_range) -> torch.Tensor:
    """Positions of the Gaussians, in steps from the one nearest to the break, that reach both ends of the core for all break radii."""
    first, last = (round(math.log(r / basis.sigma_min) / basis.step) for r in r_break_range)
    return torch.arange(-last, basis.n_core - first)


def endless_system(step: float, positions, alpha, beta, gamma, phase):
    """Relative Gaussians (n, n_radius, n_window) of the window and what the local expansion leaves (n, n_radius), on a grid without ends.

    Parameters
    ----------
    step : float
        Of ln sigma.
    positions : (n_window,) tensor
        See `window`.
    alpha, beta, gamma, phase : (n, 1) float64 tensors
    """
    low, high = int(positions[0]), int(positions[-1])
    radii = torch.arange(2 * (low - MARGIN), 2 * (high + MARGIN) + 1, dtype=alpha.dtype) / 2
    everywhere = torch.arange(low - BEYOND, high + BEYOND + 1, dtype=alpha.dtype)
    ln_radius, ln_sigma = step * (radii - phase), step * (everywhere - phase)
    amplitudes, density, slope = local_amplitudes(ln_sigma, alpha, beta, gamma, step)
    far = amplitudes[:, -1:] / torch.expm1(step * slope[:, -1:])
    shapes = torch.exp(-0.5 * torch.exp(2 * step * (radii - everywhere[:, None])))
    at_radii = torch.exp(nuker.log_density_at(ln_radius, alpha, beta, gamma))
    left = 1 - (amplitudes @ shapes + far) / at_radii
    own = slice(BEYOND, BEYOND + len(positions))
    return shapes[own].T * density[:, None, own] / at_radii[:, :, None], left


def exact_corrections(relative, left, positions):
    """Least-squares corrections (n, n_window) of an endless system, with a ridge that rises away from the break."""
    ridge = torch.diag(RIDGE * (1 + (positions.to(left.dtype) / 3) ** 6))
    return torch.linalg.solve(relative.mT @ relative + ridge, relative.mT @ left[..., None])[..., 0]


class Surrogate(nn.Module):
    """Nuker parameters (n, 1) -> amplitudes of all Gaussians (n, n_gauss) per unit Sigma_b: local expansion plus learnt correction.

    Parameters
    ----------
    basis : Basis
    r_break_range : pair of float
        Break radii [pc] of the box.
    width, depth : int
        Of the network.
    """

    def __init__(self, basis: Basis, r_break_range, width: int, depth: int):
        super().__init__()
        self.basis = basis
        positions = window(basis, r_break_range)
        self.network = Correction(len(positions), width, depth)
        self.register_buffer("unwhiten", torch.eye(len(positions)))
        # places of all Gaussians but the far one in the window, for a break at the first of the core; one more than the window is nothing
        self.register_buffer("places", torch.from_numpy(basis.index[:-1]) - int(positions[0]), persistent=False)

    def forward(self, alpha, beta, gamma, r_break):
        amplitudes, density = local_expansion(self.basis, alpha, beta, gamma, r_break)
        nearest, phase = place(self.basis, r_break)
        corrections = self.network(features(alpha, beta - gamma, gamma, phase)) @ self.unwhiten
        places = self.places - nearest
        places = torch.where((places >= 0) & (places < corrections.shape[1]), places, corrections.shape[1])
        here = torch.gather(torch.nn.functional.pad(corrections, (0, 1)), 1, places)
        return torch.cat([amplitudes[:, :-1] + density * here, amplitudes[:, -1:]], dim=1)


def whitening(step: float, positions, draw) -> torch.Tensor:
    """Inverse Cholesky factor (n_window, n_window), float64, of the mean normal matrix: corrections = whitened @ it.

    A unit of a whitened correction changes the relative error of the profile by about as much, whichever it is. `draw()` yields
    parameters as `endless_system` takes them.
    """
    total, count = 0.0, 0
    for parameters in draw():
        relative, _ = endless_system(step, positions, *parameters)
        total, count = total + (relative.mT @ relative).sum(0), count + len(relative)
    return torch.linalg.inv(torch.linalg.cholesky(total / count + FLOOR * torch.eye(len(positions), dtype=torch.float64)))


def symexp(x):
    """``sgn(x) 1e-12 (10^|x| - 1)``: |x| of 0.3 to 15 spans 1e-12 to 1e3 (Yantovski-Barth et al. 2025)."""
    return torch.sign(x) * 1e-12 * torch.expm1(np.log(10) * torch.abs(x))


class PaperNetwork(nn.Module):
    """The recipe of Yantovski-Barth et al. (2025): fully connected, amplitudes through symexp, no wings.

    The paper gives neither widths nor normalisation: the widths are those of the authors' earlier public network, with SELU, and
    profiles are normalised to 1 at PIVOT, their innermost and highest point.

    Parameters
    ----------
    basis : Basis
        Without wings.
    output : {"symexp", "linear"}
        The paper's ablation: amplitudes through symexp, or as they leave the network.
    """

    PIVOT = 1.0  # pc
    WIDTHS = (128, 256, 512, 256, 128)

    def __init__(self, basis: Basis, output: str):
        super().__init__()
        self.basis, self.output = basis, output
        sizes = [4, *self.WIDTHS, basis.n_core]
        layers = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.SELU())]
        self.layers = nn.Sequential(*layers[:-1])
        if output == "symexp":
            nn.init.constant_(self.layers[-1].bias, START)

    def forward(self, alpha, beta, gamma, r_break):
        pivot = torch.full_like(alpha, self.PIVOT)
        return self.normalised(alpha, beta, gamma, r_break) * torch.exp(nuker.log_surface_density(pivot, alpha, beta, gamma, r_break))

    def normalised(self, alpha, beta, gamma, r_break):
        """Amplitudes (n, n_gauss) of profiles that are 1 at PIVOT."""
        inputs = torch.cat([(alpha - 5) / 5, (beta - gamma - 1.65) / 1.35, (gamma - 0.6) / 0.6, (r_break - 1000) / 1000], dim=1)
        values = self.layers(inputs)
        return symexp(values) if self.output == "symexp" else values
