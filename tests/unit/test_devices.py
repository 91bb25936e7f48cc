"""Where torch computes."""

import torch

from galmass import devices


def test_use_threads():
    before = torch.get_num_threads()
    try:
        devices.use_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        devices.use_threads(before)


def test_best_device_is_a_gpu_where_there_is_one():
    assert devices.best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
