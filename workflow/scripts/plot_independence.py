"""Local statistics of each query variable, original against permuted."""

from galmass import logs, stores
from galmass.figures import independence, style

with logs.recording(snakemake.log[0]):
    table, summary = stores.read_table(snakemake.input.independence), stores.read_json(snakemake.input.summary)
    style.save(independence.panels(table, summary), snakemake.output.panels)
