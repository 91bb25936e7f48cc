"""From visibilities as read to those of the line: frame, continuum, channels, weights, and what is said of them."""

import dataclasses

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.units import LIGHT
from galmass.visibilities import io, preparation

REST = 230.538e9
N_VIS = 400
VELOCITY = 1400.0 - 20.0 * np.arange(21)  # 1400 to 1000 km/s
LINE = abs(VELOCITY - 1200) < 55
CHANNELS = {"velocity_range_kms": None, "average": 1, "continuum_order": None, "line_range_kms": None, "rescale_weights": False}


def simulated(ratio=1.0, frame="LSRK", continuum=0.0, line=0.0):
    """Noise of `ratio` times the variance 0.01 Jy^2 that the weights promise, a constant continuum and a line [Jy]."""
    generator = np.random.default_rng(1)
    shape = (len(VELOCITY), N_VIS)
    vis = np.sqrt(0.01 * ratio) * (generator.normal(size=shape) + 1j * generator.normal(size=shape)) + continuum + line * LINE[:, None]
    metadata = {"frame": frame, "notes": ["read"], "rest_frequency_hz": None}
    u = generator.normal(0, 1e5, N_VIS)
    return io.Visibilities(u, -u, vis, np.full(shape, 100.0), np.zeros(shape, bool), REST * (1 - VELOCITY / LIGHT), metadata)


def galaxy(frame="LSRK", **options):
    return {"rest_frequency_hz": REST, "frame": frame, "channels": CHANNELS | options}


def test_nothing_asked_for_nothing_changed():
    visibilities = simulated()
    found, rows, weights = preparation.prepare(visibilities, galaxy())
    np.testing.assert_array_equal(found.vis, visibilities.vis)
    np.testing.assert_array_equal(found.weight, visibilities.weight)
    assert found.metadata["rest_frequency_hz"] == REST
    np.testing.assert_allclose([row["velocity_km_s"] for row in rows], VELOCITY)
    assert [row["frequency_hz"] for row in rows] == visibilities.frequency.tolist()
    assert {row["flagged"] for row in rows} == {0.0}
    assert weights["checked"]
    assert weights["neighbours"] == "channels"
    # 20 * 400 differences: 2.33 / sqrt(16000) = 2 %, and 5 of them
    np.testing.assert_allclose(weights["ratio"], 1, atol=0.1)


