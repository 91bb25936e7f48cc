"""The grid of Nuker profiles on which deprojections are trained."""

from galmass import logs, stores
from galmass.profiles import grid

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    arrays = grid.build(p.axes, p.held_out, p.seed)
    n_node, n_held_out = len(arrays["held_out"][0]), int(arrays["held_out"][0].sum())
    print(f"{n_node} nodes, {n_held_out} of them held out")
    metadata = {"axes": p.axes, "held_out_fraction": p.held_out, "seed": p.seed, "n_node": n_node, "n_held_out": n_held_out}
    digests = stores.write_arrays(snakemake.output.grid, arrays, metadata)
    stores.write_json(snakemake.output.notes, metadata | {"sha256": digests})
