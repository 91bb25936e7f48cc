"""Stellar masses and rest-frame colours by kcorrect (Blanton & Roweis 2007, AJ 133, 734).

The mass is that of the living stars and remnants (``mremain``) of the best non-negative sum of kcorrect's
default templates (version 4, Bruzual & Charlot 2003 models, Chabrier 2003 initial mass function).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galmass.catalogues.schema import BANDS

RESPONSES = ("galex_NUV", *(f"sdss_{b}0" for b in BANDS))
NANOMAGGY = 1e-9


@dataclass(frozen=True)
class Photometry:
    """Dereddened AB fluxes [maggies] of NUV and ugriz, (n_galaxy, 6); inverse variance 0 = not measured."""

    flux: np.ndarray
    inverse_variance: np.ndarray


class MassEstimator:
    """kcorrect set up for SDSS Petrosian fluxes.

    Parameters
    ----------
    options : mapping
        ``hubble_constant`` [km/s/Mpc], ``omega_m``, ``ab_offset`` [mag, ugriz, added to SDSS
        magnitudes], ``error_floor`` [fraction of the flux, ugriz], ``redshift_max``,
        ``redshift_step`` of the template grid.
    """

    def __init__(self, options: Mapping):
        from astropy.cosmology import FlatLambdaCDM
        from kcorrect.kcorrect import Kcorrect

        self.options = options
        # one step beyond the limit: kcorrect compares in float32
        n_redshift = int(np.ceil(options["redshift_max"] / options["redshift_step"])) + 2
        self.kcorrect = Kcorrect(
            responses=list(RESPONSES),
            redshift_range=[0.0, (n_redshift - 1) * options["redshift_step"]],
            nredshift=n_redshift,
            cosmo=FlatLambdaCDM(H0=options["hubble_constant"], Om0=options["omega_m"]),
        )

    def optical(self, flux, inverse_variance, extinction) -> Photometry:
        """Raw SDSS fluxes [nanomaggy] and A_u..A_z [mag], each (n_galaxy, 5), as kcorrect wants them."""
        from kcorrect.utils import error_floor, sdss_ab_correct

        factor = NANOMAGGY * 10 ** (0.4 * np.asarray(extinction, float))
        maggies, ivar = sdss_ab_correct(flux * factor, inverse_variance / factor**2, self.options["ab_offset"])
        ivar = error_floor(self.options["error_floor"], maggies, ivar)
        unmeasured = np.zeros((len(maggies), 1))
        return Photometry(np.hstack([unmeasured, maggies]), np.hstack([unmeasured, ivar]))

    def log_mass(self, redshift, photometry: Photometry):
        """log10 of the stellar mass [M_sun], (n_galaxy,), from ugriz alone, and the template coefficients."""
        optical = photometry.inverse_variance * (np.array(RESPONSES) != "galex_NUV")
        coefficients = self.kcorrect.fit_coeffs(redshift, photometry.flux, optical)
        with np.errstate(divide="ignore"):
            return np.log10(self.kcorrect.derived(redshift, coefficients)["mremain"]).astype(float), coefficients

    def log_mass_error(self, redshift, photometry: Photometry, n: int, generator: np.random.Generator):
        """Standard error of log_mass [dex], (n_galaxy,): scatter over `n` noisy copies of the fluxes."""
        measured = photometry.inverse_variance > 0
        sigma = np.where(measured, 1 / np.sqrt(np.where(measured, photometry.inverse_variance, 1)), 0)
        draws = np.empty((n, len(redshift)))
        for draw in draws:
            noisy = photometry.flux + sigma * generator.standard_normal(sigma.shape)
            draw[:] = self.log_mass(redshift, Photometry(noisy, photometry.inverse_variance))[0]
        # a noisy copy that no template fits has mass 0: it is left out of the scatter
        draws[~np.isfinite(draws)] = np.nan
        return np.nanstd(draws, axis=0, ddof=1)

    def absolute_magnitudes(self, redshift, photometry: Photometry):
        """Rest-frame AB absolute magnitudes of NUV and ugriz, (n_galaxy, 6) [mag]; NaN where not measured.

        All measured bands, NUV too, enter this fit.
        """
        flux, ivar = photometry.flux, photometry.inverse_variance
        coefficients = self.kcorrect.fit_coeffs(redshift, flux, ivar)
        magnitudes = np.asarray(self.kcorrect.absmag(flux, ivar, redshift, coefficients), float)
        return np.where((ivar > 0) & (flux > 0), magnitudes, np.nan)
