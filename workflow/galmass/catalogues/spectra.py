"""Spectra and distances of simulated galaxies: few numbers, smooth in wavelength."""

from functools import lru_cache

import numpy as np

# rest-frame spectra: r - m at intrinsic g - r = 0.55, its slope in g - r, and the share of a burst, at these wavelengths [micron]
_SPECTRUM = np.array(
    [
        [0.230, -3.85, -9.7, 2.0],
        [0.355, -1.95, -3.2, 1.0],
        [0.469, -0.55, -1.0, 0.25],
        [0.616, 0.0, 0.0, 0.0],
        [0.748, 0.265, 0.56, 0.0],
        [0.893, 0.46, 1.1, 0.0],
        [1.25, 0.70, 1.5, 0.0],
        [2.2, 0.83, 2.2, 0.0],
        [3.35, -0.06, 2.4, 0.0],
        [4.60, -0.70, 2.4, 0.0],
        [11.6, -1.80, 2.4, 0.0],
    ]
)


def spectrum(wavelength, stellar_colour, burst, warm_dust, attenuation):
    """Magnitude at rest-frame wavelengths (n_galaxy, n_band) [micron] less the dust-free one in r."""
    log_wavelength, nodes = np.log(wavelength), np.log(_SPECTRUM[:, 0])
    level, slope, of_burst = (np.interp(log_wavelength, nodes, column) for column in _SPECTRUM[:, 1:].T)
    of_warm_dust = np.interp(log_wavelength, nodes[-2:], [0.0, 1.0])
    curve = (wavelength / 0.55) ** -0.7  # Charlot & Fall 2000, ApJ 539, 718
    red, young, warm, dimmed = (np.asarray(a)[:, None] for a in (stellar_colour - 0.55, burst, warm_dust, attenuation))
    return -(level + slope * red) - of_burst * young - of_warm_dust * warm + curve * dimmed


@lru_cache
def _distances():
    from astropy.cosmology import FlatLambdaCDM

    redshift = np.linspace(1e-4, 1.0, 4000)
    return redshift, FlatLambdaCDM(H0=70, Om0=0.3).luminosity_distance(redshift).value


def luminosity_distance(redshift):
    """[Mpc] in a flat universe with H0 = 70 km/s/Mpc and Omega_m = 0.3; redshifts from 1e-4 to 1."""
    return np.interp(redshift, *_distances())


def kpc_per_arcsec(redshift):
    """Proper length seen under an arcsecond [kpc] at a redshift."""
    return luminosity_distance(redshift) / (1 + redshift) ** 2 * 1e3 / 206264.806
