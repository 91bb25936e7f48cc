"""Informations of a tuple from mass estimates, by counting and by nearest neighbours, beside those that the networks found."""

from galmass import logs, stores
from galmass.information import cross_check, densities

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    paths = [dict(zip(p.inputs.values(), some, strict=True)) for some in (snakemake.input.densities, snakemake.input.notes)]
    tables, _ = densities.read(*paths)
    estimates = {part: tables[modality]["mass_mean"].mean(1) for part, modality in p.inputs.items()}
    catalogue = stores.read_table(snakemake.input.galaxies, ("galaxy_id", "log_mass"))
    masses = catalogue.set_index(catalogue["galaxy_id"].astype(str))["log_mass"]
    mass = masses.loc[tables[p.inputs["first"]]["galaxy_id"]].to_numpy(float)
    found = cross_check.rows(estimates, mass, stores.read_json(snakemake.input.summary), p.options, p.seed)
    print("\n".join(cross_check.lines(found)))
    about = {"tuple": snakemake.wildcards.tuple, "sample": snakemake.wildcards.sample, "inputs": dict(p.inputs), "seed": p.seed}
    stores.write_json(snakemake.output.numbers, about | {"options": dict(p.options), "rows": found})
    stores.write_csv(snakemake.output.table, cross_check.table(found))
