"""The modes of a posterior: many cheap looks, then damped Newton steps from the best (Levenberg 1944; Marquardt 1963).

The best scout is often not in the widest valley. So more of them than are wanted take a few steps, and those that are highest then go to the end.
"""

import math
from dataclasses import dataclass, replace

import torch

from galmass import logs
from galmass.errors import InputError
from galmass.inference.mala import value_and_gradient

FIRST_DAMPING = 1e-2  # relative to the diagonal of the curvature
FAR_DAMPING = 1.0  # the same from a scout, where no parabola holds far
TRIED, TRIALS = 2, 5  # starts that take a few steps, for each that goes to the end; steps of theirs
MOST_DAMPING = 1e12  # beyond, no step of any length leads upwards
JUMPY = 1.0  # of ln p: differences below may be rounding of float32, or a sub-pixel that comes or goes
APART = 0.5  # root mean square distance between scouts worth a descent each, in their standard deviations
SAME = 1.0  # distance in standard errors below which two ends are one mode


@dataclass(frozen=True)
class Mode:
    """A maximum of the log density, or where the search for one ended."""

    z: torch.Tensor  # (d,)
    log_density: float
    curvature: torch.Tensor  # (d, d) of Fisher, at z
    slope: float  # norm of the gradient in the metric of the curvature: standard errors to go
    n_iterations: int
    converged: bool  # slope below the tolerance
    damping: float = FIRST_DAMPING  # with which to go on
    distance: float = 0.0  # from the best mode [standard errors]
    weight: float = 1.0  # share of the probability by Laplace's approximation


def search(problem, scouts, n_starts: int = 4, label: str = "optimisation", tolerance: float = 0.05, max_iterations: int = 100) -> list[Mode]:
    """Distinct modes, the highest first.

    Parameters
    ----------
    problem : Problem
        ``log_density`` and ``curvature`` are used.
    scouts : (n, d) tensor
        Points to look at, for example of a Sobol sequence through the priors.
    n_starts : int
        Climbs to the end; TRIED times as many of the best scouts that lie apart take their first TRIALS steps.
    tolerance : float
        Slope in standard errors at which a climb ends.
    max_iterations : int
        Of a climb; one that spends them is returned as not converged.

    Raises
    ------
    InputError
        When no scout has a finite density.
    """
    with logs.progress(len(scouts), 0, f"{label}: scouts") as bar:
        starts = best_apart(scouts, torch.tensor([_looked(problem, z, bar) for z in scouts], dtype=scouts.dtype), TRIED * n_starts)
    with logs.progress(len(starts) * TRIALS + n_starts * max_iterations, 0, f"{label}: ascents") as bar:
        tried = distinct([climb(problem, z, tolerance, TRIALS, bar, FAR_DAMPING) for z in starts])[:n_starts]
        modes: list[Mode] = []
        for begun in tried:
            modes.append(climb(problem, begun.z, tolerance, max_iterations, bar, begun.damping, [mode for mode in modes if mode.converged]))
    return distinct(modes)


def _looked(problem, z, bar) -> float:
    with torch.no_grad():
        value = float(problem.log_density(z))
    bar.update()
    return value


def best_apart(scouts, values, n: int):
    """Up to `n` of the `scouts` (n_scout, d) by falling log density `values` (n_scout,), none close to a better one."""
    fine = torch.isfinite(values)
    if not fine.any():
        raise InputError(f"none of {len(scouts)} starting points has a finite posterior density; check the priors and the data (NaN, zero errors, units)")
    width = scouts.std(0, correction=0).clamp(min=1e-12)
    chosen = []
    for i in torch.argsort(torch.where(fine, values, -math.inf), descending=True, stable=True)[: int(fine.sum())].tolist():
        if all(((scouts[i] - scouts[j]) / width).square().mean() > APART**2 for j in chosen):
            chosen.append(i)
        if len(chosen) == n:
            break
    return scouts[chosen]


def climb(problem, z, tolerance: float = 0.05, max_iterations: int = 100, bar=None, damping: float = FIRST_DAMPING, known=()) -> Mode:
    """Levenberg-Marquardt from `z` (d,) until the gradient is shorter than `tolerance` standard errors.

    A step to where the density or its gradient is not finite is refused and the damping grows; so it does where the gain is less than a
    quarter of what the curvature promises (Nielsen 1999). A climb that arrives at a `known` mode ends there.
    """
    value, gradient = value_and_gradient(problem.log_density, z)
    curvature, growth = problem.curvature(z), 2.0
    for n in range(max_iterations):
        slope = _slope(curvature, gradient)
        here = Mode(z, float(value), curvature, slope, n, slope < tolerance, damping)
        if here.converged or damping > MOST_DAMPING or any(distance(here, mode) < SAME for mode in known):
            return here
        step, promise = _step(curvature, gradient, damping)
        there, gradient_there = value_and_gradient(problem.log_density, z + step)
        gain = _gain(float(there - value), 0.5 * float((gradient + gradient_there) @ step), promise)
        if gain > 0:
            z, value, gradient = z + step, there, gradient_there
            curvature = problem.curvature(z)
            damping, growth = damping * max(1 / 3, 1 - (2 * min(gain, 2.0) - 1) ** 3), 2.0
        else:
            damping, growth = damping * growth, 2 * growth
        if bar is not None:
            bar.set_postfix_str(f"ln p {float(value):.2f}, slope {slope:.2g}", refresh=False)
            bar.update()
    slope = _slope(curvature, gradient)
    return Mode(z, float(value), curvature, slope, max_iterations, slope < tolerance, damping)


def _gain(values: float, slopes: float, promise: float) -> float:
    """Gain over promise; by the slopes at both ends where it is too small for values that rounding and grids make jump."""
    return (slopes if max(abs(values), promise) < JUMPY else values) / promise


def _slope(curvature, gradient) -> float:
    """``sqrt(g^T C^-1 g)``."""
    return float(torch.linalg.solve_triangular(torch.linalg.cholesky(curvature), gradient[:, None], upper=False).norm())


def _step(curvature, gradient, damping: float):
    """Damped Newton step (d,), and the gain that the curvature promises for it."""
    damped = curvature + damping * torch.diag(curvature.diagonal())
    step = torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(damped))[:, 0]
    return step, float(gradient @ step - 0.5 * step @ curvature @ step)


def distinct(modes: list[Mode]) -> list[Mode]:
    """The modes by falling density, ends at the same place once (a converged one if there is), with distances from the best and Laplace weights."""
    kept: list[Mode] = []
    for mode in sorted(modes, key=lambda m: (not m.converged, -m.log_density)):
        if all(distance(mode, other) > SAME for other in kept):
            kept.append(mode)
    kept.sort(key=lambda m: -m.log_density)
    weights = torch.softmax(torch.tensor([m.log_density - 0.5 * float(torch.logdet(m.curvature)) for m in kept], dtype=torch.float64), 0)
    return [replace(m, distance=distance(m, kept[0]), weight=float(w)) for m, w in zip(kept, weights, strict=True)]


def distance(first: Mode, second: Mode) -> float:
    """Between two modes, in standard errors of the narrower direction of each: the larger of both metrics."""
    offset = first.z - second.z
    return max(float(offset @ m.curvature @ offset) for m in (first, second)) ** 0.5
