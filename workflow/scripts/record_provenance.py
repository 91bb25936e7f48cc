"""What a run was made of: versions, configuration, code, seeds, machine, files."""

from galmass import logs, stores
from galmass.provenance import file_digests, package_versions, run_record

with logs.recording(snakemake.log[0]):
    record = run_record(snakemake.params.config, snakemake.params.scripts, file_digests(snakemake.input))
    record["versions"] = {"snakemake": snakemake.params.snakemake} | package_versions(snakemake.input.lock)
    stores.write_json(snakemake.output.record, record)
