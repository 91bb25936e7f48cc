"""UVFITS files written here from the geometry of plane waves, and the real one against its MeasurementSet (see test_measurement_set)."""

import numpy as np
import pytest
from astropy.constants import c
from astropy.io import fits

from galmass.errors import InputError
from galmass.visibilities import io

FREQUENCY, WIDTH = 2.3e11, 2e6  # Hz
EAST, NORTH = 3e-6, -5e-6  # rad, of the source
FLUX = 0.7  # Jy


def _waves(positions, frequency):
    """Field at antennas (n, 2) [m east, north] of a source off the phase centre: where the source is nearer, the wave is ahead."""
    delay = positions @ [EAST, NORTH] / c.value  # s, by which it is early
    return np.sqrt(FLUX) * np.exp(2j * np.pi * frequency * delay)


def _write(path, stokes=(-5, -6, -7, -8), n_if=1, step=WIDTH, sources=None, edit=None, value=FREQUENCY, n_antenna=5, parameters=None, numbers_from=1):
    """A snapshot of all pairs, cross-hands far off; `edit` changes (group, IF, channel, hand, 3) before it is written."""
    positions = np.random.default_rng(3).normal(size=(n_antenna, 2)) * 300
    first, second = np.triu_indices(n_antenna, 0)  # with autocorrelations
    n_chan = 4
    data = np.zeros((len(first), n_if, n_chan, len(stokes), 3), np.float32)
    for window in range(n_if):
        for channel in range(n_chan):
            field = _waves(positions, value + window * 1e9 + channel * step)
            vis = field[first] * field[second].conj()
            data[:, window, channel, :, 0], data[:, window, channel, :, 1] = vis.real[:, None], vis.imag[:, None]
    data[..., 2] = 2.0
    data[..., 2:, :2] += 50  # cross-hands
    if edit:
        edit(data)
    baseline = positions[first] - positions[second]
    names = ["UU---SIN", "VV---SIN", "WW---SIN", "DATE", "BASELINE"]
    one, other = first + numbers_from, second + numbers_from
    pair = 256 * one + other if numbers_from < 256 else 2048 * one + other + 65536  # AIPS Memo 117
    values = [baseline[:, 0] / c.value, baseline[:, 1] / c.value, 0 * first, np.full(len(first), 2459000.5), pair]
    if sources is not None:
        names, values = [*names, "SOURCE"], [*values, np.asarray(sources)[np.arange(len(first)) % len(sources)]]
    groups = fits.GroupsHDU(fits.GroupData(data[:, None, None], bitpix=-32, parnames=names, pardata=[np.asarray(v, ">f8") for v in values]))
    _axes(groups.header, stokes, value, step)
    groups.header.update(OBJECT="NGC 1", TELESCOP="ALMA", SPECSYS="LSRK", RESTFREQ=230.538e9)
    groups.header.update(parameters or {})
    hdus = [groups]
    if n_if > 1:
        columns = [("FRQSEL", "1J", [1]), ("IF FREQ", f"{n_if}D", [np.arange(n_if) * 1e9])]
        hdus.append(fits.BinTableHDU.from_columns([fits.Column(name, kind, array=np.array(v)) for name, kind, v in columns], name="AIPS FQ"))
    if sources is not None:
        columns = [("ID. NO.", "1J", [1, 2]), ("SOURCE", "16A", ["NGC 1", "NGC 2"]), ("RAEPO", "1D", [10.0, 20.0]), ("DECEPO", "1D", [-5.0, 5.0])]
        hdus.append(fits.BinTableHDU.from_columns([fits.Column(name, kind, array=np.array(v)) for name, kind, v in columns], name="AIPS SU"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def _axes(header, stokes, value, step):
    steps = stokes[1] - stokes[0] if len(stokes) > 1 else 1
    for k, axis in enumerate(
        [("COMPLEX", 1, 1), ("STOKES", stokes[0], steps), ("FREQ", value, step), ("IF", 1, 1), ("RA", 150.0, 1), ("DEC", 2.0, 1)], start=2
    ):
        header[f"CTYPE{k}"], header[f"CRVAL{k}"], header[f"CDELT{k}"], header[f"CRPIX{k}"] = *axis, 1.0


def _expected(visibilities):
    return FLUX * np.exp(-2j * np.pi * (visibilities.u * EAST + visibilities.v * NORTH))


@pytest.mark.parametrize("stokes", [(-5, -6, -7, -8), (-1, -2, -3, -4), (-1, -2), (-5,), (1,)])
def test_source_has_the_phase_of_the_convention(tmp_path, stokes):
    """From delays of a plane wave, with u = x1 - x2 and V = <E1 E2*>; float32 numbers of about 1 are good to 1e-7, sums of three to 1e-6."""
    visibilities = io.read(_write(tmp_path / "a.uvfits", stokes))
    assert visibilities.vis.shape == (4, 10)
    np.testing.assert_allclose(visibilities.vis, _expected(visibilities), atol=1e-6)
    assert np.ptp(np.angle(visibilities.vis)) > 1  # radians: there is a phase to be wrong
    np.testing.assert_allclose(visibilities.weight, 4.0 if len(stokes) > 1 else 2.0)
    np.testing.assert_allclose(visibilities.frequency, FREQUENCY + WIDTH * np.arange(4))
    assert visibilities.metadata["notes"] == ["conjugated: the file has exp(+2 pi i (u l + v m))", "5 rows are autocorrelations: left out"]
    assert visibilities.metadata["frame"] == "LSRK"
    assert visibilities.metadata["rest_frequency_hz"] == 230.538e9
    assert visibilities.metadata["phase_centre_deg"] == [150.0, 2.0]


@pytest.mark.parametrize("numbers_from", [1, 300])
def test_times_and_baselines(tmp_path, numbers_from):
    """Antennas are counted from 0, as in a MeasurementSet; many need the second way of numbering pairs."""
    visibilities = io.read(_write(tmp_path / "a.uvfits", numbers_from=numbers_from))
    first, second = np.triu_indices(5, 1)
    np.testing.assert_array_equal(visibilities.baseline // 65536, first + numbers_from - 1)
    np.testing.assert_array_equal(visibilities.baseline % 65536, second + numbers_from - 1)
    np.testing.assert_array_equal(visibilities.time, 59000.0 * 86400)


def test_other_sign_of_the_exponent(tmp_path):
    path = _write(tmp_path / "a.uvfits")
    np.testing.assert_array_equal(io.read(path, phase_sign=-1).vis, io.read(path).vis.conj())
    with pytest.raises(InputError, match="phase_sign = 0"):
        io.read(path, phase_sign=0)


def test_descending_channels_are_reversed(tmp_path):
    def weigh(data):
        data[..., 2] = np.arange(1, 5)[:, None]

    visibilities = io.read(_write(tmp_path / "a.uvfits", step=-WIDTH, edit=weigh))
    np.testing.assert_array_equal(visibilities.weight[:, 0], [8, 6, 4, 2])
    assert (np.diff(visibilities.frequency) > 0).all()
    np.testing.assert_allclose(visibilities.vis, _expected(visibilities), atol=1e-6)
    assert "reversed" in visibilities.metadata["notes"][0]


def test_windows_must_be_chosen(tmp_path):
    path = _write(tmp_path / "a.uvfits", n_if=2)
    with pytest.raises(InputError, match=r"holds 2: choose by the option spw. There are 0: 4 channels, 230\.0000 to 230\.0060 GHz; 1: 4 channels, 231"):
        io.read(path)
    with pytest.raises(InputError, match="has no spw 5"):
        io.read(path, spw=5)
    visibilities = io.read(path, spw=1)
    np.testing.assert_allclose(visibilities.frequency[0], 2.31e11)
    np.testing.assert_allclose(visibilities.vis, _expected(visibilities), atol=1e-6)


def test_fields_must_be_chosen(tmp_path):
    path = _write(tmp_path / "a.uvfits", sources=[1, 2])
    with pytest.raises(InputError, match=r"choose by the option field. There are 1: NGC 1; 2: NGC 2"):
        io.read(path)
    by_name, by_number = io.read(path, field="NGC 2"), io.read(path, field=2)
    np.testing.assert_array_equal(by_name.vis, by_number.vis)
    assert by_name.metadata["source"] == "NGC 2"
    assert by_name.metadata["phase_centre_deg"] == [20.0, 5.0]
    assert 0 < by_name.vis.shape[1] < 10


def test_bad_samples_are_flagged_and_counted(tmp_path):
    def spoil(data):
        data[1, 0, 0, :2, 2] = [0, -3]  # both hands flagged
        data[2, 0, 1, 0, 0] = np.nan  # YY is left
        data[3, 0, 2, 0, 2] = np.nan
        data[:, 0, 3, :, 2] = -1  # an empty channel

    visibilities = io.read(_write(tmp_path / "a.uvfits", edit=spoil))
    assert visibilities.flag.sum() == 1 + 10
    assert np.isfinite(visibilities.vis).all()
    assert (visibilities.weight[visibilities.flag] == 0).all()
    np.testing.assert_allclose(visibilities.vis[~visibilities.flag], _expected(visibilities)[~visibilities.flag], atol=1e-6)
    notes = " ".join(visibilities.metadata["notes"])
    assert "22 samples of the parallel hands are flagged" in notes
    assert "2 samples refused: visibility or weight is NaN" in notes
    assert "channels 3 hold no usable visibility" in notes


def test_all_flagged(tmp_path):
    def spoil(data):
        data[..., 2] = 0

    with pytest.raises(InputError, match="no visibility can be used"):
        io.read(_write(tmp_path / "a.uvfits", edit=spoil))


def test_only_autocorrelations(tmp_path):
    with pytest.raises(InputError, match="1 autocorrelations and nothing else"):
        io.read(_write(tmp_path / "a.uvfits", n_antenna=1))


def test_gigahertz(tmp_path):
    with pytest.raises(InputError, match="looks like GHz"):
        io.read(_write(tmp_path / "a.uvfits", value=230.0, step=0.002))


def test_rest_frequency_of_another_unit_is_not_used(tmp_path):
    path = _write(tmp_path / "a.uvfits", parameters={"RESTFREQ": 230538.0})
    visibilities = io.read(path)
    assert visibilities.metadata["rest_frequency_hz"] is None
    assert "rest frequency 230538 of the header is not in Hz" in visibilities.metadata["notes"][0]
    assert io.read(path, rest_frequency_hz=2.3e11).metadata["rest_frequency_hz"] == 2.3e11


def test_velref_says_the_frame_where_specsys_does_not(tmp_path):
    assert io.read(_write(tmp_path / "a.uvfits", parameters={"SPECSYS": "", "VELREF": 257})).metadata["frame"] == "LSRK"
    assert io.read(_write(tmp_path / "b.uvfits", parameters={"SPECSYS": ""})).metadata["frame"] is None


def test_no_parallel_hands(tmp_path):
    with pytest.raises(InputError, match="no parallel hands"):
        io.read(_write(tmp_path / "a.uvfits", stokes=(-7, -8)))


def test_an_image_is_no_uvfits(tmp_path):
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match="no random groups"):
        io.read(tmp_path / "a.fits")


def test_chunks_do_not_change_anything(tmp_path, monkeypatch):
    path = _write(tmp_path / "a.uvfits")
    whole = io.read(path)
    monkeypatch.setattr("galmass.visibilities.uvfits.CHUNK", 500)  # two or three groups
    np.testing.assert_array_equal(io.read(path).vis, whole.vis)


@pytest.mark.filterwarnings("ignore:.*truncated")  # astropy warns of the size before
def test_files_that_cannot_be_opened(tmp_path):
    path = _write(tmp_path / "a.uvfits")
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError, match="is cut off"):
        io.read(path)
    path.write_text("<html>")
    with pytest.raises(InputError, match="is no FITS file"):
        io.read(path)


def test_store_takes_what_was_read(tmp_path):
    visibilities = io.read(_write(tmp_path / "a.uvfits"))
    io.write(tmp_path / "a.zarr", visibilities)
    back = io.read(tmp_path / "a.zarr")
    assert back.metadata == visibilities.metadata
    np.testing.assert_array_equal(back.vis, visibilities.vis)


def test_rest_frequency_by_option_must_be_in_hertz(tmp_path):
    with pytest.raises(InputError, match=r"rest_frequency_hz = 230.538 looks like GHz"):
        io.read(_write(tmp_path / "a.uvfits"), rest_frequency_hz=230.538)
