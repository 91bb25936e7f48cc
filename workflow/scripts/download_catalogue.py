"""Galaxies of the Main Galaxy Sample from SkyServer."""

from pathlib import Path

from galmass import logs, stores
from galmass.catalogues import skyserver
from galmass.transport import Transport, policy_of

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    policy = policy_of(snakemake.config["archives"], "skyserver")  # how politely we ask changes no product: no parameter of the rule
    server = skyserver.SkyServer(p.query["release"], Path(p.folder), Transport(policy))
    print(f"expected: {skyserver.expected_load(p.query)}")
    with logs.progress(len(skyserver.chunks(p.query)), 0, "SkyServer [chunks]") as bar:
        galaxies, notes = skyserver.download(p.query, server, bar.update)
    stores.write_table(snakemake.output.galaxies, galaxies, skyserver.labels(skyserver.rows_sql(p.query)), notes)
    stores.write_json(snakemake.output.notes, notes)
