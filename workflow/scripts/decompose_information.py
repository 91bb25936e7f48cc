"""Redundant, unique and synergistic information of the two inputs of a tuple, per galaxy and averaged."""

import numpy as np

from galmass import logs, stores
from galmass.information import averages, decomposition, densities, prior, report

with logs.recording(snakemake.log[0]):
    p, rng = snakemake.params, np.random.default_rng(snakemake.params.seed)
    paths = [dict(zip(p.inputs.values(), some, strict=True)) for some in (snakemake.input.densities, snakemake.input.notes)]
    tables, plan = densities.read(*paths)
    trained = {modality: stores.read_json(path) for modality, path in paths[1].items()}
    nlls, held = [tables[m]["nll"] for m in p.inputs.values()], tables[p.inputs["first"]]
    n_galaxy = {modality: notes["n_galaxy"] for modality, notes in trained.items()}
    densities.check_shared(n_galaxy, len(held["galaxy_id"]), p.options["max_unshared"], snakemake.wildcards.tuple)
    wanted = ("galaxy_id", "log_mass", "galaxy_class", "petro_mag_r")
    catalogue = stores.read_table(snakemake.input.galaxies, wanted)[list(wanted)]
    galaxies = catalogue.set_index(catalogue["galaxy_id"].astype(str)).loc[held["galaxy_id"]].reset_index(drop=True)
    left_out = densities.left_out(catalogue["galaxy_class"], catalogue["galaxy_id"].astype(str).isin(held["galaxy_id"]))
    galaxies["fold"], mass = held["fold"], galaxies["log_mass"].to_numpy(float)
    edges = np.linspace(*p.mass_range, round((p.mass_range[1] - p.mass_range[0]) / p.options["bin_width"]) + 1)
    galaxies["prior_nll"] = prior.held_out(mass, galaxies["fold"].to_numpy(), edges, p.options["prior"])
    h = galaxies["prior_nll"].to_numpy()
    for name, nll in zip(("nll_1", "nll_2", "nll_12", "nll_against"), nlls, strict=False):
        galaxies[name] = decomposition.ensemble_nll(nll)
    galaxies = galaxies.assign(**decomposition.components(*(galaxies[n] for n in ("nll_1", "nll_2", "nll_12", "prior_nll"))))
    groups = averages.groups(mass, galaxies["petro_mag_r"].to_numpy(float), galaxies["galaxy_class"], p.options["bins"])
    found = averages.averages(nlls, h, groups, p.options["bootstrap"], rng)
    known = report.known(stores.read_csv(snakemake.input.truth[0]) if snakemake.input.truth else None, p.inputs, p.truth)
    summary = {"tuple": snakemake.wildcards.tuple, "sample": snakemake.wildcards.sample, "inputs": dict(p.inputs), "rows": found}
    summary |= {"n": len(galaxies), "noise": averages.noise(nlls, h, rng), "truth": averages.truth_gaps(found, known), "seed": p.seed}
    summary |= {"prior": dict(p.options["prior"]) | {"nats": float(h.mean()), "excess": prior.excess(h, mass, edges)}, "bootstrap": p.options["bootstrap"]}
    summary |= {"ensemble": nlls[0].shape[1], "folds": plan["folds"], "n_left_out": len(catalogue) - len(galaxies)}
    summary |= {"steps": densities.best_steps(trained)}
    kept = ("n_galaxy", "n_train", "left_out", "limits")
    summary |= {"left_out": left_out, "trained": {modality: {key: notes[key] for key in kept} for modality, notes in trained.items()}}
    print("\n".join(report.lines(summary)))
    stores.write_table(snakemake.output.components, galaxies, report.columns(galaxies), {"inputs": dict(p.inputs)})
    stores.write_csv(snakemake.output.averages, report.table(summary))
    stores.write_json(snakemake.output.summary, summary)
