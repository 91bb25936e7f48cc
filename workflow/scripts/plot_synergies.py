"""Synergy of pairs of inputs of a sample, as a matrix."""

from galmass import logs, stores
from galmass.figures import information, style

with logs.recording(snakemake.log[0]):
    summaries = [stores.read_json(path) for path in snakemake.input.summaries]
    style.save(information.synergies(summaries), snakemake.output.synergies)
