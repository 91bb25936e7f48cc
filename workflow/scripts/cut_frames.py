"""Cutouts of the galaxies of one chunk of fields."""

from galmass import logs, stores
from galmass.images import chunks, exclusions, fields

with logs.recording(snakemake.log[0]):
    p, out = snakemake.params, snakemake.output
    galaxies = stores.read_table(snakemake.input.places, fields.NEEDED)
    chunk = chunks.chunks_of_fields(fields.fields_needed(galaxies, p.frames["n_pix"]), p.frames["chunks"])
    galaxies = galaxies[chunk == int(snakemake.wildcards.chunk)].sort_values(["run", "camcol", "field"], kind="stable").reset_index(drop=True)
    downloaded = stores.read_json(snakemake.input.manifest) if snakemake.input.manifest else {}
    with logs.progress(len(galaxies), 0, "cut [galaxies]") as bar:
        table = fields.cut_catalogue(galaxies, p.folder, out.images, p.frames, {"release": "SDSS frames"}, bar.update)
    counts = fields.counts(table)
    print(f"{counts}")
    stores.write_table(out.table, table, fields.columns(p.frames["bands"]), counts)
    stores.write_json(out.notes, {**exclusions.description(out.images), "counts": counts, "downloaded": downloaded})
    if downloaded and not p.frames["keep"]:
        print(f"{chunks.discard_frames(p.folder) / 1e9:.1f} GB of frames deleted")
