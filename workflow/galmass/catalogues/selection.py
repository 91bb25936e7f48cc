"""What catalogues have in common: names from positions, which galaxies survive the cuts, and the split."""

from collections.abc import Mapping

import numpy as np
from astropy.coordinates import SkyCoord

from galmass.catalogues.schema import SPLITS
from galmass.errors import InputError


def designation(sky: SkyCoord) -> list[str]:
    """SDSS designations, 'SDSS JHHMMSS.ss+DDMMSS.s', truncated as the IAU asks."""
    hours = np.floor(sky.ra.hour * 360000 + 1e-6).astype(int) % 8640000
    seconds = np.floor(np.abs(sky.dec.deg) * 36000 + 1e-6).astype(int)
    return [
        f"SDSS J{h // 360000:02d}{h // 6000 % 60:02d}{h % 6000 / 100:05.2f}{'-' if south else '+'}{s // 36000:02d}{s // 600 % 60:02d}{s % 600 / 10:04.1f}"
        for h, s, south in zip(hours, seconds, sky.dec.deg < 0, strict=True)
    ]


def apply_cuts(cuts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[dict]]:
    """What survives all cuts, and how many each removes after those before it."""
    kept = np.ones(len(next(iter(cuts.values()))), bool)
    counts = []
    for name, keeps in cuts.items():
        counts.append({"cut": name, "removed": int(np.sum(kept & ~keeps)), "left": int(np.sum(kept & keeps))})
        kept &= keeps
    return kept, counts


def choose(cuts: Mapping[str, np.ndarray], max_galaxies: int, generator: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """Rows that survive all cuts, a random subset of `max_galaxies` where there are more, and the counts.

    Raises
    ------
    InputError
        When none survives.
    """
    kept, counts = apply_cuts(cuts)
    chosen = np.flatnonzero(kept)
    if not len(chosen):
        raise InputError("no galaxy survives the cuts: " + ", ".join(f"{count['cut']} ({count['removed']})" for count in counts if count["removed"]))
    if len(chosen) > max_galaxies:
        counts.append({"cut": f"random subset of {max_galaxies}", "removed": len(chosen) - max_galaxies, "left": max_galaxies})
        chosen = np.sort(generator.choice(chosen, max_galaxies, replace=False))
    return chosen, counts


def split(n: int, fractions: Mapping[str, float], generator: np.random.Generator) -> np.ndarray:
    """Random split (n,) of str with exact fractions (rounded; the test split takes the rest)."""
    n_train, n_validation = round(n * fractions["train"]), round(n * fractions["validation"])
    names = np.repeat(np.array(SPLITS), [n_train, n_validation, n - n_train - n_validation])
    return generator.permutation(names)
