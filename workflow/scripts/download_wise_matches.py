"""WISE sources of galaxies: AllWISE's from IRSA, or those of WISE All-Sky that SkyServer has."""

from pathlib import Path

import numpy as np

from galmass import logs, stores
from galmass.catalogues import irsa, skyserver, wise
from galmass.transport import Transport, policy_of

with logs.recording(snakemake.log[0]):
    p, archives = snakemake.params, snakemake.config["archives"]
    galaxies = stores.read_table(snakemake.input.galaxies, ("objid", "ra", "dec"))
    if p.wise["catalogue"] == "allsky":
        text, server = skyserver.wise_sql(p.query), skyserver.SkyServer(p.query["release"], Path(p.folder), Transport(policy_of(archives, "skyserver")))
        with logs.progress(len(skyserver.chunks(p.query)), 0, "SkyServer [chunks]") as bar:
            matches = wise.from_skyserver(skyserver.download_wise(p.query, server, bar.update), galaxies["objid"].to_numpy(np.int64))
    else:
        text, place = irsa.ADQL.read_text(), [galaxies[name].to_numpy(float) for name in ("ra", "dec")]
        with logs.progress(len(galaxies), 0, "AllWISE [galaxies]") as bar:
            matches = irsa.download(*place, p.wise, p.folder, Transport(policy_of(archives, "irsa")), bar.update)
    notes = {key: p.wise[key] for key in ("catalogue", "radius_arcsec")} | {"sql": text}
    stores.write_table(snakemake.output.matches, matches, wise.MATCHES, notes)
