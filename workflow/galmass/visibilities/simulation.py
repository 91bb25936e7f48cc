"""Mock observations of a gas disc around a black hole, by a code that shares nothing with the model that is fitted to them.

KinMS (Davis et al. 2013) projects clouds of an axisymmetric disc and gives them velocities; the clouds, where they are, are summed up at the
baselines by a non-uniform Fourier transform (finufft): no pixels, no grid, no taper. The gas dispersion spreads each cloud over the channels by
error functions; the rotation curve is that of the untruncated Nuker profile by quadrature of its Abel density (`galmass.profiles.abel`).

Clouds move in the frame of the galaxy: one of velocity v is seen at ``nu = nu_rest (1 - v_sys / c) (1 - v / c)``, v_sys being a radio velocity, and the
radio velocity of that frequency, ``c (1 - nu / nu_rest)``, is what a channel knows. The gas dispersion shrinks with 1 - v_sys / c likewise.
"""

import math
import warnings

import numpy as np
from scipy.special import erf, ndtr, ndtri
from scipy.stats import qmc

from galmass.errors import InputError
from galmass.profiles import abel
from galmass.profiles.nuker import Nuker
from galmass.units import ARCSEC, LIGHT, G
from galmass.visibilities import coverage as uv
from galmass.visibilities.io import Visibilities

REST_FREQUENCY = 230.538e9  # CO(2-1) [Hz]
RADII, N_RADII = (1e-4, 300.0), 4000  # of the rotation curve [arcsec], which KinMS reads linearly: 2e-6 of v_c
EPSILON = 1e-9  # of the Fourier transform
REACH = 7.0  # dispersions of the gas beyond which a cloud leaves 1e-12 in a channel
EDGE = 0.1  # width of the edges in units of their radius, as the fit's profiles are defined
PROFILES = {  # surface brightness of R [arcsec]; the names and definitions of the fit
    "exponential": lambda r, p: np.exp(-r / p["scale_length"]),
    "truncated_exponential": lambda r, p: np.exp(-r / p["scale_length"]) * ndtr((1 - r / p["truncation_radius"]) / EDGE),
    "exponential_with_hole": lambda r, p: np.exp(-r / p["scale_length"]) * ndtr((r / p["hole_radius"] - 1) / EDGE),
    "gaussian_ring": lambda r, p: np.exp(-0.5 * ((r - p["ring_radius"]) / p["ring_width"]) ** 2),
}
GALAXY = ("inclination", "position_angle", "x_offset", "y_offset", "v_sys", "sigma_gas", "flux")
MASS = ("log_m_bh", "alpha", "gamma", "beta_minus_gamma", "r_break", "log_sigma_break", "q_intr", "distance")


