"""Mass models of a galaxy behind one interface: stars (Nuker, optical MGE, Sersic, core-Sersic), a black hole, a thin disc of gas.

`make` gives a `MassModel`: parameters in the units of the config -> v^2 [km^2/s^2] of each component at fixed radii. Every stellar profile
becomes Gaussians of fixed dispersions, whose velocities at these radii are a linear map, prepared once (`Kernel`).

Distance: radii are angles, given in pc at a nominal distance D0. At a distance D = s D0 they are s times as long, and since a galaxy whose lengths
are all s times as long at the same surface densities has s times the v^2, v^2(s R; lengths, M) = s v^2(R; lengths / s, M / s^2): exact, and the
map stays as it is. Parameters in pc and M_sun hold at D; what is an angle (table of an optical MGE, scale_length) turns with it.
"""

import copy
import math
import warnings
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch

from galmass.deprojection import expansion
from galmass.discs import velocity
from galmass.errors import InputError
from galmass.profiles import sersic
from galmass.profiles.mge import observed_axial_ratio
from galmass.units import PC_PER_ARCSEC, G

Q_MIN = 0.05  # flattest Gaussian that is answered: the kernel is tabulated from here to 1
N_Q = 12  # Chebyshev polynomials in ln q, in which the kernel is smooth: each takes a factor of 4 to 5 off the error
OUTSIDE = 1e-6  # relative rounding of the walls of a box

UNITS = {
    "alpha": "",
    "gamma": "",
    "beta_minus_gamma": "",
    "r_break": "pc",
    "log_sigma_break": "log10 M_sun / pc^2",
    "sersic_index": "",
    "r_e": "pc",
    "log_sigma_e": "log10 M_sun / pc^2",
    "log_ml": "log10 M_sun / L_sun",
    "q_intr": "",
    "inclination": "deg",
    "distance": "Mpc",
    "log_m_bh": "log10 M_sun",
    "log_gas_mass": "log10 M_sun",
    "scale_length": "arcsec",
}
SERSIC_BOX = {"sersic_index": (0.8, 10.0), "r_e": (30.0, 3e4)}
CORE_SERSIC_BOX = {"alpha": (0.5, 10.0), "gamma": (0.0, 1.2), "r_break": (2.0, 2e3), **SERSIC_BOX}

SIGMA = np.geomspace(0.02, 6e4, 80)  # pc, of the Sersic profiles; the cusp inside the smallest is worth 1 % of v at 2 pc for a slope of 1.2
CHUNK = 32  # profiles solved at a time: matrices of 3 MB stay in the cache
RIDGE = 1e-12  # on amplitudes in units of the largest that fits under the profile
FLOOR = 1e-8  # of the surface density at r_e or r_break, added to the profile that errors are relative to: it may fall by e^-1000


class Kernel:
    """v^2 at fixed radii of fixed Gaussians with any axial ratio from Q_MIN to 1.

    ``sqrt(8 pi) G R L(R / sigma; q)`` (see `velocity`) as Chebyshev polynomials in ln q: one matrix product for a batch, against
    n_gauss * n_radius * 32 square roots each of the direct sum. Relative error of each term below 5e-8 (tested).

    Parameters
    ----------
    radius, sigma : (n_radius,), (n_gauss,) float64 tensors
        [pc].
    """

    def __init__(self, radius, sigma, dtype=torch.float64, device="cpu"):
        k = torch.arange(N_Q, dtype=torch.float64)
        angle = math.pi * (k + 0.5) / N_Q
        q = torch.exp(math.log(Q_MIN) * (1 - torch.cos(angle)) / 2)
        values = torch.stack([velocity.kernel(radius / sigma[:, None], v) for v in q])
        weights = torch.cos(k[:, None] * angle) * (2 - (k[:, None] == 0).double()) / N_Q
        terms = torch.einsum("kj,jgr->gkr", weights, values) * math.sqrt(8 * math.pi) * G * radius
        self.matrix = terms.flatten(0, 1).to(device, dtype)

    def __call__(self, amplitudes, q_intr, q_obs):
        """v^2 (..., n_radius) of `amplitudes` (..., n_gauss); axial ratios (..., n_gauss) or (..., 1). NaN for a q_intr outside Q_MIN to 1."""
        y = 1 - 2 * torch.log(q_intr) / math.log(Q_MIN)
        y = torch.where((y >= -1 - OUTSIDE) & (y <= 1 + OUTSIDE), y, torch.nan)
        weighted = (amplitudes * q_obs)[..., None] * torch.stack(_chebyshev(y), dim=-1)
        return weighted.flatten(-2) @ self.matrix


