"""Sersic fits of the NYU-VAGC with their positions."""

from galmass import logs, stores
from galmass.catalogues import nyu_vagc
from galmass.transport import Transport, policy_of

with logs.recording(snakemake.log[0]):
    folder = snakemake.params.folder
    nyu_vagc.download(folder, Transport(policy_of(snakemake.config["archives"], "nyu")))
    stores.write_table(snakemake.output.fits, nyu_vagc.read(folder), nyu_vagc.COLUMNS, {"release": nyu_vagc.RELEASE})
