"""A small made-up catalogue, its modality, and options of a network that trains in a third of a second."""

import numpy as np
import pandas as pd
import pytest
import torch

from galmass.contrastive.modalities import Modality, bin_edges

torch.set_num_threads(1)


def _catalogue(n: int, seed: int) -> pd.DataFrame:
    """Galaxies whose magnitudes say much about their mass."""
    g = np.random.default_rng(seed)
    mass = g.uniform(9.0, 11.0, n)
    frame = pd.DataFrame({"galaxy_id": np.arange(n), "log_mass": mass, "mag_g": 20 - 2.5 * (mass - 10) + g.normal(0, 0.3, n)})
    frame["mag_r"] = frame["mag_g"] - 0.5 - 0.2 * (mass - 10) + g.normal(0, 0.1, n)
    frame["err_r"] = np.exp(g.normal(-4, 0.3, n))
    frame["ebv"], frame["z"] = g.uniform(0, 0.1, n), g.uniform(0.02, 0.2, n)
    return frame


@pytest.fixture(scope="session")
def catalogue():
    """Function (n, seed) -> DataFrame."""
    return _catalogue


@pytest.fixture(scope="session")
def modality() -> Modality:
    return Modality("M", ("mag_g", "mag_r"), ("err_r",), {"ebv": "linear", "z": "log"})


@pytest.fixture(scope="session")
def edges() -> np.ndarray:
    return bin_edges([8.0, 12.0], 0.25)


@pytest.fixture
def options() -> dict:
    return {
        "network": "compact",
        "mass_range": [8.0, 12.0],
        "main_latent": 2,
        "extra_latent": 2,
        "width": 8,
        "depth": 1,
        "components": 2,
        "loss_weights": {"cross_entropy": 1.0, "reconstruction": 10.0, "latent_contrast": 1.0, "output_contrast": 1.0},
        "batch_size": 16,
        "learning_rate": 0.01,
        "schedule": "cosine",
        "max_steps": 20,
        "validate_every": 5,
        "patience": 20,
        "gradient_clip_norm": 1.0,
    }


@pytest.fixture(autouse=True)
def _global_torch_state():
    """Lightning switches deterministic algorithms on for the process: off again after each test."""
    deterministic, state = torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_rng_state(state)
