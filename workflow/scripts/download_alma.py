"""The visibilities of a galaxy from a Zenodo record, or what the ALMA archive has of it and what CASA must do with that."""

from pathlib import Path

from galmass import logs, stores
from galmass.visibilities import archives

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    manifest = archives.retrieve(p.observation, p.frequency_hz, p.scratch)
    Path(p.scratch).rename(snakemake.output.folder)
    stores.write_json(snakemake.output.manifest, manifest)
