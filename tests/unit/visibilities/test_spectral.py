"""Velocities and frames against closed forms, averages and continuum fits against direct sums, polynomials and the scatter of noise."""

import dataclasses

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.visibilities import spectral
from galmass.visibilities.io import Visibilities

C = 299792.458  # km/s
REST = 230.538e9
ALMA = [2225015.3, -5440016.4, -2481631.3]  # m, ITRF
NGC4697 = [192.1496, -5.8006]  # deg


def _visibilities(vis, weight=None, flag=None, frequency=None, **fields):
    n_chan, n_vis = vis.shape
    weight = np.ones(vis.shape) if weight is None else weight
    flag = np.zeros(vis.shape, bool) if flag is None else flag
    frequency = 2.29e11 + 2e6 * np.arange(n_chan) if frequency is None else frequency
    metadata = {"frame": "TOPO", "rest_frequency_hz": REST, "phase_centre_deg": NGC4697, "location_itrf_m": ALMA, "notes": []}
    baselines = {"u": np.arange(n_vis, dtype=float), "v": np.ones(n_vis)} | fields
    return Visibilities(vis=vis, weight=np.where(flag, 0, weight), flag=flag, frequency=frequency, metadata=metadata, **baselines)


def _noise(shape, sigma=1.0, seed=1):
    rng = np.random.default_rng(seed)
    return sigma * (rng.normal(size=shape) + 1j * rng.normal(size=shape))


def test_velocities_are_radio():
    """Float64 near 1: velocities to 1e-9 km/s."""
    visibilities = _visibilities(_noise((5, 2)))
    np.testing.assert_allclose(spectral.velocities(visibilities), C * (1 - visibilities.frequency / REST), atol=1e-9)
    np.testing.assert_allclose(spectral.velocities(visibilities, 2.29e11), C * (1 - visibilities.frequency / 2.29e11), atol=1e-9)


def test_missing_rest_frequency_is_asked_for_by_its_key():
    visibilities = _visibilities(_noise((5, 2))).noted(rest_frequency_hz=None)
    for ask in (spectral.velocities, lambda v: spectral.select_channels(v, velocity_range=[0, 1])):
        with pytest.raises(InputError, match="give rest_frequency_hz"):
            ask(visibilities)
    spectral.select_channels(visibilities, first=1)  # needs none
    with pytest.raises(InputError, match=r"rest_frequency_hz = 230.5 looks like GHz"):
        spectral.velocities(visibilities, 230.5)


TIMES = 86400 * (57000.3 + np.linspace(0, 0.02, 2))


def test_barycentric_frame_against_the_radial_velocity_correction():
    """astropy's own correction for spectrographs; it has the Sun's redshift and the time dilation of the orbit, 4.4 m/s, that SpectralCoord lacks."""
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time

    visibilities = _visibilities(_noise((5, 2)), time=TIMES)
    place = EarthLocation.from_geocentric(*ALMA, unit="m")
    moment = Time(TIMES.mean() / 86400, format="mjd", scale="utc")
    velocity = SkyCoord(*NGC4697, unit="deg").radial_velocity_correction(obstime=moment, location=place).to_value(units.km / units.s)
    factor = spectral.to_frame(visibilities, "BARY").frequency / visibilities.frequency
    assert velocity > 20  # the Earth flies towards the galaxy: it sees higher frequencies than the Sun does
    np.testing.assert_allclose((1 / factor - 1) * C, velocity, atol=0.006)


def test_lsrk_differs_from_barycentric_by_the_solar_motion():
    """20 km/s towards (18h, +30 deg) of 1900 (J2000: 270.96 deg, 30.00 deg); the apex is known to 0.01 deg: 3 m/s."""
    visibilities = _visibilities(_noise((5, 2)), time=TIMES)
    ra, dec, apex_ra, apex_dec = np.radians([*NGC4697, 270.9596, 30.0047])
    towards = 20 * (np.sin(dec) * np.sin(apex_dec) + np.cos(dec) * np.cos(apex_dec) * np.cos(ra - apex_ra))
    bary, lsrk = (spectral.to_frame(visibilities, frame).frequency for frame in ("BARY", "LSRK"))
    # the Sun flies towards the source and sees higher frequencies than who stands still
    np.testing.assert_allclose((bary / lsrk - 1) * C, towards, atol=0.003)


