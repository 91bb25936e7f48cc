"""Visibilities of a file in LSRK, continuum-subtracted, channels chosen, weights checked: one labelled store."""

from galmass import logs, stores
from galmass.visibilities import io, preparation

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    visibilities, channels, weights = preparation.prepare(io.read(p.path, **p.options), p.galaxy)
    print("\n".join(visibilities.metadata["notes"]))
    digests = io.write(snakemake.output.visibilities, visibilities)
    n_chan, n_vis = visibilities.vis.shape
    stores.write_csv(snakemake.output.channels, channels)
    stores.write_json(
        snakemake.output.notes,
        {"n_chan": n_chan, "n_vis": n_vis, "weights": weights, "metadata": visibilities.metadata, "sha256": digests},
    )
