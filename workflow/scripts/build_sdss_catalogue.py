"""The Main Galaxy Sample: photometry, redshift, MPA-JHU mass, WISE, Sersic indices, class, split."""

from galmass import logs, stores
from galmass.catalogues import sdss
from galmass.catalogues.schema import columns_of

with logs.recording(snakemake.log[0]):
    options, found = snakemake.params.options, snakemake.input
    fits = stores.read_table(found.fits) if found.fits else None
    raw, places, matches = (stores.read_table(path) for path in (found.galaxies, found.places, found.matches))
    frame, notes = sdss.build(raw, places, matches, fits, options)
    notes |= stores.read_json(found.cuts) | {"downloaded": stores.read_json(found.notes) | {"wise": options["wise"]["catalogue"]}}
    metadata = notes | {"sample": snakemake.wildcards.sample, "seed": options["seed"]}
    stores.write_table(snakemake.output.galaxies, frame, columns_of(options["source"]), metadata)
    counts = {name: frame[column].value_counts().to_dict() for name, column in (("splits", "split"), ("classes", "galaxy_class"))}
    stores.write_json(snakemake.output.notes, metadata | {"n": len(frame)} | counts)
