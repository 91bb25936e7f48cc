"""Scores of a network and its baselines on held-out galaxies, with intervals."""

from collections.abc import Mapping

import numpy as np

from galmass.contrastive.metrics import bootstrap_interval, ks_distance, ks_interval, outlier_fraction, point_metrics, sigma_mad
from galmass.errors import InputError

LEVEL = 0.05  # of an adjusted p-value below which a relation is found
_STATISTICS = {"bias": lambda d: d.mean(-1), "sigma_mad": sigma_mad, "eta": outlier_fraction}


def scores(difference, crps, pit, generator: np.random.Generator, n_bootstrap: int) -> dict:
    """Every score as ``{"value": ..., "interval": [low, high]}`` (95 %).

    Parameters
    ----------
    difference : float array (n_galaxy,) [dex]
        Estimate minus truth.
    crps, pit : float arrays (n_galaxy,)
    """
    values = point_metrics(difference, np.zeros_like(difference))
    result = {name: _entry(values[name], bootstrap_interval(f, (difference,), generator, n_bootstrap)) for name, f in _STATISTICS.items()}
    result["crps"] = _entry(np.mean(crps), bootstrap_interval(lambda c: c.mean(-1), (crps,), generator, n_bootstrap))
    result["pit_ks"] = _entry(ks_distance(pit), ks_interval(pit))
    return result


def ratios(difference, crps, other_difference, other_crps, generator: np.random.Generator, n_bootstrap: int) -> dict:
    """sigma_MAD and CRPS divided by those of a baseline, galaxies resampled together, with 95 % intervals."""

    def mad_ratio(a, b):
        return sigma_mad(a) / sigma_mad(b)

    def crps_ratio(a, b):
        return a.mean(-1) / b.mean(-1)

    pairs = {"sigma_mad": (mad_ratio, (difference, other_difference)), "crps": (crps_ratio, (crps, other_crps))}
    return {name: _entry(ratio(*samples), bootstrap_interval(ratio, samples, generator, n_bootstrap)) for name, (ratio, samples) in pairs.items()}


def _entry(value, interval) -> dict:
    return {"value": float(value), "interval": [float(x) for x in interval]}


def evaluate(embeddings, baselines, generator: np.random.Generator, n_bootstrap: int) -> dict:
    """Scores on the test split.

    Parameters
    ----------
    embeddings, baselines : DataFrame
        Test galaxies, of the network and of its baselines.

    Raises
    ------
    InputError
        When the two are not of the same galaxies.
    """
    if not np.array_equal(embeddings["galaxy_id"], baselines["galaxy_id"]):
        raise InputError(f"network and baselines were evaluated on other galaxies ({len(embeddings)} and {len(baselines)})")
    truth = embeddings["log_mass"].to_numpy(float)
    difference, crps = embeddings["mass_mean"].to_numpy(float) - truth, embeddings["crps"].to_numpy(float)
    result: dict = {
        "n_test": len(truth),
        "network": scores(difference, crps, embeddings["pit"], generator, n_bootstrap),
        "network_not_recalibrated": {
            "crps": _entry(embeddings["crps_raw"].mean(), bootstrap_interval(lambda c: c.mean(-1), (embeddings["crps_raw"],), generator, n_bootstrap)),
            "pit_ks": _entry(ks_distance(embeddings["pit_raw"]), ks_interval(embeddings["pit_raw"])),
        },
        "point_estimates": {name: point_metrics(embeddings[f"mass_{name}"], truth) for name in ("mean", "mode", "median")},
        "cross_entropy": float(embeddings["cross_entropy"].mean()),
        "baselines": {},
        "ratio_to": {},
    }
    for name in (column.removesuffix("_crps") for column in baselines if column.endswith("_crps")):
        other_difference, other_crps = baselines[f"{name}_mean"].to_numpy(float) - truth, baselines[f"{name}_crps"].to_numpy(float)
        result["baselines"][name] = scores(other_difference, other_crps, baselines[f"{name}_pit"], generator, n_bootstrap)
        result["ratio_to"][name] = ratios(difference, crps, other_difference, other_crps, generator, n_bootstrap)
    return result


