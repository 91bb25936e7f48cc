"""From visibilities as they were read to those that are gridded: frame, continuum, channels, weights."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from galmass.errors import InputError
from galmass.visibilities import quality, spectral
from galmass.visibilities.io import Visibilities

FRAME = "LSRK"  # of all velocities in the configuration
OTHER_LINE, OTHER_DISH = 1e-4, 0.05  # relative difference from which file and configuration speak of two lines (30 km/s), or dishes
MOST_CORRELATED = 0.1  # of adjacent channels: intervals are then too narrow by some 10 %
WORST = 1.3  # ratio of scatter to weights, or its inverse, from which a user is warned


def prepare(visibilities: Visibilities, galaxy: Mapping) -> tuple[Visibilities, list[dict], dict]:
    """Visibilities of the line in LSRK, a row for every channel, and what the weights are worth.

    Parameters
    ----------
    galaxy : mapping
        `rest_frequency_hz`, `frame` (where the file does not say it), `channels` and, if known, `dish_diameter_m` of the galaxy's entry in the config.

    Raises
    ------
    InputError
        For a band without the line or without line-free channels, a frame that drifts too far, or a file of another line or dish.
    """
    _check_stated(visibilities.metadata, galaxy)
    rest, options = galaxy["rest_frequency_hz"], galaxy["channels"]
    if visibilities.metadata.get("frame") is None:
        visibilities = visibilities.noted(f"frame {galaxy['frame']} of the config taken: the file does not say it", frame=galaxy["frame"])
    visibilities = spectral.to_frame(visibilities, FRAME)
    if options["continuum_order"] is not None:
        velocity = spectral.velocities(visibilities, rest)
        low, high = options["line_range_kms"]
        line_free = (velocity < low) | (velocity > high)
        if not line_free.any():
            raise InputError(
                f"config: channels.line_range_kms {low:g} to {high:g} covers the whole band ({velocity.min():.0f} to {velocity.max():.0f} km/s); "
                "no channel is left for the continuum"
            )
        visibilities = spectral.subtract_continuum(visibilities, line_free, options["continuum_order"])
    visibilities = spectral.select_channels(visibilities, velocity_range=options["velocity_range_kms"], average=options["average"], rest_frequency_hz=rest)
    visibilities, ratios, weights = _weighed(visibilities, options["rescale_weights"])
    velocity = spectral.velocities(visibilities, rest)
    weights["channel_correlation"] = _correlated(visibilities, velocity, options)
    fractions = visibilities.flag.mean(1)
    columns = {"frequency_hz": visibilities.frequency, "velocity_km_s": velocity, "flagged": fractions, "scatter_ratio": ratios}
    rows = [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    return visibilities.noted(rest_frequency_hz=rest), rows, weights


def _check_stated(metadata: Mapping, galaxy: Mapping) -> None:
    """Raise `InputError` where the file names another line or dish than the config."""
    theirs, ours = metadata.get("rest_frequency_hz"), galaxy["rest_frequency_hz"]
    if theirs and abs(theirs / ours - 1) > OTHER_LINE:
        raise InputError(
            f"config: rest_frequency_hz is {ours:.6g} Hz, and the file says {theirs:.6g} Hz; set it to the line that the file holds,"
            f" or observation.options.rest_frequency_hz to {ours:.10g} where the file is wrong"
        )
    theirs, ours = metadata.get("dish_diameter_m"), galaxy.get("dish_diameter_m")
    if theirs and ours and abs(theirs / ours - 1) > OTHER_DISH:
        raise InputError(f"config: dish_diameter_m is {ours:g} m, and the file says {theirs:g} m; set it to that of the antennas that observed")


def _correlated(visibilities: Visibilities, velocity, options: Mapping) -> dict:
    """Correlation of the noise of adjacent channels in numbers; a warning where it is too much for the likelihood."""
    line = options["line_range_kms"]
    line_free = None if line is None else (velocity < line[0]) | (velocity > line[1])
    try:
        found = quality.channel_correlation(visibilities, line_free)
    except InputError as error:
        return {"value": None, "because": str(error)}
    if found.value > max(MOST_CORRELATED, 3 * found.error):
        print(
            f"warning: the noise of adjacent channels is correlated by {found.value:.2f}, as Hanning smoothing or regridding does; the fit takes channels as"
            f" independent, with a sharp response, and its intervals come out too narrow: channels.average of {2 * options['average']} or more lessens it"
        )
    return asdict(found)


def _weighed(visibilities: Visibilities, rescale: bool):
    """Visibilities, ratio of scatter to weights by channel, and the check in words and numbers; rescaled where that is asked for."""
    unknown = np.full(len(visibilities.frequency), np.nan)
    if visibilities.std is not None:
        return visibilities, unknown, {"checked": False, "because": "the visibilities came gridded"}
    try:
        found = quality.check(visibilities)
    except InputError as error:  # a table of one channel has no neighbours
        if rescale:
            raise
        return visibilities, unknown, {"checked": False, "because": str(error)}
    weights = {"checked": True, "ratio": found.overall, "error": found.error, "neighbours": found.neighbours, "rescaled": rescale}
    if rescale:
        return quality.rescale(visibilities, found.ratio), found.ratio, weights
    if not 1 / WORST < found.overall < WORST:
        print(f"warning: scatter over weights is {found.overall:.3f}: the weights are wrong by that factor; channels.rescale_weights: true corrects them")
    return visibilities, found.ratio, weights
