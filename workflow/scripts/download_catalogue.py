"""Galaxies of the Main Galaxy Sample from SkyServer, and their WISE sources."""

from pathlib import Path

import numpy as np

from galmass import logs, stores
from galmass.catalogues import irsa, skyserver, wise
from galmass.transport import Transport, policy_of

with logs.recording(snakemake.log[0]):
    p, archives = snakemake.params, snakemake.config["archives"]  # how politely we ask changes no product: no parameter of the rule
    server = skyserver.SkyServer(p.query["release"], Path(p.folder), Transport(policy_of(archives, "skyserver")))
    print(f"expected: {skyserver.expected_load(p.query)}")
    with logs.progress(len(skyserver.chunks(p.query)), 0, "SkyServer [chunks]") as bar:
        galaxies, matches, notes = skyserver.download(p.query, server, p.wise["catalogue"] == "allsky", bar.update)
    if matches is None:
        place = [galaxies[name].to_numpy(float) for name in ("ra", "dec")]
        with logs.progress(len(galaxies), 0, "AllWISE [galaxies]") as bar:
            matches = irsa.download(*place, p.wise, p.folder, Transport(policy_of(archives, "irsa")), bar.update)
    else:
        matches = wise.from_skyserver(matches, galaxies["objid"].to_numpy(np.int64))
    stores.write_table(snakemake.output.galaxies, galaxies, skyserver.labels(skyserver.rows_sql(p.query)), notes)
    stores.write_table(snakemake.output.matches, matches, wise.MATCHES, {"catalogue": p.wise["catalogue"], "radius_arcsec": p.wise["radius_arcsec"]})
    stores.write_json(snakemake.output.notes, notes | {"wise": p.wise["catalogue"]})
