"""Partial information decomposition of the mass and two summaries of a galaxy, all in quantile bins.

A summary is one number, the mass that an input lets expect. Entropies by counting ('plug_in') are too small, that of all three
together by most, and the synergy too large. Corrections: 'miller_madow', (K - 1) / 2n for n galaxies in K occupied cells (Miller
1955); 'jackknife' (Zahl 1977, Ecology 58, 907), which leaves a sixth of what the first leaves where cells hold a few galaxies each.
"""

import json
import select
import subprocess
import sys
from collections.abc import Mapping

import numpy as np

from galmass.errors import InputError
from galmass.information import measures as by_dit
from galmass.information.decomposition import COMPONENTS, INFORMATIONS, split

AXES = ("estimate of the first input", "estimate of the second input", "mass")
CORRECTIONS = ("plug_in", "miller_madow", "jackknife")
TOLERANCE = 1e-4  # nat: what the optimisers of dit leave of identities
PER_CELL = 2  # galaxies, on average: with fewer no correction is good


def quantile_bins(values, n_bin: int, name: str) -> np.ndarray:
    """Bin of each value (n,), 0 ... n_bin - 1, with equally many values in every bin.

    Raises
    ------
    InputError
        A value is NaN or infinite, or equal values leave a bin empty: a constant, or too few different values.
    """
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        raise InputError(f"{name}: NaN or infinite for {np.sum(~np.isfinite(values))} of {len(values)} galaxies; leave those galaxies out first")
    found = np.searchsorted(np.quantile(values, np.arange(1, n_bin) / n_bin), values, side="right")
    filled = len(np.unique(found))
    if filled < n_bin:
        raise InputError(f"{name}: its {len(np.unique(values))} different values fill {filled} of {n_bin} quantile bins; ask for fewer bins")
    return found


def table(first, second, mass, n_bin: int) -> np.ndarray:
    """Counts (n_bin, n_bin, n_bin) of galaxies in quantile bins of two estimates and the mass, each (n_galaxy,).

    Raises
    ------
    InputError
        As `quantile_bins`; or there are too few galaxies for so many cells.
    """
    if not suffices(len(mass), n_bin):
        raise InputError(f"{len(mass)} galaxies are too few for the {n_bin**3} cells of {n_bin} bins; ask for fewer bins")
    cells = [quantile_bins(x, n_bin, name) for x, name in zip((first, second, mass), AXES, strict=True)]
    return np.bincount(np.ravel_multi_index(cells, (n_bin,) * 3), minlength=n_bin**3).reshape((n_bin,) * 3)


def suffices(n_galaxy: int, n_bin: int) -> bool:
    """Whether so many galaxies are enough for two estimates and the mass in so many bins each."""
    return n_galaxy >= PER_CELL * n_bin**3


def entropy(counts, correction: str) -> float:
    """Entropy [nat] of a table of counts."""
    counts = counts[counts > 0]
    n = counts.sum()
    if correction == "jackknife":  # n times the entropy less n - 1 times its mean without one galaxy: all but this cancels
        return float(_without_one(n) - counts @ _without_one(counts) / n)
    missing = (len(counts) - 1) / (2 * n) if correction == "miller_madow" else 0.0
    return float(np.log(n) - counts @ np.log(counts) / n + missing)


def _without_one(counts):
    """c ln c - (c - 1) ln(c - 1) of counts of one and more."""
    return counts * np.log(counts) - (counts - 1) * np.log(np.maximum(counts - 1, 1))


def informations(counts, correction: str = "jackknife") -> np.ndarray:
    """Information on the third axis of the first, the second, and both, (3,) [nat], in a table of counts (n_1, n_2, n_mass)."""
    mass, both = entropy(counts.sum((0, 1)), correction), entropy(counts.sum(2).ravel(), correction)
    first, second = (entropy(counts.sum((1 - i, 2)), correction) - entropy(counts.sum(1 - i).ravel(), correction) for i in (0, 1))
    return np.array([first + mass, second + mass, both + mass - entropy(counts.ravel(), correction)])


def quantities(found, redundant=None) -> dict[str, float]:
    """Three informations and their components [nat]; minimum mutual information where no redundant information is given."""
    return {name: float(x) for name, x in (dict(zip(INFORMATIONS, found, strict=True)) | split(*found, redundant)).items()}


