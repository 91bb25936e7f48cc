"""Galaxies of the Main Galaxy Sample that survive the cuts, and where they lie on the frames."""

from galmass import logs, stores
from galmass.catalogues import main_sample

with logs.recording(snakemake.log[0]):
    places, cuts = main_sample.select(stores.read_table(snakemake.input.galaxies), snakemake.params.options)
    for cut in cuts:
        print(f"{cut['cut']}: {cut['removed']} removed, {cut['left']} left")
    stores.write_table(snakemake.output.places, places, main_sample.PLACES, {})
    stores.write_json(snakemake.output.cuts, {"cuts": cuts})
