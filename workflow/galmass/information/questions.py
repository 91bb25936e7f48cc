"""What the informations of a run answer, in words: every number comes from a summary of the run."""

import html as markup
from collections.abc import Mapping

KINDS = {
    "images": "Do images, or the forms measured in them, add to photometry?",
    "infrared": "Can images replace infrared photometry?",
    "bands": "Which bands are synergistic?",
    "control": "How much does photometry add from which the masses were not derived (negative control)?",
}
LEADING = {"images": "gain_2", "infrared": "gain_2", "bands": "synergistic", "control": "gain_2"}


def overall(summary: Mapping, kind: str = "mean") -> Mapping:
    """Averages over all galaxies."""
    return next(row for row in summary["rows"] if row["label"] == "all" and row["kind"] == kind)


def answers(summaries: list[Mapping], questions: Mapping[str, str], doubts: list[Mapping[str, str]]) -> list[dict]:
    """One row for each tuple that asks something, question by question, bands by their synergy.

    Parameters
    ----------
    questions : mapping of tuple to question
        Tuples with 'none' answer nothing.
    doubts : list of mapping of part to words
        Of each summary: why the networks of an input had not converged (`galmass.information.convergence`).

    Returns
    -------
    list of dict
        ``question``, ``sample``, ``tuple``, ``answer`` and ``words``; ``quantity``, ``nat``, ``low``, ``high`` (95 %), and
        ``share``: of the information that is compared; ``why`` the answer is 'not converged', empty where it is another.
    """
    pairs = zip(summaries, doubts, strict=True)
    rows = [_answer(summary, questions[summary["tuple"]], doubt) for summary, doubt in pairs if questions[summary["tuple"]] in KINDS]
    order = list(KINDS.values())
    return sorted(rows, key=lambda row: (order.index(row["question"]), -row["nat"]))


def _answer(summary: Mapping, question: str, doubt: Mapping[str, str]) -> dict:
    row, pointwise = overall(summary), overall(summary, "pointwise")
    quantity = LEADING[question]
    value, low, high = row[quantity]
    compared = row["information_2"][0] if question == "infrared" else row["information_12"][0]
    share = value / compared if compared > 0 else float("nan")
    answer, words = _WORDS[question](summary["inputs"], row, pointwise, share)
    if question == "images" and row.get("gap"):
        words += _beyond(summary["inputs"], row["gap"], doubt.get("against"))
    why = "; ".join(doubt[part] for part in ("first", "second", "union") if part in doubt)
    if why:
        answer, words = "not converged", f"{words}. No answer, for {why}"
    found = {"question": KINDS[question], "sample": summary["sample"], "tuple": summary["tuple"], "answer": answer, "words": words}
    return found | {"quantity": quantity, "nat": value, "low": low, "high": high, "share": share, "n": summary["n"], "why": why}


def _interval(values) -> str:
    return f"{values[0]:z.3f} nat ({values[1]:z.3f} to {values[2]:z.3f})"


def _percent(share: float) -> str:
    """A share in words; where nothing was found there is none."""
    return f"{100 * share:.0f} %" if share == share else "no share"


def sign(values) -> int:
    """1 where the interval lies above zero, -1 below, 0 where it holds zero."""
    return (values[1] > 0) - (values[2] < 0)


def _images(inputs, row, pointwise, share) -> tuple[str, str]:
    answer = {1: "yes", 0: "not seen", -1: "no"}[sign(row["gain_2"])]
    words = f"{inputs['second']} adds {_interval(row['gain_2'])} to {inputs['first']}, {_percent(share)} of what both tell; "
    zero = row["unique_2"][1] is None
    unique = "nothing unique (of two inputs the one that tells less has none, by this definition)" if zero else f"{_interval(row['unique_2'])} unique"
    return answer, words + f"of it {unique} and {_interval(row['synergistic'])} synergistic"


def _beyond(inputs, gap, doubt: str | None) -> str:
    """What the input that both are set against tells beside them."""
    beyond = {1: "more than", 0: "as much, within the interval, as", -1: "less than"}[sign(gap)]
    if doubt:
        return f"; whether {inputs['against']} tells more than both is not answered, for {doubt}: difference {_interval(gap)}"
    return f"; {inputs['against']} tells {beyond} both: difference {_interval(gap)}"


