"""Masses by kcorrect: scalings, galaxies made of templates, and kcorrect's own SDSS class as the other way."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from kcorrect.kcorrect import KcorrectSDSS

from galmass.catalogues import gst10k
from galmass.catalogues.masses import RESPONSES, MassEstimator, Photometry

OFFSETS, FLOOR = [-0.036, 0.012, 0.010, 0.028, 0.040], [0.05, 0.02, 0.02, 0.02, 0.03]
OPTIONS = {"hubble_constant": 70.0, "omega_m": 0.3, "ab_offset": OFFSETS, "error_floor": FLOOR, "redshift_max": 0.3, "redshift_step": 0.005}
COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3)
ROUNDING = 2e-5  # dex or mag: kcorrect calculates in float32 (1e-7) and solves five equations for five templates


@pytest.fixture(scope="module")
def estimator():
    return MassEstimator(OPTIONS)


@pytest.fixture(scope="module")
def raw():
    """60 real galaxies at z < 0.1, so that fine grids up to there are quick to build."""
    table = gst10k.read(gst10k.installed_path())
    good = (table["Z"] > 0.02) & (table["Z"] < 0.1) & (table["PETROFLUX"] > 0).all(axis=1) & (table["PETROFLUX_IVAR"] > 0).all(axis=1)
    table = table[good][:60]
    return {name: np.asarray(table[name], float) for name in ("Z", "PETROFLUX", "PETROFLUX_IVAR", "EXTINCTION")}


@pytest.fixture(scope="module")
def optical(estimator, raw):
    return estimator.optical(raw["PETROFLUX"], raw["PETROFLUX_IVAR"], raw["EXTINCTION"])


@pytest.fixture(scope="module")
def mass(estimator, raw, optical):
    return estimator.log_mass(raw["Z"], optical)[0]


def made_of_templates(estimator, redshift, coefficients) -> Photometry:
    """AB fluxes of galaxies that are exact sums of templates, known to 1 % in every band."""
    flux = np.stack([estimator.kcorrect.Amatrix(z) @ c for z, c in zip(redshift, coefficients, strict=True)])
    return Photometry(flux, (0.01 * flux) ** -2.0)


@pytest.fixture(scope="module")
def mixtures(estimator):
    generator = np.random.default_rng(1)
    redshift = generator.uniform(0.02, 0.29, 30)
    coefficients = 1e-6 * generator.uniform(0.1, 1, (30, 5)) / estimator.kcorrect.templates.mremain
    return redshift, coefficients, made_of_templates(estimator, redshift, coefficients)


# --- from raw fluxes to AB fluxes ---------------------------------------------------------------------------------


def test_optical_fluxes_by_hand():
    """One galaxy: deredden, move to AB, raise small errors to the floor, each by options other than kcorrect's own; NUV stays unmeasured."""
    offsets, floor = np.array([0.1, -0.1, 0.2, 0.3, -0.3]), [0.06, 0.03, 0.04, 0.05, 0.07]
    estimator = MassEstimator(OPTIONS | {"ab_offset": offsets, "error_floor": floor, "redshift_step": 0.1})
    flux, sigma, extinction = np.array([10.0, 40, 90, 130, 160]), np.array([5.0, 0.1, 0.1, 0.1, 0.1]), np.array([0.5, 0.4, 0.3, 0.2, 0.15])
    result = estimator.optical(flux[None], sigma[None] ** -2.0, extinction[None])
    ab_magnitude = 22.5 - 2.5 * np.log10(flux) - extinction + offsets
    maggies = 10 ** (-0.4 * ab_magnitude)
    np.testing.assert_allclose(result.flux[0], [0, *maggies], rtol=1e-6)  # float32
    # only u is noisier than its floor: 50 % against 6 %
    relative = 1 / (result.flux[0, 1:] * np.sqrt(result.inverse_variance[0, 1:]))
    np.testing.assert_allclose(relative, [0.5, *floor[1:]], rtol=1e-6)
    assert result.inverse_variance[0, 0] == 0


def test_a_band_without_measurement_stays_without(estimator):
    inverse_variance = np.array([[1.0, 1, 0, 1, 1]])
    assert estimator.optical(np.full((1, 5), 10.0), inverse_variance, np.zeros((1, 5))).inverse_variance[0, 3] == 0


# --- masses --------------------------------------------------------------------------------------------------------


