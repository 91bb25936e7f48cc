"""What a config may declare of a prior: kinds, and the numbers that each needs and may have; without torch, for what reads configs alone."""

KINDS = {
    "uniform": (("low", "high"), ()),
    "log_uniform": (("low", "high"), ()),
    "normal": (("mean", "sd"), ("low", "high")),
    "isotropic": (("low", "high"), ()),
    "fixed": (("value",), ()),
}
