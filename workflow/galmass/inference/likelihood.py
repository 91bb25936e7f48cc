"""Log posterior of a galaxy: gridded visibilities under gas that orbits in the sum of stars, black hole and itself.

Everything that the mass does to the data passes through the circular velocity. So the model has two halves: parameters -> *summary*
(the circular velocity at some log-spaced radii, and the geometry of the gas), which is cheap, and summary -> visibilities, which is not.
"""

import math

import numpy as np
import torch

from galmass.discs.velocity import speed
from galmass.inference import fisher, straight

SMALLEST = 1e-4  # of the square of the dispersion [km^2/s^2]
NUKER = ("alpha", "gamma", "beta_minus_gamma", "r_break")
POSITIVE = ("sigma_gas", "thickness")  # what the data may not tell from none


class Posterior:
    """Log density of the unconstrained coordinates z of `Parameters`; implements `surrogate.Problem`.

    Parameters
    ----------
    model : VisibilityModel
        Circular velocity at ``model.disc.radius`` and geometry -> visibilities of the filled cells.
    mass, mass_at_nodes : MassModel
        The same mass model at the radii of the disc, and at the nodes of the summary.
    parameters : Parameters
        Free and fixed ones of both halves.
    noise : Noise
    used : (2 n_cell,) bool tensor
        Which of Re, Im, Re, Im ... the noise speaks of.
    """

    def __init__(self, model, mass, mass_at_nodes, parameters, noise, used):
        self.model, self.mass, self.mass_at_nodes, self.parameters, self.noise = model, mass, mass_at_nodes, parameters, noise
        self.used = used.nonzero()[:, 0]
        self.names, self.units, self.prior = parameters.names, parameters.units, parameters.priors
        self.geometry_names = model.disc.names
        self.n, self.periodic = parameters.n, parameters.periodic
        self.bent = [i for i, name in enumerate(self.names) if name in (*mass.shape, *POSITIVE)]
        direct = [name for name in self.geometry_names if name in self.names and name not in (*mass.names, *POSITIVE)]
        self.direct = [self.names.index(name) for name in direct], [len(mass_at_nodes.radius) + self.geometry_names.index(name) for name in direct]
        self.n_nodes = len(mass_at_nodes.radius)
        spread = spline(mass_at_nodes.radius.double().numpy(), mass.radius.double().numpy())
        self.spread = torch.from_numpy(spread)

    @property
    def n_independent(self) -> int:
        """Number of independent data: what the chi^2 of a true model adds up to."""
        return round(self.noise.n_independent)

    def __call__(self, x):
        """Log likelihood (...), float64, of physical parameter vectors (..., n) in the order of `names`, one after the other; differentiable."""
        if x.dim() > 1:
            return torch.stack([self(vector) for vector in x])
        return self._likelihood(*self._halves(x))

    def straight(self, bent):
        """How to propose the coordinates `bent`: a Nuker profile by its slope at the pivot."""
        pivot, places = self.parameters.pivot, [self.names.index(name) for name in NUKER if name in self.names]
        if pivot is None or len(places) < len(NUKER) or not set(places) <= set(bent):
            return straight.Deviates()
        return straight.SlopeAtPivot(pivot, tuple(list(bent).index(i) for i in places), tuple(self.prior[name] for name in NUKER))

    def log_prior(self, z):
        """Log density of the prior in z, (...)."""
        return self.parameters.log_prior(z)

    def log_likelihood(self, z):
        """Log likelihood at coordinates (n,)."""
        return self(self.parameters.physical(z))

    def log_density(self, z):
        """Log posterior at coordinates (n,), up to the evidence."""
        prior = self.log_prior(z)
        return prior + self.log_likelihood(z) if bool(torch.isfinite(prior)) else prior

    def velocity(self, x, mass=None, unit=None):
        """Circular velocity (..., n_radius) [km/s] of physical vectors (..., n), at the radii of `mass`; `unit` as of `MassModel.squared_velocity`."""
        mass = mass or self.mass
        return speed(sum(mass.squared_velocity(self.parameters.complete(x), unit).values()))

    def geometry(self, x):
        """Geometry of the gas (..., n_geometry) of physical vectors (..., n)."""
        values = self.parameters.complete(x)
        return torch.stack([values[name].expand(x.shape[:-1]) for name in self.geometry_names], -1)

    def unit(self, z):
        """The costly part of `summary`, which depends on the bent coordinates alone."""
        return self.mass_at_nodes.unit(self.parameters.complete(self.parameters.physical(z)))

    def summary(self, z, unit=None):
        """What the data see of coordinates (..., n): projected velocity at the nodes and geometry, (..., n_nodes + n_geometry).

        The visibilities are nearly linear in it: with v_c sin i for the velocity, cos i for the inclination and the square of the dispersion.
        """
        x = self.parameters.physical(z)
        geometry = dict(zip(self.geometry_names, self.geometry(x).unbind(-1), strict=True))
        for i, name in enumerate(self.names):
            if self.prior[name].periodic and name in geometry:  # smooth where the angle begins anew
                geometry[name] = self.prior[name].centre + torch.rad2deg(z[..., i])
        inclination = torch.deg2rad(geometry["inclination"])
        velocity = self.velocity(x, self.mass_at_nodes, unit) * torch.sin(inclination)[..., None]
        geometry |= {"inclination": torch.cos(inclination), "sigma_gas": geometry["sigma_gas"] ** 2}
        return torch.cat([velocity, torch.stack(list(geometry.values()), -1)], -1)

    def predict_at_summary(self, s):
        """Model of the used numbers, (n_data,) float64 [Jy], at a summary (n_nodes + n_geometry,)."""
        geometry = dict(zip(self.geometry_names, s[self.n_nodes :].unbind(-1), strict=True))
        inclination = torch.arccos(geometry["inclination"])
        # a step below no dispersion is one of none
        geometry |= {"inclination": torch.rad2deg(inclination), "sigma_gas": torch.sqrt(geometry["sigma_gas"].clamp(min=SMALLEST))}
        velocity = self.spread @ s[: self.n_nodes] / torch.sin(inclination)
        return self._numbers(velocity, torch.stack(list(geometry.values()), -1))

    def likelihood_at_summary(self, s):
        """Log likelihood, a float64 scalar, at a summary."""
        return self.noise.log_density(self.predict_at_summary(s))

    def score_and_weights(self, prediction):
        """Derivative of the log likelihood by the model, and expected information, (n_data,) each."""
        return self.noise.score_and_weights(prediction)

    def predict(self, z):
        """Model of the used numbers, (n_data,) float64 [Jy], at coordinates (n,)."""
        return self.predict_at(self.parameters.physical(z))

    def predict_at(self, x):
        """The same at a physical vector (n,)."""
        return self._numbers(*self._halves(x))

    def visibilities(self, x):
        """Model of all cells, (n_cell,) complex [Jy], at a physical vector (n,)."""
        return self._visibilities(*self._halves(x))

    def curvature(self, z):
        """Expected information of the data and curvature of the prior, (n, n), at coordinates (n,)."""
        return fisher.curvature(self, z)

    def reported(self, z):
        """What a fit tells of draws z (..., n): physical values, angles unwrapped about their mean direction (`Parameters.unwrapped`)."""
        with torch.no_grad():
            return self.parameters.unwrapped(self.parameters.physical(z))

    def _halves(self, x):
        return self.velocity(x), self.geometry(x)

    def _visibilities(self, velocity, geometry):
        """On the CPU, wherever they are made."""
        disc = self.model.disc
        return self.model(velocity.to(disc.device, disc.dtype), geometry.to(disc.device, disc.dtype)).cpu()

    def _numbers(self, velocity, geometry):
        return torch.view_as_real(self._visibilities(velocity, geometry)).reshape(-1)[self.used].double()

    def _likelihood(self, velocity, geometry):
        if not bool(torch.isfinite(velocity).all()):  # no such galaxy: Gaussians flatter than this inclination allows
            return torch.tensor(-math.inf, dtype=torch.float64)
        return self.noise.log_density(self._numbers(velocity, geometry))


def spline(nodes, radius):
    """Matrix (n_radius, n_node) that carries a circular velocity from `nodes` to `radius`, linear in the velocities.

    A natural cubic spline of v sqrt(R) in ln R: flat around a black hole. Beyond the nodes v sqrt(R) stays as at the last one.
    """
    from scipy.interpolate import CubicSpline

    curves = CubicSpline(np.log(nodes), np.diag(np.sqrt(nodes)), bc_type="natural")
    return curves(np.log(np.clip(radius, nodes[0], nodes[-1]))) / np.sqrt(radius)[:, None]
