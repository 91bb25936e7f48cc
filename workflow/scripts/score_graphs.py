"""How far the graphs of all methods are from the true one of a simulated sky."""

from galmass import logs, stores
from galmass.causality import truths

with logs.recording(snakemake.log[0]):
    stores.write_csv(snakemake.output.scores, truths.rows([stores.read_json(path) for path in snakemake.input.graphs]))
