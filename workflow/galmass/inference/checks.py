"""Does the fitted model describe the data? Posterior predictive chi^2, residual images, rotation curves with their parts."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from galmass.discs.velocity import speed
from galmass.stores import Column
from galmass.units import LIGHT, PC_PER_ARCSEC
from galmass.visibilities import imaging

PROBABILITIES = (0.0015, 0.025, 0.16, 0.5, 0.84, 0.975, 0.9985)  # medians and the limits of 68, 95 and 99.7 %
REPLICAS = 60  # draws whose replicated data are compared with the data
CURVES = 500  # draws behind the bands of rotation curves
EXTENT = 0.95  # of the flux: what a radius must hold to be the extent of the gas
THRESHOLD = 4.0  # noise above which a pixel counts in moment maps


@dataclass(frozen=True)
class Check:
    """What `check` finds: tables by channel and by baseline, labelled arrays for figures, numbers."""

    channels: list
    baselines: list
    arrays: dict
    numbers: dict


def check(posterior, samples, gridded, galaxy, seed: int) -> Check:
    """Compare a fit with its data.

    Parameters
    ----------
    posterior : Posterior
    samples : galmass.inference.samples.Samples
        Its draws.
    gridded : Gridded
        The data.
    galaxy : mapping
        The galaxy's entry in the config.
    seed : int
        Of the choice of draws and of replicated noise.
    """
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.permutation(samples.flat)[:CURVES])
    best = torch.from_numpy(samples.flat[int(samples.log_prob.argmax())])
    velocity = LIGHT * (1 - gridded.frequency / galaxy["rest_frequency_hz"])
    filled, groups = group_by_channel(gridded, posterior.used.numpy())
    channels = predictive_chi_squared(posterior, x[:REPLICAS], groups, rng)
    groups, edges = group_by_baseline(gridded, posterior.used.numpy())
    baselines = predictive_chi_squared(posterior, x[:REPLICAS], groups, rng)
    whole = predictive_chi_squared(posterior, x[:REPLICAS], np.zeros_like(groups), rng)[0]
    channels = [{"velocity_km_s": float(v), **row} for v, row in zip(velocity[filled], channels, strict=True)]
    baselines = [{"baseline_kilolambda": float(b) / 1e3, **row} for b, row in zip((edges[1:] + edges[:-1]) / 2, baselines, strict=True)]
    beam = imaging.beam(gridded)
    beam_pc = beam.size * PC_PER_ARCSEC * galaxy["distance_mpc"]
    arrays, noise = pictures(posterior, best, gridded, velocity, galaxy["model"]["n_pix"])
    arrays |= curves(posterior, x)
    profile, values = posterior.model.disc.profile, posterior.parameters.complete(best)
    numbers = {
        "chi2_per_datum": whole,
        "gas_extent_arcsec": profile.holding(EXTENT, **{name: float(values[name]) for name in profile.names}),
        "beam": asdict(beam),
        "beam_arcsec": beam.size,
        "beam_pc": beam_pc,
        "probabilities": PROBABILITIES,
        "log_enclosed_mass_at_beam": enclosed_mass(posterior, x, beam_pc),
        "noise_jy_per_beam": float(np.median(noise[filled])),
        "largest_residual_over_noise": float((abs(arrays["residual"][0][filled]) / noise[filled, None, None]).max()),
        "cell_arcsec": gridded.cell_arcsec,
        "best": dict(zip(posterior.names, best.tolist(), strict=True)),
        **posterior.parameters.fixed,
    }
    return Check(channels, baselines, arrays, numbers)


def pictures(posterior, best, gridded, velocity, n_pix: int):
    """Labelled arrays of the dirty cubes, moment maps and position-velocity diagrams of data and best model, and the noise (n_chan,)."""
    with torch.no_grad():
        model = posterior.visibilities(best).numpy()
    data, drawn, residual, noise = images(gridded, model, n_pix)
    values = posterior.parameters.complete(best)
    reach = 0.4 * n_pix * gridded.cell_arcsec
    offset = np.arange(-reach, reach + 1e-9, 0.5 * gridded.cell_arcsec)
    slit = [float(values[name]) for name in ("position_angle", "x_offset", "y_offset")]
    width = imaging.beam(gridded).size
    plane = ("channel", "north", "east")
    jansky = Column("Jy / beam", "dirty cube, natural weights")
    arrays = {
        "velocity": (velocity, ("channel",), Column("km / s", "radio velocity")),
        "noise": (noise, ("channel",), Column("Jy / beam", "noise of the dirty cube")),
        "offset": (offset, ("offset",), Column("arcsec", "along the major axis, receding side positive")),
    }
    for name, cube in (("data", data), ("model", drawn), ("residual", residual)):
        arrays[name] = (cube.astype(np.float32), plane, jansky)
        slice_ = imaging.position_velocity(cube, gridded.cell_arcsec, *slit, offset, width)
        arrays[f"slit_{name}"] = (slice_, ("channel", "offset"), Column("Jy / beam", "mean across a slit as wide as the beam"))
    for name, cube in (("data", data), ("model", drawn)):
        maps = np.stack(imaging.moments(cube, velocity, THRESHOLD * noise))
        arrays[f"moments_{name}"] = (maps, ("moment", "north", "east"), Column("", "0 [Jy / beam km / s], 1 and 2 [km / s] above the threshold"))
    return arrays, noise


def curves(posterior, x):
    """Labelled arrays of the radii and of the quantiles of the circular velocity and its parts, over physical vectors (n_draw, n)."""
    arrays = {"radius": (posterior.mass.radius.double().numpy(), ("radius",), Column("pc", "of the rotation curves"))}
    for part, quantiles in rotation_curves(posterior, x).items():
        if quantiles.max() > 0:
            arrays[f"velocity_{part}"] = (quantiles, ("probability", "radius"), Column("km / s", f"circular velocity: {part}"))
    return arrays


def predictive_chi_squared(posterior, draws, groups, rng):
    """chi^2 per datum of data and of replicated data, by group of data.

    Parameters
    ----------
    posterior : Posterior
    draws : (n_draw, n) float64 tensor
        Physical vectors from the posterior.
    groups : (n_data,) integer array
        Group of every used number, from 0; each group has members.
    rng : numpy.random.Generator
        Of the replicated noise.

    Returns
    -------
    list of dict with `n` (independent data), `chi2` (mean over the draws, per independent datum), `low`, `high` (95 % of the replicas) and
    `p` (share of draws whose replica has the larger chi^2; Gelman, Meng & Stern 1996). Replicas of data that a wide kernel correlates are of
    independent ones, and scatter as the fewer independent ones would.
    """
    index = torch.as_tensor(groups, dtype=torch.long)
    number, factor = torch.bincount(index).double(), posterior.noise.information_factor
    observed, replicated = [], []
    with torch.no_grad():
        for x in draws:
            model = posterior.predict_at(x)
            observed.append(factor * torch.bincount(index, posterior.noise.chi_squared(model)) / number)
            replica = torch.bincount(index, posterior.noise.replicate(model, rng).chi_squared(model)) / number
            replicated.append(1 + factor**0.5 * (replica - 1))
    observed, replicated = torch.stack(observed), torch.stack(replicated)
    low, high = torch.quantile(replicated, torch.tensor([0.025, 0.975], dtype=torch.float64), 0)
    exceeds = (replicated > observed).double().mean(0)
    columns = {"n": torch.round(number / factor).long(), "chi2": observed.mean(0), "low": low, "high": high, "p": exceeds}
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]


def group_by_channel(gridded, used):
    """Channels that have data, (n_filled,), and which of them every used number is of, (n_data,)."""
    return np.unique(np.repeat(np.nonzero(gridded.mask)[0], 2)[used], return_inverse=True)


def group_by_baseline(gridded, used, n_groups: int = 8):
    """Group of equal numbers of cells in baseline length of every used number, and the edges (n_groups + 1,) [wavelengths]."""
    length = np.hypot(*imaging.uv_cells(gridded.n_pix, gridded.cell_arcsec))
    lengths = np.broadcast_to(length, gridded.mask.shape)[gridded.mask]
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, n_groups + 1)))
    groups = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, len(edges) - 2)
    return np.repeat(groups, 2)[used], edges


def images(gridded, model, n_pix: int):
    """Dirty cubes of data, model and residual cut to `n_pix`, each (n_chan, n_pix, n_pix), and the noise (n_chan,) [Jy / beam].

    Parameters
    ----------
    model : (n_cell,) complex array
        Model of the filled cells, in the order of ``numpy.nonzero(gridded.mask)`` [Jy].
    """
    full = np.zeros_like(gridded.mean)
    full[gridded.mask] = model
    data, noise = imaging.dirty_cube(gridded, gridded.mean, n_pix)
    drawn, _ = imaging.dirty_cube(gridded, full, n_pix)
    return data, drawn, data - drawn, noise


def rotation_curves(posterior, x):
    """Quantiles (n_probability, n_radius) [km/s] of the circular velocity and of its parts at the radii of the disc, by name."""
    with torch.no_grad():
        squares = posterior.mass.squared_velocity(posterior.parameters.complete(x))
    return {name: quantiles(speed(value)) for name, value in {"total": sum(squares.values()), **squares}.items()}


def enclosed_mass(posterior, x, radius_pc: float):
    """Quantiles [log10 M_sun] of ``v^2 R / G`` at `radius_pc`, by part: the mass of a sphere that would act alike."""
    with torch.no_grad():
        masses = posterior.mass.enclosed_mass(posterior.parameters.complete(x), [radius_pc])
    masses = {"total": sum(masses.values()), **masses}
    return {name: quantiles(torch.log10(value[:, 0])).tolist() for name, value in masses.items() if bool((value > 0).all())}


def quantiles(values):
    """Quantiles at PROBABILITIES along the first axis of `values`, as an array."""
    return torch.quantile(values, torch.tensor(PROBABILITIES, dtype=values.dtype), 0).numpy()
