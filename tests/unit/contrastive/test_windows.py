"""Mini-batches of images: the same order after an interruption, every galaxy as often, a bounded number in memory."""

import threading

import numpy as np
import pandas as pd
import pytest
import torch

from galmass import stores
from galmass.contrastive.modalities import Images, Modality, Standardisation, bin_edges, bin_index
from galmass.contrastive.sources import open_stores
from galmass.contrastive.stamps import ImageScaling, Stamps, turned
from galmass.contrastive.windows import ImageBatches, ImageBlocks, Order, Steps, datasets, loaders, oriented
from galmass.errors import InputError
from galmass.images import store

N, CHUNK = 400, store.CHUNK
EDGES = bin_edges([8.0, 12.0], 0.25)
MODALITY = Modality("I", ("mag_g", "mag_r"), ("err_r",), {"ebv": "linear"}, (Images("optical", ("g",), 4),))
OPTIONS = {"batch_size": 10, "window": 100, "readers": 2}


@pytest.fixture(scope="module")
def frame(catalogue):
    return catalogue(N, 0).assign(galaxy_id=[f"J{i}" for i in range(N)])


@pytest.fixture(scope="module")
def cutouts(frame, tmp_path_factory):
    """One band of 4 x 4 pixels; every pixel of a galaxy holds its number."""
    path = tmp_path_factory.mktemp("store") / "images.zarr"
    image = np.broadcast_to(np.arange(N, dtype=np.float32)[:, None, None, None], (N, 1, 4, 4))
    with stores.replacing(path) as part:
        writer = store.create(part, N, ["g"], 4, 0.4)
        writer.write(0, image, np.ones_like(image), np.zeros(image.shape), list(frame["galaxy_id"]))
        writer.close()
    return open_stores(MODALITY, {"optical": path})


PLAIN = ImageScaling([0.0], [1.0], [1.0])


def _datasets(frame, cutouts, seed=5, **changes):
    standardisation = Standardisation.fit(*MODALITY.arrays(frame), MODALITY)
    return datasets(frame[:300], frame[300:], MODALITY, standardisation, PLAIN, cutouts, EDGES, OPTIONS | changes, seed)


def _numbers(images) -> list[int]:
    """Which galaxies these images show."""
    return images[:, 0, 0, 0].expm1().round().int().tolist()


# --- order


