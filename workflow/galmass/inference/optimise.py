"""The modes of a posterior: many cheap looks, then Levenberg-Marquardt in the summary from the best, then a look around in other shapes.

The data are nearly linear in the summary s of the parameters z, z is not. So what a step maximises is the prior and ln L to second order in s,

    ln prior(z') + g.(s' - s) - (1 + damping) (s' - s)^T H (s' - s) / 2 - damping |z' - z|^2 / 2,    s' = s(z'),

with the score g at the present place: it follows the curved valleys of z, and costs no likelihood. The information H is taken once for all climbs
and learns from the scores on the way (Broyden, Fletcher, Goldfarb & Shanno 1970, damped as by Powell 1978).
"""

import math
from dataclasses import dataclass, replace

import torch

from galmass import logs
from galmass.errors import InputError
from galmass.inference import fisher
from galmass.inference.mala import value_and_gradient
from galmass.inference.surrogate import Surrogate

FIRST_DAMPING = 1e-2
FAR_DAMPING = 1.0  # from a scout, where no parabola holds far
LEAST_FALL = 1 / 5  # of the damping, at a step
MOST_DAMPING = 1e12  # beyond, no step of any length leads upwards
INNER = 4  # Newton steps to the maximum that a step aims at: more of them save few steps
JUMPY = 1.0  # of ln p: differences below may be rounding of float32, or a sub-pixel that comes or goes
APART = 0.5  # root mean square distance between scouts worth a descent each, in their standard deviations
SAME = 1.0  # distance in standard errors below which two ends are one mode
N_OTHERS, N_RELAXED = 8, 2  # other shapes that are climbed from on the surrogate, and steps of all scouts towards it before
OTHER_ITERATIONS, OTHER_SLOPE = 40, 0.05  # of such a climb, and where it ends
LONGEST = 1.0  # step of such a scout in a coordinate whose prior is about 2 wide
RELEVANT = 12.0  # of ln p below the best mode, within which a mode is worth likelihoods
NEXT, LAST_ITERATIONS = 0.3, 20  # information distance from the best mode within which its information is right; steps with the right one


@dataclass(frozen=True)
class Mode:
    """A maximum of the log density, or where the search for one ended."""

    z: torch.Tensor  # (d,)
    log_density: float
    curvature: torch.Tensor  # (d, d) of Fisher, at z
    slope: float  # norm of the gradient in the metric of the curvature: standard errors to go
    n_iterations: int
    converged: bool  # slope below the tolerance
    distance: float = 0.0  # from the best mode [standard errors]
    weight: float = 1.0  # share of the probability by Laplace's approximation
    periodic: tuple[int, ...] = ()  # places of angles: a turn on is the same place


@dataclass(frozen=True)
class Place:
    """A point of a climb, and what the data say there."""

    z: torch.Tensor  # (d,)
    s: torch.Tensor  # (m,) its summary
    log_prior: float
    log_likelihood: torch.Tensor  # ()
    score: torch.Tensor  # (m,) derivative of ln L by the summary

    @property
    def log_density(self) -> float:
        """Of the posterior."""
        return self.log_prior + float(self.log_likelihood)


def place(problem, z) -> Place:
    """The point `z` (d,) of a climb: one likelihood with its gradient."""
    with torch.no_grad():
        s, log_prior = problem.summary(z), float(problem.log_prior(z))
    return Place(z, s, log_prior, *value_and_gradient(problem.likelihood_at_summary, s))