def _chebyshev(y):
    """T_0 to T_{N_Q - 1} at y."""
    values = [torch.ones_like(y), y]
    for _ in range(N_Q - 2):
        values.append(2 * y * values[-1] - values[-2])
    return values


class NukerStars:
    """A Nuker profile by `deprojection.expansion`; NaN outside its box unless it clamps."""

    shape = ("alpha", "gamma", "beta_minus_gamma", "r_break")
    names = (*shape, "log_sigma_break", "q_intr", "inclination")

    def __init__(self, deprojection: expansion.Deprojection, dtype, device):
        self.deprojection, self.box, self.sigma = deprojection, deprojection.box, deprojection.sigma
        # the first call makes a network of this kind, which no `torch.func` transform allows
        deprojection.amplitudes(*torch.ones(4, 1, 1, dtype=dtype, device=device))

    def unit(self, parameters, stretch):
        """Amplitudes (..., n_gauss) for a Sigma_b of 1."""
        p, inside = _in_box(self.box, {name: parameters[name] for name in self.shape}, stretch, self.deprojection.extrapolate)
        shape = [v.reshape(-1, 1) for v in (p["alpha"], p["gamma"] + p["beta_minus_gamma"], p["gamma"], p["r_break"])]
        return _only(inside, self.deprojection.amplitudes(*shape))

    def __call__(self, parameters, unit):
        """Amplitudes (..., n_gauss) [M_sun / pc^2], intrinsic and observed axial ratio (..., 1)."""
        return unit * torch.pow(10.0, parameters["log_sigma_break"])[..., None], *_axial_ratios(parameters)

    def check(self, ranges) -> None:
        """Raise `InputError` where priors leave the box, or warn where they are clamped."""
        _check_box(self.box, ranges, self.deprojection.extrapolate)


class SersicStars:
    """A Sersic or core-Sersic profile by least squares of the relative error; NaN outside its box, or for a core beyond r_e.

    Sigma is right to 1 % from 2 pc to 5 kpc wherever it is above 1e-6 of that at r_e or r_break, v^2 to 2 %. A profile close to one
    Gaussian (index 0.5) or cut off sharply (a core beyond r_e) has no good expansion on a fixed grid.
    """

    def __init__(self, box, shape, normalisation: str, log_surface_density):
        self.box, self.shape, self.normalisation, self.log_surface_density = box, shape, normalisation, log_surface_density
        self.names = (*shape, normalisation, "q_intr", "inclination")
        self.sigma = torch.from_numpy(SIGMA)

    def unit(self, parameters, stretch):
        """Amplitudes (..., n_gauss) for a surface density of 1 at r_e or r_break."""
        p, inside = _in_box(self.box, {name: parameters[name] for name in self.shape}, stretch)
        return _only(inside, solve(self.log_surface_density, *(p[name].reshape(-1, 1) for name in self.shape)))

    def __call__(self, parameters, unit):
        """Amplitudes (..., n_gauss) [M_sun / pc^2], intrinsic and observed axial ratio (..., 1)."""
        return unit * torch.pow(10.0, parameters[self.normalisation])[..., None], *_axial_ratios(parameters)

    def check(self, ranges) -> None:
        """Raise `InputError` where priors leave the box."""
        _check_box(self.box, ranges)


