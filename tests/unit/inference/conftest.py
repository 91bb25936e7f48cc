"""A small galaxy, observed with little and fitted in seconds; and a posterior that is bent, but known in closed form."""

import math

import numpy as np
import pytest
import torch

from galmass.inference import assembly, fisher, straight
from galmass.visibilities import gridding, simulation
from galmass.visibilities.coverage import Coverage

REST = 230.538e9
TRUTH = {
    **{"log_m_bh": 8.5, "alpha": 1.5, "gamma": 0.7, "beta_minus_gamma": 0.5, "r_break": 200.0, "log_sigma_break": 4.3, "q_intr": 0.7},
    **{"inclination": 60.0, "position_angle": 30.0, "x_offset": 0.1, "y_offset": -0.05, "v_sys": 1010.0, "sigma_gas": 8.0, "flux": 10.0, "scale_length": 1.2},
}
PRIORS = {
    "log_m_bh": {"kind": "uniform", "low": 6.0, "high": 10.0},
    "alpha": {"kind": "log_uniform", "low": 0.1, "high": 10.0},
    "gamma": {"kind": "uniform", "low": 0.001, "high": 1.2},
    "beta_minus_gamma": {"kind": "uniform", "low": 0.3, "high": 3.0},
    "r_break": {"kind": "log_uniform", "low": 2.0, "high": 2000.0},
    "log_sigma_break": {"kind": "uniform", "low": 1.0, "high": 7.0},
    "q_intr": {"kind": "fixed", "value": 0.7},
    "log_ml": {"kind": "uniform", "low": -1.0, "high": 2.0},
    "inclination": {"kind": "isotropic", "low": 20.0, "high": 89.0},
    "position_angle": {"kind": "uniform", "low": 0.0, "high": 360.0},
    "x_offset": {"kind": "uniform", "low": -1.0, "high": 1.0},
    "y_offset": {"kind": "uniform", "low": -1.0, "high": 1.0},
    "v_sys": {"kind": "uniform", "low": -100.0, "high": 100.0, "of": "v_sys"},
    "sigma_gas": {"kind": "log_uniform", "low": 0.5, "high": 50.0},
    "flux": {"kind": "log_uniform", "low": 0.1, "high": 10.0, "of": "shortest_baselines"},
    "scale_length": {"kind": "log_uniform", "low": 0.25, "high": 0.5, "of": "beam_and_field"},
}
GALAXY = {
    **{"distance_mpc": 11.4, "v_sys_kms": 1000.0, "rest_frequency_hz": REST, "dish_diameter_m": 12.0, "primary_beam_coefficient": 1.13},
    "model": {"n_pix": 32, "oversampling": 1, "profile": "exponential", "thick": False, "gas_mass": False, "centroids": False, "pivot_arcsec": 1.0},
    "priors": {},
}
FITTING = {"likelihood": "student_t", "priors": PRIORS, "model_priors": {}, "velocity_nodes": 20}


def small_coverage(n_chan=16, reach=20, share=0.3, field_arcsec=16.0):
    """A random disc of uv cells in channels of 30 km/s."""
    rng = np.random.default_rng(5)
    u, v = np.meshgrid(np.arange(0, reach), np.arange(-reach, reach))
    kept = (np.hypot(u, v) < reach) & ((u > 0) | (v > 0)) & (rng.random(u.shape) < share)
    width = 30 / 299792.458 * REST
    frequency = REST * (1 - 1010 / 299792.458) + width * (np.arange(n_chan) - (n_chan - 1) / 2)
    filled = np.ones((n_chan, kept.sum()), bool)
    return Coverage(u[kept], v[kept], filled, 1 / (field_arcsec * gridding.ARCSEC), frequency, width)


def observe(signal_to_noise=60.0, seed=1, truth=TRUTH, cell=0.4, n_pix=40, support=1):
    """Gridded visibilities of the small galaxy."""
    seen, _ = simulation.simulate({**truth, "distance": 11.4}, small_coverage(), seed, 2**14, median_count=20, signal_to_noise=signal_to_noise)
    return gridding.grid(seen, n_pix, cell, support)


