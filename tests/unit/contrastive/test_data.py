"""Mini-batches of random pairs, and which galaxies take part."""

from itertools import chain

import numpy as np
import pytest
import torch

from galmass.contrastive.data import PairBatches, galaxies, loaders
from galmass.contrastive.modalities import Standardisation, usable
from galmass.errors import InputError


def _pairs(n, batch_size, n_batch, seed, steps_done=0):
    return PairBatches(n, batch_size, n_batch, seed, lambda: steps_done)


def _rows(n, batch_size, n_batch, seed, steps_done=0):
    """Mini-batches of the epoch that begins after so many steps."""
    return [rows.tolist() for rows in _pairs(n, batch_size, n_batch, seed, steps_done)]


def test_an_epoch_has_as_many_batches_as_asked_for():
    batches = _rows(20, 6, 7, seed=1)
    assert len(_pairs(20, 6, 7, seed=1)) == len(batches) == 7
    assert {len(b) for b in batches} == {6}


def test_rows_of_a_batch_are_distinct():
    for batch in _rows(21, 10, 45, seed=2):  # 21: one galaxy is left over
        assert len(set(batch)) == 10
        assert set(batch) <= set(range(21))


def test_every_galaxy_once_per_permutation():
    batches = _rows(24, 6, 8, seed=3)  # four batches to a permutation, two permutations to an epoch
    first, second = (list(chain(*part)) for part in (batches[:4], batches[4:]))
    assert sorted(first) == sorted(second) == list(range(24))
    assert first != second


def test_left_over_galaxies_differ_between_permutations():
    left_out = [set(range(11)) - set(batch) for batch in _rows(11, 10, 40, seed=3)]
    assert len(set().union(*left_out)) == 11  # 40 draws of one in eleven: none is left out for good


def test_a_batch_depends_on_the_seed_and_the_steps_done_alone():
    torch.manual_seed(0)
    stream = _rows(20, 6, 24, seed=5)
    torch.manual_seed(99)  # the global state plays no part
    for done in (0, 1, 4, 17):  # resumed within a permutation or at its end, in epochs of any length
        assert _rows(20, 6, 7, seed=5, steps_done=done) == stream[done : done + 7]
    assert _rows(20, 6, 24, seed=6) != stream
    assert stream[:12] != stream[12:]


def test_every_epoch_begins_where_the_last_one_ended():
    done = [0]
    sampler = PairBatches(20, 6, 4, 5, lambda: done[0])
    stream = []
    for _ in range(3):
        for rows in sampler:
            stream.append(rows.tolist())
            done[0] += 1  # as a trainer counts, while the epoch goes on
    assert stream == _rows(20, 6, 12, seed=5)


def test_reading_the_batches_leaves_the_global_random_state():
    state = torch.get_rng_state()
    _rows(20, 6, 4, seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_partners_change_between_permutations():
    """Pairs (i, i + half) are random anew: how often two galaxies of ten meet is 1 / 9 of 900 batches."""
    meet = np.zeros((10, 10))
    for batch in _rows(10, 10, 900, seed=7):
        a, b = np.array(batch[:5]), np.array(batch[5:])
        meet[a, b] += 1
        meet[b, a] += 1
    # binomial (900, 1/9): mean 100, standard deviation 9.4; five of them for 45 pairs
    assert np.abs(meet[~np.eye(10, dtype=bool)] - 100).max() < 47
    assert (np.diag(meet) == 0).all()


@pytest.mark.parametrize(("n", "batch_size"), [(20, 7), (5, 6), (1, 2)])
def test_odd_or_too_large_batches_are_refused(n, batch_size):
    with pytest.raises(InputError, match=f"batch_size {batch_size} must be even and at most the {n} training galaxies"):
        _pairs(n, batch_size, 3, seed=0)


def test_a_batch_of_all_galaxies_is_allowed():
    assert sorted(_rows(6, 6, 1, seed=0)[0]) == list(range(6))


def test_galaxies_are_standardised_values_context_and_bins(catalogue, modality, edges):
    frame = catalogue(40, 0)
    frame.loc[3, "log_mass"] = edges[0] + 0.1
    standardisation = Standardisation.fit(*modality.arrays(frame), modality)
    data = galaxies(frame, modality, standardisation, edges)
    assert len(data) == 40
    values, context, mass_bin = data[torch.tensor([5, 3])]
    expected = standardisation.apply(*modality.arrays(frame))
    np.testing.assert_array_equal(values, expected[0][[5, 3]])
    np.testing.assert_array_equal(context, expected[1][[5, 3]])
    assert mass_bin.dtype == torch.int64  # what the cross-entropy takes
    assert mass_bin.tolist() == [int((frame.loc[5, "log_mass"] - edges[0]) // 0.25), 0]


def test_usable_counts_what_is_left_out(catalogue, modality, edges):
    frame = catalogue(30, 0)
    frame.loc[[1, 2], "mag_g"] = np.nan
    frame.loc[2, "z"] = np.inf
    frame.loc[[4, 5, 6], "log_mass"] = [7.9, 12.1, np.nan]
    keep, left_out = usable(frame, modality, edges)
    assert np.flatnonzero(~keep).tolist() == [1, 2, 4, 5, 6]
    assert left_out == {"mag_g not measured": 2, "z not measured": 1, "mass outside 8 to 12 dex": 3}


def test_galaxies_with_limits_are_usable(catalogue, modality, edges):
    frame = catalogue(30, 0).assign(mag_g_limit=np.nan)
    frame.loc[[1, 2], "mag_g"] = np.nan
    frame.loc[1, "mag_g_limit"] = 21.0
    keep, left_out = usable(frame, modality, edges)
    assert np.flatnonzero(~keep).tolist() == [2]
    assert left_out == {"mag_g not measured": 1}
    data = galaxies(frame[keep], modality, Standardisation.fit(*modality.arrays(frame[keep]), modality), edges)
    assert torch.isfinite(data.values).all()


def test_usable_of_a_clean_catalogue(catalogue, modality, edges):
    keep, left_out = usable(catalogue(30, 0), modality, edges)
    assert keep.all()
    assert left_out == {}


def test_loaders(catalogue, modality, edges):
    frame = catalogue(5000, 0)
    data = galaxies(frame, modality, Standardisation.fit(*modality.arrays(frame), modality), edges)
    training, validation = loaders(data, data, {"batch_size": 8, "validate_every": 3}, seed=4, steps_done=lambda: 6)
    for batch, rows in zip(training, _rows(5000, 8, 3, seed=4, steps_done=6), strict=True):
        for got, expected in zip(batch, data[torch.tensor(rows)], strict=True):
            assert torch.equal(got, expected)
    parts = list(validation)
    assert max(len(values) for values, _, _ in parts) <= 4096  # bounds the memory
    torch.testing.assert_close(torch.cat([values for values, _, _ in parts]), data.values, rtol=0, atol=0)  # each once, in order