class TableStars:
    """The Gaussians of an optical image times one mass-to-light ratio, each with the axial ratio that the inclination gives it.

    ``q^2 = (q_obs^2 - cos^2 i) / sin^2 i``; where it falls below Q_MIN^2 for any Gaussian v^2 is NaN: no oblate galaxy looks so flat at that inclination.
    """

    shape: tuple[str, ...] = ()
    names = ("log_ml", "inclination")

    def __init__(self, table, distance_mpc: float, drop_innermost: bool):
        table = table.sort_values("sigma_arcsec").iloc[1 if drop_innermost else 0 :]
        if not len(table):
            raise InputError("mass model mge: the table holds one Gaussian and drop_innermost removes it; set drop_innermost: false or add Gaussians")
        self.surface_brightness, sigma, self.q_obs = (torch.tensor(table[name].to_numpy(float)) for name in ("surface_brightness", "sigma_arcsec", "q_obs"))
        self.sigma = sigma * PC_PER_ARCSEC * distance_mpc

    @property
    def lowest_inclination(self) -> float:
        """Inclination [deg] at which the flattest Gaussian is as flat as Q_MIN."""
        return math.degrees(math.acos(math.sqrt(max(0.0, float(self.q_obs.min()) ** 2 - Q_MIN**2) / (1 - Q_MIN**2))))

    def unit(self, parameters, stretch):
        """Amplitudes (n_gauss,) for a mass-to-light ratio of 1."""
        return self.surface_brightness.to(stretch)

    def __call__(self, parameters, unit):
        """Amplitudes [M_sun / pc^2], intrinsic and observed axial ratios, each (..., n_gauss)."""
        log_ml, inclination = torch.broadcast_tensors(parameters["log_ml"], torch.deg2rad(parameters["inclination"]))
        q_obs = self.q_obs.to(log_ml)
        square = 1 - (1 - q_obs**2) / torch.sin(inclination[..., None]) ** 2
        q_intr = torch.sqrt(torch.where(square >= Q_MIN**2, square, torch.nan))
        return unit * torch.pow(10.0, log_ml[..., None]), q_intr, q_obs.expand_as(q_intr)

    def check(self, ranges) -> None:
        """Raise `InputError` where the prior holds no inclination that fits all Gaussians."""
        low, high = ranges.get("inclination", (0.0, 90.0))
        if high <= self.lowest_inclination:
            raise InputError(
                f"config: priors.inclination ({low:g} to {high:g} deg) excludes the optical MGE: its flattest Gaussian, q_obs = {float(self.q_obs.min()):g}, "
                f"needs more than {self.lowest_inclination:.1f} deg; widen the prior or check the table"
            )


