"""Local correlation and predictive efficiency of each query variable with the mass among neighbours."""

import numpy as np

from galmass import logs, stores
from galmass.causality import independence

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    embeddings = stores.read_table(snakemake.input.embeddings)
    catalogue = stores.read_table(snakemake.input.galaxies).set_index("galaxy_id")
    galaxies = catalogue.loc[embeddings["galaxy_id"]].reset_index().assign(mass_mean=embeddings["mass_mean"])
    rows, _ = stores.read_arrays(snakemake.input.neighbours, stores.read_json(snakemake.input.notes)["sha256"])
    tested = np.flatnonzero((embeddings["split"] == p.split).to_numpy())
    variables = {name: galaxies[name].to_numpy(float) for name in {*p.queries, *p.conditions}}
    table, summary = independence.local_tests(
        galaxies["log_mass"].to_numpy(float), variables, rows["index"][tested], p.queries, p.conditions, galaxies["galaxy_class"].to_numpy()[tested], p.seed
    )
    table.insert(0, "galaxy_id", galaxies["galaxy_id"].to_numpy()[tested])
    stores.write_table(snakemake.output.independence, table, independence.columns(table), {"split": p.split, "seed": p.seed})
    stores.write_json(snakemake.output.summary, {"n": len(tested), "k": rows["index"].shape[1], "split": p.split, "seed": p.seed, "tests": summary})
    stores.write_csv(snakemake.output.distances, independence.summary_rows(summary))