def test_the_mass_of_a_sum_of_templates_is_known(estimator, mixtures):
    """Surviving mass of the templates, which kcorrect normalises at 10 pc, times (d_L / 10 pc)^2."""
    redshift, coefficients, photometry = mixtures
    distance = COSMOLOGY.luminosity_distance(redshift).to_value("pc")
    expected = np.log10(coefficients @ estimator.kcorrect.templates.mremain) + 2 * np.log10(distance / 10)
    found, _ = estimator.log_mass(redshift, photometry)
    # the five equations amplify float32's 1e-7 a thousandfold where templates are alike
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_mass_agrees_with_kcorrects_own_class_on_a_fine_grid(raw, mass):
    """KcorrectSDSS corrects to AB itself; floor and dereddening by hand; the default spacing of its grid, 0.0005."""
    other = KcorrectSDSS(abcorrect=True, redshift_range=[0.0, 0.1], nredshift=201, cosmo=COSMOLOGY)
    dereddening = 1e-9 * 10 ** (0.4 * raw["EXTINCTION"])
    maggies = raw["PETROFLUX"] * dereddening
    sigma = np.maximum(raw["PETROFLUX_IVAR"] ** -0.5 * dereddening, np.array(FLOOR) * maggies)
    coefficients = other.fit_coeffs(raw["Z"], maggies, sigma**-2)
    difference = mass - np.log10(other.derived(raw["Z"], coefficients)["mremain"])
    # the coarse grid here: 0.005 instead of 0.0005 moves the template fluxes by up to 1 %
    assert np.max(np.abs(difference)) < 0.005
    assert np.median(np.abs(difference)) < 0.0005


def test_the_default_grid_is_fine_enough(raw, optical):
    """Step 0.001 of the default configuration against half of it: linear interpolation errs with its square, so this is 3/4 of the error."""
    masses = [MassEstimator(OPTIONS | {"redshift_max": 0.1, "redshift_step": step}).log_mass(raw["Z"], optical)[0] for step in (0.001, 0.0005)]
    assert np.max(np.abs(masses[0] - masses[1])) < 0.0005  # dex; a hundredth of the photometric errors


def test_mass_goes_with_the_inverse_square_of_the_hubble_constant(raw, optical):
    halved, whole = (MassEstimator(OPTIONS | {"hubble_constant": h, "redshift_step": 0.02}).log_mass(raw["Z"], optical)[0] for h in (35.0, 70.0))
    np.testing.assert_allclose(halved - whole, np.log10(4), atol=ROUNDING)


def test_mass_goes_with_the_luminosity_distance_of_the_cosmology(raw, optical):
    dense, thin = (MassEstimator(OPTIONS | {"omega_m": m, "redshift_step": 0.02}).log_mass(raw["Z"], optical)[0] for m in (1.0, 0.3))
    distances = [FlatLambdaCDM(H0=70, Om0=m).luminosity_distance(raw["Z"]).value for m in (1.0, 0.3)]
    np.testing.assert_allclose(dense - thin, 2 * np.log10(distances[0] / distances[1]), atol=ROUNDING)


def test_doubling_all_fluxes_doubles_the_mass(estimator, raw, optical, mass):
    doubled, _ = estimator.log_mass(raw["Z"], Photometry(2 * optical.flux, optical.inverse_variance / 4))
    np.testing.assert_allclose(doubled - mass, np.log10(2), atol=ROUNDING)


def test_nuv_does_not_enter_the_mass_but_the_colours(estimator, raw, optical, mass):
    flux, inverse_variance = optical.flux.copy(), optical.inverse_variance.copy()
    nuv = RESPONSES.index("galex_NUV")
    flux[:, nuv] = 0.1 * flux[:, 1]
    inverse_variance[:, nuv] = (0.01 * flux[:, nuv]) ** -2.0
    with_nuv = Photometry(flux, inverse_variance)
    np.testing.assert_array_equal(estimator.log_mass(raw["Z"], with_nuv)[0], mass)
    before, after = (estimator.absolute_magnitudes(raw["Z"], p) for p in (optical, with_nuv))
    assert np.isnan(before[:, nuv]).all()
    assert np.isfinite(after).all()
    assert (before[:, 1:] != after[:, 1:]).any()  # "all measured bands, NUV too, enter this fit"


def test_the_order_of_galaxies_does_not_matter(estimator, raw, optical, mass):
    backwards, _ = estimator.log_mass(raw["Z"][::-1], Photometry(optical.flux[::-1], optical.inverse_variance[::-1]))
    np.testing.assert_array_equal(backwards[::-1], mass)


@pytest.mark.filterwarnings("error")
def test_without_any_measurement_there_is_no_mass(estimator, raw, optical):
    none, _ = estimator.log_mass(raw["Z"][:2], Photometry(optical.flux[:2], np.zeros((2, 6))))
    np.testing.assert_array_equal(none, -np.inf)


# --- errors --------------------------------------------------------------------------------------------------------


