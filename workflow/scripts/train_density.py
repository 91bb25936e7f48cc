"""Held-out mass densities of one modality for every galaxy, by an ensemble of cross-fitted networks."""

import shutil

from galmass import devices, logs, stores
from galmass.contrastive import density
from galmass.contrastive.modalities import Modality, bin_edges, usable
from galmass.contrastive.sources import open_stores
from galmass.images import exclusions

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    devices.use_threads(snakemake.threads)
    modality = Modality.from_config(snakemake.wildcards.modality, p.modality)
    edges = bin_edges(p.options["mass_range"], p.plan["bin_width"])
    frame = stores.read_table(snakemake.input.galaxies, ("galaxy_id", "log_mass", *modality.columns))
    cutouts = open_stores(modality, p.stores)
    frame, excluded = exclusions.without_excluded(frame, snakemake.input.exclusions)
    keep, left_out = usable(frame, modality, edges, cutouts)
    left_out, limits = left_out | excluded, modality.limits(frame[keep])
    print(f"{keep.sum()} galaxies, left out: {left_out or 'none'}, limits in place of magnitudes: {limits or 'none'}")
    frame = frame[keep].reset_index(drop=True)
    found, notes = density.cross_fitted(frame, modality, edges, p.options, p.plan, p.seed, p.scratch, p.code, cutouts)
    for row in notes["members"]:
        print(f"fold {row['fold']}, member {row['member']}: validation {row['validation_cross_entropy']:.4f} nat at step {row['best_step']}")
    digests = stores.write_arrays(snakemake.output.density, density.labelled(frame, found), {"modality": modality.name})
    notes |= {"modality": modality.to_dict(), "plan": dict(p.plan), "options": dict(p.options), "seed": p.seed}
    notes |= {"left_out": left_out, "limits": limits, "sha256": digests}
    stores.write_json(snakemake.output.notes, notes)
    shutil.rmtree(p.scratch)