def rows(metrics: Mapping) -> list[dict]:
    """The scores as rows of a table for people: one estimator a row."""
    estimators = {"network": metrics["network"], "network, not recalibrated": metrics["network_not_recalibrated"], **metrics["baselines"]}
    return [{"estimator": name, **{f"{score} {_UNITS[score]}".strip(): _text(entry) for score, entry in scores.items()}} for name, scores in estimators.items()]


_UNITS = {"bias": "[dex]", "sigma_mad": "[dex]", "eta": "", "crps": "[dex]", "pit_ks": ""}


def _text(entry: Mapping) -> str:
    low, high = entry["interval"]
    return f"{entry['value']:.4f} ({low:.4f} to {high:.4f})"


def common_scores(tables: Mapping, generator: np.random.Generator, n_bootstrap: int) -> dict:
    """Scores of every modality of a sample on the test galaxies that all of them have, so that they can be compared.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Test galaxies of each modality: ``galaxy_id``, ``log_mass``, ``mass_mean``, ``crps``.

    Returns
    -------
    dict
        modality -> ``n``, ``sigma_mad``, ``crps``, these two as in `scores`, or None where there are fewer than two galaxies. Every modality is
        resampled alike.
    """
    common, seed, found = set.intersection(*(set(table["galaxy_id"]) for table in tables.values())), generator.integers(2**32), {}
    for name, table in tables.items():
        chosen = table[table["galaxy_id"].isin(common)].sort_values("galaxy_id")
        difference = (chosen["mass_mean"] - chosen["log_mass"]).to_numpy(float)
        own = scores(difference, chosen["crps"].to_numpy(float), np.full(len(chosen), 0.5), np.random.default_rng(seed), n_bootstrap) if len(chosen) > 1 else {}
        found[name] = {"n": len(chosen), "sigma_mad": own.get("sigma_mad"), "crps": own.get("crps")}
    return found


def headline(sample: str, modality: str, metrics: Mapping, tests: Mapping, common: Mapping) -> dict:
    """One row of the table of headline numbers.

    Parameters
    ----------
    metrics : mapping
        As `evaluate` gives it.
    tests : mapping
        Summary of the local tests; of those given the network's estimate, the variable with the smallest p-value, of several the one
        with the largest correlation within blocks, is named.
    common : mapping
        Of this modality, as `common_scores` gives it.
    """
    baselines = metrics["baselines"]
    given = [t for t in tests["tests"] if t["class"] == "all" and t["condition"] == "mass_mean" and t["p_value_holm"] is not None]
    strongest = min(given, key=lambda t: (t["p_value_holm"], -abs(t["block_correlation_mean"])), default=None)
    return {
        "sample": sample,
        "modality": modality,
        "test galaxies": metrics["n_test"],
        "sigma_MAD [dex]": _text(metrics["network"]["sigma_mad"]),
        "boosting": f"{baselines['boosting']['sigma_mad']['value']:.4f}",
        "boosting + colours": f"{baselines['boosting_colours']['sigma_mad']['value']:.4f}",
        "ridge": f"{baselines['ridge']['sigma_mad']['value']:.4f}",
        "CRPS [dex]": f"{metrics['network']['crps']['value']:.4f}",
        "CRPS of boosting + colours": f"{baselines['boosting_colours']['crps']['value']:.4f}",
        "PIT KS": f"{metrics['network']['pit_ks']['value']:.3f}",
        "test galaxies of all modalities": common["n"],
        "sigma_MAD on these [dex]": _text(common["sigma_mad"]) if common["sigma_mad"] else "",
        "CRPS on these [dex]": _text(common["crps"]) if common["crps"] else "",
        "most related to the mass beyond the estimate": _named(strongest),
    }


def _named(test: Mapping | None) -> str:
    if test is None:
        return "not tested"
    told = f"{test['query']} (r {test['block_correlation_mean']:+.2f}, p {test['p_value_holm']:.2g})"
    return told if test["p_value_holm"] < LEVEL else f"nothing found; next to it {told}"
