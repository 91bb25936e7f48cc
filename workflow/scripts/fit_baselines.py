"""Ridge regression and gradient boosting on the inputs and the split of one modality."""

from galmass import logs, stores
from galmass.contrastive import baselines
from galmass.contrastive.modalities import Modality, bin_edges, usable
from galmass.contrastive.sources import open_stores
from galmass.images import exclusions

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    modality = Modality.from_config(snakemake.wildcards.modality, p.modality)
    frame = stores.read_table(snakemake.input.galaxies, ("galaxy_id", "log_mass", "split", *modality.columns))
    cutouts = open_stores(modality, p.stores)
    frame, _ = exclusions.without_excluded(frame, snakemake.input.exclusions)
    keep, _ = usable(frame, modality, bin_edges(p.mass_range, p.modality["bin_width"]), cutouts)
    train, test = (frame[keep & (frame["split"] == name)] for name in ("train", "test"))
    table, columns = baselines.table(train, test, modality, p.seed, threads=snakemake.threads, cutouts=cutouts)
    stores.write_table(snakemake.output.baselines, table, columns, {"seed": p.seed, "n_train": len(train)})
