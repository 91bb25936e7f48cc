"""The nearest training galaxies of every galaxy in the main latent space."""

from galmass import logs, stores
from galmass.causality import search

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    table = stores.read_table(snakemake.input.embeddings)
    latent = table.filter(regex=r"^latent_\d+$").to_numpy(float)
    training = (table["split"] == "train").to_numpy()
    found = search.among_training(latent, training, p.k, p.index, p.recall_queries)
    print(f"{len(latent)} galaxies, {training.sum()} of them training galaxies, k = {p.k}, {p.index['method']}, recall {found.recall}")
    axes = ("galaxy", "neighbour")
    arrays = {
        "index": (found.rows.astype("int32"), axes, stores.Column("", "row of the neighbour in embeddings.parquet, nearest first, self left out")),
        "distance": (found.distances.astype("float32"), axes, stores.Column("", "Euclidean distance in the main latent")),
    }
    metadata = {"k": p.k, "recall": found.recall, "recall_queries": found.recall_queries, **p.index}
    digests = stores.write_arrays(snakemake.output.neighbours, arrays, metadata)
    stores.write_json(snakemake.output.notes, metadata | {"sha256": digests})