def simulate(
    truth: dict,
    coverage: uv.Coverage,
    seed: int,
    n_clouds: int = 2**18,
    profile: str = "exponential",
    sampling: str = "sobol",
    rest_frequency: float = REST_FREQUENCY,
    dish_diameter_m: float | None = 12.0,
    primary_beam_coefficient: float = 1.13,
    median_count: float = 24.0,
    count_scatter: float = 0.4,
    signal_to_noise: float | None = None,
    sigma: float | None = None,
    weight_factor: float = 1.0,
):
    """Visibilities of a model galaxy at baselines inside the filled uv cells, with noise.

    Parameters
    ----------
    truth : dict
        Parameters by the names and in the units of the fit, all of `GALAXY` and `MASS`, distance in Mpc, and those of `profile` (scale_length ... [arcsec]);
        thickness [arcsec], optional, is the Gaussian scale height.
    coverage : galmass.visibilities.coverage.Coverage
        Cells and channels.
    seed : int
        Of clouds, baselines and noise: the same seed gives the same numbers.
    n_clouds : int
        Of equal flux; the next power of 2 is taken.
    profile : str
        Key of `PROFILES`.
    sampling : {"sobol", "kinms"}
        Clouds on a scrambled Sobol sequence, or KinMS's own random ones: noise of 1 / sqrt(n_clouds) of the flux.
    rest_frequency : float
        [Hz].
    dish_diameter_m, primary_beam_coefficient
        Of the Gaussian primary beam, FWHM = coefficient * lambda / D; None: no beam.
    median_count, count_scatter : float
        Baselines a cell: log-normal, median and scatter of the logarithm.
    signal_to_noise, sigma : float
        One of them: ``sqrt(sum |V|^2 / sigma^2)`` over all visibilities without noise (what a perfect model gains in chi^2 is its square), or the noise of
        each real part [Jy].
    weight_factor : float
        Weights are this / sigma^2: other than 1 they are wrong, as those of real data can be.

    Returns
    -------
    Visibilities, dict
        The truth with what was drawn: noise, flux in every channel, and the rotation curve.
    """
    _check(truth, profile, sampling)
    rng = np.random.default_rng(seed)
    radius, v_c = rotation_curve(truth)
    u, v, cell = uv.draw_baselines(coverage, uv.draw_counts(len(coverage.u), median_count, count_scatter, rng), rng)
    x, y, velocity = clouds(truth, radius, v_c, n_clouds, profile, sampling, rng)
    flag = ~coverage.filled[:, cell]
    vis = np.zeros(flag.shape, complex)
    per_channel = np.zeros(len(coverage.frequency))
    for k, frequency in enumerate(coverage.frequency):
        used, flux = channel_fluxes(velocity, truth, frequency, coverage.channel_width, rest_frequency)
        flux = flux * primary_beam(x[used], y[used], frequency, dish_diameter_m, primary_beam_coefficient)
        per_channel[k] = flux.sum()
        vis[k, ~flag[k]] = transform(x[used], y[used], flux, u[~flag[k]], v[~flag[k]])
    sigma = _noise_level(vis, signal_to_noise, sigma)
    total = float(np.sqrt(np.sum(np.abs(vis) ** 2)) / sigma)
    vis[~flag] += sigma * (rng.standard_normal((flag.size - flag.sum(), 2)) @ [1, 1j])
    about = {"frame": "LSRK", "rest_frequency_hz": rest_frequency, "phase_centre_deg": None, "dish_diameter_m": dish_diameter_m, "telescope": "mock"}
    about |= {"source": "mock", "notes": [f"simulated: {len(x)} clouds of KinMS, noise {sigma:.4g} Jy, total signal-to-noise ratio {total:.4g}"]}
    result = Visibilities(u, v, vis, np.where(flag, 0.0, weight_factor / sigma**2), flag, coverage.frequency, about)
    curve = {"radius_arcsec": radius[::20].tolist(), "v_c": v_c[::20].tolist()}
    drawn = {"n_clouds": len(x), "sigma_jy": float(sigma), "signal_to_noise": total, "flux_per_channel_jy": per_channel.tolist(), "rotation_curve": curve}
    return result, {**truth, "seed": seed, "profile": profile, "rest_frequency_hz": rest_frequency, **drawn}


def rotation_curve(truth: dict):
    """Radii [arcsec] and circular velocities [km/s] of stars and black hole, (N_RADII,); KinMS holds the last ones beyond."""
    pc = truth["distance"] * 1e6 * ARCSEC  # per arcsec
    radius = np.geomspace(*RADII, N_RADII)
    stars = Nuker(truth["alpha"], truth["gamma"] + truth["beta_minus_gamma"], truth["gamma"], truth["r_break"], 10 ** truth["log_sigma_break"])
    q_intr, inclination = truth["q_intr"], math.radians(truth["inclination"])
    q_obs = math.hypot(q_intr * math.sin(inclination), math.cos(inclination))
    v_stars = abel.circular_velocity(stars, radius * pc, q_intr, q_obs)
    return radius, np.sqrt(v_stars**2 + G * 10 ** truth["log_m_bh"] / (radius * pc))


def clouds(truth: dict, radius, v_c, n_clouds: int, profile: str, sampling: str, rng: np.random.Generator):
    """Offsets to the east and north [arcsec] and radio velocities [km/s] of clouds of equal flux, without gas dispersion; (n_clouds,) each."""
    kinms, options = _kinms(n_clouds, int(rng.integers(1, 2**24))), {}
    table, brightness = _brightness(profile, truth)
    if sampling == "kinms":
        options = {"sbRad": table, "sbProf": brightness}
    else:
        options = {"inClouds": _even_clouds(table, brightness, truth.get("thickness", 0.0), n_clouds, rng)}
    curve = {"velRad": radius, "velProf": v_c, "returnClouds": True}
    _, place, velocity = kinms.model_cube(truth["inclination"], truth["position_angle"], gasSigma=0.0, **curve, **options)
    # KinMS counts x as right ascension of a FITS image does: to the west
    return truth["x_offset"] - place[:, 0], truth["y_offset"] + place[:, 1], radio_velocity(velocity, truth["v_sys"])


def radio_velocity(velocity, v_sys: float):
    """Radio velocities [km/s] of light from clouds of `velocity` in the frame of a galaxy, to first order in it, by its frequency."""
    frequency = (1 - v_sys / LIGHT) * (1 - velocity / LIGHT)  # over that at rest
    return LIGHT * (1 - frequency)


def _kinms(n_clouds, seed):
    """KinMS with a cube of two pixels, which nobody looks at; 2^24 seeds."""
    with warnings.catch_warnings():  # at its import KinMS silences all warnings of the process
        from kinms import KinMS

    n_clouds = 2 ** math.ceil(math.log2(n_clouds))
    return KinMS(1e5, 1e5, 1e5, 5e4, 5e4, 1.0, nSamps=n_clouds, seed=seed, cleanOut=True)


