"""The table of headline numbers of all samples and modalities."""

import numpy as np

from galmass import logs, stores
from galmass.contrastive.evaluation import common_scores, headline

with logs.recording(snakemake.log[0]):
    p, found, common = snakemake.params, snakemake.input, {}
    paths = dict(zip(map(tuple, p.models), found.embeddings, strict=True))
    for sample in dict.fromkeys(sample for sample, _ in paths):
        tables = {m: stores.read_table(path, ("galaxy_id", "log_mass", "split", "mass_mean", "crps")) for (s, m), path in paths.items() if s == sample}
        tables = {m: table[table["split"] == "test"] for m, table in tables.items()}
        common[sample] = common_scores(tables, np.random.default_rng(p.seed), p.bootstrap)
    rows = [
        headline(sample, modality, stores.read_json(metrics), stores.read_json(tests), common[sample][modality])
        for (sample, modality), metrics, tests in zip(paths, found.metrics, found.tests, strict=True)
    ]
    stores.write_csv(snakemake.output.headlines, rows)
