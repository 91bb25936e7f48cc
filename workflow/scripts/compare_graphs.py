"""Which variables still tell of the mass given a latent: local tests beside the graphs with the latent."""

from galmass import logs, stores
from galmass.causality import summaries

with logs.recording(snakemake.log[0]):
    tests = dict(zip(snakemake.params.modalities, map(stores.read_json, snakemake.input.tests), strict=True))
    stores.write_csv(snakemake.output.table, summaries.rows(tests, [stores.read_json(path) for path in snakemake.input.graphs]))
