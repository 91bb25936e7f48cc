"""Images of some galaxies of a sample, from light to heavy."""

import numpy as np

from galmass import logs, stores
from galmass.contrastive.sources import evenly, rows_of
from galmass.figures import cutouts, style
from galmass.images import store

with logs.recording(snakemake.log[0]):
    source, galaxies = store.open(snakemake.input.images), stores.read_table(snakemake.input.galaxies)
    order, label = ("log_mass", "{:.1f} dex") if "log_mass" in galaxies else ("kron_mag_r", "r = {:.1f}")
    galaxies = galaxies[np.isin(galaxies["galaxy_id"], source.galaxy_id)].sort_values(order)
    galaxies = galaxies.iloc[evenly(len(galaxies), 32)]
    rows = rows_of(galaxies["galaxy_id"].to_numpy(str), source)
    titles = [label.format(value) for value in galaxies[order]]
    style.save(cutouts.montage(source.image(rows), source.mask(rows), source.bands, titles, source.pixel_scale_arcsec), snakemake.output.montage)
