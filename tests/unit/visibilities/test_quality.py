"""Ratios of scatter to weights against simulated noise of known variance, with sources, gaps, interference and correlated channels."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.visibilities import io, quality

N_BASELINE, N_TIME, N_CHAN = 300, 60, 8
REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "uv_evla"


def _simulated(ratio=1.0, seed=1, signal=0.0, smooth=False, shuffle=True):
    """Noise whose variance is `ratio` (per channel) over the weight, which varies tenfold; order of the rows at random."""
    rng = np.random.default_rng(seed)
    n_vis = N_BASELINE * N_TIME
    baseline, time = np.divmod(np.arange(n_vis), N_TIME)
    weight = 10 ** rng.uniform(0, 1, (N_CHAN, n_vis))
    noise = rng.normal(size=(N_CHAN, n_vis)) + 1j * rng.normal(size=(N_CHAN, n_vis))
    if smooth:  # running mean of two channels, of unit variance
        weight[:] = weight[0]
        noise = (noise + np.roll(noise, 1, axis=0)) / np.sqrt(2)
    vis = noise * np.sqrt(np.broadcast_to(ratio, N_CHAN)[:, None] / weight) + signal
    order = rng.permutation(n_vis) if shuffle else np.arange(n_vis)
    arrays = [array[:, order] for array in (vis, weight, np.zeros(vis.shape, bool))]
    u = np.zeros(n_vis)
    return io.Visibilities(u, u, *arrays, 2.3e11 + 1e6 * np.arange(N_CHAN), {"notes": []}, time=6.0 * time[order], baseline=baseline[order])


RATIO = np.linspace(0.5, 4, N_CHAN)


def test_known_ratio_by_times():
    """2 N = 35400 numbers a channel: 2.33 / sqrt(35400) = 1.2 %, so 5 % is 4 sigma; of all channels, 0.44 %: 2 % is 4.5 sigma."""
    np.testing.assert_allclose(quality.check(_simulated(RATIO)).ratio, RATIO, rtol=0.05)
    for ratio in (0.25, 1.0, 3.0):
        found = quality.check(_simulated(ratio, seed=int(4 * ratio)))
        assert found.neighbours == "times"
        np.testing.assert_allclose(found.overall, ratio, rtol=0.02)
        assert found.number.tolist() == [N_BASELINE * (N_TIME - 1)] * N_CHAN


def test_known_ratio_by_channels():
    visibilities = dataclasses.replace(_simulated(3.0), time=None, baseline=None)
    found = quality.check(visibilities)
    assert found.neighbours == "channels"
    np.testing.assert_allclose(found.overall, 3.0, rtol=0.02)
    assert np.isnan(found.ratio[-1])
    assert found.number[-1] == 0


def test_stated_error_is_the_spread_of_repetitions():
    """40 repetitions: the spread is known to 1 / sqrt(80) = 11 %; successive differences share a visibility, which adds about 10 %."""
    found = [quality.check(_simulated(2.0, seed=seed)) for seed in range(40)]
    spread = np.std([one.overall for one in found], ddof=1)
    np.testing.assert_allclose(spread, np.mean([one.error for one in found]), rtol=0.45)


def test_source_does_not_count_as_noise():
    """A source of 30 sigma that does not change with time, and with channel, adds nothing to differences."""
    np.testing.assert_allclose(quality.check(_simulated(2.0, signal=30 + 20j)).overall, 2.0, rtol=0.02)
    steep = _simulated(2.0, signal=np.arange(N_CHAN)[:, None] * 5.0)
    np.testing.assert_allclose(quality.check(steep, "times").overall, 2.0, rtol=0.02)
    assert quality.check(steep, "channels").overall > 10  # a line's slope: why times come first


def test_correlated_channels_mislead_differences_of_channels_only():
    """Running means of two: neighbours share half of their noise, the difference has half the variance."""
    smooth = _simulated(1.0, smooth=True)
    np.testing.assert_allclose(quality.check(smooth, "times").overall, 1.0, rtol=0.02)
    np.testing.assert_allclose(quality.check(smooth, "channels").overall, 0.5, rtol=0.03)


def test_interference_hardly_moves_the_ratio():
    """0.5 % of the visibilities, in 1 % of the differences: at most 2.4 % by the median, on top of 1 % of noise; a mean of squares would be off by a factor."""
    visibilities = _simulated(1.0)
    vis = visibilities.vis.copy()
    hit = np.random.default_rng(9).random(vis.shape) < 0.005
    vis[hit] += 100
    ratio = quality.check(dataclasses.replace(visibilities, vis=vis)).overall
    assert 1.0 < ratio < 1.034


def test_scans_are_not_differenced_across_their_gap():
    visibilities = _simulated(1.0)
    late = visibilities.time >= 6.0 * (N_TIME // 2)
    vis = visibilities.vis + 50.0 * late  # the array has turned
    found = quality.check(dataclasses.replace(visibilities, vis=vis, time=visibilities.time + 3600.0 * late))
    np.testing.assert_allclose(found.overall, 1.0, rtol=0.02)
    assert found.number.tolist() == [N_BASELINE * (N_TIME - 2)] * N_CHAN


def test_baselines_are_not_differenced_with_each_other():
    """Each baseline has its own times, which follow those of the one before, and its own visibility."""
    visibilities = _simulated(1.0)
    time = visibilities.time + 6.0 * N_TIME * visibilities.baseline
    found = quality.check(dataclasses.replace(visibilities, vis=visibilities.vis + 50.0 * visibilities.baseline, time=time))
    assert found.number.tolist() == [N_BASELINE * (N_TIME - 1)] * N_CHAN
    np.testing.assert_allclose(found.overall, 1.0, rtol=0.02)


def test_visibilities_of_one_time_are_not_differenced():
    """Two windows that were read as one: both have each time, only one step in time is a difference of noise."""
    visibilities = _simulated(1.0)
    paired = dataclasses.replace(visibilities, time=12.0 * (visibilities.time // 12.0))
    assert quality.check(paired).number.tolist() == [N_BASELINE * (N_TIME // 2 - 1)] * N_CHAN


def _hanning(noise):
    """Noise of channels on axis 0, smoothed by 1/4, 1/2, 1/4 around a ring."""
    return (np.roll(noise, 1, 0) + 2 * noise + np.roll(noise, -1, 0)) / 4


@pytest.mark.parametrize(("kernel", "expected"), [("none", 0.0), ("mean of two", 0.5), ("Hanning", 2 / 3)])
@pytest.mark.parametrize("kind", ["times", "cells"])
def test_correlation_of_channels_is_that_of_the_smoothing(kernel, expected, kind):
    """250 000 numbers: 1.65 / 500 = 0.3 %, and successive differences share a visibility; the ring closes the band."""
    seen = _simulated(2.0, smooth=kernel == "mean of two", signal=30 + 20j)
    if kernel == "Hanning":
        weight = np.broadcast_to(seen.weight[0], seen.weight.shape)
        rng = np.random.default_rng(8)
        vis = _hanning(rng.normal(size=weight.shape) + 1j * rng.normal(size=weight.shape)) / np.sqrt(weight) + 30
        seen = dataclasses.replace(seen, vis=vis, weight=weight)
    if kind == "cells":
        u, v = np.random.default_rng(4).uniform(-1e5, 1e5, (2, seen.vis.shape[1]))
        seen = dataclasses.replace(seen, u=u, v=v, time=None, baseline=None)
    found = quality.channel_correlation(seen)
    assert found.noise == kind
    assert found.value == pytest.approx(expected, abs=0.02)
    assert found.error < 0.005


def test_correlation_sees_neither_the_line_nor_flagged_visibilities():
    """A line whose visibilities change across the uv plane: line-free channels alone are looked at; flags leave the rest."""
    seen = _simulated()
    u, v = np.random.default_rng(4).uniform(-1e5, 1e5, (2, seen.vis.shape[1]))
    line = np.isin(np.arange(N_CHAN), (2, 3))
    flag = np.random.default_rng(5).random(seen.flag.shape) < 0.2
    vis = np.where(flag, np.nan, seen.vis + 1e3 * np.exp(1e-4j * u) * line[:, None])
    seen = dataclasses.replace(seen, u=u, v=v, vis=vis, weight=np.where(flag, 0, seen.weight), flag=flag, time=None, baseline=None)
    assert quality.channel_correlation(seen, ~line).value == pytest.approx(0, abs=0.02)
    assert quality.channel_correlation(seen).value > 0.05  # medians bear most of one pair of channels in seven


def test_correlation_of_gridded_visibilities_needs_channels_without_line():
    smooth = _simulated(smooth=True)
    gridded = dataclasses.replace(smooth, std=np.sqrt(1 / smooth.weight) * (1 + 1j), time=None)
    found = quality.channel_correlation(gridded, np.arange(N_CHAN) > 3)
    assert (found.noise, found.value) == ("line-free channels", pytest.approx(0.5, abs=0.02))
    with pytest.raises(InputError, match="0 numbers of noise in adjacent channels"):
        quality.channel_correlation(gridded)


def test_stated_error_of_a_correlation_is_the_spread_of_repetitions(monkeypatch):
    monkeypatch.setattr(quality, "KEPT", 2**14)
    found = [quality.channel_correlation(_simulated(seed=seed)) for seed in range(30)]
    # 30 repetitions: 13 %, and channels share their noise with two others
    np.testing.assert_allclose(np.std([one.value for one in found]), np.mean([one.error for one in found]), rtol=0.5)


def test_flagged_visibilities_do_not_count():
    visibilities = _simulated(2.0)
    flag = np.random.default_rng(3).random(visibilities.flag.shape) < 0.2
    flag[2] = True
    vis, weight = np.where(flag, np.nan, visibilities.vis), np.where(flag, 0, visibilities.weight)
    found = quality.check(dataclasses.replace(visibilities, vis=vis, weight=weight, flag=flag))
    np.testing.assert_allclose(found.overall, 2.0, rtol=0.025)
    assert np.isnan(found.ratio[2])
    assert np.isfinite(np.delete(found.ratio, 2)).all()


def test_few_kept_numbers_give_the_same_ratio(monkeypatch):
    """Every 18th number: 2.33 / sqrt(16000) = 1.8 %."""
    monkeypatch.setattr(quality, "KEPT", 2**14)
    found = quality.check(_simulated(2.0))
    np.testing.assert_allclose(found.overall, 2.0, rtol=4 * 0.018)
    assert found.error == pytest.approx(2.0 * 0.018, rel=0.1)


def test_rescaled_weights_are_right():
    visibilities = _simulated(RATIO)
    found = quality.check(visibilities)
    again = quality.check(quality.rescale(visibilities, found.ratio))
    np.testing.assert_allclose(again.ratio, 1.0, rtol=1e-5)  # z is kept in float32
    halved = quality.rescale(visibilities, 2.0)
    np.testing.assert_allclose(halved.weight, visibilities.weight / 2)
    assert halved.metadata["notes"] == ["weights divided by 2.0000"]


def test_channels_without_a_ratio_keep_their_weights():
    visibilities = _simulated()
    ratio = np.where(np.arange(N_CHAN) == 1, np.nan, 2.0)
    weight = quality.rescale(visibilities, ratio).weight
    np.testing.assert_array_equal(weight[1], visibilities.weight[1])
    np.testing.assert_array_equal(weight[0], visibilities.weight[0] / 2)


@pytest.mark.parametrize("ratio", [0.0, -1.0, np.inf, np.nan, np.ones(3)])
def test_ratios_that_cannot_be(ratio):
    with pytest.raises(InputError, match="cannot rescale weights"):
        quality.rescale(_simulated(), ratio)


def test_what_cannot_be_checked():
    visibilities = _simulated()
    with pytest.raises(InputError, match="neighbours = 'rows'"):
        quality.check(visibilities, "rows")
    with pytest.raises(InputError, match="carry errors from their scatter"):
        quality.check(dataclasses.replace(visibilities, std=visibilities.vis))
    timeless = dataclasses.replace(visibilities, time=None)
    with pytest.raises(InputError, match="do not say times and baselines"):
        quality.check(timeless, "times")
    with pytest.raises(InputError, match="only 0 differences between neighbouring times"):
        quality.check(dataclasses.replace(visibilities, flag=np.ones_like(visibilities.flag)))
    one = {name: getattr(timeless, name)[:1] for name in ("vis", "weight", "flag", "frequency")}
    with pytest.raises(InputError, match="one channel has no neighbour"):
        quality.check(dataclasses.replace(timeless, **one))


@pytest.mark.skipif(not REAL.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with uv_evla")
def test_real_data_agree_with_themselves():
    """Uncalibrated EVLA numbers with weights by integration time: the ratio is far from one, and times and channels say the same to 10 %."""
    visibilities = io.read(REAL / "day2_TDEM0003_10s_norx_1src_1spw.uvfits")
    by_times, by_channels = (quality.check(visibilities, neighbours).overall for neighbours in ("times", "channels"))
    assert by_times < 1e-4
    np.testing.assert_allclose(by_times, by_channels, rtol=0.1)
