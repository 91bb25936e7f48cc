"""Which galaxies of real images are to be left out, and what a store holds in a few words."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from galmass import stores
from galmass.images import store


def without_excluded(frame, tables: Sequence):
    """A catalogue without the galaxies that a table of cutouts excludes, and how many went for each reason.

    Parameters
    ----------
    frame : DataFrame
        With ``galaxy_id``.
    tables : sequence of paths
        Parquet tables with ``galaxy_id`` and ``reason``, which is empty for a good cutout; none for a simulated sky.
    """
    counts: dict[str, int] = {}
    for path in tables:
        table = stores.read_table(path, ("galaxy_id", "reason"))
        reasons = dict(zip(table["galaxy_id"], table["reason"], strict=True))
        reason = np.array([reasons.get(name, "no cutout") for name in frame["galaxy_id"]], dtype=object)
        for why in sorted(set(reason) - {""}):
            counts[f"image: {why}"] = counts.get(f"image: {why}", 0) + int(np.sum(reason == why))
        frame = frame[reason == ""]
    return frame, counts


def description(path) -> Mapping:
    """Size, bands and a digest of all pixels of a store: what later rules compare instead of dates."""
    cutouts = store.open(path)
    pixels = stores.digest(json.dumps(cutouts.sha256, sort_keys=True).encode())
    return {"n": len(cutouts), "bands": cutouts.bands, "n_pix": cutouts.n_pix, "pixel_scale_arcsec": cutouts.pixel_scale_arcsec, "sha256": pixels} | {
        key: cutouts.metadata[key] for key in ("instrument", "release")
    }
