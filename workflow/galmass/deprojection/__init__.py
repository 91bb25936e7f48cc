"""Nuker profiles as sums of Gaussians, which deproject analytically: `load` gives both ways of doing it."""

import importlib


def __getattr__(name: str):
    # `load` is for users. An import here would be one of every module of the room, and an edit of one would rerun all rules:
    # the workflow itself imports it from its module
    if name == "load":
        return importlib.import_module("galmass.deprojection.expansion").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