def _brightness(profile, truth):
    """Radii [arcsec] and surface brightness there, fine enough to be integrated and read linearly."""
    lengths = [v for name, v in truth.items() if name in ("scale_length", "truncation_radius", "hole_radius", "ring_radius", "ring_width")]
    table = np.concatenate([[0.0], np.geomspace(1e-5 * min(lengths), 40 * max(lengths), 40_000)])
    return table, PROFILES[profile](table, truth)


def _even_clouds(table, brightness, thickness, n_clouds, rng):
    """Positions (n_clouds, 3) in the disc [arcsec] on a scrambled Sobol sequence in enclosed flux, azimuth and height."""
    uniform = qmc.Sobol(3, rng=rng).random_base2(math.ceil(math.log2(n_clouds)))
    mass = np.concatenate([[0.0], np.cumsum(np.diff(table**2) * (brightness[1:] + brightness[:-1]))])
    r, phi = np.interp(uniform[:, 0] * mass[-1], mass, table), 2 * math.pi * uniform[:, 1]
    height = thickness * ndtri(np.clip(uniform[:, 2], 1e-12, 1 - 1e-12)) if thickness else np.zeros(len(r))
    return np.stack([r * np.cos(phi), r * np.sin(phi), height], axis=1)


def velocity_rows(curve: dict, distance: float) -> list[dict]:
    """Rotation curve of `simulate` as rows: radius_arcsec, radius_pc for a `distance` [Mpc], velocity_km_s."""
    pc = distance * 1e6 * ARCSEC
    return [{"radius_arcsec": r, "radius_pc": r * pc, "velocity_km_s": v} for r, v in zip(curve["radius_arcsec"], curve["v_c"], strict=True)]


def channel_fluxes(velocity, truth: dict, frequency: float, width: float, rest_frequency: float):
    """Which clouds reach into a channel of `width` [Hz], and their flux densities there [Jy], averaged over it."""
    high, low = (LIGHT * (1 - (frequency + side * width / 2) / rest_frequency) for side in (-1, 1))
    spread = max(truth["sigma_gas"], 1e-6) * (1 - truth["v_sys"] / LIGHT)
    used = (velocity > low - REACH * spread) & (velocity < high + REACH * spread)
    upper, lower = (erf((edge - velocity[used]) / (math.sqrt(2) * spread)) for edge in (high, low))
    return used, truth["flux"] / len(velocity) * 0.5 * (upper - lower) / (high - low)


def primary_beam(x, y, frequency: float, dish_diameter_m: float | None, coefficient: float):
    """Response of a Gaussian beam at offsets `x`, `y` [arcsec], 1 without a dish."""
    if dish_diameter_m is None:
        return 1.0
    fwhm = coefficient * 1e3 * LIGHT / frequency / dish_diameter_m / ARCSEC
    return np.exp(-4 * math.log(2) * (x**2 + y**2) / fwhm**2)


def transform(x, y, flux, u, v):
    """``sum_k flux_k exp(-2 pi i (u x_k + v y_k))`` (n_vis,) for `x`, `y` in arcsec, `u`, `v` in wavelengths."""
    import finufft

    if len(x) == 0:
        return np.zeros(len(u), complex)
    sources = (np.ascontiguousarray(a * ARCSEC) for a in (x, y))
    targets = (np.ascontiguousarray(2 * math.pi * a) for a in (u, v))
    return finufft.nufft2d3(*sources, flux.astype(complex), *targets, isign=-1, eps=EPSILON, nthreads=1)


def _noise_level(vis, signal_to_noise, sigma) -> float:
    if (signal_to_noise is None) == (sigma is None):
        raise InputError("the mock's noise: give one of signal_to_noise and sigma [Jy]")
    level = float(np.sqrt(np.sum(np.abs(vis) ** 2)) / signal_to_noise) if sigma is None else sigma
    if not 0 < level < math.inf:
        raise InputError(f"the mock's noise would be {level} Jy: the line lies outside the band (see v_sys), or signal_to_noise or sigma is not positive")
    return level


def _check(truth, profile, sampling) -> None:
    if profile not in PROFILES or sampling not in ("sobol", "kinms"):
        raise InputError(f"the mock's profile {profile!r} or sampling {sampling!r} is unknown; profiles: {', '.join(PROFILES)}; sampling: sobol, kinms")
    if sampling == "kinms" and truth.get("thickness"):
        raise InputError("the mock's thickness is Gaussian, that of KinMS's own clouds is not; set sampling to sobol")
    missing = [name for name in (*GALAXY, *MASS) if name not in truth]
    if missing:
        raise InputError(f"the mock lacks {', '.join(missing)}")