def test_flagged_shares_are_those_of_the_channels():
    visibilities = simulated()
    flag = np.zeros(visibilities.vis.shape, bool)
    flag[3, : N_VIS // 4] = True
    _, rows, _ = preparation.prepare(dataclasses.replace(visibilities, flag=flag), galaxy())
    assert [row["flagged"] for row in rows] == [0.25 if k == 3 else 0.0 for k in range(len(VELOCITY))]


def test_the_frame_of_the_config_is_taken_only_where_the_file_is_silent():
    found, _, _ = preparation.prepare(simulated(frame=None), galaxy("LSRK"))
    assert found.metadata["frame"] == "LSRK"
    assert any("frame LSRK of the config taken" in note for note in found.metadata["notes"])
    said, _, _ = preparation.prepare(simulated(frame="LSRK"), galaxy("TOPO"))
    assert not any("of the config" in note for note in said.metadata["notes"])


def test_a_frame_that_needs_what_is_not_known_is_refused():
    with pytest.raises(InputError, match="from TOPO to LSRK: location, time, direction not known"):
        preparation.prepare(simulated(frame=None), galaxy("TOPO"))


def test_the_continuum_is_that_of_the_channels_outside_the_line():
    """21 - 5 channels: the mean of 16 has an error of 0.1 / 4 a visibility; of 400 of them 0.00125, 0.01 is 8 of these."""
    found, _, _ = preparation.prepare(simulated(continuum=2.0, line=1.0), galaxy(continuum_order=0, line_range_kms=[1145.0, 1255.0]))
    np.testing.assert_allclose(found.vis[~LINE].real.mean(), 0, atol=0.01)
    np.testing.assert_allclose(found.vis[LINE].real.mean(), 1, atol=0.01)
    assert any(f"continuum of order 0 from {(~LINE).sum()} channels" in note for note in found.metadata["notes"])


def test_channels_at_the_ends_of_the_line_belong_to_it():
    found, _, _ = preparation.prepare(simulated(), galaxy(continuum_order=0, line_range_kms=[1159.999, 1240.001]))
    assert any("from 16 channels" in note for note in found.metadata["notes"])


def test_a_line_that_covers_the_band_leaves_no_continuum():
    with pytest.raises(InputError, match=r"channels.line_range_kms 900 to 1500 covers the whole band \(1000 to 1400 km/s\); no channel is left"):
        preparation.prepare(simulated(), galaxy(continuum_order=0, line_range_kms=[900.0, 1500.0]))


def test_the_continuum_is_taken_before_channels_are_dropped():
    """The line-free channels lie outside the range that is kept."""
    options = {"continuum_order": 0, "line_range_kms": [1145.0, 1255.0], "velocity_range_kms": [1145.0, 1255.0]}
    found, rows, _ = preparation.prepare(simulated(continuum=2.0, line=1.0), galaxy(**options))
    np.testing.assert_allclose([row["velocity_km_s"] for row in rows], VELOCITY[LINE])
    np.testing.assert_allclose(found.vis.real.mean(), 1, atol=0.02)


def test_averages_have_the_sum_of_the_weights():
    found, rows, _ = preparation.prepare(simulated(), galaxy(average=3))
    np.testing.assert_allclose([row["velocity_km_s"] for row in rows], VELOCITY.reshape(7, 3).mean(1))
    np.testing.assert_array_equal(found.weight, 300.0)


def test_wrong_weights_are_told(capsys):
    found, rows, weights = preparation.prepare(simulated(ratio=2.0), galaxy())
    np.testing.assert_allclose(weights["ratio"], 2, rtol=0.1)
    assert not weights["rescaled"]
    np.testing.assert_array_equal(found.weight, 100.0)
    # 2.33 / sqrt(800) = 8 % a channel
    np.testing.assert_allclose([row["scatter_ratio"] for row in rows[:-1]], 2, rtol=0.4)
    said = capsys.readouterr().out
    assert said.startswith(f"warning: scatter over weights is {weights['ratio']:.3f}")
    assert "channels.rescale_weights: true corrects them" in said


@pytest.mark.parametrize(("ratio", "warned"), [(0.5, True), (1.0, False), (1.1, False), (1.6, True)])
def test_only_weights_that_are_wrong_by_a_third_are_worth_a_warning(capsys, ratio, warned):
    preparation.prepare(simulated(ratio=ratio), galaxy())
    assert ("warning" in capsys.readouterr().out) == warned


def test_weights_are_rescaled_where_that_is_asked_for(capsys):
    found, rows, weights = preparation.prepare(simulated(ratio=2.0), galaxy(rescale_weights=True))
    assert weights["rescaled"]
    ratios = np.array([row["scatter_ratio"] for row in rows[:-1]])
    np.testing.assert_allclose(found.weight[:-1], np.broadcast_to(100 / ratios[:, None], (20, N_VIS)), rtol=1e-6)
    _, _, again = preparation.prepare(found, galaxy())
    np.testing.assert_allclose(again["ratio"], 1, atol=0.1)
    assert "warning" not in capsys.readouterr().out


def test_correlated_channels_are_warned_of_and_averages_lessen_it(capsys):
    plain = simulated()
    smooth = dataclasses.replace(plain, vis=(plain.vis + 0.5 * np.roll(plain.vis, 1, 0) + 0.5 * np.roll(plain.vis, -1, 0)) / 1.5**0.5)
    _, _, weights = preparation.prepare(plain, galaxy())
    # 20 * 700 numbers: 1.4 %, four of it
    np.testing.assert_allclose(weights["channel_correlation"]["value"], 0, atol=0.06)
    assert weights["channel_correlation"]["noise"] == "cells"
    assert "warning" not in capsys.readouterr().out
    _, _, weights = preparation.prepare(smooth, galaxy())
    np.testing.assert_allclose(weights["channel_correlation"]["value"], 2 / 3, atol=0.06)
    said = capsys.readouterr().out
    assert "adjacent channels is correlated by 0." in said
    assert "channels.average of 2 or more" in said
    _, _, averaged = preparation.prepare(smooth, galaxy(average=4))
    # means of 4 channels: (2/3 + 2 * 1/6) / (4 + 6 * 2/3 + 4 * 1/6) = 0.115; 4 * 700 numbers: 3 %, four of it
    np.testing.assert_allclose(averaged["channel_correlation"]["value"], 0.115, atol=0.12)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"rest_frequency_hz": 345.796e9},
            r"rest_frequency_hz is 2\.30538e\+11 Hz, and the file says 3\.45796e\+11 Hz; .*observation\.options\.rest_frequency_hz",
        ),
        ({"rest_frequency_hz": REST * 1.00011}, "rest_frequency_hz"),
        ({"dish_diameter_m": 7.0}, r"dish_diameter_m is 12 m, and the file says 7 m; set it"),
    ],
)
def test_a_file_of_another_line_or_dish_is_refused(metadata, message):
    with pytest.raises(InputError, match=message):
        preparation.prepare(simulated().noted(**metadata), galaxy() | {"dish_diameter_m": 12.0})


@pytest.mark.parametrize("metadata", [{}, {"rest_frequency_hz": REST * 1.00009, "dish_diameter_m": 12.3}, {"dish_diameter_m": None}])
def test_what_the_file_says_alike_or_not_at_all_is_taken_from_the_config(metadata):
    found, _, _ = preparation.prepare(simulated().noted(**metadata), galaxy() | {"dish_diameter_m": 12.0})
    assert found.metadata["rest_frequency_hz"] == REST


def test_gridded_visibilities_keep_their_errors():
    gridded = dataclasses.replace(simulated(ratio=2.0), std=np.full((21, N_VIS), 0.1 + 0.1j))
    found, rows, weights = preparation.prepare(gridded, galaxy(rescale_weights=True, velocity_range_kms=[1099.0, 1301.0]))
    assert (weights["checked"], weights["because"]) == (False, "the visibilities came gridded")
    assert weights["channel_correlation"]["value"] is None
    assert found.std.shape == found.vis.shape == (11, N_VIS)
    assert np.isnan([row["scatter_ratio"] for row in rows]).all()
    with pytest.raises(InputError, match="continuum is subtracted before gridding"):
        preparation.prepare(gridded, galaxy(continuum_order=0, line_range_kms=[1145.0, 1255.0]))


def test_one_channel_cannot_be_checked_but_is_kept():
    one = galaxy(velocity_range_kms=[1195.0, 1205.0])
    found, rows, weights = preparation.prepare(simulated(), one)
    assert len(rows) == len(found.frequency) == 1
    assert not weights["checked"]
    assert "no neighbour in frequency" in weights["because"]
    with pytest.raises(InputError, match="no neighbour in frequency"):
        preparation.prepare(simulated(), galaxy(velocity_range_kms=[1195.0, 1205.0], rescale_weights=True))
