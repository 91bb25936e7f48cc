"""Posterior of a mass model of a galaxy from its gridded visibilities."""

import shutil

from galmass import devices, logs, stores
from galmass.inference import assembly, fit, samples
from galmass.visibilities import gridding

with logs.recording(snakemake.log[0]):
    p, wildcards = snakemake.params, snakemake.wildcards
    devices.use_threads(snakemake.threads)
    digests = stores.read_json(snakemake.input.notes)["sha256"]
    setup = {"galaxy": p.galaxy, "fitting": p.fitting, "mass_model": wildcards.mass_model, "deprojection": p.deprojection}
    setup |= {"grid": snakemake.input.grid, "weights": snakemake.input.weights or None, "mge_table": p.mge_table}
    gridded = gridding.read(snakemake.input.grid, digests)
    posterior = assembly.assemble(setup, gridded, devices.best_device())
    origin = {"code": p.code, "data": digests, **setup}
    label = f"{wildcards.galaxy}, {wildcards.mass_model}"
    drawn, summary = fit.fit(posterior, gridded, p.galaxy, p.fitting, p.seed, p.scratch, origin, label)
    print("\n".join([*summary["notes"], *summary["at_bound"], *summary["unidentified"]]))
    drawn.attributes.update(galaxy=wildcards.galaxy, mass_model=wildcards.mass_model, setup=setup, code=p.code)
    samples.write(snakemake.output.posterior, drawn)
    assembly.write_setup(snakemake.output.setup, setup)
    stores.write_json(snakemake.output.summary, summary)
    shutil.rmtree(p.scratch)
