"""Star-forming, passive, other: rest-frame colour cuts from the literature."""

from collections.abc import Mapping

import numpy as np


def baldry_divider(abs_mag_r):
    """Rest-frame u - r that divides blue from red galaxies at M_r: Baldry et al. 2004, ApJ 600, 681, eq. 11."""
    return 2.06 - 0.244 * np.tanh((np.asarray(abs_mag_r, float) + 20.07) / 1.09)


def galaxy_class(rest_nuv_r, rest_u_r, abs_mag_r, options: Mapping):
    """Class of each galaxy.

    Where NUV was measured: star-forming below ``nuv_r_blue``, passive above ``nuv_r_red``, the green valley
    between is 'other' (4 and 5 mag: Salim 2014, Serb. Astron. J. 189, 1). Elsewhere: further than
    ``u_r_margin`` [mag] from the divider of Baldry et al. 2004, 'other' inside the margin.

    Returns
    -------
    array (n_galaxy,) of str
    """
    rest_nuv_r, rest_u_r = np.asarray(rest_nuv_r, float), np.asarray(rest_u_r, float)
    offset = rest_u_r - baldry_divider(abs_mag_r)
    measured = np.isfinite(rest_nuv_r)
    blue = np.where(measured, rest_nuv_r < options["nuv_r_blue"], offset < -options["u_r_margin"])
    red = np.where(measured, rest_nuv_r > options["nuv_r_red"], offset > options["u_r_margin"])
    return np.select([blue, red], ["star-forming", "passive"], "other")
