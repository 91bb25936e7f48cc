"""Profiles, the basis and a training of a second that the tests of the deprojection share."""

import numpy as np
import pytest
import torch

from galmass.deprojection import models
from galmass.deprojection.basis import Basis
from galmass.discs import evaluation
from galmass.profiles import grid

torch.set_num_threads(1)

COUNTS = {"alpha": 6, "gamma": 4, "beta_minus_gamma": 4, "r_break": 10}  # phases at most an eighth of a step apart
SMALL_BOX = {"alpha": [0.5, 3.0], "gamma": [0.2, 0.8], "beta_minus_gamma": [0.6, 1.5], "r_break": [50.0, 160.0]}


def column(*values) -> list[torch.Tensor]:
    """Nuker parameters of one profile, (1, 1) float64 each."""
    return [torch.tensor([[v]], dtype=torch.float64) for v in values]


@pytest.fixture(scope="session")
def basis() -> Basis:
    return Basis()


@pytest.fixture(scope="session")
def draw():
    """Function n -> alpha, beta, gamma, r_break, (n, 1) float64, anywhere in the box."""
    return lambda n, seed=11: evaluation.random_profiles(models.BOX, n, seed)


@pytest.fixture(scope="session")
def small_box() -> dict:
    return SMALL_BOX


@pytest.fixture(scope="session")
def small_grid():
    """Nodes (n, 4) and which are held out, of a part of the box where little has to be learnt."""
    axes = {name: {"low": low, "high": high, "count": COUNTS[name], "spacing": "log"} for name, (low, high) in SMALL_BOX.items()}
    arrays = grid.build(axes, 0.1, 1)
    return arrays["parameters"][0], arrays["held_out"][0]


@pytest.fixture
def options() -> dict:
    """Of a training that takes a fifth of a second."""
    return {"recipe": "galmass", "nodes": 200, "steps": 40, "batch_size": 32, "learning_rate": 0.006, "validate_every": 10, "width": 16, "depth": 2}


@pytest.fixture
def paper_options() -> dict:
    shared = {"nodes": 200, "steps": 60, "batch_size": 32, "learning_rate": 1e-4, "validate_every": 20}
    return {"recipe": "paper", **shared, "n_gauss": 64, "sigma_range": [1.0, 1e4], "output": "symexp"}


@pytest.fixture(scope="session")
def surface_radii() -> torch.Tensor:
    """321 radii of 1 pc to 10 kpc."""
    return torch.from_numpy(np.geomspace(1.0, 1e4, 321))
