"""What a config may declare of a prior: names, kinds, the numbers that each needs and may have, and what these may refer to; without torch, for what
reads configs alone.
"""

import difflib
from collections.abc import Iterable, Mapping

from galmass.errors import InputError

KINDS = {
    "uniform": (("low", "high"), ()),
    "log_uniform": (("low", "high"), ()),
    "normal": (("mean", "sd"), ("low", "high")),
    "isotropic": (("low", "high"), ()),
    "fixed": (("value",), ()),
}
# of all mass models and gas discs; no fit has all of them
PARAMETERS = (
    *("log_m_bh", "alpha", "gamma", "beta_minus_gamma", "r_break", "log_sigma_break", "sersic_index", "r_e", "log_sigma_e", "log_ml", "q_intr", "distance"),
    *("inclination", "position_angle", "x_offset", "y_offset", "v_sys", "sigma_gas", "flux", "thickness", "log_gas_mass"),
    *("scale_length", "truncation_radius", "hole_radius", "ring_radius", "ring_width"),
)
ADDED, SCALED = ("low", "high", "mean", "value"), ("low", "high", "mean", "sd", "value")  # numbers that refer to a velocity, and to a factor


def require_known(key: str, priors: Mapping, known: Iterable[str] = PARAMETERS) -> None:
    """Raise `InputError` for a prior under `key` of what is no parameter."""
    unknown = next((name for name in priors if name not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, n=1)
        raise InputError(
            f"config: {key}.{unknown} is no parameter of a galaxy; " + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}")
        )


def require_reference(key: str, prior: Mapping) -> None:
    """Raise `InputError` for a prior under `key` that refers to what its kind has no numbers for."""
    if prior.get("of") == "beam_and_field" and KINDS[prior["kind"]][0] != ("low", "high"):
        raise InputError(f"config: {key}.of is beam_and_field, which is for a low and a high, and the prior is {prior['kind']}; state arcsec, and of: null")
