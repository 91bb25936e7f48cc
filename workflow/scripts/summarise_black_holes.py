"""The table of black-hole masses of all galaxies and mass models."""

from galmass import logs, stores
from galmass.inference import comparison

with logs.recording(snakemake.log[0]):
    p, found = snakemake.params, snakemake.input
    truths = {name: stores.read_json(path) for name, path in zip(p.simulated, found.truths, strict=True)}
    rows = [
        comparison.headline(galaxy, model, stores.read_json(summary), stores.read_json(check), truths.get(galaxy, {}))
        for (galaxy, model), summary, check in zip(p.fits, found.summaries, found.checks, strict=True)
    ]
    stores.write_csv(snakemake.output.table, rows)
