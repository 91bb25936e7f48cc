"""Corrected frames of the fields of one chunk, each once."""

from galmass import logs, stores
from galmass.images import archives, chunks, fields
from galmass.transport import Transport, policy_of

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    galaxies = stores.read_table(snakemake.input.places)
    used = fields.fields_needed(galaxies, p.frames["n_pix"]).assign(rerun=galaxies["rerun"])
    used = used[chunks.chunks_of_fields(used, p.frames["chunks"]) == int(snakemake.wildcards.chunk)]
    print(f"expected: {archives.expected_frames(used, p.frames['bands'])}")
    transport = Transport(policy_of(snakemake.config["archives"], "sas"))
    came = archives.download_frames(used, p.folder, transport, p.frames["bands"], p.release)
    print(f"{came['frames']} frames, {len(came['missing'])} that the archive does not have")
    stores.write_json(snakemake.output.manifest, came)
