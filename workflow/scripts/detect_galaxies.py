"""Extended sources of the frames in a folder."""

import pandas as pd

from galmass import logs, stores
from galmass.errors import InputError
from galmass.images import cutouts, detection, frames

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    found = [frames.read_named(p.folder, cutouts.REFERENCE, *key) for key in frames.fields_in(p.folder)]
    parts = [detection.extended(frame, p.detection) for frame in found if frame is not None]
    if not parts or not sum(map(len, parts)):
        raise InputError(f"{p.folder}: no extended source in {len(parts)} frames of the band {cutouts.REFERENCE}; look at samples.<name>.detection")
    galaxies, repeated = detection.once(pd.concat(parts, ignore_index=True))
    print(f"{len(galaxies)} extended sources in {len(parts)} frames, {repeated} of them seen in two")
    stores.write_table(snakemake.output.galaxies, galaxies, detection.COLUMNS, {"detection": p.detection})
    stores.write_json(snakemake.output.notes, {"n": len(galaxies), "frames": len(parts), "seen in two frames": repeated, "detection": p.detection})
