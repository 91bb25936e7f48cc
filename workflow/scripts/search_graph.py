"""Causal graph of the variables of a sample by one method, with the frequencies of its edges."""

from galmass import logs, stores
from galmass.causality import graph, kernels, stability, truths
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import checked, moments

with logs.recording(snakemake.log[0]):
    p, method = snakemake.params, snakemake.wildcards.method
    table = stores.read_table(snakemake.input.galaxies).set_index("galaxy_id")
    estimates = [f"estimate_{modality}" for modality in p.variables["estimates"]]
    for name, path in zip(estimates, snakemake.input.embeddings, strict=True):
        table[name] = stores.read_table(path, ("galaxy_id", "mass_mean")).set_index("galaxy_id")["mass_mean"]
    tiers = [*p.variables["tiers"], *([estimates] if estimates else [])]
    known = Knowledge.of([name for tier in tiers for name in tier], tiers, p.variables["forbidden"], p.variables["required"])
    values, notes = checked(table, known.names, p.options["missing"])
    sums = moments(values, known.names, p.options["transform"], p.options["blocks"], p.seed)
    options = {key: p.options[key] for key in graph.DEFAULTS}
    found = graph.search_correlation(*sums.correlation(), method, known, **options)
    with logs.progress(p.replicates, 0, f"{method} [replicates]") as bar:
        again = stability.graphs(sums, method, known, p.replicates, p.seed, snakemake.threads, p.options["limit_s"], bar.update, **options)
    order = graph.order_dependence(*sums.correlation(), method, known, p.options["orders"], p.seed, **options)
    content = found.to_json(stability.frequencies(again)) | {"tiers": tiers, "table": notes, "replicates": len(again), "order": order, "seed": p.seed}
    if p.kernel_galaxies:
        content["kernel"] = kernels.tested(values, found, p.kernel_galaxies, p.seed)
        for row in kernels.contradictions(content["kernel"], options["alpha"]):
            print(f"not joined, and dependent given {row['given'] or 'nothing'} by a kernel test: {row['a']}, {row['b']} (p = {row['p_value']:.2g})")
    if snakemake.input.truth:
        content["truth"] = truths.compared(stores.read_json(snakemake.input.truth), found, sums, known, options["alpha"])
    print(f"{len(content['edges'])} edges from {notes['complete']} galaxies, {len(again)} replicates")
    stores.write_json(snakemake.output.graph, content)
    graph.write_graphml(snakemake.output.graphml, content)
    stores.write_csv(snakemake.output.edges, graph.rows(content))
