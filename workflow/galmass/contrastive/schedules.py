"""How the learning rate changes over a training; without Lightning, which takes seconds to import."""

import math
from collections.abc import Mapping


def learning_rate_factor(step: int, options: Mapping) -> float:
    """Factor on the learning rate at a step.

    'step': divided by 5 after a third of the steps, as in the paper (60 000 of 180 000); 'cosine': twenty
    steps of warm-up, then half a cosine to zero.
    """
    share = step / options["max_steps"]
    if options["schedule"] == "step":
        return 1.0 if share < 1 / 3 else 0.2
    return min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
