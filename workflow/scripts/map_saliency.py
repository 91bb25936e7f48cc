"""What hiding parts of an image does to the estimated mass of test galaxies."""

from galmass import devices, logs, stores
from galmass.contrastive import models, saliency
from galmass.contrastive.modalities import usable
from galmass.contrastive.sources import evenly, open_stores
from galmass.images import exclusions

with logs.recording(snakemake.log[0]):
    devices.use_threads(snakemake.threads)
    model = models.load(snakemake.input.model)
    cutouts = open_stores(model.modality, snakemake.params.stores)
    frame = stores.read_table(snakemake.input.galaxies, ("galaxy_id", "log_mass", "split", *model.modality.columns))
    frame, _ = exclusions.without_excluded(frame, snakemake.input.exclusions)
    frame = frame[usable(frame, model.modality, model.edges, cutouts)[0] & (frame["split"] == "test")].sort_values("log_mass")
    frame = frame.iloc[evenly(len(frame), 64)].reset_index(drop=True)
    size = max(2, model.modality.n_pix // 8)
    found = saliency.occlusion(model, frame, cutouts, size, max(1, size // 2))
    radius, shift = saliency.profile(found.maps())
    arrays = {
        "maps": (found.maps(), ("galaxy", "y", "x"), stores.Column("dex", "mean shift of the estimate where a patch about the pixel is hidden")),
        "radius": (radius, ("ring",), stores.Column("pix", "outer radius of a ring about the centre")),
        "shift": (shift, ("ring",), stores.Column("dex", "mean absolute shift in the ring")),
    }
    notes = {"galaxy_id": frame["galaxy_id"].tolist(), "log_mass": frame["log_mass"].tolist(), "size": size, "n": len(frame)}
    digests = stores.write_arrays(snakemake.output.maps, arrays, {"size": size})
    stores.write_json(snakemake.output.notes, notes | {"sha256": digests})
