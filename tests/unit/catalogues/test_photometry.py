"""Magnitudes against astropy, errors against finite differences, reddening in both conventions."""

import numpy as np
import pytest
from astropy import units

from galmass.catalogues import photometry
from galmass.errors import InputError

ZERO = photometry.SDSS_ZERO_POINT


def test_magnitudes_are_those_of_astropy():
    flux = np.geomspace(1e-3, 1e6, 50)
    magnitudes, _ = photometry.magnitude(flux, np.ones(50), ZERO)
    nanomaggies = flux * units.Unit("nmgy")
    expected = nanomaggies.to(units.ABmag, units.zero_point_flux(1 * units.AB)).value
    np.testing.assert_allclose(magnitudes, expected, atol=1e-12)  # rounding of numbers near 30


def test_errors_are_the_derivative_times_the_noise():
    flux, sigma, step = np.geomspace(1e-3, 1e6, 50), np.geomspace(1e-4, 1e5, 50), 1e-5
    _, errors = photometry.magnitude(flux, sigma**-2.0, ZERO)
    up, down = (photometry.magnitude(flux * factor, sigma**-2.0, ZERO)[0] for factor in (1 + step, 1 - step))
    slope = np.abs(up - down) / (2 * step * flux)
    np.testing.assert_allclose(errors, slope * sigma, rtol=1e-8)  # step^2 of the central difference, and rounding


def test_the_zero_point_is_the_magnitude_of_a_unit_flux():
    assert photometry.magnitude(1.0, 1.0, 20.08)[0] == 20.08


@pytest.mark.parametrize("flux", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_a_flux_without_magnitude_gives_nan(flux):
    magnitudes, errors = photometry.magnitude([flux, 10.0], [4.0, 4.0], ZERO)
    assert np.isnan([magnitudes[0], errors[0]]).all()
    assert np.isfinite([magnitudes[1], errors[1]]).all()


@pytest.mark.parametrize("inverse_variance", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.filterwarnings("error")
def test_an_inverse_variance_that_is_none_gives_nan(inverse_variance):
    magnitudes, errors = photometry.magnitude([10.0, 10.0], [inverse_variance, 4.0], ZERO)
    assert np.isnan([magnitudes[0], errors[0]]).all()
    assert np.isfinite([magnitudes[1], errors[1]]).all()


def test_float32_fluxes_keep_their_shape_and_give_float64():
    flux = np.full((3, 5), 10, "float32")
    for result in photometry.magnitude(flux, flux, ZERO):
        assert result.shape == (3, 5)
        assert result.dtype == np.float64


# A_u ... A_z per E(B-V), typed here again: Stoughton et al. 2002 (table 22) and Schlafly & Finkbeiner 2011 (table 6, R_V = 3.1)
COEFFICIENTS = {"before DR13": [5.155, 3.793, 2.751, 2.086, 1.479], "DR13 and later": [4.239, 3.303, 2.285, 1.698, 1.263]}


@pytest.mark.parametrize("convention", COEFFICIENTS)
def test_reddening_in_both_conventions(convention):
    ebv = np.array([0.005, 0.03, 0.7])
    found, named = photometry.reddening(np.outer(ebv, COEFFICIENTS[convention]))
    assert named == convention
    np.testing.assert_allclose(found, ebv, rtol=1e-14)  # one multiplication and its inverse


def test_reddening_bears_the_rounding_of_catalogues():
    extinction = np.round(np.outer([0.05, 0.1], COEFFICIENTS["before DR13"]), 4).astype("float32")
    found, named = photometry.reddening(extinction)
    assert named == "before DR13"
    np.testing.assert_allclose(found, [0.05, 0.1], rtol=1e-3)  # 5e-5 mag of rounding in A_r = 0.14 mag


@pytest.mark.parametrize("ratio", [1.0, 1.84, 1.9], ids=str)
def test_another_ratio_is_refused_with_the_number(ratio):
    extinction = np.outer([0.1, 0.2], COEFFICIENTS["before DR13"])
    extinction[1, 0] = ratio * extinction[1, 2]
    with pytest.raises(InputError, match=rf"runs from .*{ratio:.4f}.*; SDSS has 1\.874 .* or 1\.855"):
        photometry.reddening(extinction)


@pytest.mark.parametrize("ratio", [1.861, 1.865, 1.868])
def test_a_ratio_between_the_conventions_is_refused(ratio):
    with pytest.raises(InputError, match="SDSS has"):
        photometry.reddening([[ratio, 1.4, 1.0, 0.75, 0.54]])


def test_both_conventions_in_one_table_are_refused():
    with pytest.raises(InputError, match=r"runs from 1\.8551 to 1\.8739"):
        photometry.reddening(np.array(list(COEFFICIENTS.values())))


def test_asinh_magnitudes_of_no_flux_are_those_that_sdss_publishes():
    """The table of softening parameters of SDSS gives the magnitude of zero flux: 24.63, 25.11, 24.80, 24.36, 22.83 in ugriz."""
    found, error = photometry.asinh_magnitude(np.zeros((1, 5)), np.full((1, 5), 4.0))
    np.testing.assert_allclose(found[0], [24.63, 25.11, 24.80, 24.36, 22.83], atol=0.006)
    # its slope there: half a nanomaggy of noise over 2 b
    np.testing.assert_allclose(error[0], 1.0857362 * 0.5 / (2e9 * photometry.SDSS_SOFTENING), rtol=1e-6)


def test_asinh_magnitudes_are_pogson_ones_where_it_is_bright_and_exist_where_it_is_not():
    flux = np.array([[100.0] * 5, [-0.1] * 5, [-9999.0] * 5, [np.nan] * 5, [1.0] * 5])
    inverse_variance = np.where(np.arange(5)[:, None] == 4, 0.0, np.full((5, 5), 100.0))
    found, error = photometry.asinh_magnitude(flux, inverse_variance)
    np.testing.assert_allclose(found[0], 17.5, atol=3e-4)
    np.testing.assert_allclose(error[0], 1.0857362 * 0.1 / 100, rtol=3e-4)
    assert np.isfinite(found[1]).all()
    assert np.isnan(found[2:]).all()
    assert np.isnan(error[2:]).all()