def intervals(counts, n_bootstrap: int, rng: np.random.Generator, correction: str = "jackknife") -> dict[str, list[float]]:
    """Informations and components by minimum mutual information, ``[value, lower, upper]`` (95 %) [nat].

    Notes
    -----
    Resamples of a table have fewer occupied cells than the table, and so their estimates are off by more: their scatter is used, not their mean.
    """
    value = quantities(informations(counts, correction))
    share = counts.ravel() / counts.sum()
    draws = [quantities(informations(rng.multinomial(counts.sum(), share).reshape(counts.shape), correction)) for _ in range(n_bootstrap)]
    found = {}
    for name in value:
        moved = np.array([draw[name] for draw in draws])
        found[name] = [value[name], *(value[name] + np.quantile(moved - moved.mean(), (0.025, 0.975))).tolist()]
    return found


def decompose(counts: Mapping[int, np.ndarray], measures, limit_s: float, seed: int) -> list[dict]:
    """Components by several measures of dit, at several numbers of bins.

    Parameters
    ----------
    counts : mapping of number of bins to integer array (n_bin, n_bin, n_bin)
        From `table`.
    measures : sequence of 'mmi', 'ig', 'broja', 'ccs', 'dep'
        Barrett 2015 (PRE 91, 052802), Niu & Quinn 2019 (ISIT), Bertschinger et al. 2014 (Entropy 16, 2161), Ince 2017 (Entropy 19, 318), James et
        al. 2019 (J. Phys. A 52, 014002).
    limit_s : float
        Seconds that each may take.

    Returns
    -------
    list of dict
        ``measure``, ``bins``; for each of CORRECTIONS the informations and components [nat], None where there are none; ``why`` there are none.
        dit decomposes what was counted; a correction takes as much from what is redundant as from the smaller information.

    Raises
    ------
    InputError
        The atoms of a measure do not add up to the informations.
    """
    tasks = [(measure, n_bin) for measure in measures for n_bin in counts]
    rows = []
    for (measure, n_bin), answer in zip(tasks, _answers([(m, counts[b].tolist()) for m, b in tasks], limit_s, seed), strict=True):
        row = {"measure": measure, "bins": n_bin, "why": answer.get("failed", answer.get("lost"))} | dict.fromkeys(CORRECTIONS)
        if "atoms" in answer:
            found = {correction: informations(counts[n_bin], correction) for correction in CORRECTIONS}
            check_sums(answer["atoms"], found["plug_in"], f"dit's {measure} at {n_bin} bins")
            beyond = answer["atoms"][0] - found["plug_in"][:2].min()
            row |= {correction: quantities(some, beyond + some[:2].min()) for correction, some in found.items()}
        rows.append(row)
    return rows


def check_sums(atoms, found, name: str) -> None:
    """Raise `InputError` unless four atoms add up to three informations [nat]."""
    redundant, unique_1, unique_2, synergistic = atoms
    sums = (redundant + unique_1, redundant + unique_2, redundant + unique_1 + unique_2 + synergistic)
    if not np.allclose(sums, found, rtol=0, atol=TOLERANCE):
        said = dict(zip(COMPONENTS, (f"{x:.5f}" for x in atoms), strict=True))
        raise InputError(f"{name}: the atoms {said} nat do not add up to the informations {np.round(found, 5).tolist()} nat; leave this measure out")


def _answers(tasks: list, limit_s: float, seed: int) -> list[dict]:
    """What a process with dit says of each task; it is killed where one takes too long, and another goes on with the next."""
    found: list[dict] = []
    while len(found) < len(tasks):
        command = [sys.executable, "-P", by_dit.__file__]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
            process.stdin.write(json.dumps({"tasks": tasks[len(found) :], "seed": seed, "limit_s": limit_s}).encode())
            process.stdin.close()
            if "lost" in _line(process, None):
                raise InputError("dit could not be started; the log says why")
            while len(found) < len(tasks):
                found.append(_line(process, limit_s))
                if "lost" in found[-1]:
                    break
            process.kill()
    return found


def _line(process, limit_s: float | None) -> dict:
    """The next line of a process; ``lost`` where none comes in time, or none will."""
    ready, _, _ = select.select([process.stdout], [], [], limit_s)
    if not ready:
        return {"lost": f"not ended after {limit_s:g} s"}
    line = process.stdout.readline()
    return json.loads(line) if line else {"lost": "its process died"}
