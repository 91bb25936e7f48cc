"""Parameters with units, their priors, and the unconstrained coordinates in which samplers move.

One rule makes the coordinates: z is the logit of the prior's cumulative distribution, so every bounded prior is the logistic density in z.
Exceptions: an unbounded normal is standardised; an angle that may take a whole turn is z radians from the middle of its range and has no
walls (its density integrates to one over a turn); and where a pivot radius is given, log_sigma_break is exchanged for the surface density
there, which the data know better than the one at the break.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc

from galmass.errors import InputError
from galmass.profiles import nuker, sersic

TINY = 1e-300  # smallest share of a prior that is told from none: keeps derivatives of roots and logarithms finite
ROUNDING = 1e-16  # of a share: what lies on a wall gets |z| = 37
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


def _inside(x, low, high, log_density):
    """`log_density` (of a value that lies inside) between the walls, -inf outside; NaN stays NaN."""
    return torch.where((x < low) | (x > high), -math.inf, log_density(x.clamp(low, high)))


class _Bounded:
    """What the logit of the cumulative distribution makes alike; a prior adds ``share``, ``quantile`` and ``log_density``."""

    periodic = False

    def value(self, z):
        """Physical value at the coordinate."""
        value = self.quantile(torch.sigmoid(z).clamp(min=TINY), torch.sigmoid(-z).clamp(min=TINY))
        return value.clamp(self.low, self.high)  # arcs and roots round beyond the walls

    def coordinate(self, x):
        """Coordinate of a physical value."""
        return torch.logit(self.share(x).clamp(ROUNDING, 1 - ROUNDING))

    def log_density_of_coordinate(self, z):
        """Logarithm of the density in z, the logistic one."""
        return torch.nn.functional.logsigmoid(z) + torch.nn.functional.logsigmoid(-z)


@dataclass(frozen=True)
class Uniform(_Bounded):
    """Constant density between two walls."""

    low: float
    high: float

    @property
    def centre(self) -> float:
        return (self.low + self.high) / 2

    @property
    def sd(self) -> float:
        return (self.high - self.low) / math.sqrt(12)

    def share(self, x):
        """Cumulative distribution."""
        return (x - self.low) / (self.high - self.low)

    def quantile(self, share, rest):
        """Value that has `share` of the prior below and `rest` above."""
        return torch.where(share < 0.5, self.low + (self.high - self.low) * share, self.high - (self.high - self.low) * rest)

    def log_density(self, x):
        """Logarithm of the density in x, -inf outside."""
        return _inside(x, self.low, self.high, lambda x: 0 * x - math.log(self.high - self.low))


@dataclass(frozen=True)
class LogUniform(_Bounded):
    """Density proportional to 1 / x between two walls above 0."""

    low: float
    high: float

    @property
    def centre(self) -> float:
        return math.sqrt(self.low) * math.sqrt(self.high)

    @property
    def sd(self) -> float:
        width = math.log(self.high / self.low)
        mean = (self.high - self.low) / width
        return math.sqrt((self.high**2 - self.low**2) / (2 * width) - mean**2)

    def share(self, x):
        """Cumulative distribution; NaN for x < 0."""
        return torch.log(x / self.low) / math.log(self.high / self.low)

    def quantile(self, share, rest):
        """Value that has `share` of the prior below and `rest` above."""
        width = math.log(self.high / self.low)
        return torch.where(share < 0.5, self.low * torch.exp(width * share), self.high * torch.exp(-width * rest))

    def log_density(self, x):
        """Logarithm of the density in x, -inf outside."""
        return _inside(x, self.low, self.high, lambda x: -torch.log(x) - math.log(math.log(self.high / self.low)))


@dataclass(frozen=True)
class Isotropic(_Bounded):
    """Inclination [deg] of a randomly oriented axis, density proportional to sin i, between two walls."""

    low: float
    high: float

    @property
    def _squares(self):
        """sin^2(i / 2) at the walls: (1 - cos i) / 2 without its cancellation at small angles."""
        return math.sin(math.radians(self.low / 2)) ** 2, math.sin(math.radians(self.high / 2)) ** 2

    @property
    def centre(self) -> float:
        return float(self.quantile(*torch.tensor([0.5, 0.5], dtype=torch.float64)))

    @property
    def sd(self) -> float:
        share = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
        return float(self.quantile(share, 1 - share).std())

    def share(self, x):
        """Cumulative distribution."""
        low, high = self._squares
        return (torch.sin(torch.deg2rad(x) / 2) ** 2 - low) / (high - low)

    def quantile(self, share, rest):
        """Value that has `share` of the prior below and `rest` above."""
        low, high = self._squares
        square = torch.where(share < 0.5, low + (high - low) * share, high - (high - low) * rest)
        return torch.rad2deg(2 * torch.asin(torch.sqrt(square)))

    def log_density(self, x):
        """Logarithm of the density in x [1 / deg], -inf outside."""
        low, high = self._squares
        norm = math.log(math.pi / 180 / (2 * (high - low)))
        return _inside(x, self.low, self.high, lambda x: torch.log(torch.sin(torch.deg2rad(x))) + norm)


@dataclass(frozen=True)
class TruncatedNormal(_Bounded):
    """Normal density between walls, one of which may be infinite."""

    mean: float
    sd: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def centre(self) -> float:
        return self.mean

    @property
    def _shares(self):
        """Shares of the whole normal below the lower wall, above the upper wall and between, each to full relative precision."""
        low, high = ((wall - self.mean) / self.sd for wall in (self.low, self.high))
        below, above = _normal_share(low), _normal_share(-high)
        between = _normal_share(-low) - above if low > 0 else _normal_share(high) - below
        return below, above, between

    def share(self, x):
        """Cumulative distribution."""
        below, above, between = self._shares
        t = (x - self.mean) / self.sd
        if self.low > self.mean:
            return 1 - (_tail(-t) - above) / between
        return (_tail(t) - below) / between

    def quantile(self, share, rest):
        """Value that has `share` of the prior below and `rest` above."""
        below, above, between = self._shares
        left, right = below + between * share, above + between * rest
        # of the two tails the shorter one: the other is rounded to 1
        t = torch.where(left < right, torch.special.ndtri(left.clamp(max=0.9)), -torch.special.ndtri(right.clamp(max=0.9)))
        return self.mean + self.sd * t

    def log_density(self, x):
        """Logarithm of the density in x, -inf outside."""
        norm = math.log(self.sd * self._shares[2]) + math.log(2 * math.pi) / 2
        return _inside(x, self.low, self.high, lambda x: -0.5 * ((x - self.mean) / self.sd) ** 2 - norm)


def _tail(t):
    return torch.exp(torch.special.log_ndtr(t))  # ndtr itself is 0 from ten sigma on


def _normal_share(t: float) -> float:
    return 0.5 * math.erfc(-t / math.sqrt(2))


@dataclass(frozen=True)
class Normal:
    """Normal density without walls; z is standardised."""

    mean: float
    sd: float
    low, high, periodic = -math.inf, math.inf, False

    @property
    def centre(self) -> float:
        return self.mean

    def value(self, z):
        """Physical value at the coordinate."""
        return self.mean + self.sd * z

    def coordinate(self, x):
        """Coordinate of a physical value."""
        return (x - self.mean) / self.sd

    def share(self, x):
        """Cumulative distribution."""
        return torch.special.ndtr(self.coordinate(x))

    def quantile(self, share, rest):
        """Value that has `share` of the prior below and `rest` above."""
        return self.value(torch.special.ndtri(share))

    def log_density_of_coordinate(self, z):
        """Logarithm of the density in z."""
        return -0.5 * z**2 - math.log(2 * math.pi) / 2

    def log_density(self, x):
        """Logarithm of the density in x."""
        return self.log_density_of_coordinate(self.coordinate(x)) - math.log(self.sd)


@dataclass(frozen=True)
class Circular:
    """Constant density over a whole turn that starts at `low` [deg], without walls: z is the angle from the middle [rad], z + 2 pi the same place."""

    low: float
    high: float
    periodic = True
    centre = Uniform.centre
    sd = Uniform.sd

    def _wrapped(self, x):
        turns = torch.remainder(x - self.low, 360.0)
        return turns - 360.0 * (turns >= 360.0)  # what is just below 0 rounds up to a turn

    def value(self, z):
        """Physical value at the coordinate, low <= x < high."""
        return self.low + self._wrapped(self.centre + torch.rad2deg(z))

    def coordinate(self, x):
        """The coordinate between -pi and pi."""
        return torch.deg2rad(self.low + self._wrapped(x) - self.centre)

    def share(self, x):
        """Share of the turn passed since `low`."""
        return self._wrapped(x) / 360.0

    def quantile(self, share, rest):
        """Value that has `share` of the turn below."""
        return self.low + 360.0 * share

    def log_density_of_coordinate(self, z):
        """Logarithm of the density in z, normalised over a turn."""
        return 0 * z - math.log(2 * math.pi)

    def log_density(self, x):
        """Logarithm of the density in x [1 / deg]."""
        return 0 * x - math.log(360.0)


KINDS = {
    "uniform": (("low", "high"), ()),
    "log_uniform": (("low", "high"), ()),
    "normal": (("mean", "sd"), ("low", "high")),
    "isotropic": (("low", "high"), ()),
    "fixed": (("value",), ()),
}


def prior(name: str, declared: Mapping, unit: str = ""):
    """The prior that a config declares, a float where it is fixed.

    Parameters
    ----------
    declared : mapping
        ``kind`` (of `KINDS`) and its numbers. A uniform prior over 360 deg has no walls.
    unit : str
        Of the parameter.

    Raises
    ------
    InputError
        For a kind or key that is none, a number that is none, or a range that is no range.
    """
    kind, numbers = _numbers(name, declared)
    if kind == "fixed":
        return numbers["value"]
    low, high = numbers.get("low", -math.inf), numbers.get("high", math.inf)
    _require(low < high, name, "low", low, f"it must be below high ({high:g}); for one value take {{kind: fixed, value: {low:g}}}")
    if kind == "uniform":
        return Circular(low, high) if unit == "deg" and high - low == 360 else Uniform(low, high)
    if kind == "log_uniform":
        _require(low > 0, name, "low", low, "it must be above 0 for kind log_uniform; raise it, or take kind uniform")
        return LogUniform(low, high)
    if kind == "isotropic":
        _require(low >= 0, name, "low", low, "an isotropic inclination lies within 0 and 90 deg")
        _require(high <= 90, name, "high", high, "an isotropic inclination lies within 0 and 90 deg; a disc turned the other way is position_angle + 180")
        return Isotropic(low, high)
    _require(numbers["sd"] > 0, name, "sd", numbers["sd"], "it must be above 0; for one value take kind fixed")
    if low == -math.inf and high == math.inf:
        return Normal(numbers["mean"], numbers["sd"])
    truncated = TruncatedNormal(numbers["mean"], numbers["sd"], low, high)
    _require(truncated._shares[2] > 1e-100, name, "mean", numbers["mean"], f"nothing of the normal is left between {low:g} and {high:g}; widen the walls")
    return truncated


def _numbers(name, declared):
    """Kind and numbers of a declared prior, its keys checked."""
    if not isinstance(declared, Mapping) or declared.get("kind") not in KINDS:
        got = declared.get("kind") if isinstance(declared, Mapping) else declared
        raise InputError(f"config: priors.{name}: kind is {got!r}; it is one of {', '.join(KINDS)}, as in {{kind: uniform, low: 0, high: 1}}")
    kind = declared["kind"]
    needed, optional = KINDS[kind]
    for key in declared:
        if key != "kind" and key not in (*needed, *optional):
            raise InputError(f"config: priors.{name}.{key} = {declared[key]!r} is no key of kind {kind} ({', '.join((*needed, *optional))}); remove it")
    for key in needed:
        if key not in declared:
            raise InputError(f"config: priors.{name}.{key} is missing; kind {kind} takes {', '.join((*needed, *optional))}")
    return kind, {key: _number(name, key, value) for key, value in declared.items() if key != "kind"}


def _number(name, key, value) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    _require(fine, name, key, value, "it must be a finite number (YAML reads 1e6 without a point as text: write 1.0e+6)")
    return float(value)


def _require(fine: bool, name, key, value, remedy: str) -> None:
    if not fine:
        raise InputError(f"config: priors.{name}.{key} is {value!r}; {remedy}")


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
    """

    def __init__(self, priors: Mapping, fixed: Mapping, units: Mapping, pivot: float | None = None):
        self.priors, self.fixed, self.units, self.pivot = dict(priors), dict(fixed), dict(units), pivot
        self.names, self.n = tuple(priors), len(priors)
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

    def log_prior_physical(self, x):
        """Logarithm (...) of the normalised density in x (..., n), float64; -inf outside."""
        x = x.double()
        parts = [p.log_density(v) for p, v in zip(self.priors.values(), x.unbind(-1), strict=True)]
        return sum(parts, torch.zeros(x.shape[:-1], dtype=x.dtype, device=x.device))

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
                    found[name] = f"{name}: the samples pile up at {side} = {wall:g} {self.units[name]}".rstrip() + "; the prior excludes the optimum: widen it"
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
