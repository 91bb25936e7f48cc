"""What the catalogue holds: redshifts, masses, colours, errors, and what the cuts removed."""

from galmass import logs, stores
from galmass.figures import catalogue, style

with logs.recording(snakemake.log[0]):
    frame, notes = stores.read_table(snakemake.input.galaxies), stores.read_json(snakemake.input.notes)
    style.save(catalogue.quality(frame), snakemake.output.quality)
    stores.write_csv(snakemake.output.cuts, [{name: cut[name] for name in ("cut", "removed", "left")} for cut in notes["cuts"]])
