"""A simulated sky whose causes are known: the equations of its galaxies, and the catalogue that a survey makes of them.

Every function under ``@sky.variable`` is a variable and its arguments are its causes (see `causes`). Colours,
sizes and profiles follow the trends of nearby galaxies in round numbers. Magnitudes have Gaussian errors,
and a survey sees what is brighter in r than its flux limit. The names ``true_*`` are free of noise.

Morphology informs about the mass: Sersic index, size and the change of both with wavelength depend on it
(``*_of_mass``), and colours do not know them. Each such setting may be 0: then that arrow is not there.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from scipy.special import gammaincinv, ndtr

from galmass.catalogues.causes import Model
from galmass.catalogues.photometry import SDSS_EXTINCTION, SDSS_ZERO_POINT
from galmass.catalogues.schema import BANDS, CLASSES, WISE_BANDS

ALL_BANDS = (*BANDS, *WISE_BANDS)
WAVELENGTH = np.array([0.355, 0.469, 0.616, 0.748, 0.893, 3.35, 4.60, 11.6])  # of ALL_BANDS [micron]
# W1 and W2: Yuan, Liu & Xiang 2013, MNRAS 430, 2188; nothing is lost at 12 micron
REDDENING = np.array([*SDSS_EXTINCTION["DR13 and later"], 0.19, 0.15, 0.0])  # A / E(B-V)
VEGA_TO_AB = np.array([2.699, 3.339, 5.174])  # W1 W2 W3, Jarrett et al. 2011, ApJ 735, 112
SUN_R = 4.65  # absolute AB magnitude of the Sun in r
PIVOT = 10.5  # log10 stellar mass [M_sun] about which relations are written

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
_SKY_ERROR = np.array([1.5, 0.7, 0.9, 1.3, 4.0])  # of a Petrosian flux in ugriz [nanomaggy]
_FLUX_ERROR = 0.01  # of a Petrosian flux, relative
_WISE_LIMIT = np.array([17.1, 15.7, 11.4])  # Vega magnitude at five standard deviations, as in AllWISE
_WISE_FLOOR = 0.02  # error of a bright source [mag]
_WORST_ERROR = 0.5  # [mag]; a magnitude knows no larger one: beyond, it is no Gaussian any more
_RADIUS_ERROR = np.array([0.05, 0.02, 0.015, 0.018, 0.035])  # log10, ugriz
_SERSIC_ERROR = np.array([0.08, 0.04, 0.03, 0.035, 0.06])  # log10, ugriz
_SHAPE_ERROR = np.array([0.06, 0.025, 0.02, 0.022, 0.04])  # ugriz

sky = Model()


def _passive(log_ssfr):
    """0 for star-forming, 1 for passive galaxies, smooth between."""
    return ndtr((-11.0 - log_ssfr) / 0.4)


def quenching(log_mass, environment, k):
    """Normal score of the chance that star formation was quenched."""
    return 1.5 * (log_mass - PIVOT) - 0.4 + k.quenching_of_environment * environment


@sky.variable("", "environment: overdensity of the halo's surroundings, standard normal; never observed")
def environment(noise):
    return noise


@sky.variable("", "redshift; the galaxies fill space evenly")
def z(noise, k):
    low, high = k.redshift
    return np.cbrt(low**3 + (high**3 - low**3) * ndtr(noise))


@sky.variable("mag", "Galactic reddening E(B-V)")
def ebv(noise):
    return 0.03 * np.exp(0.6 * noise)


@sky.variable("deg", "right ascension")
def ra(noise):
    return 120 + 120 * ndtr(noise)


@sky.variable("deg", "declination")
def dec(noise):
    return np.degrees(np.arcsin(0.87 * ndtr(noise)))


@sky.variable("deg", "inclination of the disc; axes point anywhere with equal chance")
def inclination(noise):
    return np.degrees(np.arccos(ndtr(noise)))


@sky.variable("deg", "position angle of the major axis")
def position_angle(noise):
    return 180 * ndtr(noise)


@sky.variable("dex(solMass)", "log10 of the stellar mass", strengths={"environment": "mass_of_environment"})
def log_mass(environment, noise, k):
    return 9.9 + k.mass_of_environment * environment + 0.5 * noise


@sky.variable("", "1 where star formation was quenched", strengths={"environment": "quenching_of_environment"})
def quenched(log_mass, environment, noise, k):
    return (noise < quenching(log_mass, environment, k)).astype(float)


@sky.variable("dex(1/yr)", "log10 of the specific star formation rate")
def log_ssfr(quenched, log_mass, noise):
    forming = -10.1 - 0.2 * (log_mass - PIVOT) + 0.3 * noise
    return np.where(quenched == 1, -11.8 + 0.35 * noise, forming)


@sky.variable("mag", "rest-frame g - r of the stars, without dust")
def stellar_colour(log_ssfr, log_mass, noise):
    return 0.36 + 0.35 * _passive(log_ssfr) + 0.04 * (log_mass - PIVOT) + 0.025 * noise


@sky.variable("mag", "brightening in u by recent bursts of star formation")
def burst(noise):
    return 0.06 * noise


@sky.variable("dex", "log10 of stellar mass over r luminosity, solar units, without dust")
def mass_to_light(stellar_colour, noise):
    return -0.45 + 1.1 * stellar_colour + 0.07 * noise


@sky.variable("mag", "visual attenuation when seen face-on")
def dust(log_ssfr, log_mass, noise):
    return (0.05 + 0.35 * (1 - _passive(log_ssfr))) * np.exp(0.4 * (log_mass - PIVOT) + 0.3 * noise)


@sky.variable("mag", "visual attenuation towards us", strengths={"inclination": "attenuation_of_inclination"})
def attenuation(dust, inclination, k):
    return dust * (1 + k.attenuation_of_inclination * (1 - np.cos(np.radians(inclination))))


@sky.variable("mag", "brightening at 12 micron by warm dust")
def warm_dust(log_ssfr, noise):
    return 2.4 * (1 - _passive(log_ssfr)) + 0.3 * noise


@sky.variable("", "Sersic index in r", strengths={"log_mass": "sersic_n_of_mass", "log_ssfr": "morphology_of_ssfr"})
def sersic_n(log_mass, log_ssfr, noise, k):
    log_n = 0.12 + k.sersic_n_of_mass * (log_mass - PIVOT) + 0.20 * k.morphology_of_ssfr * _passive(log_ssfr) + 0.05 * noise
    return 10 ** np.clip(log_n, np.log10(0.6), np.log10(5.5))


@sky.variable("dex(kpc)", "log10 of the half-light radius in r along the major axis", strengths={"log_mass": "size_of_mass", "log_ssfr": "morphology_of_ssfr"})
def log_size(log_mass, log_ssfr, noise, k):
    passive = k.morphology_of_ssfr * _passive(log_ssfr)
    return 0.72 - 0.14 * passive + k.size_of_mass * (1 + 1.2 * passive) * (log_mass - PIVOT) + 0.08 * noise


@sky.variable("", "d log10 R50 / d log10 wavelength", strengths={"log_mass": "gradients_of_mass"})
def size_gradient(log_mass, noise, k):
    return -0.15 - k.gradients_of_mass * (log_mass - PIVOT) + 0.05 * noise


@sky.variable("", "d log10 n / d log10 wavelength", strengths={"log_mass": "gradients_of_mass"})
def sersic_n_gradient(log_mass, noise, k):
    return 0.20 + k.gradients_of_mass * (log_mass - PIVOT) + 0.08 * noise


@sky.variable("", "projected minor to major axis; the thickness follows from the Sersic index", strengths={"sersic_n": "thickness_of_sersic_n"})
def axis_ratio(inclination, sersic_n, k):
    thickness = np.clip(0.18 + k.thickness_of_sersic_n * (sersic_n - 1), 0.12, 0.7)
    return np.sqrt(np.cos(np.radians(inclination)) ** 2 * (1 - thickness**2) + thickness**2)


def _spectrum(wavelength, stellar_colour, burst, warm_dust, attenuation):
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


@sky.variable("mag", "absolute r magnitude of the stars, without dust")
def stellar_magnitude(log_mass, mass_to_light):
    return SUN_R - 2.5 * (log_mass - mass_to_light)


@sky.variable("mag", "rest-frame {band} AB absolute magnitude, with dust", BANDS)
def abs_mag(stellar_magnitude, stellar_colour, burst, warm_dust, attenuation):
    rest = np.broadcast_to(WAVELENGTH[:5], (len(burst), 5))
    return stellar_magnitude[:, None] + _spectrum(rest, stellar_colour, burst, warm_dust, attenuation)


@sky.variable("mag", "apparent {band} magnitude (AB; WISE: Vega) with all dust, without noise", ALL_BANDS)
def true_mag(stellar_magnitude, stellar_colour, burst, warm_dust, attenuation, z, ebv):
    stretch = (1 + z)[:, None]
    distance_modulus = 5 * np.log10(luminosity_distance(z)) + 25 - 2.5 * np.log10(1 + z)
    apparent = _spectrum(WAVELENGTH / stretch, stellar_colour, burst, warm_dust, attenuation) + (stellar_magnitude + distance_modulus)[:, None]
    return apparent + REDDENING * ebv[:, None] - np.array([0.0] * 5 + list(VEGA_TO_AB))


def petrosian_error(magnitude):
    """Standard error [mag] of Petrosian ugriz magnitudes (n_galaxy, 5)."""
    error = 2.5 / np.log(10) * np.hypot(_SKY_ERROR * 10 ** (0.4 * (magnitude - SDSS_ZERO_POINT)), _FLUX_ERROR)
    return np.minimum(error, _WORST_ERROR)


def wise_error(magnitude):
    """Standard error [mag] of W1-W3 magnitudes (n_galaxy, 3)."""
    return np.minimum(np.hypot(_WISE_FLOOR, 2.5 / np.log(10) / 5 * 10 ** (0.4 * (magnitude - _WISE_LIMIT))), _WORST_ERROR)


@sky.variable("mag", "Petrosian {band} magnitude as measured", BANDS)
def petro_mag(true_mag, noise):
    return true_mag + petrosian_error(true_mag) * noise


@sky.variable("mag", "standard error of the Petrosian {band} magnitude", BANDS)
def petro_mag_err(petro_mag):
    return petrosian_error(petro_mag)


@sky.variable("mag", "Petrosian {band} magnitude without Galactic extinction", BANDS)
def petro_mag_dered(petro_mag, ebv):
    return petro_mag - REDDENING[:5] * ebv[:, None]


@sky.variable("nmgy", "Petrosian {band} flux as measured", BANDS)
def petro_flux(petro_mag):
    return 10 ** (-0.4 * (petro_mag - SDSS_ZERO_POINT))


@sky.variable("mag", "{band} model magnitude as measured", BANDS)
def model_mag(true_mag, noise):
    return true_mag + 0.5 * petrosian_error(true_mag) * noise


@sky.variable("mag", "WISE {band} magnitude as measured, detected or not", WISE_BANDS)
def wise_mag(true_mag, noise):
    return true_mag + wise_error(true_mag) * noise


@sky.variable("mag", "WISE {band} magnitude; NaN = not detected", WISE_BANDS)
def mag(wise_mag):
    # 2.5 log10(5 / 2) = 1 mag: what is below two standard deviations has only a limit in AllWISE
    return np.where(wise_mag < _WISE_LIMIT + 1, wise_mag, np.nan)


@sky.variable("mag", "standard error of the WISE {band} magnitude", WISE_BANDS, "mag_{band}_err")
def mag_err(mag):
    return wise_error(mag)


@sky.variable("mag", "limit of the WISE {band} magnitude where there is no detection", WISE_BANDS, "mag_{band}_limit")
def mag_limit(mag):
    return np.where(np.isnan(mag), _WISE_LIMIT + 1, np.nan)


@sky.variable("arcsec", "half-light radius in {band} along the major axis, without noise", BANDS)
def true_r50(log_size, size_gradient, z):
    kpc_per_arcsec = luminosity_distance(z) / (1 + z) ** 2 * 1e3 / 206264.806
    return 10 ** (log_size[:, None] + np.outer(size_gradient, _LOG_RATIO)) / kpc_per_arcsec[:, None]


@sky.variable("", "Sersic index in {band}, without noise", BANDS)
def true_sersic_n(sersic_n, sersic_n_gradient):
    return 10 ** (np.log10(sersic_n)[:, None] + np.outer(sersic_n_gradient, _LOG_RATIO))


_LOG_RATIO = np.log10(WAVELENGTH[:5] / WAVELENGTH[2])


@sky.variable("arcsec", "radius of half of the light in {band} as measured, in circles", BANDS)
def r50(true_r50, axis_ratio, noise):
    return true_r50 * np.sqrt(axis_ratio)[:, None] * 10 ** (_RADIUS_ERROR * noise)


@sky.variable("arcsec", "radius of 90 % of the light in {band} as measured, in circles", BANDS)
def r90(r50, true_sersic_n, noise):
    concentration = (gammaincinv(2 * true_sersic_n, 0.9) / gammaincinv(2 * true_sersic_n, 0.5)) ** true_sersic_n
    return r50 * concentration * 10 ** (_RADIUS_ERROR * noise)


@sky.variable("", "Sersic index in {band} as measured", BANDS, "sersic_n_{band}")
def measured_sersic_n(true_sersic_n, noise):
    return true_sersic_n * 10 ** (_SERSIC_ERROR * noise)


@sky.variable("", "axis ratio in {band} as measured", BANDS, "axis_ratio_{band}")
def measured_axis_ratio(axis_ratio, noise):
    return np.clip(axis_ratio[:, None] + _SHAPE_ERROR * noise, 0.05, 1.0)


@sky.variable("dex(solMass/yr)", "log10 of the star formation rate as measured")
def sfr(log_ssfr, log_mass, noise):
    return log_ssfr + log_mass + 0.2 * noise


@sky.variable("dex(1/yr)", "log10 of the measured star formation rate per mass")
def ssfr(sfr, log_mass):
    return sfr - log_mass


@sky.variable("mag", "rest-frame u - r, with dust")
def rest_u_r(abs_mag):
    return abs_mag[:, 0] - abs_mag[:, 2]


@sky.variable("", "class by sSFR, a number: row of schema.CLASSES")
def galaxy_class(log_ssfr, k):
    forming, passive = k.class_limits
    return np.select([log_ssfr > forming, log_ssfr < passive], [0.0, 1.0], 2.0)


@sky.variable("", "1 where the survey sees the galaxy")
def selected(petro_mag_dered, k):
    return (petro_mag_dered[:, 2] < k.flux_limit).astype(float)