def _infrared(inputs, row, pointwise, share) -> tuple[str, str]:
    answer = {1: "no" if share > 0.5 else "in part", 0: "yes, as far as these networks see", -1: "yes"}[sign(row["gain_2"])]
    words = f"{inputs['second']} alone tells {_interval(row['information_2'])}; beside {inputs['first']} it still adds {_interval(row['gain_2'])}, "
    return answer, words + f"{_percent(share)} of that, and {_interval(row['redundant'])} is redundant"


def _bands(inputs, row, pointwise, share) -> tuple[str, str]:
    both = sign(row["synergistic"]), sign(pointwise["synergistic"])
    answer = {(1, 1): "synergistic", (0, 0): "not seen", (-1, -1): "less than the sum"}.get(both, "depends on the definition")
    words = f"{inputs['first']} and {inputs['second']}: synergy {_interval(row['synergistic'])}, {_percent(share)} of what both tell "
    return answer, words + f"(pointwise minimum: {_interval(pointwise['synergistic'])}), redundant {_interval(row['redundant'])}"


def _control(inputs, row, pointwise, share) -> tuple[str, str]:
    answer = {1: "something", 0: "nothing that is seen", -1: "less than nothing: it misleads"}[sign(row["gain_2"])]
    words = f"{inputs['second']} adds {_interval(row['gain_2'])} to {inputs['first']}, {_percent(share)} of what both tell"
    return answer, words + f"; alone it tells {_interval(row['information_2'])}. The masses were not derived from it: what it adds, it tells of the redshift"


_WORDS = {"images": _images, "infrared": _infrared, "bands": _bands, "control": _control}


def markdown(rows: list[dict], summaries: list[Mapping]) -> str:
    """All answers as a page."""
    lines = ["# What the informations of this run answer", ""]
    lines += [
        "Informations are differences of cross-entropies of held-out galaxies: what these networks found. Up to the excess of the prior "
        "the informations of an input, and of both, are lower bounds, and a better network may find more. Gains, unique and synergistic "
        "information and gaps are differences of such bounds and may be off either way. Components are those of the averages (minimum "
        "mutual information, whose synergy is no less than zero whatever the inputs) unless pointwise is said; bands are called synergistic "
        "where both agree. Intervals are 95 %, from galaxies and ensemble members drawn anew, without the choice of training galaxies and "
        "without what the shape of the density family misses (docs/limits.md). Where networks had not converged there is no answer.",
        "",
    ]
    for question in dict.fromkeys(row["question"] for row in rows):
        lines += [f"## {question}", ""]
        lines += [f"- {row['sample']}, {row['n']} galaxies: **{row['answer']}**. {row['words']}." for row in rows if row["question"] == question]
        lines.append("")
    known = [(summary, gap) for summary in summaries for gap in summary["truth"]]
    if known:
        lines += ["## How much did the networks miss?", ""]
        lines += [
            f"- {s['sample']}, {s['tuple']}, {gap['quantity']}: found {_interval(gap['found'])}, an ideal network {gap['truth']:.3f} +- "
            f"{gap['truth_error']:.3f} nat (corrected for its finite draws), {gap['gap']:.3f} nat missed."
            for s, gap in known
        ]
        lines.append("")
    return "\n".join(lines)


def html(text: str) -> str:
    """The page of `markdown` as HTML: headings, lists, bold words and paragraphs, which is all that it uses."""
    body = ["<!doctype html><meta charset='utf-8'><style>body{font-family:sans-serif;max-width:60em;margin:2em}</style>"]
    listed = False
    for line in text.splitlines():
        if line.startswith("- ") != listed:
            listed = not listed
            body.append("<ul>" if listed else "</ul>")
        words = _bold(markup.escape(line.lstrip("#- ")))
        level = len(line) - len(line.lstrip("#"))
        tag = f"h{level}" if level else "li" if listed else "p"
        body += [f"<{tag}>{words}</{tag}>"] if words else []
    return "\n".join([*body, "</ul>" * listed])


def _bold(line: str) -> str:
    parts = line.split("**")
    return "".join(f"<b>{part}</b>" if i % 2 else part for i, part in enumerate(parts))
