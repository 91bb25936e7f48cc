"""Latents, mass densities and scores of every galaxy of one modality."""

from galmass import devices, logs, stores
from galmass.causality.neighbours import nearest
from galmass.contrastive import embeddings, models
from galmass.contrastive.modalities import usable
from galmass.contrastive.sources import open_stores
from galmass.images import exclusions

with logs.recording(snakemake.log[0]):
    options = snakemake.params.recalibration
    devices.use_threads(snakemake.threads)
    model = models.load(snakemake.input.model)
    frame = stores.read_table(snakemake.input.galaxies, ("galaxy_id", "log_mass", "split", *model.modality.columns))
    cutouts = open_stores(model.modality, snakemake.params.stores)
    frame, excluded = exclusions.without_excluded(frame, snakemake.input.exclusions)
    keep, left_out = usable(frame, model.modality, model.edges, cutouts)
    left_out, limits = left_out | excluded, model.modality.limits(frame[keep])
    print(f"{keep.sum()} galaxies, left out: {left_out or 'none'}, limits in place of magnitudes: {limits or 'none'}")
    frame = frame[keep].reset_index(drop=True)
    latent, density = model.predict(frame, cutouts)
    table, density, notes = embeddings.embed(
        frame, latent, density, model.edges, options, lambda reference: nearest(latent[reference], latent, options["k"])[0]
    )
    print(f"recalibration: {notes}")
    bins, per_bin = ("galaxy", "bin"), stores.Column("", "probability of each mass bin, uniform inside a bin")
    arrays = {"density": (density, bins, per_bin), "edges": (model.edges, ("edge",), stores.Column("dex(solMass)", "edges of the mass bins"))}
    stores.write_arrays(snakemake.output.density, arrays, {"recalibration": notes})
    metadata = {"left_out": left_out, "limits": limits, "recalibration": notes}
    stores.write_table(snakemake.output.embeddings, table, embeddings.columns(latent.shape[1]), metadata)
