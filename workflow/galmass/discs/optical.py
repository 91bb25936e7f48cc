"""The optical view of the stars: a sum of Gaussians fitted to a surface-brightness profile, as a table that the mass model `mge` reads.

What an optical image gives and radio data do not need: it sees the light of an active nucleus, too. An unresolved nucleus falls into the
innermost Gaussian together with the stellar cusp inside it. Kept, the Gaussian holds mass that is not there, and the black hole comes out
too light; removed, cusp is missing, and it comes out too heavy. `mock_table` makes such a table of a known galaxy.
"""

import math
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls

from galmass import stores
from galmass.errors import InputError
from galmass.profiles import mge, nuker
from galmass.stores import Column
from galmass.units import PC_PER_ARCSEC

COLUMNS = {
    "surface_brightness": Column("L_sun / pc^2", "observed peak surface brightness of the Gaussian, corrected for extinction"),
    "sigma_arcsec": Column("arcsec", "dispersion along the major axis"),
    "q_obs": Column("", "observed axial ratio"),
}
SCHEMA = "; ".join(f"{name} [{column.unit or '1'}]: {column.description}" for name, column in COLUMNS.items())
N_RADIUS = 200  # of a mock's photometry, log-spaced


def read_table(path):
    """The table of an optical MGE as a DataFrame of the columns `COLUMNS`, innermost Gaussian first.

    Raises
    ------
    InputError
        When the file is missing or no CSV, lacks a column, or holds a value that no Gaussian has.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} is missing: put a CSV there, one Gaussian a row ({SCHEMA}). Only the mass model mge needs it, nuker needs no file")
    try:
        frame = stores.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path} is no CSV table ({error}); it needs a header and one Gaussian a row ({SCHEMA})") from error
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}, and it needs {SCHEMA}")
    if not len(frame):
        raise InputError(f"{path} holds no Gaussian; it needs one a row ({SCHEMA})")
    frame = frame[list(COLUMNS)]
    for name in COLUMNS:
        _check_column(path, name, frame[name])
    return frame.astype(float).sort_values("sigma_arcsec", ignore_index=True)


def _check_column(path, name, values) -> None:
    """Name the first row whose value cannot be one of a Gaussian."""
    for row, value in enumerate(values):
        number = value if isinstance(value, Real) and not isinstance(value, bool) else math.nan
        if not (0 < number < math.inf) or (name == "q_obs" and number > 1):
            wanted = "above 0 and at most 1" if name == "q_obs" else f"positive and finite [{COLUMNS[name].unit}]"
            raise InputError(f"{path}: {name} of Gaussian {row + 1} is {value!r}; it must be {wanted}")


def write_table(path, frame) -> None:
    """Write the table of an MGE as the CSV that `read_table` reads, columns and order those of `COLUMNS`."""
    stores.write_csv(path, frame[list(COLUMNS)].to_dict("records"))


def fit_mge(radius_arcsec, surface_brightness, q_obs: float, n_gauss: int, sigma_range=None):
    """Positive Gaussians that fit a profile along the major axis, as a table of `COLUMNS`, innermost first.

    Non-negative least squares of the relative error over log-spaced dispersions; those that get nothing are left out.

    Parameters
    ----------
    radius_arcsec, surface_brightness : (n_radius,) arrays
        [arcsec], [L_sun / pc^2].
    q_obs : float
        Observed axial ratio of all Gaussians.
    n_gauss : int
        Number of dispersions.
    sigma_range : pair of float, optional
        Smallest and largest dispersion [arcsec]; by default the range of the radii.

    Raises
    ------
    InputError
        For values that are not positive, or fewer radii than Gaussians.
    """
    import pandas as pd

    radius, light = np.asarray(radius_arcsec, float), np.asarray(surface_brightness, float)
    if not (np.all(np.isfinite(radius) & (radius > 0)) and np.all(np.isfinite(light) & (light > 0))):
        raise InputError("optical MGE: radii [arcsec] and surface brightness [L_sun / pc^2] must be positive and finite; leave out what is masked")
    if not (1 <= n_gauss <= len(radius) and 0 < q_obs <= 1):
        raise InputError(
            f"optical MGE: {n_gauss} Gaussians of q_obs {q_obs:g} at {len(radius)} radii; take 1 to as many as radii, and q_obs above 0 and at most 1"
        )
    sigma = np.geomspace(*(sigma_range or (radius.min(), radius.max())), n_gauss)
    shapes = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / light[:, None]
    scale = shapes.max(0)  # columns of like size: amplitudes of a cusp span many powers of ten
    amplitudes = nnls(shapes / scale, np.ones(len(radius)))[0] / scale
    kept = amplitudes > 0
    return pd.DataFrame({"surface_brightness": amplitudes[kept], "sigma_arcsec": sigma[kept], "q_obs": q_obs})


def mock_table(
    truth: Mapping,
    distance_mpc: float,
    mass_to_light: float = 2.14,
    agn_fraction: float = 0.08,
    agn_sigma_arcsec: float = 0.05,
    n_gauss: int = 12,
    radius_range_arcsec=(0.02, 60.0),
):
    """The optical MGE of a galaxy with a Nuker profile and an unresolved active nucleus.

    The Nuker profile over the true M/L plus a Gaussian of the nucleus is fitted by `n_gauss` Gaussians, the smallest as narrow as the nucleus, so
    that the innermost one is the nucleus and the cusp inside it, as in an image of that resolution.

    Parameters
    ----------
    truth : mapping
        alpha, gamma, beta_minus_gamma, r_break [pc], log_sigma_break [log10 M_sun / pc^2], q_intr, inclination [deg].
    distance_mpc : float
    mass_to_light : float
        [M_sun / L_sun].
    agn_fraction : float
        Light of the nucleus over that of the stars within 10 agn_sigma_arcsec, 0 for none.
    agn_sigma_arcsec : float
        Width of the unresolved nucleus.
    n_gauss : int
    radius_range_arcsec : pair of float
        Of the photometry.

    Returns
    -------
    DataFrame of `COLUMNS`
    """
    radius = np.geomspace(*radius_range_arcsec, N_RADIUS)
    q_obs = observed_axial_ratio(truth)
    nucleus = agn_surface_brightness(truth, distance_mpc, mass_to_light, agn_fraction, agn_sigma_arcsec)
    light = stellar_surface_brightness(truth, radius, distance_mpc, mass_to_light) + nucleus * np.exp(-0.5 * (radius / agn_sigma_arcsec) ** 2)
    return fit_mge(radius, light, q_obs, n_gauss, (agn_sigma_arcsec, 2 * radius_range_arcsec[1]))


def observed_axial_ratio(truth: Mapping) -> float:
    """Axial ratio on the sky of a galaxy with q_intr at inclination [deg]."""
    return float(mge.observed_axial_ratio(*(torch.tensor(v, dtype=torch.float64) for v in (truth["q_intr"], math.radians(truth["inclination"])))))


def stellar_surface_brightness(truth: Mapping, radius_arcsec, distance_mpc: float, mass_to_light: float):
    """Nuker profile of `truth` (see `mock_table`) along the major axis [L_sun / pc^2]."""
    radius = np.asarray(radius_arcsec, float) * PC_PER_ARCSEC * distance_mpc
    shape = truth["alpha"], truth["gamma"] + truth["beta_minus_gamma"], truth["gamma"], truth["r_break"]
    return 10 ** truth["log_sigma_break"] / mass_to_light * np.exp(nuker.log_surface_density(radius, *shape))


def agn_surface_brightness(truth: Mapping, distance_mpc: float, mass_to_light: float, agn_fraction: float, agn_sigma_arcsec: float) -> float:
    """Peak [L_sun / pc^2] of the Gaussian of a nucleus with `agn_fraction` of the stars' light within 10 `agn_sigma_arcsec`, of their axial ratio."""
    radius = np.geomspace(1e-6, 10, 2000) * agn_sigma_arcsec  # a cusp of slope 1.2 leaves 2e-6 of its light inside
    stars = np.trapezoid(stellar_surface_brightness(truth, radius, distance_mpc, mass_to_light) * radius**2, np.log(radius))
    return agn_fraction * stars / agn_sigma_arcsec**2
