"""Causal graphs of a sample side by side."""

from galmass import logs, stores
from galmass.figures import graphs, style

with logs.recording(snakemake.log[0]):
    contents = [stores.read_json(path) for path in snakemake.input.graphs]
    style.save(graphs.side_by_side(contents, snakemake.wildcards.sample), snakemake.output.graphs)
