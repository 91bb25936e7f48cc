"""Fluxes to magnitudes, Galactic extinction, and where each is undefined."""

import numpy as np

from galmass.errors import InputError

SDSS_ZERO_POINT = 22.5  # magnitude of one nanomaggy
# GALEX FLUX_AUTO is in counts/s: AB zero-points of Morrissey et al. 2007, ApJS 173, 682
GALEX_ZERO_POINT = {"fuv": 18.82, "nuv": 20.08}
# A_band / E(B-V) of Wyder et al. 2007, ApJS 173, 293
GALEX_EXTINCTION = {"fuv": 8.24, "nuv": 8.20}
# A_u..A_z per SFD E(B-V). SDSS changed the coefficients with DR13: Stoughton et al. 2002 before,
# Schlafly & Finkbeiner 2011 from then on; A_u / A_r tells which.
SDSS_EXTINCTION = {
    "before DR13": np.array([5.155, 3.793, 2.751, 2.086, 1.479]),
    "DR13 and later": np.array([4.239, 3.303, 2.285, 1.698, 1.263]),
}


# softening of SDSS magnitudes, ugriz, in units of the flux of magnitude 0 (Lupton, Gunn & Szalay 1999, AJ 118, 1406; SDSS DR2)
SDSS_SOFTENING = np.array([1.4e-10, 0.9e-10, 1.2e-10, 1.8e-10, 7.4e-10])


def magnitude(flux, inverse_variance, zero_point: float):
    """Pogson magnitude and its standard error.

    Parameters
    ----------
    flux, inverse_variance : float arrays of one shape
        In any linear unit whose magnitude-zero is `zero_point`.

    Returns
    -------
    magnitude, error : float64 arrays [mag]
        NaN where the flux or its inverse variance is not positive and finite.
    """
    flux, inverse_variance = np.asarray(flux, float), np.asarray(inverse_variance, float)
    good = np.isfinite(flux) & np.isfinite(inverse_variance) & (flux > 0) & (inverse_variance > 0)
    safe_flux, safe_variance = np.where(good, flux, 1.0), np.where(good, inverse_variance, 1.0)
    error = 2.5 / np.log(10) / (safe_flux * np.sqrt(safe_variance))
    return np.where(good, zero_point - 2.5 * np.log10(safe_flux), np.nan), np.where(good, error, np.nan)


def asinh_magnitude(flux, inverse_variance):
    """SDSS magnitude (Lupton, Gunn & Szalay 1999, eq. 3) and its standard error, also of fluxes that noise has made negative.

    Parameters
    ----------
    flux, inverse_variance : float arrays (n_galaxy, 5) [nanomaggy, nanomaggy^-2]
        In ugriz; the columns petroMag and petroMagErr of SDSS are made from these in the same way.

    Returns
    -------
    magnitude, error : float64 arrays (n_galaxy, 5) [mag]
        NaN where the flux is -9999 or not finite, or its inverse variance is not positive and finite.
    """
    flux, inverse_variance = np.asarray(flux, float), np.asarray(inverse_variance, float)
    good = np.isfinite(flux) & np.isfinite(inverse_variance) & (flux > -1000) & (inverse_variance > 0)
    softened = 2e9 * SDSS_SOFTENING  # nanomaggies
    safe_flux, safe_variance = np.where(good, flux, 1.0), np.where(good, inverse_variance, 1.0)
    found = -2.5 / np.log(10) * (np.arcsinh(safe_flux / softened) + np.log(SDSS_SOFTENING))
    error = 2.5 / np.log(10) / np.sqrt(safe_variance * (safe_flux**2 + softened**2))
    return np.where(good, found, np.nan), np.where(good, error, np.nan)


def reddening(extinction):
    """E(B-V) from the SDSS extinctions A_u ... A_z.

    Parameters
    ----------
    extinction : float array (n_galaxy, 5) [mag]

    Returns
    -------
    ebv : float64 array (n_galaxy,) [mag]
    convention : str
        Which coefficients the release used, told from A_u / A_r.

    Raises
    ------
    InputError
        When the ratio is neither 1.874 nor 1.855: dividing by the wrong coefficient is a silent 20 %.
    """
    extinction = np.asarray(extinction, float)
    if not (np.isfinite(extinction) & (extinction > 0)).all():
        raise InputError(f"extinction is not positive and finite for {np.sum(~(extinction > 0).all(axis=1))} galaxies")
    ratio = extinction[:, 0] / extinction[:, 2]
    for convention, coefficients in SDSS_EXTINCTION.items():
        if np.all(np.abs(ratio - coefficients[0] / coefficients[2]) < 0.005):
            return extinction[:, 2] / coefficients[2], convention
    raise InputError(
        f"extinction_u / extinction_r runs from {ratio.min():.4f} to {ratio.max():.4f}; SDSS has 1.874 (before DR13) or 1.855 (from DR13 on) throughout"
    )
