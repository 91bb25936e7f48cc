"""Components of a tuple by class, mass and magnitude, how they depend on the noise of the networks, and by other methods."""

from galmass import logs, stores
from galmass.figures import information, style

with logs.recording(snakemake.log[0]):
    summary = stores.read_json(snakemake.input.summary)
    style.save(information.bars(summary), snakemake.output.bars)
    style.save(information.stacks(summary), snakemake.output.stacks)
    style.save(information.noise(summary), snakemake.output.noise)
    style.save(information.methods(stores.read_json(snakemake.input.cross_check)), snakemake.output.methods)
