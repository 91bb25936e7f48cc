"""Circular velocity of the example galaxy by the configured method, beside the exact deprojection."""

from galmass import devices, logs, stores
from galmass.deprojection.expansion import load
from galmass.discs import evaluation

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    devices.use_threads(snakemake.threads)
    deprojection = load(None if p.method == "direct" else snakemake.input.committed, p.method, p.extrapolate)
    stores.write_csv(snakemake.output.velocity, evaluation.example_velocity(deprojection, p.example))