def setup_of(mass_model="nuker", galaxy=None, fitting=None):
    return {
        "galaxy": {**GALAXY, **(galaxy or {})},
        "fitting": {**FITTING, **(fitting or {})},
        "mass_model": mass_model,
        "deprojection": {"method": "surrogate", "extrapolate": "error"} if mass_model == "nuker" else {},
        "weights": None,
        "mge_table": None,
    }


@pytest.fixture(scope="session")
def gridded():
    return observe()


@pytest.fixture(scope="session")
def posterior(gridded):
    """In float64: derivatives are compared with differences."""
    return assembly.assemble(setup_of(), gridded, dtype=torch.float64)


@pytest.fixture(scope="session")
def truth(posterior):
    """Physical vector of what was simulated."""
    return torch.tensor([TRUTH[name] for name in posterior.names], dtype=torch.float64)


class Bowl:
    """`surrogate.Problem` of a normal summary (sinh z0, sinh z1 - z0^2, 57.3 z2) under a prior flat in it: draws, moments and evidence in closed form.

    Parameters
    ----------
    widths : standard deviations of the three, correlated
    bent : list of int
    fault : float
        Added to what the data are predicted to be, but not to the truth: a surrogate of the wrong place.
    """

    names = ("a", "b", "angle")
    direct = ([2], [2])
    mean = torch.tensor([0.1, 0.0, 40.0], dtype=torch.float64)
    correlated = torch.tensor([[1.0, 0.0, 0.0], [0.5, math.sqrt(0.75), 0.0], [-0.4, 0.3, math.sqrt(0.75)]], dtype=torch.float64)

    def __init__(self, widths=(0.3, 0.1, 10.0), bent=(0,), fault=0.0):
        self.bent, self.fault, self.calls, self.last = list(bent), fault, 0, math.inf
        self.root = torch.tensor(widths, dtype=torch.float64)[:, None] * self.correlated  # L, the covariance of the summary is L L^T
        self.inverse = torch.linalg.inv(self.root)
        self.log_evidence = 1.5 * math.log(2 * math.pi) + float(self.root.diagonal().log().sum())

    def exact(self, n, seed):
        """Independent draws (n, 3)."""
        s = self.mean + torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) @ self.root.T
        first = torch.asinh(s[:, 0])
        return torch.stack([first, torch.asinh(s[:, 1] + first**2), torch.deg2rad(s[:, 2])], 1)

    def normal(self, z):
        """Three independent standard normal deviates (..., 3)."""
        return (self.summary(z) - self.mean) @ self.inverse.T

    def straight(self, bent):
        return straight.Deviates()

    def unit(self, z):
        return torch.sinh(z[..., 0])

    def summary(self, z, unit=None):
        unit = self.unit(z) if unit is None else unit  # (n,) of (n, 3) and of (k, n, 3)
        return torch.stack([unit.expand(z.shape[:-1]), torch.sinh(z[..., 1]) - z[..., 0] ** 2, torch.rad2deg(z[..., 2])], -1)

    def log_prior(self, z):
        return torch.log(torch.cosh(z[..., :2])).sum(-1) + math.log(180 / math.pi)

    def predict_at_summary(self, s):
        return self.inverse @ (s - self.mean) + self.fault

    def likelihood_at_summary(self, s):
        return -0.5 * (self.inverse @ (s - self.mean)).square().sum()

    def score_and_weights(self, prediction):
        return -prediction, torch.ones_like(prediction)

    def log_likelihood(self, z):
        return self.likelihood_at_summary(self.summary(z))

    def log_density(self, z):
        self.calls += 1
        if self.calls > self.last:
            raise KeyboardInterrupt
        return self.log_prior(z) + self.log_likelihood(z)

    def curvature(self, z):
        return fisher.posterior_curvature(self, z, self.inverse.T @ self.inverse, floor=1.0)