def search(problem, scouts, n_starts: int = 4, label: str = "optimisation", tolerance: float = 0.05, max_iterations: int = 100) -> list[Mode]:
    """Distinct modes, the highest first.

    Parameters
    ----------
    problem : galmass.inference.surrogate.Problem
    scouts : (n, d) tensor
        Points to look at, for example of a Sobol sequence through the priors. Their bent coordinates are also tried about the best mode.
    n_starts : int
        Climbs, from the best scouts that lie apart.
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
        starts = best_apart(scouts, torch.tensor([_looked(problem, z, bar) for z in scouts], dtype=scouts.dtype), n_starts, _periodic(problem))
    with logs.progress((n_starts + 1) * max_iterations, 0, f"{label}: ascents") as bar:
        information, step = fisher.summary_information(problem, place(problem, starts[0]).s)
        ends = _climbs(problem, starts, information, tolerance, max_iterations, bar, FAR_DAMPING, [])
        best = place(problem, max(ends, key=lambda mode: mode.log_density).z)
        information, step = fisher.summary_information(problem, best.s, step)
        ends = _climbs(problem, others(problem, best, information, scouts), information, tolerance, max_iterations, bar, FIRST_DAMPING, ends)
    return distinct([settled(problem, mode, best, information, step, tolerance) for mode in distinct(ends)])


def _climbs(problem, starts, information, tolerance, max_iterations, bar, damping, ends: list[Mode]) -> list[Mode]:
    """`ends` and those of climbs from `starts`, but what meets a converged one."""
    for z in starts:
        known = [mode for mode in ends if mode.converged]
        end = climb(problem, z, information, tolerance, max_iterations, bar, damping, known)
        ends = ends if _is_known(end, known) else [*ends, end]
    return ends


def _periodic(problem) -> tuple[int, ...]:
    """Places of the angles of a problem that says so."""
    return tuple(getattr(problem, "periodic", ()))


def _is_known(mode: Mode, known) -> bool:
    return any(distance(mode, other) < SAME for other in known)


def _looked(problem, z, bar) -> float:
    with torch.no_grad():
        value = float(problem.log_density(z))
    bar.update()
    return value


def best_apart(scouts, values, n: int, periodic=()):
    """Up to `n` of the `scouts` (n_scout, d) by falling log density `values` (n_scout,), none close to a better one."""
    if not bool(torch.isfinite(values).any()):
        raise InputError(f"none of {len(scouts)} starting points has a finite posterior density; check the priors and the data (NaN, zero errors, units)")
    return scouts[apart(scouts, values, n, periodic)]


def apart(points, values, n: int, periodic=()) -> list[int]:
    """Rows of up to `n` of the `points` (n_point, d) by falling `values` (n_point,), where these are finite, none close to a better one.

    Columns that are `periodic` are angles [rad]: a turn on is the same place.
    """
    fine = torch.isfinite(values)
    width = points.std(0, correction=0).clamp(min=1e-12)
    chosen: list[int] = []
    for i in torch.argsort(torch.where(fine, values, -math.inf), descending=True, stable=True)[: int(fine.sum())].tolist():
        if all(((turned(points[i], points[j], periodic) - points[j]) / width).square().mean() > APART**2 for j in chosen):
            chosen.append(i)
        if len(chosen) == n:
            break
    return chosen


def climb(problem, z, information, tolerance: float = 0.05, max_iterations: int = 100, bar=None, damping: float = FIRST_DAMPING, known=()) -> Mode:
    """Levenberg-Marquardt in the summary from `z` (d,) until the gradient is shorter than `tolerance` standard errors.

    A step to where the density or its gradient is not finite is refused and the damping grows; so it does where the gain is less than a
    quarter of what was promised (Nielsen 1999). A climb that arrives at a `known` mode ends there.

    Parameters
    ----------
    information : (m, m) tensor
        About the summary, at `z` or elsewhere.
    """
    here, growth = place(problem, z), 2.0
    for n in range(max_iterations + 1):
        mode = _mode(problem, here, information, n, tolerance)
        if bar is not None:
            bar.set_postfix_str(f"ln p {mode.log_density:.2f}, slope {mode.slope:.2g}", refresh=False)
            bar.update()
        if mode.converged or damping > MOST_DAMPING or n == max_iterations or _is_known(mode, known):
            return mode
        aim = ascend(problem, Aim(here.z, Surrogate(here.s, here.log_likelihood, here.score, (1 + damping) * information), damping), here.z, INNER)
        there = place(problem, aim)
        gain = _gain(here, there, information)
        information = _learned(information, there.s - here.s, here.score - there.score) if math.isfinite(there.log_density) else information
        if gain > 0:
            here, damping, growth = there, damping * max(LEAST_FALL, 1 - (2 * min(gain, 2.0) - 1) ** 3), 2.0
        else:
            damping, growth = damping * growth, 2 * growth


def _mode(problem, here: Place, information, n_iterations: int, tolerance: float) -> Mode:
    """The place as the end of a climb."""
    gradient, curvature = Aim(here.z, Surrogate(here.s, here.log_likelihood, here.score, information)).slopes(problem, here.z)
    slope = _slope(curvature, gradient)
    return Mode(here.z, here.log_density, curvature, slope, n_iterations, slope < tolerance, periodic=_periodic(problem))


def _gain(here: Place, there: Place, information) -> float:
    """Gain over promise; by the scores at both ends where it is too small for values that rounding and grids make jump."""
    offset, prior = there.s - here.s, there.log_prior - here.log_prior
    promise = prior + float(offset @ here.score - 0.5 * offset @ information @ offset)
    gain = there.log_density - here.log_density
    if max(abs(gain), promise) < JUMPY:
        gain = prior + 0.5 * float(offset @ (here.score + there.score))
    return gain / promise if promise > 0 else -1.0


def _learned(information, offset, fall):
    """The information with the `fall` (m,) of the score along a step `offset` (m,) of the summary, kept positive."""
    expected = information @ offset
    square, seen = float(offset @ expected), float(offset @ fall)
    if not square > 0:
        return information
    if seen < 0.2 * square:
        share = 0.8 * square / (square - seen)
        fall = share * fall + (1 - share) * expected
    return information + torch.outer(fall, fall) / (fall @ offset) - torch.outer(expected, expected) / square


@dataclass(frozen=True)
class Aim:
    """What a step maximises: the prior and a surrogate of the likelihood, not too far from `anchor`."""

    anchor: torch.Tensor  # (d,)
    surrogate: Surrogate
    leash: float = 0.0

    def value(self, problem, z):
        """At points (..., d), -inf where there is no number."""
        with torch.no_grad():
            value = problem.log_prior(z) + self.surrogate(problem.summary(z)) - 0.5 * self.leash * (z - self.anchor).square().sum(-1)
        return torch.where(torch.isfinite(value), value, -math.inf)

    def slopes(self, problem, z):
        """Gradient (d,) and curvature (d, d) of Gauss and Newton at z (d,)."""
        (s, slope), (gradient, prior) = fisher.summary_slopes(problem, z), fisher.prior_slopes(problem, z)
        score = self.surrogate.gradient - self.surrogate.information @ (s - self.surrogate.centre)
        curvature = slope.mT @ self.surrogate.information @ slope + prior + self.leash * torch.eye(len(z), dtype=z.dtype)
        return gradient + slope.mT @ score - self.leash * (z - self.anchor), fisher.positive(curvature, 1e-6)


def ascend(problem, aim: Aim, z, max_iterations: int, share: float = 0.05, tolerance: float = 0.0):
    """Where damped Newton steps on `aim` lead from `z` (d,): to a `share` of the first slope, or a slope of `tolerance`."""
    value, damping, first = float(aim.value(problem, z)), 1e-3, None
    for _ in range(max_iterations):
        gradient, curvature = aim.slopes(problem, z)
        slope = _slope(curvature, gradient)
        first = slope if first is None else first
        if slope < max(share * first, tolerance):
            break
        while damping < MOST_DAMPING:
            step, promise = _step(curvature, gradient, damping)
            there = float(aim.value(problem, z + step))
            if there > value:
                break
            damping *= 6
        else:
            break
        gain, z, value = (there - value) / promise, z + step, there
        damping *= 0.2 if gain > 0.7 else 1.0 if gain > 0.25 else 3.0
    return z


def _slope(curvature, gradient) -> float:
    """``sqrt(g^T C^-1 g)``."""
    return float(torch.linalg.solve_triangular(torch.linalg.cholesky(curvature), gradient[:, None], upper=False).norm())


def _step(curvature, gradient, damping: float):
    """Damped Newton step (d,), and the gain that the curvature promises for it."""
    damped = curvature + damping * torch.diag(curvature.diagonal())
    step = torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(damped))[:, 0]
    return step, float(gradient @ step - 0.5 * step @ curvature @ step)


def others(problem, best: Place, information, scouts):
    """Points (n, d) of other shapes where the surrogate about the `best` place has maxima: no likelihood is spent on any that it does not favour.

    All scouts lend their bent coordinates to the best place, whose others follow them. The highest that lie apart are climbed from.
    """
    bent = list(problem.bent)
    if not bent:
        return []
    aim = Aim(best.z, Surrogate(best.s, best.log_likelihood, best.score, information))
    points = relaxed(problem, aim, bent, scouts[:, bent])
    values = aim.value(problem, points)
    periodic = _periodic(problem)
    chosen = apart(scouts[:, bent], values, N_OTHERS, [bent.index(i) for i in periodic if i in bent])
    ends = [ascend(problem, aim, points[i], OTHER_ITERATIONS, 0.0, OTHER_SLOPE) for i in chosen]
    curvatures = [fisher.posterior_curvature(problem, z, information) for z in ends]
    found = distinct([Mode(z, float(aim.value(problem, z)), c, 0.0, 0, True, periodic=periodic) for z, c in zip(ends, curvatures, strict=True)])
    return [mode.z for mode in found if mode.log_density > best.log_density - RELEVANT]


def relaxed(problem, aim: Aim, bent: list[int], shapes):
    """The anchor of `aim` with the `bent` coordinates `shapes` (n, n_bent), (n, d), after steps of the other coordinates to where the aim is higher."""
    points, free = aim.anchor.repeat(len(shapes), 1), [i for i in range(len(aim.anchor)) if i not in bent]
    points[:, bent] = shapes
    slope = fisher.summary_gradient(problem, aim.anchor)[:, free]
    prior = fisher.prior_curvature(problem, aim.anchor)[free][:, free]
    back = slope @ torch.linalg.inv(fisher.positive(slope.mT @ aim.surrogate.information @ slope + prior, 1e-6))
    values = aim.value(problem, points)
    for _ in range(N_RELAXED):
        with torch.no_grad():
            scores = aim.surrogate.gradient - (problem.summary(points) - aim.surrogate.centre) @ aim.surrogate.information
        moved = points.clone()
        moved[:, free] += torch.nan_to_num(scores @ back).clamp(-LONGEST, LONGEST)
        there = aim.value(problem, moved)
        points, values = torch.where((there > values)[:, None], moved, points), torch.maximum(there, values)
    return points


def settled(problem, mode: Mode, best: Place, information, step, tolerance: float) -> Mode:
    """The mode with the curvature of Fisher that the information has there, and the last steps that it allows; as it is where it counts for nothing.

    `information`, and the `step` (m,) of its differences, are those at the `best` place; it serves modes next to it.
    """
    if mode.log_density < best.log_density - RELEVANT:
        return mode
    with torch.no_grad():
        s = problem.summary(mode.z)
    if float((s - best.s) @ information @ (s - best.s)) > NEXT**2:
        information, _ = fisher.summary_information(problem, s, step)
    end = climb(problem, mode.z, information, tolerance, LAST_ITERATIONS)
    with torch.no_grad():
        value = float(problem.log_density(end.z))
    return replace(end, log_density=value, curvature=fisher.posterior_curvature(problem, end.z, information), n_iterations=mode.n_iterations + end.n_iterations)


def distinct(modes: list[Mode]) -> list[Mode]:
    """The modes by falling density, ends at the same place once (a converged one if there is), with distances from the best and Laplace weights.

    Angles lie within half a turn of those of the best.
    """
    kept: list[Mode] = []
    for mode in sorted(modes, key=lambda m: (not m.converged, -m.log_density)):
        if all(distance(mode, other) > SAME for other in kept):
            kept.append(mode)
    kept.sort(key=lambda m: -m.log_density)
    weights = torch.softmax(torch.tensor([m.log_density - 0.5 * float(torch.logdet(m.curvature)) for m in kept], dtype=torch.float64), 0)
    beside = [turned(m.z, kept[0].z, m.periodic) for m in kept]
    return [replace(m, z=z, distance=distance(m, kept[0]), weight=float(w)) for m, z, w in zip(kept, beside, weights, strict=True)]


def distance(first: Mode, second: Mode) -> float:
    """Between two modes, in standard errors of the narrower direction of each: the larger of both metrics."""
    offset = turned(first.z, second.z, first.periodic) - second.z
    return max(float(offset @ m.curvature @ offset) for m in (first, second)) ** 0.5


def turned(z, other, periodic):
    """The point z (d,) with the angles [rad] at the places `periodic` by whole turns within half a turn of those of the `other`."""
    turns = torch.zeros_like(z)
    for i in periodic:
        turns[i] = torch.round((z[i] - other[i]) / (2 * math.pi))
    return z - 2 * math.pi * turns
