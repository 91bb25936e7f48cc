"""A simulated sky whose causes are known: the equations of its galaxies, and the catalogue that a survey makes of them.

Every function under ``@sky.variable`` is a variable, its arguments are its causes (see `causes`), and its docstring describes its columns. Colours,
sizes and profiles follow the trends of nearby galaxies in round numbers. Magnitudes have Gaussian errors,
and a survey sees what is brighter in r than its flux limit. The names ``true_*`` are free of noise.

Morphology informs about the mass: Sersic index, size and the change of both with wavelength depend on it
(``*_of_mass``), and colours do not know them. Each such setting may be 0: then that arrow is not there.
"""

import numpy as np
from scipy.special import gammaincinv, ndtr

from galmass.catalogues.causes import Model
from galmass.catalogues.photometry import SDSS_EXTINCTION, SDSS_ZERO_POINT
from galmass.catalogues.schema import BANDS, WISE_BANDS
from galmass.catalogues.spectra import kpc_per_arcsec, luminosity_distance, spectrum

ALL_BANDS = (*BANDS, *WISE_BANDS)
WAVELENGTH = np.array([0.355, 0.469, 0.616, 0.748, 0.893, 3.35, 4.60, 11.6])  # of ALL_BANDS [micron]
# W1 and W2: Yuan, Liu & Xiang 2013, MNRAS 430, 2188; nothing is lost at 12 micron
REDDENING = np.array([*SDSS_EXTINCTION["DR13 and later"], 0.19, 0.15, 0.0])  # A / E(B-V)
VEGA_TO_AB = np.array([2.699, 3.339, 5.174])  # W1 W2 W3, Jarrett et al. 2011, ApJ 735, 112
SUN_R = 4.65  # absolute AB magnitude of the Sun in r
PIVOT = 10.5  # log10 stellar mass [M_sun] about which relations are written

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


@sky.variable("")
def environment(noise):
    """Environment: overdensity of the halo's surroundings, standard normal; never observed."""
    return noise


@sky.variable("")
def z(noise, k):
    """Redshift; the galaxies fill space evenly."""
    low, high = k.redshift
    return np.cbrt(low**3 + (high**3 - low**3) * ndtr(noise))


@sky.variable("mag")
def ebv(noise):
    """Galactic reddening E(B-V)."""
    return 0.03 * np.exp(0.6 * noise)


@sky.variable("deg")
def ra(noise):
    """Right ascension."""
    return 120 + 120 * ndtr(noise)


@sky.variable("deg")
def dec(noise):
    """Declination."""
    return np.degrees(np.arcsin(0.87 * ndtr(noise)))


@sky.variable("deg")
def inclination(noise):
    """Inclination of the disc; axes point anywhere with equal chance."""
    return np.degrees(np.arccos(ndtr(noise)))


@sky.variable("deg")
def position_angle(noise):
    """Position angle of the major axis."""
    return 180 * ndtr(noise)


@sky.variable("dex(solMass)", strengths={"environment": "mass_of_environment"})
def log_mass(environment, noise, k):
    """Log10 of the stellar mass."""
    return 9.9 + k.mass_of_environment * environment + 0.5 * noise


@sky.variable("", strengths={"environment": "quenching_of_environment"})
def quenched(log_mass, environment, noise, k):
    """1 where star formation was quenched."""
    return (noise < quenching(log_mass, environment, k)).astype(float)


@sky.variable("dex(1/yr)")
def log_ssfr(quenched, log_mass, noise):
    """Log10 of the specific star formation rate."""
    forming = -10.1 - 0.2 * (log_mass - PIVOT) + 0.3 * noise
    return np.where(quenched == 1, -11.8 + 0.35 * noise, forming)


@sky.variable("mag")
def stellar_colour(log_ssfr, log_mass, noise):
    """Rest-frame g - r of the stars, without dust."""
    return 0.36 + 0.35 * _passive(log_ssfr) + 0.04 * (log_mass - PIVOT) + 0.025 * noise


@sky.variable("mag")
def burst(noise):
    """Brightening in u by recent bursts of star formation."""
    return 0.06 * noise


@sky.variable("dex")
def mass_to_light(stellar_colour, noise):
    """Log10 of stellar mass over r luminosity, solar units, without dust."""
    return -0.45 + 1.1 * stellar_colour + 0.07 * noise


@sky.variable("mag")
def dust(log_ssfr, log_mass, noise):
    """Visual attenuation when seen face-on."""
    return (0.05 + 0.35 * (1 - _passive(log_ssfr))) * np.exp(0.4 * (log_mass - PIVOT) + 0.3 * noise)


@sky.variable("mag", strengths={"inclination": "attenuation_of_inclination"})
def attenuation(dust, inclination, k):
    """Visual attenuation towards us."""
    return dust * (1 + k.attenuation_of_inclination * (1 - np.cos(np.radians(inclination))))


