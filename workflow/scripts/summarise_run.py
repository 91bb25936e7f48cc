"""The table of headline numbers of all samples and modalities."""

from galmass import logs, stores
from galmass.contrastive.evaluation import headline

with logs.recording(snakemake.log[0]):
    rows = [
        headline(sample, modality, stores.read_json(metrics), stores.read_json(tests))
        for (sample, modality), metrics, tests in zip(snakemake.params.models, snakemake.input.metrics, snakemake.input.tests, strict=True)
    ]
    stores.write_csv(snakemake.output.headlines, rows)
