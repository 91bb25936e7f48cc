"""A latent as a few variables of a graph, and what the graph then says of the mass beside what the local tests say."""

from collections.abc import Mapping

import numpy as np

from galmass.errors import InputError

MASS, ESTIMATE = "log_mass", "mass_mean"


def names(modality: str, n_component: int) -> list[str]:
    """Of the variables of `table`."""
    return [f"estimate_{modality}", *(f"latent_{modality}_{i + 1}" for i in range(n_component))]


def table(embeddings, modality: str, n_component: int, split: str):
    """Mean mass and first principal components of the main latent of galaxies that the network has not seen, a DataFrame by galaxy_id.

    Parameters
    ----------
    embeddings : DataFrame
        With ``galaxy_id``, ``split``, ``mass_mean`` and ``latent_..``.
    split : str
        Of these galaxies.

    Raises
    ------
    InputError
        The latent has fewer dimensions than components are wanted.
    """
    import pandas as pd

    held_out = embeddings[embeddings["split"] == split]
    latent = held_out.filter(regex=r"^latent_\d+$").to_numpy(float)
    if n_component > latent.shape[1]:
        raise InputError(f"graphs.latent_components is {n_component}, and the main latent of {modality} has {latent.shape[1]} dimensions")
    centred = latent - latent.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    components = centred @ axes[:, ::-1][:, :n_component]
    values = np.column_stack([held_out[ESTIMATE].to_numpy(float), components])
    return pd.DataFrame(values, index=held_out["galaxy_id"], columns=names(modality, n_component))


def rows(tests: Mapping[str, Mapping], contents) -> list[dict]:
    """Which variables still tell of the mass given a latent: local tests beside the graphs with the latent, for people.

    Parameters
    ----------
    tests : mapping
        Summary of the local tests of each modality.
    contents : sequence of mapping
        Graphs of all methods, with ``given_network``. A variable that a graph does not have has no number there.
    """
    lines = []
    for modality, summary in tests.items():
        found = {test["query"]: test for test in summary["tests"] if (test["class"], test["condition"]) == ("all", ESTIMATE)}
        for query in dict.fromkeys(test["query"] for test in summary["tests"] if test["query"] != ESTIMATE):
            test = found.get(query, {})
            line = {"modality": modality, "variable": query, "galaxies": summary["n"]}
            line |= {"p (Holm) in the local test": test.get("p_value_holm"), "correlation in blocks": _rounded(test.get("block_correlation_mean"))}
            for content in contents:
                touching = content["given_network"][modality]["touching"]
                line[f"joined to the mass by {content['method'].upper()}"] = _rounded(touching.get(query))
            lines.append(line)
    return lines


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
