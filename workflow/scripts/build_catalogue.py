"""The galaxies of a sample: photometry, redshift, stellar mass, class, split."""

from galmass import logs, stores
from galmass.catalogues import gst10k
from galmass.catalogues.schema import columns_of

with logs.recording(snakemake.log[0]):
    options = snakemake.params.sample
    frame, notes = gst10k.build(gst10k.read(gst10k.installed_path()), options)
    for cut in notes["cuts"]:
        print(f"{cut['cut']}: {cut['removed']} removed, {cut['left']} left")
    print(notes["mass"])
    metadata = notes | {"sample": snakemake.wildcards.sample, "source_sha256": gst10k.SHA256, "seed": options["seed"]}
    stores.write_table(snakemake.output.galaxies, frame, columns_of(options["source"]), metadata)
    splits = frame["split"].value_counts().to_dict()
    classes = frame["galaxy_class"].value_counts().to_dict()
    stores.write_json(snakemake.output.notes, metadata | {"n": len(frame), "splits": splits, "classes": classes})
