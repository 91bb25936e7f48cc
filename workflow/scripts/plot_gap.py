"""What images tell beyond the photometry and forms that were measured of them."""

from galmass import logs, stores
from galmass.figures import information, style

with logs.recording(snakemake.log[0]):
    style.save(information.gap(stores.read_json(snakemake.input.summary)), snakemake.output.gap)
