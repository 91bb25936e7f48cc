"""Errors by method, over the box and along the radius, losses, and the velocities of the example."""

from galmass import logs, stores
from galmass.figures import deprojection, style

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    frame = stores.read_table(snakemake.input.errors)
    style.save(deprojection.distributions(frame), snakemake.output.distributions)
    style.save(deprojection.maps(frame[frame["method"] == "committed weights"]), snakemake.output.maps)
    style.save(deprojection.worst(stores.read_json(snakemake.input.worst)), snakemake.output.worst)
    histories = {name: stores.read_csv(path) for name, path in zip(p.names, snakemake.input.histories, strict=True)}
    style.save(deprojection.training_curves(histories), snakemake.output.training)
    style.save(deprojection.velocities(stores.read_csv(snakemake.input.velocity), p.title), snakemake.output.velocity)
