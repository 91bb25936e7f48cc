"""Causal graphs of a sample by one method, with frequencies of edges: of all galaxies, and with what each network says of those that it has not seen."""

from galmass import logs, stores
from galmass.causality import graph, kernels, stability, summaries, truths
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import checked

with logs.recording(snakemake.log[0]):
    p, method = snakemake.params, snakemake.wildcards.method
    estimates, searched = p.variables["estimates"], (p.options, p.replicates, p.seed, snakemake.threads)
    table, given_network = stores.read_table(snakemake.input.galaxies).set_index("galaxy_id"), {}
    known = Knowledge.of_sample(p.variables)
    values, notes = checked(table, known.names, p.options["missing"])
    with logs.progress(p.replicates * (1 + len(estimates)), 0, f"{method} [replicates]") as bar:
        found, sums, content = stability.searched(values, method, known, *searched, bar.update)
        for modality, path in zip(estimates, snakemake.input.embeddings, strict=True):
            said = summaries.table(stores.read_table(path), modality, p.components, p.split)
            later = Knowledge.of_sample(p.variables, list(said))
            held_out, about = checked(table.join(said, how="inner"), later.names, p.options["missing"])
            _, _, again = stability.searched(held_out, method, later, *searched, bar.update)
            given_network[modality] = again | {"tiers": [*p.variables["tiers"], list(said)], "table": about | {"split": p.split}}
    content |= {"tiers": p.variables["tiers"], "table": notes, "given_network": given_network}
    if p.kernel_galaxies:
        content["kernel"] = kernels.tested(values, found, p.kernel_galaxies, p.seed)
        for row in kernels.contradictions(content["kernel"], p.options["alpha"]):
            print(f"not joined, and dependent given {row['given'] or 'nothing'} by a kernel test: {row['a']}, {row['b']} (p = {row['p_value']:.2g})")
    if snakemake.input.truth:
        content["truth"] = truths.compared(stores.read_json(snakemake.input.truth), found, sums, known, p.options["alpha"])
    print(f"{len(content['edges'])} edges from {notes['complete']} galaxies, {content['replicates']} replicates")
    stores.write_json(snakemake.output.graph, content)
    graph.write_graphml(snakemake.output.graphml, content)
    stores.write_csv(snakemake.output.edges, graph.rows(content))
