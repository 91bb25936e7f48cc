"""The Main Galaxy Sample: photometry, redshift, MPA-JHU mass, WISE, Sersic indices, class, split."""

from galmass import logs, stores
from galmass.catalogues import sdss
from galmass.catalogues.schema import columns_of

with logs.recording(snakemake.log[0]):
    options, downloaded = snakemake.params.options, stores.read_json(snakemake.input.notes)
    fits = stores.read_table(snakemake.input.fits) if snakemake.input.fits else None
    frame, notes = sdss.build(stores.read_table(snakemake.input.galaxies), stores.read_table(snakemake.input.matches), fits, options)
    for cut in notes["cuts"]:
        print(f"{cut['cut']}: {cut['removed']} removed, {cut['left']} left")
    metadata = notes | {"sample": snakemake.wildcards.sample, "downloaded": downloaded, "seed": options["seed"]}
    stores.write_table(snakemake.output.galaxies, frame, columns_of(options["source"]), metadata)
    counts = {name: frame[column].value_counts().to_dict() for name, column in (("splits", "split"), ("classes", "galaxy_class"))}
    stores.write_json(snakemake.output.notes, metadata | {"n": len(frame)} | counts)
