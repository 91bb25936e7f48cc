"""Train the supervised contrastive model of one modality."""

import shutil

from galmass import devices, logs, stores
from galmass.contrastive import models, training
from galmass.contrastive.modalities import Modality, bin_edges, usable
from galmass.contrastive.sources import open_stores
from galmass.errors import InputError
from galmass.images import exclusions

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    devices.use_threads(snakemake.threads)
    modality = Modality.from_config(snakemake.wildcards.modality, p.modality)
    edges = bin_edges(p.options["mass_range"], p.modality["bin_width"])
    frame = stores.read_table(snakemake.input.galaxies, ("galaxy_id", "log_mass", "split", *modality.columns))
    cutouts = open_stores(modality, p.stores)
    frame, excluded = exclusions.without_excluded(frame, snakemake.input.exclusions)
    keep, left_out = usable(frame, modality, edges, cutouts)
    left_out, limits = left_out | excluded, modality.limits(frame[keep])
    print(f"{keep.sum()} galaxies, left out: {left_out or 'none'}, limits in place of magnitudes: {limits or 'none'}")
    frame = frame[keep]
    train, validation = (frame[frame["split"] == name] for name in ("train", "validation"))
    if not len(train) or not len(validation):
        raise InputError(f"{snakemake.input.galaxies}: {len(train)} training and {len(validation)} validation galaxies are left; both are needed")
    model, history = training.train(train, validation, modality, edges, p.options, p.seed, p.scratch, p.code, cutouts, snakemake.resources.devices)
    model.notes.update(left_out=left_out, limits=limits)
    print(f"best validation cross-entropy {model.notes['validation_cross_entropy']:.4f} nat at step {model.notes['best_step']}")
    stores.write_csv(snakemake.output.history, history)
    models.save(snakemake.output.model, model)
    shutil.rmtree(p.scratch)