@pytest.mark.parametrize("frame", spectral.FRAMES)
def test_there_and_back(frame):
    visibilities = _visibilities(_noise((5, 2)), time=TIMES)
    there = spectral.to_frame(visibilities, frame)
    assert there.metadata["frame"] == frame
    np.testing.assert_allclose(spectral.to_frame(there, "TOPO").frequency, visibilities.frequency, rtol=1e-12)


def test_frames_that_cannot_be_had():
    visibilities = _visibilities(_noise((5, 2)))
    with pytest.raises(InputError, match="from TOPO to LSRK: time not known"):
        spectral.to_frame(visibilities, "LSRK")
    with pytest.raises(InputError, match="frame None"):
        spectral.to_frame(visibilities.noted(frame=None), "LSRK", time=TIMES)
    with pytest.raises(InputError, match="frame moon"):
        spectral.to_frame(visibilities, "moon", time=TIMES)
    with pytest.raises(InputError, match=r"the frame moves by .* channels during the observation"):
        spectral.to_frame(visibilities, "LSRK", time=86400 * np.array([57000.0, 57080.0]))  # the Earth's orbit: up to 30 km/s of 2.6 km/s channels
    assert spectral.to_frame(visibilities, "TOPO") is visibilities


def test_a_frame_that_comes_back_has_moved():
    """Three executions over a year: at the first and the last the Earth flies the same way, between them the other."""
    visibilities, day = _visibilities(_noise((5, 2))), 86400.0
    seasons = day * np.concatenate([57000.0 + day_ + np.linspace(0, 0.04, 40) for day_ in (0.0, 182.6, 365.25)])
    with pytest.raises(InputError, match=r"the frame moves by \d\d\.\d+ channels during the observation"):
        spectral.to_frame(visibilities, "LSRK", time=seasons)
    factor = spectral.to_frame(visibilities, "LSRK", time=seasons[:40]).frequency / visibilities.frequency
    # the middle of what the frame did: of an hour, as good as the middle of the hour
    middle = spectral.to_frame(visibilities, "LSRK", time=seasons[:40].mean(keepdims=True)).frequency / visibilities.frequency
    np.testing.assert_allclose(factor, middle, rtol=1e-9)


def test_average_is_the_weighted_mean_of_what_is_not_flagged():
    rng = np.random.default_rng(4)
    vis, weight, flag = _noise((7, 30)), rng.uniform(0.5, 3, (7, 30)), rng.random((7, 30)) < 0.3
    flag[0:3, 5] = True
    vis[flag] = np.nan
    visibilities = _visibilities(vis, weight, flag, u=np.outer(np.arange(7), np.ones(30)))
    average = spectral.select_channels(visibilities, average=3)
    assert average.vis.shape == (2, 30)
    for group in (0, 1):
        for k in range(30):
            good = ~flag[3 * group : 3 * group + 3, k]
            w, x = weight[3 * group : 3 * group + 3, k][good], vis[3 * group : 3 * group + 3, k][good]
            assert average.flag[group, k] == (not good.any())
            np.testing.assert_allclose(average.weight[group, k], w.sum(), rtol=1e-14)
            np.testing.assert_allclose(average.vis[group, k], (w * x).sum() / w.sum() if good.any() else 0, rtol=1e-13)
    assert average.flag[0, 5]
    np.testing.assert_allclose(average.frequency, visibilities.frequency[[1, 4]])
    np.testing.assert_array_equal(average.u[:, 0], [1, 4])
    np.testing.assert_array_equal(average.v, visibilities.v)
    assert average.metadata["notes"][-1] == "averages of 3 channels, the last 1 dropped"