def _order(n=300, batch_size=10, window=100, seed=1):
    return Order(np.arange(n) // CHUNK, batch_size, window, seed)


@pytest.mark.parametrize("window", [20, 100, 1000])
def test_every_galaxy_once_per_permutation(window):
    order = _order(window=window)
    per_permutation = (order.size // 10) * order.n_window
    for first in (0, per_permutation):
        seen = np.concatenate([order.batch(step) for step in range(first, first + per_permutation)])
        assert len(set(seen)) == len(seen) >= 300 - order.n_window - 9 * order.n_window  # left over: less than a batch in each window
        assert set(seen) <= set(range(300))


@pytest.mark.parametrize("window", [100, 1000])
def test_left_over_galaxies_have_their_turn(window):
    order = _order(n=317, window=window)
    seen = np.concatenate([order.batch(step) for step in range(400)])  # a dozen permutations
    assert set(seen) == set(range(317))


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    one, two = _order(), _order()
    backwards = [two.batch(step).tolist() for step in reversed(range(70))][::-1]
    assert [one.batch(step).tolist() for step in range(70)] == backwards
    assert _order(seed=2).batch(0).tolist() != backwards[0]
    assert len(set(map(tuple, backwards))) == 70


def test_a_window_reads_few_chunks():
    order = _order(n=3200, window=320)  # ten chunks' worth of a hundred
    chunks = [len(set(order.window(0, w) // CHUNK)) for w in range(order.n_window)]
    assert max(chunks) <= 11  # the first and the last may be cut


def test_windows_mix_distant_chunks_anew_each_time():
    order = _order(n=3200, window=320)
    first, again = (set((order.window(p, 0) // CHUNK).tolist()) for p in (0, 1))
    assert first != again
    assert max(first) - min(first) > 30  # ten of a hundred chunks in a row would span ten


def test_partners_change(frame):
    order = _order(n=10, batch_size=10, window=10)
    pairs = {frozenset(map(int, pair)) for step in range(300) for pair in zip(*np.split(order.batch(step), 2), strict=True)}
    assert len(pairs) == 45  # all


@pytest.mark.parametrize(
    ("n", "batch_size", "window", "message"),
    [(20, 7, 100, "batch_size 7 must be even"), (5, 6, 100, "at most the 5 training galaxies"), (300, 20, 10, "window is 10; at least the batch_size 20")],
)
def test_sizes_that_do_not_fit_are_refused(n, batch_size, window, message):
    with pytest.raises(InputError, match=message):
        _order(n, batch_size, window)


# --- batches


@pytest.mark.parametrize("window", [100, 1000])
def test_a_batch_holds_images_context_and_bins_of_the_same_galaxies(frame, cutouts, window):
    training, _ = _datasets(frame, cutouts, window=window)
    values, context = Standardisation.fit(*MODALITY.arrays(frame), MODALITY).apply(*MODALITY.arrays(frame))
    bins = bin_index(frame["log_mass"].to_numpy(), EDGES)
    for step in (0, 1, 29, 30, 31, 64):
        images, beside, mass_bin, orientation = training[step]
        rows = training.order.batch(step)
        assert _numbers(images) == rows.tolist()
        np.testing.assert_array_equal(beside, np.hstack([values, context])[rows])  # magnitudes are context beside images
        np.testing.assert_array_equal(mass_bin, bins[rows])
        assert orientation.shape == (10, 2)


def test_steps_give_the_same_in_any_order_and_another_process(frame, cutouts):
    one, two = (_datasets(frame, cutouts)[0] for _ in range(2))
    # back and forth between windows, to the one before and to the one after
    expected = {step: two[step] for step in range(75)}
    for step in (70, 3, 12, 3, 31, 22, 31, 0, 11, 21, 0, 62):
        for a, b in zip(one[step], expected[step], strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one[0][3], one[1][3])
    assert set(torch.cat([one[s][3] for s in range(40)]).flatten().tolist()) == set(range(8))


def test_at_most_two_windows_are_held_and_the_next_is_read_ahead(frame, cutouts, monkeypatch):
    reads, usual = [], Stamps.read
    monkeypatch.setattr(Stamps, "read", lambda self, rows, *out: (reads.append((len(rows), threading.current_thread().name)), usual(self, rows, *out))[1])
    training, _ = _datasets(frame, cutouts)
    reads.clear()
    for step in range(60):
        training[step]
        assert len(training._windows._loading) <= 2
        assert len(training._windows._buffers) == 2
    [future.result() for future in training._windows._loading.values()]
    assert [n for n, _ in reads] == [100] * 7  # six windows of two permutations, and the seventh ahead
    assert all(name.startswith("windows") for _, name in reads)  # none on the way of the training


def test_a_small_survey_is_read_once(frame, cutouts, monkeypatch):
    reads, usual = [], Stamps.read
    monkeypatch.setattr(Stamps, "read", lambda self, rows, *out: (reads.append(len(rows)), usual(self, rows, *out))[1])
    training, validation = _datasets(frame, cutouts, window=1000)
    for step in range(100):
        training[step]
    list(validation[i] for i in range(len(validation)))
    assert sorted(reads) == [100, 300]


def test_validation_galaxies_come_in_order_in_blocks(frame, cutouts):
    for window in (50, 1000):
        stamps = Stamps(frame, MODALITY, cutouts, PLAIN)
        blocks = ImageBlocks(stamps, torch.arange(N)[:, None], torch.arange(N), block=64, window=window)
        parts = [blocks[i] for i in range(len(blocks))]
        assert [len(p[0]) for p in parts] == [64] * 6 + [16]
        assert _numbers(torch.cat([images for images, _, _ in parts])) == list(range(N))
        assert torch.cat([mass_bin for _, _, mass_bin in parts]).tolist() == list(range(N))


def test_loaders_go_on_after_the_steps_that_are_done(frame, cutouts):
    training, validation = _datasets(frame, cutouts)
    done = [0]
    both = loaders(training, validation, 7, lambda: done[0])
    assert [len(loader) for loader in both] == [7, 1]
    for done[0] in (0, 28):
        for got, step in zip(both[0], range(done[0], done[0] + 7), strict=True):
            for a, b in zip(got, training[step], strict=True):
                assert torch.equal(a, b)
    assert list(Steps(3, lambda: 11)) == [11, 12, 13]
    (images, _, _) = next(iter(both[1]))
    assert _numbers(images) == list(range(300, 400))


def test_fingerprints_tell_galaxies_masses_and_images_apart(frame, cutouts):
    def both(table):
        return [part.fingerprint() for part in _datasets(table, cutouts)]

    usual = both(frame)
    assert usual == both(frame)
    assert len({*usual, *both(frame.assign(log_mass=frame["log_mass"] + 0.3)), *both(frame.assign(ebv=frame["ebv"].iloc[::-1].to_numpy()))}) == 6
    training, _ = _datasets(frame, cutouts)
    training.stamps.digests = [["another image"]]
    assert training.fingerprint() != usual[0]


def test_oriented_views():
    images, orientation = torch.randn(6, 2, 4, 4), torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7], [0, 0], [7, 1]])
    context, mass_bin = torch.randn(6, 1), torch.arange(6)
    one, beside, bins, two = oriented((images, context, mass_bin, orientation))
    assert torch.equal(one, turned(images, orientation[:, 0]))
    assert torch.equal(two, turned(images, orientation[:, 1]))
    assert (beside is context, bins is mass_bin) == (True, True)
    assert oriented([images, context, mass_bin]) == (images, context, mass_bin)  # of photometry: as it was


def test_datasets_need_the_galaxies_in_the_store(frame, cutouts):
    with pytest.raises(InputError, match="has no image of 1 galaxies"):
        _datasets(pd.concat([frame[:1].assign(galaxy_id="K"), frame[1:]]), cutouts)


def test_training_galaxies_alone_make_batches(frame, cutouts):
    training, validation = _datasets(frame, cutouts)
    assert isinstance(training, ImageBatches)
    assert (len(training), len(validation)) == (300, 1)
    assert max(training.order.batch(step).max() for step in range(60)) < 300
