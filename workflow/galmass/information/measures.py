"""Partial information decomposition by dit, in a process of its own, which a limit of time can end.

Run as a script by `discrete`, it reads distributions from standard input and writes a line for each that is done. It imports
nothing of galmass, whose place on the path a process of its own does not know.
"""

import json
import signal
import sys

import numpy as np

MEASURES = {"mmi": "PID_MMI", "ig": "PID_IG", "broja": None, "ccs": "PID_CCS", "dep": "PID_dep"}
NODES = (((0,), (1,)), ((0,),), ((1,),), ((0, 1),))
SYMBOLS = "0123456789abcdefghijklmnopqrstuvwxyz"
CLOSE = 1e-4  # largest relative change of a probability in the last step of broja: its atoms are good to 1e-5 bit


def distribution(counts):
    """dit's distribution of a table of counts (n_1, n_2, n_mass). Outcomes are strings: of tuples of integers some measures make zeros."""
    import dit

    cells = np.argwhere(counts > 0)
    return dit.Distribution(["".join(SYMBOLS[i] for i in cell) for cell in cells], list(counts[counts > 0] / counts.sum()))


def atoms(counts, measure: str) -> list[float]:
    """Redundant, unique of the first, unique of the second and synergistic information [nat] in a table of counts (n_1, n_2, n_mass)."""
    import dit

    joint = distribution(np.asarray(counts))
    if measure == "broja":
        return _broja(joint)
    found = getattr(dit.pid, MEASURES[measure])(joint, [[0], [1]], [2])
    return [float(found.get_pi(node)) * np.log(2) for node in NODES]


def _broja(joint) -> list[float]:
    """By alternating divergence minimisation. What ``PID_BROJA`` chooses by itself falls back to an optimiser that stops far from the optimum."""
    from dit.algorithms.admui import admui_dist
    from dit.multivariate import coinformation

    nearest, _ = admui_dist(joint, [[0], [1]], [2], eps=CLOSE, maxiter=10**9)
    first, second, both, true = (
        float(coinformation(d, [sources, [2]])) * np.log(2) for d, sources in ((nearest, [0]), (nearest, [1]), (nearest, [0, 1]), (joint, [0, 1]))
    )
    return [first + second - both, both - second, both - first, true - both]


def answer(tasks, seed: int, limit_s: float, write) -> None:
    """Decompose (measure, counts) one after the other; `write` is given a line when dit is there, and one for each."""
    # dit takes them where it finds them, for what is not used here: two seconds of imports
    sys.modules.update(dict.fromkeys(("sklearn", "sympy")))
    import dit

    write({"ready": dit.__version__})
    for measure, counts in tasks:
        signal.alarm(int(limit_s) + 60)  # ends it even where nobody is left who would
        np.random.seed(seed)  # noqa: NPY002  dit's ig starts from numpy's global state
        try:
            write({"atoms": atoms(counts, measure)})
        except Exception as error:  # of any kind; the others go on, and the product says it
            write({"failed": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    stream, sys.stdout = sys.stdout, sys.stderr  # what dit prints is for the log
    given = json.load(sys.stdin)
    answer(write=lambda line: print(json.dumps(line), file=stream, flush=True), **given)
