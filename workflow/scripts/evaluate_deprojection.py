"""Errors of every deprojection on random profiles of the box, and of exact solutions with other Gaussians."""

from galmass import devices, logs, stores
from galmass.deprojection import direct
from galmass.discs import evaluation

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    devices.use_threads(snakemake.threads)
    methods, box = evaluation.methods({"committed weights": snakemake.input.committed, **dict(zip(p.names, snakemake.input.models, strict=True))})
    profiles = evaluation.random_profiles(box, p.options["profiles"], p.seed)
    reference = evaluation.Reference(profiles, p.options["exact_profiles"])
    frame = evaluation.table(methods, profiles, reference)
    found = evaluation.summary(frame)
    others = evaluation.summary(evaluation.table(evaluation.ablations(p.options["n_gauss"], p.options["sigma_ranges"]), profiles, reference))
    notes = {"seed": p.seed, "box": box, "ridge": direct.RIDGE, "q_intr": evaluation.Q_INTR, "inclination_rad": evaluation.INCLINATION, **p.options}
    stores.write_table(snakemake.output.errors, frame, evaluation.COLUMNS, notes)
    stores.write_json(snakemake.output.summary, notes | {"methods": found, "ablations": others})
    stores.write_csv(snakemake.output.methods, evaluation.summary_rows(found))
    stores.write_csv(snakemake.output.ablations, evaluation.summary_rows(others))
    stores.write_json(snakemake.output.worst, evaluation.worst_cases(frame, methods, "committed weights"))
