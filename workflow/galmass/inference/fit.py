"""A whole fit: modes, chains, and what they say of every parameter."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from galmass import checkpoints, stores
from galmass.inference import delayed, optimise, sampling, starts
from galmass.inference.samples import Samples

INTERVALS = {"interval_68": (0.16, 0.84), "interval_95": (0.025, 0.975), "interval_997": (0.0015, 0.9985)}
N_PRIOR = 4000  # draws of the prior, for figures
MODES = "modes.ckpt"


def fit(posterior, gridded, galaxy: Mapping, fitting: Mapping, seed: int, scratch, origin: Mapping, label: str) -> tuple[Samples, dict]:
    """Draws of a posterior, and their summary.

    Angles without walls are continuous about their mean direction, and their median lies within the prior: a position angle of 0 +- 0.3 deg under a
    prior from 0 to 360 has a median of 0.01 and an interval from -0.29, or 359.99 and 359.69 to 360.29. Draws of the prior lie about the same direction.

    Parameters
    ----------
    posterior : Posterior
    gridded : Gridded
        Its data.
    galaxy : mapping
        The galaxy's entry in the config.
    fitting : mapping
        Section `fitting` of the config.
    seed : int
        Of scouts and chains.
    scratch : path
        Folder for checkpoints, one for each digest of `origin` and seed; modes and chains that are there are gone on from.
    origin : mapping
        What decides the result, JSON-able: code, data and configuration.
    label : str
        Before the progress bars.

    Raises
    ------
    InputError
        Before any sampling, where the best mode's flux leaves the image or its line the band.
    """
    stamp = stores.digest(json.dumps([origin, seed], sort_keys=True).encode())
    scratch = Path(scratch) / stamp[:12]
    scratch.mkdir(parents=True, exist_ok=True)
    modes = _modes(posterior, gridded, galaxy, fitting, seed, scratch / MODES, stamp, label)
    z = torch.tensor([mode["z"] for mode in modes], dtype=torch.float64)
    _check_disc(posterior, posterior.parameters.physical(z[0]))
    options = {"n_chains": fitting["chains"], **{key: fitting[key] for key in ("target_ess", "max_r_hat", "max_steps", "checkpoint_seconds")}}
    if fitting["sampler"] == "delayed":
        options["n_pilot"] = max(delayed.DEFAULTS["n_pilot"], fitting["chains"])
    result = sampling.run(posterior, fitting["sampler"], z, options, seed, scratch, stamp, label)
    generator = torch.Generator().manual_seed(seed)
    parameters, chains = posterior.parameters, posterior.reported(result.z)
    with torch.no_grad():
        prior = parameters.unwrapped(parameters.physical(parameters.sample(generator, N_PRIOR)), chains)
    modes = [{**mode, "x": _beside(parameters, mode["x"], chains)} for mode in modes]
    names = list(posterior.names)
    units = {name: posterior.units[name] for name in names}
    summary = summarise(posterior, result, chains.numpy(), modes)
    attributes = {"sampler": result.sampler, "converged": int(result.converged), "notes": result.notes, "seed": seed}
    return Samples(names, units, chains.numpy(), prior.numpy(), result.log_prob.numpy(), attributes), summary


def _modes(posterior, gridded, galaxy, fitting, seed: int, checkpoint: Path, stamp: str, label: str) -> list[dict]:
    """Modes, best first; read where an earlier attempt found them."""
    if checkpoint.is_file():
        return json.loads(checkpoints.read(checkpoint, stamp)["modes"])
    scouts = starts.scouts(posterior, gridded, galaxy, fitting["scouts"], seed)
    found = optimise.search(posterior, scouts, fitting["starts"], label)
    modes = [
        {
            "z": mode.z.tolist(),
            "x": dict(zip(posterior.names, posterior.parameters.physical(mode.z).tolist(), strict=True)),
            "log_posterior": float(mode.log_density),
            "converged": bool(mode.converged),
            "distance": float(mode.distance),
            "weight": float(mode.weight),
        }
        for mode in found
    ]
    with stores.replacing(checkpoint) as part:
        torch.save({"stamp": stamp, "modes": json.dumps(modes)}, part)
    return modes


def _beside(parameters, x: Mapping, chains) -> dict:
    """The physical values x by name, angles as near the draws (..., n) as whole turns bring them."""
    values = torch.tensor([x[name] for name in parameters.names], dtype=torch.float64)
    return dict(zip(parameters.names, parameters.unwrapped(values, chains).tolist(), strict=True))


def _check_disc(posterior, x) -> None:
    """Raise `InputError` where the disc of the physical vector x (n,) leaves the image or the band."""
    disc = posterior.model.disc
    with torch.no_grad():
        velocity, geometry = (v.to(disc.device, disc.dtype) for v in (posterior.velocity(x), posterior.geometry(x)))
    disc.check(velocity, geometry)


def summarise(posterior, result: sampling.Result, chains, modes) -> dict:
    """Medians, intervals, convergence and fit, for summary.json; of modes the distance from the best [standard errors] and Laplace's share of the posterior."""
    flat, found = chains.reshape(-1, posterior.n), result.diagnostics
    best, unidentified = flat[int(result.log_prob.argmax())], posterior.parameters.unidentified(flat)
    with torch.no_grad():
        chi2 = posterior.noise.chi_squared(posterior.predict_at(torch.from_numpy(best)))
    return {
        "parameters": {name: _of_parameter(flat[:, i], posterior.units[name], best[i], found, i) for i, name in enumerate(posterior.names)},
        "fixed": posterior.parameters.fixed,
        "converged": result.converged,
        "r_hat": _number(np.max(found.r_hat)),
        "ess": _number(np.min(found.bulk_ess)),
        "sampler": result.sampler,
        "acceptance": result.acceptance,
        "notes": result.notes,
        "n_chains": chains.shape[0],
        "n_draws": chains.shape[1],
        "n_likelihoods": result.n_likelihoods,
        "log_posterior": float(result.log_prob.max()),
        "max_log_likelihood": float((result.log_prob - posterior.log_prior(result.z)).max()),
        "chi2": float(chi2.sum()),
        "n_data": posterior.n_independent,
        "modes": [{key: mode[key] for key in ("x", "log_posterior", "converged", "distance", "weight")} for mode in modes],
        "at_bound": [text for name, text in posterior.parameters.at_bound(flat).items() if name not in unidentified],
        "unidentified": list(unidentified.values()),
    }


def _of_parameter(values, unit: str, best: float, found, i: int) -> dict:
    return {
        "unit": unit,
        "median": float(np.median(values)),
        **{name: np.quantile(values, limits).tolist() for name, limits in INTERVALS.items()},
        "best": float(best),
        "r_hat": _number(found.r_hat[i]),
        "ess_bulk": _number(found.bulk_ess[i]),
        "ess_tail": _number(found.tail_ess[i]),
    }


def _number(value):
    """A number, or null where there is none: a parameter that never moved has no R-hat."""
    return float(value) if np.isfinite(value) else None