class MassModel:
    """Squared circular velocity of stars, black hole and gas at fixed radii.

    Parameters
    ----------
    stars
        ``unit`` (parameters, stretch) -> amplitudes for a normalisation of 1, which depend on `shape` alone and cost most; a call
        (parameters, unit) -> amplitudes, intrinsic and observed axial ratios; with ``names``, ``shape``, ``sigma`` and ``check``.
    radius_pc : (n_radius,) array
        At `distance_mpc`.
    distance_mpc : float
        Nominal distance D0; the parameter `distance`, where given, scales from it.
    gas_mass : bool
        True adds log_gas_mass, a thin exponential disc of the scale length of the gas.

    Attributes
    ----------
    names : tuple of str
        All parameters that are read; inclination and scale_length are also the gas disc's.
    shape : tuple of str
        Those among them that bend the rotation curve: of the profile, the disc of gas and the distance. The others scale or tilt a part of it.
    units : dict of name -> str
    radius : (n_radius,) tensor
        [pc] at D0.
    """

    def __init__(self, stars, radius_pc, distance_mpc: float, gas_mass: bool = False, dtype=torch.float64, device="cpu"):
        self.stars, self.distance_mpc, self.gas_mass = stars, distance_mpc, gas_mass
        self.names = (*stars.names, "log_m_bh", *(("log_gas_mass", "scale_length") if gas_mass else ()), "distance")
        self.shape = (*stars.shape, *(("log_gas_mass", "scale_length") if gas_mass else ()), "distance")
        self.units = {name: UNITS[name] for name in self.names}
        self.dtype, self.device = dtype, device
        self._set_radius(radius_pc)

    def _set_radius(self, radius_pc):
        radius = torch.as_tensor(radius_pc, dtype=torch.float64).detach().cpu().reshape(-1)
        if not len(radius) or not bool(((radius > 0) & radius.isfinite()).all()):
            raise InputError("mass model: radii must be positive and finite [pc], at least one")
        self.radius, self.kernel = radius.to(self.device, self.dtype), Kernel(radius, self.stars.sigma, self.dtype, self.device)

    def at(self, radius_pc) -> "MassModel":
        """The same model at other radii [pc, at D0]."""
        other = copy.copy(self)
        other._set_radius(radius_pc)
        return other

    def unit(self, parameters: Mapping):
        """Amplitudes of the stars (..., n_gauss) for a normalisation of 1, for `squared_velocity`: functions of `shape` alone."""
        return self.stars.unit(*self._own(parameters))

    def _own(self, parameters: Mapping):
        """Own parameters but the distance, and by what lengths are stretched."""
        p = {name: torch.as_tensor(v, dtype=self.dtype, device=self.device) for name, v in parameters.items() if name in self.names}
        return p, p.pop("distance", torch.tensor(self.distance_mpc, dtype=self.dtype, device=self.device)) / self.distance_mpc

    def squared_velocity(self, parameters: Mapping, unit=None) -> dict[str, torch.Tensor]:
        """v^2 (..., n_radius) [km^2/s^2] of ``stars``, ``black_hole`` and ``gas``; differentiable, fit for ``torch.func.vmap``.

        Parameters
        ----------
        parameters : mapping of name -> (...) tensor
            At least `names` (distance may be left out: D0), in `units`; shapes broadcast.
        unit : (..., n_gauss) tensor, optional
            What `unit` gave for the same `shape`.

        Notes
        -----
        v^2 of the stars is NaN where no such galaxy exists in the model: q_intr outside Q_MIN to 1, a profile outside the box, an
        inclination that the observed axial ratios forbid. A likelihood rejects NaN.
        """
        p, stretch = self._own(parameters)
        unit = self.stars.unit(p, stretch) if unit is None else unit
        shape = torch.broadcast_shapes(stretch.shape, *(v.shape for v in p.values()))
        v2 = {"stars": self.kernel(*self.stars(p, unit)), "black_hole": self._black_hole(p, stretch), "gas": self._gas(p, stretch)}
        return {name: (stretch[..., None] * v).expand(*shape, len(self.radius)) for name, v in v2.items()}

    def enclosed_mass(self, parameters: Mapping, radius_pc) -> dict[str, torch.Tensor]:
        """``v^2 R / G`` (..., n_radius) [M_sun] of each component at other radii [pc, at D0]: the mass of a sphere that would act alike in the plane."""
        there = self.at(radius_pc)
        stretch = torch.as_tensor(parameters.get("distance", self.distance_mpc), dtype=self.dtype, device=self.device)[..., None] / self.distance_mpc
        return {name: v * there.radius * stretch / G for name, v in there.squared_velocity(parameters).items()}

    def check_priors(self, ranges: Mapping) -> None:
        """Raise `InputError` where a prior leaves what the model can answer.

        Parameters
        ----------
        ranges : mapping of name -> (low, high)
            Walls of the priors, infinite ones included; (value, value) of a fixed parameter.
        """
        for name in ("q_intr",) if "q_intr" in self.names else ():
            _check_range(name, ranges[name], (Q_MIN, 1.0), "")
        low, high = ranges.get("distance", (self.distance_mpc,) * 2)
        if not low > 0:
            raise InputError(f"config: priors.distance reaches {low:g} Mpc; give the normal a low above 0 (low: {self.distance_mpc / 2:g})")
        lengths = {n: (ranges[n][0] * self.distance_mpc / high, ranges[n][1] * self.distance_mpc / low) for n in ("r_break", "r_e") if n in ranges}
        self.stars.check({**ranges, **lengths})

    def _black_hole(self, p, stretch):
        return velocity.black_hole_squared(self.radius, p["log_m_bh"] - 2 * torch.log10(stretch), torch.zeros_like(stretch))

    def _gas(self, p, stretch):
        if not self.gas_mass:
            return torch.zeros_like(self.radius)
        scale = p["scale_length"] * PC_PER_ARCSEC * self.distance_mpc
        return velocity.disc_squared(self.radius, torch.pow(10.0, p["log_gas_mass"]) / (2 * math.pi * (scale * stretch) ** 2), scale)


