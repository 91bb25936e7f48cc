"""Estimate against truth, PIT, training curves and latent map of one modality."""

from galmass import logs, stores
from galmass.figures import estimates, style

with logs.recording(snakemake.log[0]):
    table, metrics = stores.read_table(snakemake.input.embeddings), stores.read_json(snakemake.input.metrics)
    test = table[table["split"] == "test"]
    style.save(estimates.against_truth(test, metrics), snakemake.output.truth)
    style.save(estimates.pit_histogram(test, metrics), snakemake.output.pit)
    style.save(estimates.training_curves(stores.read_csv(snakemake.input.history)), snakemake.output.training)
    style.save(estimates.latent_map(table), snakemake.output.latent)