@sky.variable("mag")
def warm_dust(log_ssfr, noise):
    """Brightening at 12 micron by warm dust."""
    return 2.4 * (1 - _passive(log_ssfr)) + 0.3 * noise


@sky.variable("", strengths={"log_mass": "sersic_n_of_mass", "log_ssfr": "morphology_of_ssfr"})
def sersic_n(log_mass, log_ssfr, noise, k):
    """Sersic index in r."""
    log_n = 0.12 + k.sersic_n_of_mass * (log_mass - PIVOT) + 0.20 * k.morphology_of_ssfr * _passive(log_ssfr) + 0.05 * noise
    return 10 ** np.clip(log_n, np.log10(0.6), np.log10(5.5))


@sky.variable("dex(kpc)", strengths={"log_mass": "size_of_mass", "log_ssfr": "morphology_of_ssfr"})
def log_size(log_mass, log_ssfr, noise, k):
    """Log10 of the half-light radius in r along the major axis."""
    passive = k.morphology_of_ssfr * _passive(log_ssfr)
    return 0.72 - 0.14 * passive + k.size_of_mass * (1 + 1.2 * passive) * (log_mass - PIVOT) + 0.08 * noise


@sky.variable("", strengths={"log_mass": "gradients_of_mass"})
def size_gradient(log_mass, noise, k):
    """Slope d log10 R50 / d log10 wavelength."""
    return -0.15 - k.gradients_of_mass * (log_mass - PIVOT) + 0.05 * noise


@sky.variable("", strengths={"log_mass": "gradients_of_mass"})
def sersic_n_gradient(log_mass, noise, k):
    """Slope d log10 n / d log10 wavelength."""
    return 0.20 + k.gradients_of_mass * (log_mass - PIVOT) + 0.08 * noise


@sky.variable("", strengths={"sersic_n": "thickness_of_sersic_n"})
def axis_ratio(inclination, sersic_n, k):
    """Projected minor to major axis; the thickness follows from the Sersic index."""
    thickness = np.clip(0.18 + k.thickness_of_sersic_n * (sersic_n - 1), 0.12, 0.7)
    return np.sqrt(np.cos(np.radians(inclination)) ** 2 * (1 - thickness**2) + thickness**2)


@sky.variable("mag")
def stellar_magnitude(log_mass, mass_to_light):
    """Absolute r magnitude of the stars, without dust."""
    return SUN_R - 2.5 * (log_mass - mass_to_light)


@sky.variable("mag", BANDS)
def abs_mag(stellar_magnitude, stellar_colour, burst, warm_dust, attenuation):
    """Rest-frame {band} AB absolute magnitude, with dust."""
    rest = np.broadcast_to(WAVELENGTH[:5], (len(burst), 5))
    return stellar_magnitude[:, None] + spectrum(rest, stellar_colour, burst, warm_dust, attenuation)


@sky.variable("mag", ALL_BANDS)
def true_mag(stellar_magnitude, stellar_colour, burst, warm_dust, attenuation, z, ebv):
    """Apparent {band} magnitude (AB; WISE: Vega) with all dust, without noise."""
    stretch = (1 + z)[:, None]
    distance_modulus = 5 * np.log10(luminosity_distance(z)) + 25 - 2.5 * np.log10(1 + z)
    apparent = spectrum(WAVELENGTH / stretch, stellar_colour, burst, warm_dust, attenuation) + (stellar_magnitude + distance_modulus)[:, None]
    return apparent + REDDENING * ebv[:, None] - np.array([0.0] * 5 + list(VEGA_TO_AB))


def petrosian_error(magnitude):
    """Standard error [mag] of Petrosian ugriz magnitudes (n_galaxy, 5)."""
    error = 2.5 / np.log(10) * np.hypot(_SKY_ERROR * 10 ** (0.4 * (magnitude - SDSS_ZERO_POINT)), _FLUX_ERROR)
    return np.minimum(error, _WORST_ERROR)


def wise_error(magnitude):
    """Standard error [mag] of W1-W3 magnitudes (n_galaxy, 3)."""
    return np.minimum(np.hypot(_WISE_FLOOR, 2.5 / np.log(10) / 5 * 10 ** (0.4 * (magnitude - _WISE_LIMIT))), _WORST_ERROR)


@sky.variable("mag", BANDS, measures="true_mag")
def petro_mag(true_mag, noise):
    """Petrosian {band} magnitude as measured."""
    return true_mag + petrosian_error(true_mag) * noise


@sky.variable("mag", BANDS)
def petro_mag_err(petro_mag):
    """Standard error of the Petrosian {band} magnitude."""
    return petrosian_error(petro_mag)


