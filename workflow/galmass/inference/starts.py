"""Where to look for the modes of a fit: points through the priors, and points with the geometry that the dirty cube shows."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage, stats

from galmass.discs.cube import slowing
from galmass.units import LIGHT, PC_PER_ARCSEC
from galmass.visibilities import imaging

EMISSION = 4.0  # noise above which a pixel of the dirty cube counts, where it touches one that noise alone hardly reaches
SAFETY = 4.0  # over the largest sidelobe: those of extended emission add up, and what they leave bends all second moments
MAIN_LOBE = 1.5  # its radius, in widths of the beam
FALSE_ALARM = 1e-3  # probability that noise alone reaches that anywhere in the cube
AMPLITUDES = ("log_sigma_break", "log_sigma_e", "log_ml")  # of the stars' v^2, log10
EDGE = 0.01  # of the probability of a prior, between its walls and a point that is moved there
MOST_BLACK = 0.5  # of <v_c^2> that a scout may owe to its black hole


@dataclass(frozen=True)
class Seen:
    """What a dirty cube shows of a disc: sky positions in arcsec, velocities in km/s."""

    x_offset: float
    y_offset: float
    v_sys: float
    position_angle: float  # deg, of the receding side
    along: float  # root mean square distances from the centre, without the beam
    across: float
    dispersion: float  # root mean square velocity of the whole line about v_sys, without the channels
    flux: float  # Jy km/s
    beam: float  # arcsec
    channel: float  # km/s


def scouts(posterior, gridded, galaxy, n: int, seed: int):
    """Coordinates (n, d) to look at: Sobol points of the prior, their masses scaled to the width of the line that the data show.

    Of every second one the geometry, too, is put to what the data show.

    Parameters
    ----------
    posterior : Posterior
    gridded : Gridded
        Its data.
    galaxy : mapping
        The galaxy's entry in the config.
    """
    z = posterior.parameters.sobol(n, seed)
    found = look(gridded, galaxy["rest_frequency_hz"], galaxy["model"]["n_pix"])
    if found is None:
        print(f"no emission in the dirty cube above {EMISSION:g} sigma: the search for modes begins with points of the prior alone")
        return z
    x = posterior.parameters.physical(z)
    x[1::2] = placed(posterior, found, x[1::2])
    return posterior.parameters.coordinates(scaled(posterior, found, x))


def look(gridded, rest_frequency: float, n_pix: int) -> Seen | None:
    """What the dirty cube shows in its middle `n_pix`, None without emission."""
    velocity = LIGHT * (1 - gridded.frequency / rest_frequency)
    cube = emission(gridded, n_pix)
    if not cube.any():
        return None
    width = abs(np.gradient(velocity))
    weight = cube * width[:, None, None]
    total, mean, _ = imaging.moments(cube, velocity, 0.0)
    total, mean = np.nan_to_num(total), np.nan_to_num(mean)
    axis = (np.arange(n_pix) - n_pix // 2) * gridded.cell_arcsec
    m, l = np.meshgrid(axis, axis, indexing="ij")  # noqa: E741
    centre = [float(np.average(v, weights=total)) for v in (l, m, mean)]
    l, m, mean = l - centre[0], m - centre[1], mean - centre[2]  # noqa: E741
    angle = math.atan2(*_slopes(l, m, mean, total))
    beam = imaging.beam(gridded).size
    along = l * math.sin(angle) + m * math.cos(angle)
    across = l * math.cos(angle) - m * math.sin(angle)
    sizes = [_rms(v, total, (beam / imaging.FWHM) ** 2) for v in (along, across)]
    channel = float(np.median(width))
    dispersion = _rms(velocity - centre[2], weight.sum((1, 2)), channel**2 / 12)
    spectrum, _, _ = imaging.short_spacing_spectrum(gridded)
    return Seen(*centre, math.degrees(angle), *sizes, dispersion, float((spectrum * width).sum()), beam, channel)


def emission(gridded, n_pix: int):
    """The dirty cube (n_chan, n_pix, n_pix) where it shows emission, else 0.

    That is what lies above EMISSION times the noise and above the sidelobes of the brightest pixel of its channel, in touch with a
    pixel that noise alone hardly reaches.
    """
    cube, noise = imaging.dirty_cube(gridded, gridded.mean, n_pix)
    level = np.divide(cube, noise[:, None, None], out=np.zeros_like(cube), where=noise[:, None, None] > 0)
    floor = np.maximum(EMISSION, SAFETY * sidelobes(gridded) * level.max((1, 2), keepdims=True))
    labels, n = ndimage.label(level > floor)
    peaks = ndimage.maximum(level, labels, np.arange(n + 1))
    return np.where((labels > 0) & (peaks > stats.norm.isf(FALSE_ALARM / cube.size))[labels], cube, 0.0)


def sidelobes(gridded) -> float:
    """Largest value of the dirty beam of all channels together beyond its main lobe, which is 1 at its peak."""
    weight = imaging.natural_weights(gridded).sum(0)
    response = imaging.dirty_image(np.ones_like(weight), weight)
    axis = (np.arange(gridded.n_pix) - gridded.n_pix // 2) * gridded.cell_arcsec
    return float(abs(response[np.hypot(axis[:, None], axis) > MAIN_LOBE * imaging.beam(gridded).major]).max())


def _slopes(l, m, velocity, weight):  # noqa: E741
    """Slopes to the east and to the north of the plane through a velocity field."""
    root = np.sqrt(weight).ravel()
    planes = np.stack([l.ravel(), m.ravel(), np.ones(l.size)], 1)
    slopes, *_ = np.linalg.lstsq(planes * root[:, None], velocity.ravel() * root, rcond=None)
    return slopes[:2]


def _rms(offset, weight, broadening: float) -> float:
    """Root mean square of `offset` without a broadening of that variance, of which at least a half counts as real."""
    square = float(np.average(offset**2, weights=weight))
    return math.sqrt(max(square - broadening, 0.5 * broadening))


# a parameter of the geometry for t from -1 to 1: where the image shows it for 0, and as far off as an image of the beam's size may mislead
AROUND = {
    "inclination": lambda seen, t: torch.rad2deg(torch.arccos((seen.across / seen.along + 0.15 * t).clamp(0, 1))),
    "position_angle": lambda seen, t: seen.position_angle + 10.0 * t,
    "x_offset": lambda seen, t: seen.x_offset + 0.25 * seen.beam * t,
    "y_offset": lambda seen, t: seen.y_offset + 0.25 * seen.beam * t,
    "v_sys": lambda seen, t: seen.v_sys + 0.5 * seen.channel * t,
    "sigma_gas": lambda seen, t: 0.5 * seen.channel * 2**t,
    "flux": lambda seen, t: seen.flux * 1.6 * 1.6**t,  # short spacings miss some of it
    "scale_length": lambda seen, t: seen.along / math.sqrt(3) * 1.9 * 1.6**t,  # of an exponential disc whose outskirts lie below the sidelobes
    "ring_radius": lambda seen, t: seen.along * math.sqrt(2) * 1.4**t,
}


def placed(posterior, seen: Seen, x):
    """The points x (n, d) with their geometry moved to what is seen."""
    x = x.clone()
    for i, (name, prior) in enumerate(posterior.parameters.priors.items()):
        if name in AROUND:
            x[:, i] = within(prior, AROUND[name](seen, 2 * prior.share(x[:, i]) - 1))
    return x


def scaled(posterior, seen: Seen, x):
    """The points x (n, d) with their masses moved to the width of the line: what is much wider costs most, and is never right."""
    x, parameters = x.clone(), posterior.parameters
    for name, shift in weighed(posterior, seen, x).items():
        i = parameters.names.index(name)
        x[:, i] = within(parameters.priors[name], x[:, i] + shift)
    return x


def within(prior, values):
    """`values` (n,) no closer to a wall of the prior than EDGE of its probability."""
    if prior.periodic:
        return values
    share = prior.share(values.clamp(prior.low, prior.high)).clamp(EDGE, 1 - EDGE)
    return prior.quantile(share, 1 - share)


def weighed(posterior, seen: Seen, x) -> dict:
    """Shifts (n,) of log_m_bh and of the stars' amplitude that give lines of the points x (n, d) the width that is seen.

    The line of a thin disc has the variance ``sin^2 i <v_c^2> / 2``, the mean over its flux, in the galaxy's frame.
    """
    values = posterior.parameters.complete(x)
    parts = {name: (flux_shares(posterior, values) * v2).sum(-1) for name, v2 in posterior.mass.squared_velocity(values).items()}
    wanted = 2 * (seen.dispersion / slowing(values) / torch.sin(torch.deg2rad(values["inclination"]))) ** 2
    black = torch.minimum(parts["black_hole"], MOST_BLACK * wanted)
    shifts = {"log_m_bh": torch.log10(black / parts["black_hole"])}
    shifts |= {name: torch.log10((wanted - black) / parts["stars"]) for name in AMPLITUDES}
    # where there is no such galaxy, no number
    return {name: torch.nan_to_num(shift, 0.0) for name, shift in shifts.items() if name in posterior.parameters.names}


def flux_shares(posterior, values):
    """Share (n, n_radius) of the flux of a disc that each radius stands for."""
    radius = posterior.mass.radius.double().cpu() / (PC_PER_ARCSEC * posterior.mass.distance_mpc)
    profile = posterior.model.disc.profile
    brightness = profile.brightness(radius, *(values[name][..., None] for name in profile.names))
    ring = brightness * radius**2  # radii are log-spaced
    return ring / ring.sum(-1, keepdim=True)
