"""Parameters with units and priors, and the unconstrained coordinates in which samplers move: those of `priors`, one by one.

Where a pivot radius is given, log_sigma_break is exchanged for the surface density there, which the data know better than the one at the break.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc

from galmass.errors import InputError
from galmass.inference.kinds import KINDS
from galmass.inference.priors import ROUNDING, prior
from galmass.profiles import nuker, sersic

SQUEEZED = 1.25  # density of the samples at a wall over that of their central 68 % from which a prior cuts a posterior off
AT_EDGE = 0.1  # of that 68 % interval: the strip along a wall
UNCONSTRAINED = 0.75  # 68 % interval of the samples over that of the prior
NORMALISATION = "log_sigma_break"


def _nuker(radius, alpha, gamma, beta_minus_gamma, r_break):
    return nuker.log_surface_density(radius, alpha, gamma + beta_minus_gamma, gamma, r_break)


# what tells the surface density at the pivot from that at the break: shape parameters, ln Sigma / Sigma_b
SHAPES = (
    (("alpha", "gamma", "beta_minus_gamma", "r_break"), _nuker),
    (("alpha", "gamma", "r_break", "sersic_index", "r_e"), sersic.log_core_surface_density),
)


@dataclass(frozen=True)
class _AtPivot:
    """Coordinate of the surface density at the pivot: centre and width of the prior of log_sigma_break, which walls in that one, not this."""

    prior: object

    def value(self, z):
        return self.prior.centre + self.prior.sd * z

    def coordinate(self, x):
        return (x - self.prior.centre) / self.prior.sd


class Parameters:
    """An ordered set of free parameters, and the fixed ones.

    Parameters
    ----------
    priors : mapping of name -> prior
        The free ones, in order.
    fixed : mapping of name -> float
    units : mapping of name -> str
    pivot : float, optional
        Radius [pc] of the surface density whose log10 takes the place of log_sigma_break among the coordinates
        (unit Jacobian); without effect where log_sigma_break is fixed.

    Attributes
    ----------
    names : tuple of str
    n : int
        Number of free parameters.
    periodic : list of int
        Places of angles without walls: their coordinates z and z + 2 pi are the same place.
    """

    def __init__(self, priors: Mapping, fixed: Mapping, units: Mapping, pivot: float | None = None):
        self.priors, self.fixed, self.units, self.pivot = dict(priors), dict(fixed), dict(units), pivot
        self.names, self.n = tuple(priors), len(priors)
        self.periodic = [i for i, p in enumerate(self.priors.values()) if p.periodic]
        self._place = self.names.index(NORMALISATION) if pivot is not None and NORMALISATION in priors else None
        self._maps = [_AtPivot(p) if i == self._place else p for i, p in enumerate(self.priors.values())]

    @classmethod
    def from_config(cls, priors: Mapping, order: Sequence[str], units: Mapping, pivot: float | None = None) -> "Parameters":
        """The parameters `order` (repetitions are one) with the priors that a config declares for them; it may declare more.

        Raises
        ------
        InputError
            For a parameter without prior, a prior that is none, or a pivot without a Nuker or core-Sersic profile.
        """
        order = list(dict.fromkeys(order))
        missing = [name for name in order if name not in priors]
        if missing:
            raise InputError(f"config: priors lacks {', '.join(missing)}; declare for each {{kind: ..., ...}} with a kind of {', '.join(KINDS)}")
        built = {name: prior(name, priors[name], units.get(name, "")) for name in order}
        if pivot is not None:
            _check_pivot(pivot, order)
        fixed = {name: value for name, value in built.items() if isinstance(value, float)}
        return cls({name: p for name, p in built.items() if name not in fixed}, fixed, {name: units.get(name, "") for name in order}, pivot)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Walls of every parameter, fixed ones included, for ``MassModel.check_priors``."""
        return {name: (p.low, p.high) for name, p in self.priors.items()} | {name: (v, v) for name, v in self.fixed.items()}

    def physical(self, z):
        """Physical values (..., n) of coordinates (..., n), float64; differentiable, fit for ``torch.func.vmap``."""
        values = [p.value(c) for p, c in zip(self._maps, z.double().unbind(-1), strict=True)]
        return torch.stack(self._moved(values, -1), dim=-1)

    def coordinates(self, x):
        """Coordinates (..., n) of physical values (..., n), float64.

        Raises
        ------
        InputError
            For a value outside its prior; this looks at values, so it cannot stand inside ``torch.func.vmap``.
        """
        values = list(torch.as_tensor(x, dtype=torch.float64).unbind(-1))
        for (name, p), value in zip(self.priors.items(), values, strict=True):
            self._require_inside(name, p, value)
        return torch.stack([p.coordinate(v) for p, v in zip(self._maps, self._moved(values, 1), strict=True)], dim=-1)

    def log_prior(self, z):
        """Logarithm (...) of the normalised density in z (..., n), float64; -inf beyond the walls of log_sigma_break at a pivot, NaN for NaN."""
        z = z.double()
        parts = [p.log_density_of_coordinate(c) for i, (p, c) in enumerate(zip(self._maps, z.unbind(-1), strict=True)) if i != self._place]
        if self._place is not None:
            p = self.priors[NORMALISATION]
            parts.append(p.log_density(self.physical(z)[..., self._place]) + math.log(p.sd))
        return sum(parts, torch.zeros(z.shape[:-1], dtype=z.dtype, device=z.device))

    def sample(self, generator: torch.Generator, n: int):
        """Coordinates (n, n_parameter) of independent draws from the prior."""
        return self._at_shares(torch.rand(n, self.n, dtype=torch.float64, generator=generator, device=generator.device))

    def sobol(self, n: int, seed: int):
        """Coordinates (n, n_parameter) of a scrambled Sobol sequence that fills the prior evenly."""
        points = qmc.Sobol(self.n, rng=np.random.default_rng(seed)).random_base2(max(0, math.ceil(math.log2(n))))
        return self._at_shares(torch.from_numpy(points[:n]))

    def complete(self, x) -> dict[str, torch.Tensor]:
        """All parameters by name: the free ones (...) from x (..., n), the fixed ones as scalars of the same kind."""
        free = dict(zip(self.names, x.unbind(-1), strict=True))
        return free | {name: torch.tensor(value, dtype=x.dtype, device=x.device) for name, value in self.fixed.items()}

    def unwrapped(self, x, about=None):
        """Physical values x (..., n) with each angle that has no walls moved by whole turns to within half a turn of its mean direction.

        That mean is of the samples `about` (..., n), x itself by default, and their median stays within the prior: draws of 0.2 and 359.8 deg
        become 0.2 and -0.2, or 360.2 and 359.8.
        """
        samples = (x if about is None else about).reshape(-1, self.n)
        columns = list(x.unbind(-1))
        for i in self.periodic:
            p, values = self.priors[self.names[i]], samples[:, i]
            radians = torch.deg2rad(values)
            mean = torch.rad2deg(torch.atan2(torch.sin(radians).sum(), torch.cos(radians).sum()))
            beyond = torch.floor((_near(values, mean).quantile(0.5) - p.low) / (p.high - p.low)) if len(values) else 0.0
            columns[i] = _near(columns[i], mean) - 360.0 * beyond
        return torch.stack(columns, -1) if columns else x

    def at_bound(self, samples) -> dict[str, str]:
        """Parameters whose samples pile up at a wall of their prior, with what to tell the user.

        Parameters
        ----------
        samples : (..., n) tensor or array
            Physical values, drawn from a posterior.
        """
        found = {}
        for name, p, share in self._shares(samples):
            inner = _interval(share)
            for side, distance in (("low", share), ("high", 1 - share)):
                dense = (distance < AT_EDGE * inner).double().mean() / AT_EDGE / 0.68
                wall = getattr(p, side)
                if not p.periodic and math.isfinite(wall) and bool(dense > SQUEEZED):
                    place = f"{name}: the samples pile up at {side} = {wall:g} {self.units[name]}".rstrip()
                    found[name] = f"{place}; the prior excludes the optimum or cuts the posterior off: widen it where physics allows"
        return found

    def unidentified(self, samples) -> dict[str, str]:
        """Parameters whose samples (..., n) are nearly as wide as the prior, with what to tell the user."""
        widths = {name: float(_interval(share)) / 0.68 for name, _, share in self._shares(samples)}
        text = "{}: not constrained by these data (its 68 % interval is {:.0%} of the prior's)"
        return {name: text.format(name, width) for name, width in widths.items() if width > UNCONSTRAINED}

    def _shares(self, samples):
        """Name, prior and cumulative distribution at the samples (n_sample,); an angle turned so that its mean direction is in the middle."""
        samples = torch.as_tensor(samples, dtype=torch.float64).reshape(-1, self.n)
        for (name, p), values in zip(self.priors.items(), samples.unbind(-1), strict=True):
            share = p.share(values)
            if p.periodic:
                angle = 2 * math.pi * share
                mean = torch.atan2(torch.sin(angle).mean(), torch.cos(angle).mean()) / (2 * math.pi)
                share = torch.remainder(share - mean + 0.5, 1.0)
            yield name, p, share

    def _moved(self, values, sign: int):
        """`values` with log_sigma_break plus or minus what the profile rises from the break to the pivot."""
        if self._place is None:
            return values
        names, log_surface_density = _shape((*self.names, *self.fixed))
        shape = [values[self.names.index(n)] if n in self.priors else torch.full_like(values[0], self.fixed[n]) for n in names]
        rise = log_surface_density(torch.full_like(shape[0], self.pivot), *shape) / math.log(10)
        return [v + sign * rise if i == self._place else v for i, v in enumerate(values)]

    def _at_shares(self, shares):
        """Coordinates where so much of each prior lies below."""
        shares = shares.clamp(ROUNDING, 1 - ROUNDING)
        values = [p.quantile(u, 1 - u) for p, u in zip(self.priors.values(), shares.unbind(-1), strict=True)]
        return self.coordinates(torch.stack(values, dim=-1)) if values else shares

    def _require_inside(self, name, p, value) -> None:
        # walls give way by the rounding of a value that came out of `physical`
        low, high = (-math.inf, math.inf) if p.periodic else (p.low - 1e-12 * abs(p.low), p.high + 1e-12 * abs(p.high))
        fine = value.isfinite() & (value >= low) & (value <= high)
        if not bool(fine.all()):
            raise InputError(f"{name} is {float(value[~fine].reshape(-1)[0]):g}, outside its prior, {p.low:g} to {p.high:g}; move it inside or widen the prior")


def _near(angle, mean):
    """The angle [deg] by whole turns within half a turn of `mean`."""
    return angle - 360.0 * torch.round((angle - mean) / 360.0)


def _interval(share):
    """Width of the central 68 %."""
    low, high = torch.quantile(share, torch.tensor([0.16, 0.84], dtype=share.dtype))
    return high - low


def _check_pivot(pivot, order) -> None:
    if not (isinstance(pivot, int | float) and math.isfinite(pivot) and pivot > 0):
        raise InputError(f"config: pivot radius is {pivot!r}; it must be a positive number [pc]")
    if NORMALISATION not in order or _shape(order) is None:
        lacking = ", ".join(name for name in (*SHAPES[0][0], NORMALISATION) if name not in order)
        raise InputError(f"config: a pivot radius ({pivot:g} pc) needs a Nuker or core-Sersic profile, but {lacking} is no parameter; leave the pivot out")


def _shape(names):
    """The entry of SHAPES whose parameters are all among `names`."""
    return next((entry for entry in SHAPES if all(name in names for name in entry[0])), None)
