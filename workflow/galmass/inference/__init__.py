"""From a model of the data to a posterior: parameters and priors, likelihoods, optimisation, samplers; `log_likelihood` is that of a fit."""

import importlib


def __getattr__(name: str):
    # `log_likelihood` is for users, as `galmass.deprojection.load` is: an import here would be one of every module of the room
    if name == "log_likelihood":
        return importlib.import_module("galmass.inference.assembly").log_likelihood
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
