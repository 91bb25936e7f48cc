"""Scores of the network and its baselines on test galaxies, with bootstrap intervals."""

import numpy as np

from galmass import logs, stores
from galmass.contrastive import evaluation

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    table, baselines = stores.read_table(snakemake.input.embeddings), stores.read_table(snakemake.input.baselines)
    test = table[table["split"] == "test"]
    metrics = evaluation.evaluate(test, baselines, np.random.default_rng(p.seed), p.bootstrap)
    notes = stores.table_metadata(snakemake.input.embeddings)
    metrics |= {"seed": p.seed, "bootstrap": p.bootstrap, "recalibration": notes["recalibration"]["method"]}
    metrics |= {key: notes[key] for key in ("left_out", "limits")}
    stores.write_json(snakemake.output.metrics, metrics)
    stores.write_csv(snakemake.output.scores, evaluation.rows(metrics))
