"""Partial information decomposition of the mass and two summaries of a galaxy, all in quantile bins.

A summary is one number, the mass that an input lets expect. What counting gives is biased: n galaxies in K occupied cells raise
an entropy by less than they should by (K - 1) / 2n (Miller 1955), and the synergy by far more than any other atom.
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
TOLERANCE = 1e-4  # nat: what the optimisers of dit leave of identities


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
        As `quantile_bins`; or there are fewer galaxies than cells, whose informations no correction saves.
    """
    if len(mass) < n_bin**3:
        raise InputError(f"{len(mass)} galaxies for the {n_bin**3} cells of {n_bin} bins; ask for fewer bins")
    cells = [quantile_bins(x, n_bin, name) for x, name in zip((first, second, mass), AXES, strict=True)]
    return np.bincount(np.ravel_multi_index(cells, (n_bin,) * 3), minlength=n_bin**3).reshape((n_bin,) * 3)


def entropy(counts, corrected: bool) -> float:
    """Entropy [nat] of a table of counts, by plug-in or after Miller (1955) and Madow."""
    counts = counts[counts > 0]
    n = counts.sum()
    return float(np.log(n) - counts @ np.log(counts) / n + corrected * (len(counts) - 1) / (2 * n))


def informations(counts, corrected: bool = True) -> np.ndarray:
    """Information on the third axis of the first, the second, and both, (3,) [nat], in a table of counts (n_1, n_2, n_mass)."""
    mass, both = entropy(counts.sum((0, 1)), corrected), entropy(counts.sum(2).ravel(), corrected)
    first, second = (entropy(counts.sum((1 - i, 2)), corrected) - entropy(counts.sum(1 - i).ravel(), corrected) for i in (0, 1))
    return np.array([first + mass, second + mass, both + mass - entropy(counts.ravel(), corrected)])


def quantities(found, redundant=None) -> dict[str, float]:
    """Three informations and their components [nat]; minimum mutual information where no redundant information is given."""
    return {name: float(x) for name, x in (dict(zip(INFORMATIONS, found, strict=True)) | split(*found, redundant)).items()}


def intervals(counts, n_bootstrap: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """Miller-Madow informations and components by minimum mutual information, ``[value, lower, upper]`` (95 %) [nat].

    Notes
    -----
    Resamples of a table have fewer occupied cells than the table, and so their estimates are off by more: their scatter is used, not their mean.
    """
    value = quantities(informations(counts))
    share = counts.ravel() / counts.sum()
    draws = [quantities(informations(rng.multinomial(counts.sum(), share).reshape(counts.shape))) for _ in range(n_bootstrap)]
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
        ``measure``, ``bins``; ``plug_in`` and ``corrected``: informations and components [nat], None where there are none; ``why`` there are none.
        The corrected informations are those of Miller and Madow; of the smaller one the same share is redundant as by plug-in.

    Raises
    ------
    InputError
        The atoms of a measure do not add up to the informations.
    """
    tasks = [(measure, n_bin) for measure in measures for n_bin in counts]
    rows = []
    for (measure, n_bin), answer in zip(tasks, _answers([(m, counts[b].tolist()) for m, b in tasks], limit_s, seed), strict=True):
        row = {"measure": measure, "bins": n_bin, "plug_in": None, "corrected": None, "why": answer.get("failed", answer.get("lost"))}
        if "atoms" in answer:
            plug_in = informations(counts[n_bin], corrected=False)
            check_sums(answer["atoms"], plug_in, f"dit's {measure} at {n_bin} bins")
            corrected = informations(counts[n_bin])
            share = answer["atoms"][0] / plug_in[:2].min() if plug_in[:2].min() > 0 else 1.0
            row["plug_in"] = quantities(plug_in, answer["atoms"][0])
            row["corrected"] = quantities(corrected, share * corrected[:2].min())
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
            process.stdin.write(json.dumps({"tasks": tasks[len(found) :], "seed": seed}).encode())
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