def make(name: str, options: Mapping, radius_pc, distance_mpc: float, table=None, dtype=torch.float64, device="cpu") -> MassModel:
    """The mass model `name` at `radius_pc` (n_radius,), which are angles at `distance_mpc`.

    Parameters
    ----------
    name : {"nuker", "mge", "sersic", "core_sersic"}
    options : mapping
        gas_mass (false); of nuker: method (surrogate or direct), extrapolate (error or clamp), weights (path; default
        the committed ones); of mge: drop_innermost (false).
    table : DataFrame, optional
        Of an optical MGE, needed by ``mge`` alone; see `optical.read_table`.

    Raises
    ------
    InputError
        For a name, option or table that is none.
    """
    if name not in STARS:
        raise InputError(f"mass_model is {name!r}; it is one of {', '.join(STARS)}")
    build, own = STARS[name]
    for key in options:
        if key not in (*COMMON, *own):
            raise InputError(f"mass model {name}: option {key} is unknown; it takes {', '.join((*COMMON, *own))}")
    if not (math.isfinite(distance_mpc) and distance_mpc > 0):
        raise InputError(f"mass model {name}: the distance is {distance_mpc!r}; it must be positive [Mpc]")
    stars = build(options, distance_mpc, table, dtype, device)
    return MassModel(stars, radius_pc, distance_mpc, options.get("gas_mass", False), dtype, device)


def _nuker(options, distance_mpc, table, dtype, device):
    return NukerStars(expansion.load(options.get("weights"), options.get("method", "surrogate"), options.get("extrapolate", "error")), dtype, device)


def _mge(options, distance_mpc, table, dtype, device):
    if table is None:
        raise InputError("mass model mge needs the table of an optical MGE (columns surface_brightness, sigma_arcsec, q_obs); the other mass models do not")
    return TableStars(table, distance_mpc, options.get("drop_innermost", False))


def _sersic(options, distance_mpc, table, dtype, device):
    return SersicStars(SERSIC_BOX, ("sersic_index", "r_e"), "log_sigma_e", sersic.log_surface_density)


def _core_sersic(options, distance_mpc, table, dtype, device):
    shape = ("alpha", "gamma", "r_break", "sersic_index", "r_e")
    return SersicStars(CORE_SERSIC_BOX, shape, "log_sigma_break", sersic.log_core_surface_density)


COMMON = ("gas_mass",)
STARS = {
    "nuker": (_nuker, ("method", "extrapolate", "weights")),
    "mge": (_mge, ("drop_innermost",)),
    "sersic": (_sersic, ()),
    "core_sersic": (_core_sersic, ()),
}


def solve(log_surface_density, *shape):
    """Amplitudes (n, n_gauss) of Gaussians of dispersion SIGMA for profiles of `shape` (n, 1), differentiable; float64 inside.

    The sum over the radii, two a step of SIGMA, of the squared error relative to Sigma + FLOOR plus ``RIDGE |x|^2`` is least, with the amplitudes x in
    units of those of the largest Gaussian that stays below the profile: far down an exponential that is many powers of ten above the local Sigma.

    Parameters
    ----------
    log_surface_density : callable
        (radius (n_radius,) [pc], *shape) -> ln Sigma (n, n_radius) in the unit that FLOOR has.
    """
    chunks = zip(*(v.double().split(CHUNK) for v in shape), strict=True)
    return torch.cat([_solve(log_surface_density, *chunk) for chunk in chunks]).to(shape[0].dtype)


