"""Galaxies above what hiding each part of them does to their estimated mass."""

import numpy as np

from galmass import logs, stores
from galmass.contrastive.sources import cropped, evenly, rows_of
from galmass.figures import cutouts, style
from galmass.images import store

with logs.recording(snakemake.log[0]):
    notes, source = stores.read_json(snakemake.input.notes), store.open(snakemake.input.images[0])
    found, _ = stores.read_arrays(snakemake.input.maps, notes["sha256"])
    some, n_pix = evenly(notes["n"], 8), found["maps"].shape[-1]
    rows = rows_of(np.array(notes["galaxy_id"])[some], source)
    images, mask = (cropped(read(rows), n_pix) for read in (source.image, source.mask))
    titles = [f"{notes['log_mass'][i]:.1f} dex" for i in some]
    style.save(cutouts.saliency(images, mask, source.bands, found["maps"][some], titles, notes["size"]), snakemake.output.saliency)
    radius = found["radius"] * source.pixel_scale_arcsec
    style.save(cutouts.saliency_profile(radius, found["shift"], notes["n"]), snakemake.output.profile)
