"""The cutouts of all chunks as one store."""

import pandas as pd

from galmass import logs, stores
from galmass.images import exclusions, fields, store

with logs.recording(snakemake.log[0]):
    out = snakemake.output
    store.join(snakemake.input.images, out.images)
    table = pd.concat([stores.read_table(path) for path in snakemake.input.tables], ignore_index=True)
    counts = fields.counts(table)
    print(f"{counts}")
    stores.write_table(out.table, table, fields.columns(snakemake.params.bands), counts)
    stores.write_json(out.notes, {**exclusions.description(out.images), "counts": counts})
