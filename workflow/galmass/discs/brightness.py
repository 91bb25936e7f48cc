"""Surface-brightness profiles of gas discs and their total fluxes in closed form; `PROFILES` declares them, and takes more.

An edge (of a truncation or a hole) is a normal cumulative distribution EDGE times its radius wide: a sharp one would have no
derivative in its radius, and no quadrature of pixels would converge on it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

EDGE = 0.1  # width of an edge in units of its radius


@dataclass(frozen=True)
class Profile:
    """A surface brightness I(R) with at most one maximum.

    Attributes
    ----------
    names, units : tuple of str
        Of the parameters, in order.
    brightness : callable
        ``(radius, *parameters)`` -> I(R), unnormalised, like `radius` [arcsec].
    total : callable
        ``(*parameters)`` -> ``2 pi int I R dR`` [arcsec^2].
    scale : callable
        ``(*parameters)`` -> length over which I changes by a factor of about e where it is steepest [arcsec].
    peak : callable
        ``(*parameters)`` -> radius of the maximum [arcsec].
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    brightness: Callable
    total: Callable
    scale: Callable
    peak: Callable

    def holding(self, share: float, **parameters) -> float:
        """Radius [arcsec] that holds `share` of the flux, by a sum over log-spaced radii: good to 1e-3 of it."""
        values = [torch.as_tensor(parameters[name], dtype=torch.float64) for name in self.names]
        lengths = [float(v) for v in (self.scale(*values), *values)]
        radius = torch.logspace(math.log10(1e-3 * min(lengths)), math.log10(60 * max(lengths)), 20_000, dtype=torch.float64)
        within = torch.cumsum(self.brightness(radius, *values) * radius**2, 0)
        return float(radius[torch.searchsorted(within, share * within[-1])])

    def __call__(self, radius, **parameters):
        """Unnormalised surface brightness at `radius` [arcsec]."""
        return self.brightness(radius, *(parameters[name] for name in self.names))


def _exponential(radius, scale_length):
    return torch.exp(-radius / scale_length)


def _exponential_total(scale_length):
    return 2 * math.pi * scale_length**2


def _edge(radius, edge_radius):
    """0.5 at `edge_radius`, 1 far outside."""
    return torch.special.ndtr((radius - edge_radius) / (EDGE * edge_radius))


def _truncated(radius, scale_length, truncation_radius):
    return torch.exp(-radius / scale_length) * _edge(2 * truncation_radius - radius, truncation_radius)


def _with_hole(radius, scale_length, hole_radius):
    return torch.exp(-radius / scale_length) * _edge(radius, hole_radius)


def _outside_edge(scale_length, edge_radius):
    """``2 pi int R exp(-R / h) Phi((R - R_0) / w) dR``, ``w = EDGE R_0``, by parts: with ``mu = R_0 - w^2 / h``

    ``2 pi h [(mu + h) Phi(mu / w) exp(-R_0 / h + w^2 / 2 h^2) + w / sqrt(2 pi) exp(-R_0^2 / 2 w^2)]``.
    """
    h, width = scale_length.double(), EDGE * edge_radius.double()
    mu = edge_radius - width**2 / h
    # Phi(a) exp(a^2 / 2) = erfcx(-a / sqrt 2) / 2: the two exponentials would overflow alone
    tail = (mu + h) / 2 * torch.special.erfcx(-mu / (math.sqrt(2) * width)) + width / math.sqrt(2 * math.pi)
    return (2 * math.pi * h * tail * math.exp(-0.5 / EDGE**2)).to(scale_length.dtype)


def _truncated_total(scale_length, truncation_radius):
    # the edge of a disc is that of a hole turned over, but for the part below R = 0: Phi(-10) = 1e-23
    return _exponential_total(scale_length) - _outside_edge(scale_length, truncation_radius)


def _ring(radius, ring_radius, ring_width):
    return torch.exp(-0.5 * ((radius - ring_radius) / ring_width) ** 2)


def _ring_total(ring_radius, ring_width):
    x = ring_radius / (math.sqrt(2) * ring_width)
    return 2 * math.pi * ring_width**2 * (torch.exp(-(x**2)) + math.sqrt(math.pi) * x * (1 + torch.erf(x)))


PROFILES = {
    "exponential": Profile(("scale_length",), ("arcsec",), _exponential, _exponential_total, lambda h: h, lambda h: 0 * h),
    "truncated_exponential": Profile(
        ("scale_length", "truncation_radius"),
        ("arcsec", "arcsec"),
        _truncated,
        _truncated_total,
        lambda h, r: torch.minimum(h, EDGE * r),
        lambda h, r: 0 * h,
    ),
    "exponential_with_hole": Profile(
        ("scale_length", "hole_radius"),
        ("arcsec", "arcsec"),
        _with_hole,
        _outside_edge,
        lambda h, r: torch.minimum(h, EDGE * r),
        lambda h, r: (1 + EDGE) * r,
    ),
    "gaussian_ring": Profile(("ring_radius", "ring_width"), ("arcsec", "arcsec"), _ring, _ring_total, lambda r, w: w, lambda r, w: r),
}
