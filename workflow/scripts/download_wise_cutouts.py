"""WISE images of the galaxies of a sample."""

from galmass import logs, stores
from galmass.images import exclusions, wise_cutouts
from galmass.transport import Transport, policy_of

with logs.recording(snakemake.log[0]):
    p, out = snakemake.params, snakemake.output
    galaxies = stores.read_table(snakemake.input.places, ("galaxy_id", "ra", "dec"))
    transport = Transport(policy_of(snakemake.config["archives"], "unwise"))
    with logs.progress(len(galaxies), 0, "WISE cutouts [galaxies]") as bar:
        pieces = wise_cutouts.download(galaxies, p.folder, p.options, transport, bar.update)
    table = wise_cutouts.assemble(galaxies, pieces, out.images, p.options)
    counts = table["reason"].replace("", "cut").value_counts().to_dict()
    stores.write_table(out.table, table, wise_cutouts.columns(p.options["bands"]), counts)
    stores.write_json(out.notes, {**exclusions.description(out.images), "counts": counts})
