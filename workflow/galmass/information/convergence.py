"""Had the networks behind a decomposition converged? Where not, a difference of their informations answers nothing."""

from collections.abc import Mapping

import numpy as np

LEAST = 0.01  # nat, beyond the interval, that an answer may turn on
COLUMNS = {"first": "nll_1", "second": "nll_2", "union": "nll_12", "against": "nll_against"}


def reasons(summary: Mapping, *found: Mapping[str, str]) -> dict[str, str]:
    """What was found against the networks, in one clause for each part of the tuple that has something against it."""
    said = {part: [one[part] for one in found if part in one] for part in summary["inputs"]}
    return {part: ", and ".join(words) for part, words in said.items() if words}


def unfinished(summary: Mapping) -> dict[str, str]:
    """Why, by part of the tuple: most networks of its input were best at the last step that they were allowed."""
    found = {}
    for part, modality in summary["inputs"].items():
        best, last = (summary["steps"][modality][key] for key in ("best", "last"))
        at_the_end = sum(step == last for step in best)
        if 2 * at_the_end > len(best):
            found[part] = f"{at_the_end} of {len(best)} networks of {modality} were best at their last step, {last}"
    return found


def outdone(summary: Mapping, components, embeddings: Mapping, widths: Mapping, width: float) -> dict[str, str]:
    """Why, by part of the tuple: the contrastive network of its input tells more, by `LEAST` beyond the 95 % interval of the difference.

    Parameters
    ----------
    components : DataFrame
        ``galaxy_id`` and held-out cross-entropies ``nll_1``, ``nll_2``, ``nll_12``, ``nll_against`` [nat] of the tuple.
    embeddings : mapping of modality to DataFrame
        ``galaxy_id``, ``split``, ``cross_entropy`` [nat], of the inputs that have a contrastive network. Its test galaxies are compared.
    widths : mapping of modality to float [dex]
        Bins of the mass of the contrastive networks.
    width : float [dex]
        Bins of the mass of the decomposition.
    """
    found, own = {}, components.set_index(components["galaxy_id"].astype(str))
    for part, modality in summary["inputs"].items():
        if modality not in embeddings:
            continue
        test = embeddings[modality].loc[embeddings[modality]["split"] == "test"]
        other = test.set_index(test["galaxy_id"].astype(str))["cross_entropy"]
        # a density even within its bins: as many nats as the widths differ by
        more = (own[COLUMNS[part]] - other).dropna() - np.log(widths[modality] / width)
        error = 1.96 * more.std() / np.sqrt(len(more))
        if more.mean() - error > LEAST:
            found[part] = f"the contrastive network of {modality} tells {more.mean():.3f} +- {error:.3f} nat more of {len(more)} test galaxies"
    return found
