"""Posterior predictive chi^2, images of data and model, rotation curves with their parts."""

from galmass import devices, logs, stores
from galmass.inference import assembly, checks, samples
from galmass.visibilities import gridding

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    devices.use_threads(snakemake.threads)
    setup = assembly.read_setup(snakemake.input.setup)
    gridded = gridding.read(snakemake.input.grid, stores.read_json(snakemake.input.notes)["sha256"])
    posterior = assembly.assemble(setup, gridded)
    found = checks.check(posterior, samples.read(snakemake.input.posterior), gridded, setup["galaxy"], p.seed)
    stores.write_arrays(snakemake.output.images, found.arrays)
    stores.write_csv(snakemake.output.channels, found.channels)
    stores.write_csv(snakemake.output.baselines, found.baselines)
    stores.write_json(snakemake.output.check, found.numbers)
