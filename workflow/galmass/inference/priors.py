"""Priors of single parameters: uniform, log-uniform, normal, isotropic, a whole turn, and how a config declares them.

One rule makes the coordinates: z is the logit of the prior's cumulative distribution, so every bounded prior is the logistic density in z.
Exceptions: an unbounded normal is standardised, and an angle that may take a whole turn is z radians from the middle of its range and has
no walls (its density integrates to one over a turn).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from galmass.errors import InputError
from galmass.inference.kinds import KINDS

TINY = 1e-300  # smallest share of a prior that is told from none: keeps derivatives of roots and logarithms finite
ROUNDING = 1e-16  # of a share: what lies on a wall gets |z| = 37


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
    """Kind and numbers of a declared prior, its keys checked; those of another kind are left unread: an overlay that changes the kind leaves them behind."""
    if not isinstance(declared, Mapping) or declared.get("kind") not in KINDS:
        got = declared.get("kind") if isinstance(declared, Mapping) else declared
        raise InputError(f"config: priors.{name}: kind is {got!r}; it is one of {', '.join(KINDS)}, as in {{kind: uniform, low: 0, high: 1}}")
    kind = declared["kind"]
    needed, optional = KINDS[kind]
    known = {key for keys in KINDS.values() for part in keys for key in part}
    for key in declared:
        if key != "kind" and key not in known:
            raise InputError(f"config: priors.{name}.{key} = {declared[key]!r} is no key of a prior ({', '.join(sorted(known))}); remove it")
    for key in needed:
        if key not in declared:
            raise InputError(f"config: priors.{name}.{key} is missing; kind {kind} takes {', '.join((*needed, *optional))}")
    return kind, {key: _number(name, key, value) for key, value in declared.items() if key in (*needed, *optional)}


def _number(name, key, value) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    _require(fine, name, key, value, "it must be a finite number (YAML reads 1e6 without a point as text: write 1.0e+6)")
    return float(value)


def _require(fine: bool, name, key, value, remedy: str) -> None:
    if not fine:
        raise InputError(f"config: priors.{name}.{key} is {value!r}; {remedy}")