@sky.variable("mag", BANDS)
def petro_mag_dered(petro_mag, ebv):
    """Petrosian {band} magnitude without Galactic extinction."""
    return petro_mag - REDDENING[:5] * ebv[:, None]


@sky.variable("nmgy", BANDS)
def petro_flux(petro_mag):
    """Petrosian {band} flux as measured."""
    return 10 ** (-0.4 * (petro_mag - SDSS_ZERO_POINT))


@sky.variable("mag", BANDS, measures="true_mag")
def model_mag(true_mag, noise):
    """{band} model magnitude as measured."""
    return true_mag + 0.5 * petrosian_error(true_mag) * noise


@sky.variable("mag", WISE_BANDS, measures="true_mag")
def wise_mag(true_mag, noise):
    """WISE {band} magnitude as measured, detected or not."""
    return true_mag + wise_error(true_mag) * noise


@sky.variable("mag", WISE_BANDS)
def mag(wise_mag):
    """WISE {band} magnitude; NaN = not detected."""
    # 2.5 log10(5 / 2) = 1 mag: what is below two standard deviations has only a limit in AllWISE
    return np.where(wise_mag < _WISE_LIMIT + 1, wise_mag, np.nan)


@sky.variable("mag", WISE_BANDS, "mag_{band}_err")
def mag_err(mag):
    """Standard error of the WISE {band} magnitude."""
    return wise_error(mag)


@sky.variable("mag", WISE_BANDS, "mag_{band}_limit")
def mag_limit(mag):
    """Limit of the WISE {band} magnitude where there is no detection."""
    return np.where(np.isnan(mag), _WISE_LIMIT + 1, np.nan)


@sky.variable("arcsec", BANDS)
def true_r50(log_size, size_gradient, z):
    """Half-light radius in {band} along the major axis, without noise."""
    return 10 ** (log_size[:, None] + np.outer(size_gradient, _LOG_RATIO)) / kpc_per_arcsec(z)[:, None]


@sky.variable("", BANDS)
def true_sersic_n(sersic_n, sersic_n_gradient):
    """Sersic index in {band}, without noise."""
    return 10 ** (np.log10(sersic_n)[:, None] + np.outer(sersic_n_gradient, _LOG_RATIO))


_LOG_RATIO = np.log10(WAVELENGTH[:5] / WAVELENGTH[2])


@sky.variable("arcsec", BANDS)
def true_circular_r50(true_r50, axis_ratio):
    """Radius of half of the light in {band}, in circles, without noise."""
    return true_r50 * np.sqrt(axis_ratio)[:, None]


@sky.variable("arcsec", BANDS, measures="true_circular_r50")
def r50(true_circular_r50, noise):
    """Radius of half of the light in {band} as measured, in circles."""
    return true_circular_r50 * 10 ** (_RADIUS_ERROR * noise)


@sky.variable("arcsec", BANDS)
def r90(r50, true_sersic_n, noise):
    """Radius of 90 % of the light in {band} as measured, in circles."""
    concentration = (gammaincinv(2 * true_sersic_n, 0.9) / gammaincinv(2 * true_sersic_n, 0.5)) ** true_sersic_n
    return r50 * concentration * 10 ** (_RADIUS_ERROR * noise)


@sky.variable("", BANDS, "sersic_n_{band}", measures="true_sersic_n")
def measured_sersic_n(true_sersic_n, noise):
    """Sersic index in {band} as measured."""
    return true_sersic_n * 10 ** (_SERSIC_ERROR * noise)


@sky.variable("", BANDS, "axis_ratio_{band}", measures="axis_ratio")
def measured_axis_ratio(axis_ratio, noise):
    """Axis ratio in {band} as measured."""
    return np.clip(axis_ratio[:, None] + _SHAPE_ERROR * noise, 0.05, 1.0)


@sky.variable("dex(solMass/yr)")
def sfr(log_ssfr, log_mass, noise):
    """Log10 of the star formation rate as measured."""
    return log_ssfr + log_mass + 0.2 * noise


@sky.variable("dex(1/yr)", measures="log_ssfr")
def ssfr(sfr, log_mass):
    """Log10 of the measured star formation rate per mass."""
    return sfr - log_mass


@sky.variable("mag")
def rest_u_r(abs_mag):
    """Rest-frame u - r, with dust."""
    return abs_mag[:, 0] - abs_mag[:, 2]


@sky.variable("")
def galaxy_class(log_ssfr, k):
    """Class by sSFR, a number: row of schema.CLASSES."""
    forming, passive = k.class_limits
    return np.select([log_ssfr > forming, log_ssfr < passive], [0.0, 1.0], 2.0)


@sky.variable("")
def selected(petro_mag_dered, k):
    """1 where the survey sees the galaxy."""
    return (petro_mag_dered[:, 2] < k.flux_limit).astype(float)