def test_weights_of_averages_are_their_variances():
    """2e5 draws: the variance of an average to 4 sqrt(2 / 2e5) = 1.3 %."""
    weight = np.repeat([[1.0], [4.0]], 200000, axis=1)
    average = spectral.select_channels(_visibilities(_noise(weight.shape) / np.sqrt(weight), weight), average=2)
    np.testing.assert_allclose(average.vis.real.var() * average.weight[0, 0], 1, rtol=0.013)


def test_channels_by_velocity():
    visibilities = _visibilities(_noise((40, 2)))
    velocity = spectral.velocities(visibilities)
    low, high = velocity[20] - 0.1, velocity[11] + 0.1
    chosen = spectral.select_channels(visibilities, velocity_range=[high, low])
    np.testing.assert_array_equal(chosen.frequency, visibilities.frequency[11:21])
    np.testing.assert_array_equal(chosen.vis, visibilities.vis[11:21])
    with pytest.raises(InputError, match=r"no channel lies inside; the band reaches from 1898\.\d to 20"):
        spectral.select_channels(visibilities, velocity_range=[0, 100])


def test_selections_that_make_no_sense():
    visibilities = _visibilities(_noise((5, 2)))
    for options, message in [
        ({"first": 3, "last": 1}, "channels 3 to 1: the visibilities have 0 to 4"),
        ({"last": 5}, "channels 0 to 5"),
        ({"average": 6}, "average = 6: 5 channels are selected"),
        ({"average": 0}, "average = 0"),
        ({"first": 0, "velocity_range": [0, 1]}, "not by both"),
    ]:
        with pytest.raises(InputError, match=message):
            spectral.select_channels(visibilities, **options)
    gridded = dataclasses.replace(visibilities, std=np.ones((5, 2)))
    assert spectral.select_channels(gridded, first=2).std.shape == (3, 2)
    with pytest.raises(InputError, match="gridded visibilities cannot be averaged"):
        spectral.select_channels(gridded, average=2)


LINE_FREE = [(0, 14), (26, 39)]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_continuum_of_the_order_vanishes_and_the_line_stays(order):
    """Noise-free: rounding of the fits, 1e-13 of a continuum of 10."""
    rng = np.random.default_rng(6)
    x = np.linspace(-1, 1, 40)
    coefficients = rng.normal(size=(order + 1, 50)) + 1j * rng.normal(size=(order + 1, 50))
    continuum = 10 * np.polynomial.polynomial.polyval(x, coefficients).T
    line = np.exp(-0.5 * ((np.arange(40) - 20) / 1.0) ** 2)[:, None] * (1 + 2j)
    line[:15], line[26:] = 0, 0
    flag = rng.random((40, 50)) < 0.2
    vis = np.where(flag, np.nan, continuum + line)
    result = spectral.subtract_continuum(_visibilities(vis, rng.uniform(0.5, 2, (40, 50)), flag), LINE_FREE, order)
    np.testing.assert_array_equal(result.flag, flag)
    np.testing.assert_allclose(result.vis, np.where(flag, 0, np.broadcast_to(line, vis.shape)), atol=1e-12)


def test_fit_is_weighted_least_squares():
    """One visibility against numpy's polyfit, whose weights are 1 / sigma; double precision."""
    rng = np.random.default_rng(8)
    vis, weight = _noise((40, 3)), rng.uniform(0.1, 5, (40, 3))
    mask = np.zeros(40, bool)
    mask[:15] = mask[26:] = True
    result = spectral.subtract_continuum(_visibilities(vis, weight), mask, 1)
    x = np.arange(40.0)
    for k in range(3):
        fit = np.polyfit(x[mask], vis[mask, k], 1, w=np.sqrt(weight[mask, k]))
        np.testing.assert_allclose(result.vis[:, k], vis[:, k] - np.polyval(fit, x), atol=1e-12)


