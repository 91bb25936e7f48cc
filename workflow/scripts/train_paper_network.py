"""Train the network of a recipe on the grid of Nuker profiles."""

import shutil

from galmass import devices, logs, stores
from galmass.deprojection import models, training

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    devices.use_threads(snakemake.threads)
    notes = stores.read_json(snakemake.input.notes)
    arrays, _ = stores.read_arrays(snakemake.input.grid, notes["sha256"])
    box = {name: [axis["low"], axis["high"]] for name, axis in notes["axes"].items()}
    module, history = training.train(arrays["parameters"], arrays["held_out"], box, p.options, p.seed, p.scratch, p.code, p.label)
    print(f"held-out loss {history[-1]['validation_loss']:.3e} after {history[-1]['step']} steps")
    grid = {key: notes[key] for key in ("n_node", "n_held_out", "axes", "seed", "sha256")}
    loss = history[-1]["validation_loss"]
    models.save(snakemake.output.model, module, {"box": box, "options": p.options, "seed": p.seed, "grid": grid, "validation_loss": loss})
    stores.write_csv(snakemake.output.history, history)
    shutil.rmtree(p.scratch)
