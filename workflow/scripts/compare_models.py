"""Black-hole mass and velocities by mass model, side by side."""

import pandas as pd

from galmass import logs, stores
from galmass.figures import fits, style
from galmass.inference import comparison

with logs.recording(snakemake.log[0]):
    p, found = snakemake.params, snakemake.input
    summaries, checks = ([stores.read_json(path) for path in paths] for paths in (found.summaries, found.checks))
    arrays = [stores.read_arrays(path)[0] for path in found.images]
    truth = stores.read_json(found.truth[0]) if found.truth else {}
    rows = comparison.rows(p.models, summaries, checks, arrays, truth)
    stores.write_csv(snakemake.output.table, comparison.shown(rows))
    curves = {model: (array["radius"], array["velocity_total"]) for model, array in zip(p.models, arrays, strict=True)}
    style.save(fits.comparison(curves, pd.DataFrame(rows), checks[0]["beam_pc"], p.title), snakemake.output.figure)