def test_errors_are_the_scatter_of_noisy_copies(estimator, raw, optical):
    """Against a simulation of our own, galaxy by galaxy, with other noise."""
    found = estimator.log_mass_error(raw["Z"], optical, 40, np.random.default_rng(2))
    generator, sigma = np.random.default_rng(3), np.zeros_like(optical.flux)
    sigma[:, 1:] = optical.inverse_variance[:, 1:] ** -0.5
    copies = [estimator.log_mass(raw["Z"], Photometry(generator.normal(optical.flux, sigma), optical.inverse_variance))[0] for _ in range(40)]
    ratio = found / np.std(copies, axis=0, ddof=1)
    # a standard deviation of 40 draws is known to 11 %, a ratio to 16 %, the median of 60 to 2.6 %: four times that
    assert np.median(ratio) == pytest.approx(1, abs=0.11)
    assert np.all((ratio > 0.4) & (ratio < 2.5))  # five times 16 % in the logarithm


def test_two_copies_give_an_unbiased_variance(estimator, raw, optical):
    """The least that the schema allows: dividing by n instead of n - 1 would halve the variance."""
    many = estimator.log_mass_error(raw["Z"], optical, 40, np.random.default_rng(8))
    generator = np.random.default_rng(9)
    pairs = np.mean([estimator.log_mass_error(raw["Z"], optical, 2, generator) ** 2 for _ in range(20)], axis=0)
    # a variance of 20 pairs is known to 32 %, one of 40 copies to 23 %, the median ratio of 60 galaxies to 6 %: four times that
    assert np.median(pairs / many**2) == pytest.approx(1, abs=0.25)


def test_errors_grow_with_the_noise(estimator, raw, optical):
    levels = [
        np.median(estimator.log_mass_error(raw["Z"], Photometry(optical.flux, optical.inverse_variance / factor**2), 20, np.random.default_rng(4)))
        for factor in (0.2, 1, 5)
    ]
    assert levels[0] < 0.5 * levels[1] < 0.25 * levels[2]


def test_exact_fluxes_leave_no_error(estimator, mixtures):
    redshift, _, photometry = mixtures
    exact = Photometry(photometry.flux, photometry.inverse_variance * 1e10)
    assert np.max(estimator.log_mass_error(redshift, exact, 3, np.random.default_rng(5))) < 2e-4  # float32, as above


def test_errors_depend_on_the_generator_alone(estimator, raw, optical):
    first, again, other = (estimator.log_mass_error(raw["Z"], optical, 3, np.random.default_rng(seed)) for seed in (6, 6, 7))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


# --- rest-frame magnitudes -----------------------------------------------------------------------------------------


def test_absolute_magnitudes_of_sums_of_templates_are_known(estimator, mixtures):
    """The template fluxes at redshift 0, moved to 10 pc."""
    redshift, coefficients, photometry = mixtures
    expected = -2.5 * np.log10(coefficients @ estimator.kcorrect.Amatrix(0).T) - COSMOLOGY.distmod(redshift).value[:, None]
    found = estimator.absolute_magnitudes(redshift, photometry)
    assert found.dtype == np.float64
    # a K-correction is a ratio of two sums of templates; float32 near -20 alone is 2e-6
    np.testing.assert_allclose(found, expected, atol=5e-4)


def test_near_by_there_is_hardly_a_k_correction(estimator):
    redshift = np.array([0.001])
    photometry = made_of_templates(estimator, redshift, 1e-10 * np.ones((1, 5)))
    apparent = -2.5 * np.log10(photometry.flux[0])
    found = estimator.absolute_magnitudes(redshift, photometry)[0]
    # d(mag) / dz of a galaxy is below 10 in every band; the distance modulus is 28 mag
    np.testing.assert_allclose(found, apparent - COSMOLOGY.distmod(redshift[0]).value, atol=0.01)


def test_bands_without_measurement_have_no_absolute_magnitude(estimator, mixtures):
    redshift, _, photometry = mixtures
    inverse_variance = photometry.inverse_variance.copy()
    inverse_variance[:, [0, 4]] = 0
    found = estimator.absolute_magnitudes(redshift, Photometry(photometry.flux, inverse_variance))
    np.testing.assert_array_equal(np.isnan(found), np.isin(np.arange(6), [0, 4])[None].repeat(len(redshift), 0))


def test_a_galaxy_at_the_redshift_limit_has_mass_and_magnitudes():
    """float32 decides on which side of the limit a galaxy lies: 0.12 in steps of 0.003 lost it, 0.1 in steps of 0.01 stopped."""
    for limit, step in ((0.12, 0.003), (0.1, 0.01)):
        estimator = MassEstimator({**OPTIONS, "redshift_max": limit, "redshift_step": step})
        flux = np.array([[0, 1, 4, 8, 11, 14]]) * 1e-8
        photometry = Photometry(flux, np.where(flux > 0, 1e18, 0))
        assert np.isfinite(estimator.log_mass(np.array([limit]), photometry)[0]).all()
        assert np.isfinite(estimator.absolute_magnitudes(np.array([limit]), photometry)[0, 1:]).all()