def _solve(log_surface_density, *shape):
    exponent, radius = _design(shape[0].device)
    profile = log_surface_density(radius, *shape)
    ln_largest = (profile.detach()[:, None, :] + exponent).amin(-1)
    wanted = torch.logaddexp(profile, torch.full_like(profile, math.log(FLOOR)))
    relative = torch.exp(ln_largest[..., None] - exponent - wanted[:, None, :])
    normal = relative @ relative.mT + RIDGE * torch.eye(len(SIGMA), dtype=torch.float64, device=radius.device)
    x = torch.linalg.solve(normal, relative @ torch.exp(profile - wanted)[..., None])[..., 0]
    return x * torch.exp(ln_largest)


@lru_cache
def _design(device):
    """``r^2 / 2 sigma^2`` (n_gauss, n_radius) at the radii of the fit, and these."""
    with torch.inference_mode(False):  # kept for callers that want gradients
        sigma, radius = (torch.from_numpy(v).to(device) for v in (SIGMA, np.geomspace(SIGMA[0], SIGMA[-1], 2 * len(SIGMA) - 1)))
        return 0.5 * (radius / sigma[:, None]) ** 2, radius


def _in_box(box, parameters, stretch, extrapolate="error"):
    """Parameters, all of one shape (...), lengths at the nominal distance, and which lie in `box`.

    Those outside get a profile of the box, so that nothing fails on the way to their NaN; with clamp the nearest one, and count as inside.
    """
    names = list(parameters)
    p = dict(zip([*names, "stretch"], torch.broadcast_tensors(*parameters.values(), stretch), strict=True))
    for name in ("r_break", "r_e"):
        if name in p:
            p[name] = p[name] / p["stretch"]
    inside = torch.ones_like(p["stretch"], dtype=torch.bool)
    for name, (low, high) in box.items():
        if extrapolate == "clamp":
            p[name] = p[name].clamp(low, high)
        inside = inside & (p[name] >= low - OUTSIDE * low) & (p[name] <= high + OUTSIDE * high)
    if "r_break" in box and "r_e" in box:
        inside = inside & (p["r_break"] <= p["r_e"])
    return p | {name: torch.where(inside, p[name], high) for name, (_, high) in box.items()}, inside


def _only(inside, amplitudes):
    """Amplitudes (..., n_gauss) of (n, n_gauss), NaN where the profile is none of the box."""
    return amplitudes.reshape(*inside.shape, -1) * torch.where(inside, 1.0, torch.nan)[..., None]


def _axial_ratios(p):
    return p["q_intr"][..., None], observed_axial_ratio(p["q_intr"], torch.deg2rad(p["inclination"]))[..., None]


def _check_box(box, ranges, extrapolate="error") -> None:
    for name, wanted in box.items():
        if extrapolate == "clamp" and not _within(ranges[name], wanted):
            warnings.warn(f"the prior of {name} leaves the box of the deprojection; there the profile at the box's edge is taken", stacklevel=3)
        elif extrapolate != "clamp":
            _check_range(name, ranges[name], wanted, UNITS[name])


def _check_range(name, got, wanted, unit) -> None:
    if not _within(got, wanted):
        texts = (f"{low:.6g} to {high:.6g} {unit}".rstrip() for low, high in (got, wanted))
        raise InputError("config: priors.{} runs from {}, but this mass model answers {}; narrow the prior".format(name, *texts))


def _within(got, wanted) -> bool:
    return wanted[0] * (1 - OUTSIDE) <= got[0] and got[1] <= wanted[1] * (1 + OUTSIDE)
