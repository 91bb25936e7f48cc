"""Images of a simulated sky."""

from galmass import logs, stores
from galmass.images import exclusions, rendering

with logs.recording(snakemake.log[0]):
    p, truth = snakemake.params, stores.read_table(snakemake.input.truth)
    with logs.progress(len(truth), 0, "render [galaxies]") as bar:
        rendering.write(snakemake.output.images, truth, p.instrument, p.seed, snakemake.threads, bar.update)
    stores.write_json(snakemake.output.notes, exclusions.description(snakemake.output.images))