def test_noise_in_the_notes_is_that_of_the_result():
    """Pure noise, 2e5 real numbers a channel: standard deviations to 4 sqrt(1 / 2 / 2e5) = 0.7 %; the notes give three digits."""
    visibilities = _visibilities(_noise((40, 100000)).astype(np.complex64))
    result = spectral.subtract_continuum(visibilities, [(5, 9), (26, 30)], 1)
    words = result.metadata["notes"][-1].split()
    low, high = (float(words[words.index("times") + k].rstrip(",")) for k in (1, 3))
    parts = np.stack([result.vis.real, result.vis.imag]).astype(float)
    spread = np.sqrt((parts**2).mean(axis=(0, 2)))
    line = np.r_[0:5, 10:26, 31:40]
    np.testing.assert_allclose([spread[line].min(), spread[line].max()], [low, high], rtol=0.007)
    assert high > 1.1


def test_visibilities_with_few_line_free_channels_are_flagged():
    flag = np.zeros((40, 3), bool)
    flag[2:15, 1] = flag[26:, 1] = True  # two are left: a slope needs three
    flag[:, 2] = True
    result = spectral.subtract_continuum(_visibilities(_noise((40, 3)), flag=flag), LINE_FREE, 1)
    assert result.flag[:, 1:].all()
    assert not result.flag[:, 0].any()
    assert (result.weight[:, 1] == 0).all()
    assert result.metadata["notes"][-1] == "1 visibilities with fewer than 3 line-free channels: flagged"
    with pytest.raises(InputError, match="no visibility has 3 line-free channels"):
        spectral.subtract_continuum(_visibilities(_noise((40, 3)), flag=np.ones((40, 3), bool)), LINE_FREE, 1)


@pytest.mark.parametrize(
    ("line_free", "order", "message"),
    [
        ([(0, 0)], 0, "a continuum of order 0 needs 2 line-free channels or more; line_free has 1"),
        ([(0, 1)], 1, "a continuum of order 1 needs 3"),
        ([], 0, r"line_free = \[\]"),
        ([(0, 40)], 0, "within 0 to 39"),
        (np.ones(39, bool), 0, "or 40 booleans"),
        ([(0, 9)], -1, "a continuum of order -1"),
    ],
)
def test_continuum_that_cannot_be_fitted(line_free, order, message):
    with pytest.raises(InputError, match=message):
        spectral.subtract_continuum(_visibilities(_noise((40, 3))), line_free, order)


def test_chunks_do_not_change_anything(monkeypatch):
    visibilities = _visibilities(_noise((40, 50)))
    whole = spectral.subtract_continuum(visibilities, LINE_FREE, 1)
    monkeypatch.setattr(spectral, "CHUNK", 300)  # seven visibilities
    np.testing.assert_allclose(spectral.subtract_continuum(visibilities, LINE_FREE, 1).vis, whole.vis, atol=1e-14)


def test_flags_count_before_weights():
    """Whoever flags by hand may leave the weight: the visibility is no part of the fit all the same."""
    vis, flag = _noise((40, 5)), np.zeros((40, 5), bool)
    flag[3] = True
    visibilities = _visibilities(vis)
    by_weight = spectral.subtract_continuum(_visibilities(vis, flag=flag), LINE_FREE, 1)
    by_flag = spectral.subtract_continuum(dataclasses.replace(visibilities, vis=np.where(flag, 100, vis), flag=flag), LINE_FREE, 1)
    np.testing.assert_array_equal(by_flag.vis, by_weight.vis)
    np.testing.assert_array_equal(by_flag.weight, by_weight.weight)


def test_input_is_left_alone():
    visibilities = _visibilities(_noise((40, 5)))
    before = visibilities.vis.copy()
    spectral.subtract_continuum(visibilities, LINE_FREE, 1)
    spectral.select_channels(visibilities, average=2)
    np.testing.assert_array_equal(visibilities.vis, before)
