"""Local correlation and predictive efficiency of each query variable with the mass among neighbours."""

import numpy as np

from galmass import logs, stores
from galmass.causality import blocks, independence

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    embeddings = stores.read_table(snakemake.input.embeddings)
    catalogue = stores.read_table(snakemake.input.galaxies).set_index("galaxy_id")
    galaxies = catalogue.loc[embeddings["galaxy_id"]].reset_index().assign(mass_mean=embeddings["mass_mean"])
    rows, _ = stores.read_arrays(snakemake.input.neighbours, stores.read_json(snakemake.input.notes)["sha256"])
    tested = np.flatnonzero((embeddings["split"] == p.split).to_numpy())
    variables = {name: galaxies[name].to_numpy(float) for name in {*p.queries, *p.conditions}}
    mass, estimate = galaxies["log_mass"].to_numpy(float), galaxies["mass_mean"].to_numpy(float)
    latent, classes = embeddings.filter(regex=r"^latent_\d+$").to_numpy(float), galaxies["galaxy_class"].to_numpy()[tested]
    names = (p.queries, p.conditions, classes)
    table, summary = independence.local_tests(mass, variables, latent, estimate, rows["index"][tested], *names, p.seed)
    among = {name: values[tested] for name, values in variables.items()}
    p_values = blocks.block_tests(mass[tested], among, latent[tested], estimate[tested], *names, p.blocks, p.seed)
    summary = [row | p_values[row["query"], row["condition"], row["class"]] for row in summary]
    table.insert(0, "galaxy_id", galaxies["galaxy_id"].to_numpy()[tested])
    stores.write_table(snakemake.output.independence, table, independence.columns(table), {"split": p.split, "seed": p.seed})
    notes = {"n": len(tested), "k": rows["index"].shape[1], "split": p.split, "seed": p.seed, "blocks": p.blocks}
    stores.write_json(snakemake.output.summary, notes | {"tests": summary})
    stores.write_csv(snakemake.output.distances, independence.summary_rows(summary))
