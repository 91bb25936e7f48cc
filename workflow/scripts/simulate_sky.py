"""The galaxies of a simulated sky as a survey would list them, and the truth about them."""

from galmass import logs, stores
from galmass.catalogues import simulation
from galmass.catalogues.schema import columns_of

with logs.recording(snakemake.log[0]):
    options = snakemake.params.options
    frame, truth, notes = simulation.build(options)
    metadata = notes | {"sample": snakemake.wildcards.sample, "seed": options["seed"], "effects": options["effects"]}
    print(f"{len(frame)} galaxies seen, {notes['cuts'][0]['removed']} too faint")
    stores.write_table(snakemake.output.truth, truth, simulation.truth_columns(), metadata)
    stores.write_table(snakemake.output.galaxies, frame, columns_of("mock"), metadata)
    counts = {name: frame[column].value_counts().to_dict() for name, column in (("splits", "split"), ("classes", "galaxy_class"))}
    stores.write_json(snakemake.output.notes, metadata | {"n": len(frame)} | counts)
