"""Means, standard errors and counts of the uv cells, and the beam and spectrum that they give."""

from galmass import logs, stores
from galmass.visibilities import gridding, imaging, io

with logs.recording(snakemake.log[0]):
    notes = stores.read_json(snakemake.input.notes)
    visibilities = io.read_store(snakemake.input.visibilities, notes["sha256"])
    gridded = gridding.of_visibilities(visibilities, **snakemake.params.options)
    gridded.metadata["notes"].extend(gridding.warn_of_thin_cells(gridded, notes["weights"]))
    print("\n".join(gridded.metadata["notes"]))
    digests = gridding.write(snakemake.output.grid, gridded)
    stores.write_json(snakemake.output.notes, {**imaging.summary(gridded), "weights": notes["weights"], "sha256": digests})
