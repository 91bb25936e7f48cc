"""Chains until they have converged: progress, checkpoints, exact resume, and the truth about how it ended."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path

import torch

from galmass import checkpoints, logs, stores
from galmass.errors import InputError
from galmass.inference import delayed, hmc, mala
from galmass.inference.diagnostics import FEWEST, Diagnostics, diagnose
from galmass.inference.surrogate import Problem

SAMPLERS = {"delayed": delayed.Delayed, "mala": mala.Mala, "hmc": hmc.Hmc}
FALLBACK = "mala"
DEFAULTS = {"n_chains": 16, "target_ess": 1000, "max_r_hat": 1.01, "max_steps": 5000, "max_seconds": math.inf, "checkpoint_seconds": 30}
BEYOND, FEW = 0.0015, 25  # share of the draws beyond each limit of 99.7 %, and how many of them leave it known to a fifth of what lies beyond
TAIL = 400  # effective samples of the outer quantiles from which these, and their error, can be trusted (Vehtari et al. 2021)
CHECKS = 1.15  # growth of the chains between two looks at their convergence


@dataclass(frozen=True)
class Result:
    """Chains and how they ended."""

    z: torch.Tensor  # (n_chain, n_draw, d)
    log_prob: torch.Tensor  # (n_chain, n_draw)
    acceptance: float  # of proposals that moved
    sampler: str  # that made these draws: another than asked for after a fallback, which is in the notes
    converged: bool  # effective samples and R-hat are as wanted
    notes: list[str]
    diagnostics: Diagnostics  # of what the problem reports of the draws
    n_likelihoods: int  # of all steps, and of expansion and pilot of `delayed`; those of mala and hmc have gradients, and what these spend before the
    # first step (mass matrix, places to begin at) and what the search for modes spends is not among them
    seconds: float  # of all attempts, set-up included


@dataclass
class Chains:
    """A run under way: what a checkpoint holds."""

    sampler: str
    setup: object
    state: object
    generator: torch.Generator
    n_likelihoods: int
    notes: list[str]
    n_warm: int = 0  # steps of the warm-up done
    seconds: float = 0.0
    z: list = field(default_factory=list)  # of (n_chain, d), a draw each
    log_prob: list = field(default_factory=list)  # of (n_chain,)
    acceptance: list = field(default_factory=list)  # summed over the chains whose proposal moved, of every step since the sampler began
    moved: list = field(default_factory=list)  # number of these chains


def run(problem: Problem, sampler: str, modes, options: Mapping, seed: int, scratch: str | Path, stamp: str, label: str = "sampling") -> Result:
    """Sample the posterior, or go on where an earlier attempt stopped.

    Parameters
    ----------
    problem : Problem
    sampler : str
        ``delayed``, ``mala`` or ``hmc``.
    modes : (k, d) tensor
        Modes of the posterior, the best first.
    options : mapping
        As `DEFAULTS`, and those of the sampler (``delayed.DEFAULTS``, ``Mala.defaults``, ``Hmc.defaults``).
    seed : int
    scratch : path
        Folder of the checkpoint.
    stamp : str
        Digest of code, data and configuration: a checkpoint with another is refused.
    label : str
        Of the progress line.

    Raises
    ------
    InputError
        For an unknown sampler or option, modes of no finite density, a checkpoint of another run, or a folder in use.

    Notes
    -----
    Convergence is that of ``problem.reported(z)``, where there is such a function: of the parameters and angles that are told, not of the coordinates.
    Interrupted and resumed runs end the same, bit for bit, but for ``max_seconds``. Look at ``converged`` before using the draws.
    """
    options = _checked(problem, sampler, modes, options)
    checkpoint = Path(scratch) / "chains.ckpt"
    with checkpoints.alone_in(Path(scratch), label):
        began = time.monotonic()
        if checkpoint.is_file():
            chains = restore(checkpoints.read(checkpoint, stamp))
            print(f"{label}: going on after {len(chains.z)} draws of each chain")
        else:
            chains = start(problem, sampler, modes, options, torch.Generator().manual_seed(seed))
            chains.seconds = time.monotonic() - began
            keep(chains, checkpoint, stamp)
        found = _sample(problem, chains, modes, options, checkpoint, stamp, label)
        keep(chains, checkpoint, stamp)
    return _result(problem, chains, found, options)


def _checked(problem, sampler: str, modes, options: Mapping) -> dict:
    """All options, with their defaults."""
    if sampler not in SAMPLERS:
        raise InputError(f"sampler {sampler!r} is unknown; choose one of {', '.join(SAMPLERS)}")
    known = DEFAULTS | _defaults(sampler) | _defaults(FALLBACK)
    unknown = [key for key in options if key not in known]
    if unknown:
        raise InputError(f"sampler {sampler}: unknown options {', '.join(unknown)}; it knows {', '.join(known)}")
    every = known | dict(options)
    if sampler == "delayed" and not every["n_chains"] <= every["n_pilot"]:
        raise InputError(f"n_chains ({every['n_chains']}) must not be above n_pilot ({every['n_pilot']})")
    if not math.isfinite(float(delayed.batched(problem.log_density)(modes[:1]))):
        raise InputError("the posterior density at the first mode is not finite: the priors exclude it, or the data hold NaN; see the optimisation")
    return DEFAULTS | dict(options)


def _defaults(sampler: str) -> dict:
    return delayed.DEFAULTS if sampler == "delayed" else SAMPLERS[sampler].defaults


def start(problem, sampler: str, modes, options, generator) -> Chains:
    """A sampler set up, its chains at their beginnings."""
    scheme = SAMPLERS[sampler](problem, options)
    setup = scheme.prepare(modes, generator)
    spent, notes = setup.n_likelihoods + options["n_chains"], list(setup.notes)
    if sampler == "delayed" and setup.sparse:
        notes.append(f"no chain can begin at draws of the surrogate: they would be copies of a few points; these draws are of {FALLBACK}")
        print(notes[-1])
        sampler, scheme = FALLBACK, SAMPLERS[FALLBACK](problem, options)
        setup = scheme.prepare(modes, generator)
    return Chains(sampler, setup, scheme.begin(setup, None, options["n_chains"], generator), generator, spent, notes)


def fall_back(problem, chains: Chains, modes, options) -> None:
    """Go on from where the chains are with a sampler that needs no surrogate; the draws so far go."""
    chains.notes += _unmoved(chains)
    chains.notes.append(
        f"{chains.sampler} accepted {_acceptance(chains):.0%} of its proposals, below {delayed.LEAST:.0%}: the surrogate does not fit here; "
        f"these draws are of {FALLBACK}"
    )
    print(chains.notes[-1])
    scheme = SAMPLERS[FALLBACK](problem, options)
    chains.sampler, chains.setup = FALLBACK, scheme.prepare(modes, chains.generator)
    chains.state = scheme.begin(chains.setup, chains.state.z, options["n_chains"], chains.generator)
    chains.n_likelihoods += options["n_chains"]
    chains.n_warm, chains.z, chains.log_prob, chains.acceptance, chains.moved = 0, [], [], [], []


def advance(scheme, chains: Chains) -> None:
    """One step of all chains; a draw of each once the warm-up is over."""
    state, info = scheme.step(chains.setup, chains.state, chains.generator)
    n_warmup = scheme.options["n_warmup"]
    if chains.n_warm < n_warmup:
        chains.n_warm += 1
        state = scheme.tune(state, info)
        state = scheme.freeze(state) if chains.n_warm == n_warmup else state
    else:
        chains.z.append(state.z)
        chains.log_prob.append(state.log_prob)
    chains.state = state
    chains.acceptance.append(float(info.acceptance[info.moved].sum()))
    chains.moved.append(int(info.moved.sum()))
    chains.n_likelihoods += info.n_likelihoods


def _sample(problem, chains: Chains, modes, options, checkpoint, stamp: str, label: str) -> Diagnostics:
    """Advance until converged, or until the steps or the seconds are spent."""
    scheme, kept = SAMPLERS[chains.sampler](problem, options), time.monotonic()
    found = _look(problem, _draws(chains)[:, : _last_check(len(chains.z))])
    with logs.progress(options["max_steps"], len(chains.z), label) as bar:
        while not _converged(found, options) and len(chains.z) < options["max_steps"] and chains.seconds < options["max_seconds"]:
            before = time.monotonic()
            advance(scheme, chains)
            if chains.sampler != FALLBACK and _is_useless(chains):
                fall_back(problem, chains, modes, options)
                scheme = SAMPLERS[chains.sampler](problem, options)
            if _is_check(len(chains.z)):
                found = _look(problem, _draws(chains))
                bar.total = _expected(found, len(chains.z), options)
            chains.seconds += time.monotonic() - before
            _show(bar, chains, found)
            if time.monotonic() - kept > options["checkpoint_seconds"]:
                keep(chains, checkpoint, stamp)
                kept = time.monotonic()
    return _look(problem, _draws(chains))


def _look(problem, z) -> Diagnostics:
    """Diagnostics of what the problem tells of the draws z (n_chain, n_draw, d): limits and R-hat are of the same parameters."""
    reported = getattr(problem, "reported", None)
    return diagnose(reported(z) if reported else z)


def _is_useless(chains: Chains) -> bool:
    return chains.sampler == "delayed" and len(chains.acceptance) >= delayed.PROBATION and _acceptance(chains) < delayed.LEAST


def _is_check(n: int) -> bool:
    """Whether `n` draws are the first of a power of `CHECKS`: a matter of draws alone, so that a resumed run ends at the same."""
    return n >= FEWEST and math.floor(math.log(n, CHECKS)) > math.floor(math.log(n - 1, CHECKS))


def _last_check(n: int) -> int:
    """Draws of each chain at the last look."""
    return next((k for k in range(n, 0, -1) if _is_check(k)), 0)


def _converged(found: Diagnostics, options) -> bool:
    """All parameters have their effective samples and R-hat; NaN is neither."""
    return bool((found.bulk_ess >= options["target_ess"]).all() and (found.r_hat < options["max_r_hat"]).all())


def _expected(found: Diagnostics, n: int, options) -> int:
    """Draws of each chain until the effective samples are reached, at most ``max_steps``."""
    ess = float(found.bulk_ess.min())
    return min(options["max_steps"], max(n, math.ceil(n * options["target_ess"] / ess))) if ess > 0 else options["max_steps"]


def _show(bar, chains: Chains, found: Diagnostics) -> None:
    share = _moved(chains, -50)
    bar.set_postfix_str(
        f"{chains.sampler}{'' if chains.z else ' warm-up'}, acceptance {_acceptance(chains, -50):.2f}, "
        f"{'' if share >= delayed.MOVED else f'{share:.0%} moved, '}"
        f"ESS {found.bulk_ess.min():.0f}, R-hat {found.r_hat.max():.3f}",
        refresh=False,
    )
    bar.update(len(chains.z) - bar.n)


def _draws(chains: Chains):
    """(n_chain, n_draw, d)."""
    return torch.stack(chains.z, 1) if chains.z else chains.state.z[:, None][:, :0]


def _acceptance(chains: Chains, first: int = 0) -> float:
    """Mean over the proposals that moved since step `first`; 0 where none did."""
    return sum(chains.acceptance[first:]) / max(sum(chains.moved[first:]), 1)


def _moved(chains: Chains, first: int = 0) -> float:
    """Share of proposals that moved since step `first`; 1 before any."""
    moved = chains.moved[first:]
    return sum(moved) / (len(moved) * len(chains.state.z)) if moved else 1.0


def _unmoved(chains: Chains) -> list[str]:
    share = _moved(chains, chains.n_warm)
    return [f"{share:.0%} of the inner chains moved: the others proposed where they were, and acceptance does not count them"] if share < delayed.MOVED else []


def _result(problem, chains: Chains, found: Diagnostics, options) -> Result:
    converged = _converged(found, options)
    notes = [*chains.notes, *_unmoved(chains), *_rough(problem, found), *_few(len(chains.z) * options["n_chains"])]
    return Result(
        z=_draws(chains),
        log_prob=torch.stack(chains.log_prob, 1) if chains.z else chains.state.log_prob[:, None][:, :0],
        acceptance=_acceptance(chains, chains.n_warm),
        sampler=chains.sampler,
        converged=converged,
        notes=notes if converged else [*notes, _shortfall(found, chains, options)],
        diagnostics=found,
        n_likelihoods=chains.n_likelihoods,
        seconds=chains.seconds,
    )


def _rough(problem, found: Diagnostics) -> list[str]:
    """A note on parameters whose outer limits rest on few effective samples."""
    few = [f"{name} ({ess:.0f})" for name, ess in zip(problem.names, found.tail_ess, strict=True) if ess < TAIL]
    return [f"tail ESS below {TAIL}: the 99.7 % limits are rough of {', '.join(few)}"] if few else []


def _few(n_draws: int) -> list[str]:
    """A note on outer limits that rest on few draws."""
    beyond = BEYOND * n_draws
    return [f"{n_draws} draws: {beyond:.0f} lie beyond each limit of 99.7 %, which is rough below {FEW}"] if beyond < FEW else []


def _shortfall(found: Diagnostics, chains: Chains, options) -> str:
    spent = "max_steps" if len(chains.z) >= options["max_steps"] else "max_seconds"
    return (
        f"not converged: after {len(chains.z)} draws of each chain ({spent} reached) the smallest bulk ESS is {found.bulk_ess.min():.0f} of "
        f"{options['target_ess']}, the largest R-hat {found.r_hat.max():.3f}, to be below {options['max_r_hat']}"
    )


def keep(chains: Chains, checkpoint: Path, stamp: str) -> None:
    """Write the checkpoint, whole or not at all."""
    content = {f.name: getattr(chains, f.name) for f in fields(chains)}
    content |= {"stamp": stamp, "setup": asdict(chains.setup), "state": asdict(chains.state), "generator": chains.generator.get_state()}
    content |= {"z": _draws(chains), "log_prob": torch.stack(chains.log_prob, 1) if chains.z else None}
    with stores.replacing(checkpoint) as part:
        torch.save(content, part)


def restore(content: dict) -> Chains:
    """The run that `keep` wrote."""
    scheme = SAMPLERS[content["sampler"]]
    generator = torch.Generator()
    generator.set_state(content["generator"])
    content = {key: value for key, value in content.items() if key != "stamp"}
    content |= {"setup": _rebuilt(scheme.setup_type, content["setup"]), "state": _rebuilt(scheme.state_type, content["state"]), "generator": generator}
    content["z"] = list(content["z"].unbind(1))
    content["log_prob"] = list(content["log_prob"].unbind(1)) if content["z"] else []
    return Chains(**content)


def _rebuilt(kind, content: dict):
    """A dataclass, and those within it, from what `dataclasses.asdict` made of it."""
    return kind(**{f.name: _rebuilt(f.type, content[f.name]) if is_dataclass(f.type) else content[f.name] for f in fields(kind)})
