"""The store gives back what was written; Stokes I, channel order and refusals against hand-made samples."""

import dataclasses
import shutil

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.visibilities import io


def _visibilities(n_chan=3, n_vis=5, seed=1, **changes):
    rng = np.random.default_rng(seed)
    shape = (n_chan, n_vis)
    fields = {
        "u": rng.normal(size=n_vis) * 1e5,
        "v": rng.normal(size=n_vis) * 1e5,
        "vis": (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64),
        "weight": rng.uniform(1, 2, shape).astype(np.float32),
        "flag": np.zeros(shape, bool),
        "frequency": 2.3e11 + 1e6 * np.arange(n_chan),
        "metadata": {"frame": "LSRK", "rest_frequency_hz": 230.538e9, "notes": ["made"]},
    }
    return io.Visibilities(**{**fields, **changes})


@pytest.mark.parametrize("per_channel", [False, True])
def test_store_gives_back_every_bit(tmp_path, per_channel):
    visibilities = _visibilities(time=np.arange(5.0), baseline=np.arange(5), std=np.full((3, 5), 1 + 2j), taper=np.ones((4, 4)))
    if per_channel:
        visibilities = dataclasses.replace(visibilities, u=np.outer([1, 2, 3], visibilities.u), v=np.outer([1, 2, 3], visibilities.v))
    digests = io.write(tmp_path / "a.zarr", visibilities)
    back = io.read(tmp_path / "a.zarr", digests=digests)
    assert back.metadata == visibilities.metadata
    for name in io.COLUMNS:
        written, read = getattr(visibilities, name), getattr(back, name)
        assert read.dtype == written.dtype
        np.testing.assert_array_equal(read, written)


def test_damaged_store_is_refused(tmp_path):
    io.write(tmp_path / "a.zarr", _visibilities())
    chunk = next(path for path in (tmp_path / "a.zarr" / "vis").rglob("*") if path.is_file() and path.name != "zarr.json")
    chunk.unlink()  # Zarr would read zeros
    with pytest.raises(InputError, match="vis is not what was written"):
        io.read(tmp_path / "a.zarr")


def test_store_of_something_else_is_refused(tmp_path):
    from galmass import stores

    stores.write_arrays(tmp_path / "a.zarr", {"x": (np.ones(2), ("n",), stores.Column("", ""))})
    with pytest.raises(InputError, match="something else than visibilities"):
        io.read(tmp_path / "a.zarr")


def test_form_is_told_by_what_is_there(tmp_path):
    (tmp_path / "a.ms").mkdir()
    with pytest.raises(InputError, match="neither a MeasurementSet"):
        io.read(tmp_path / "a.ms")
    (tmp_path / "a.ms" / "table.dat").touch()
    assert io.form_of(tmp_path / "a.ms") == "MeasurementSet"
    for name, form in {"b.UVFITS": "UVFITS", "c.npz": "viscube .npz", "d.txt.bz2": "table of u v Re Im w", "e.dat": "table of u v Re Im w"}.items():
        (tmp_path / name).touch()
        assert io.form_of(tmp_path / name) == form
    (tmp_path / "f.xyz").touch()
    with pytest.raises(InputError, match="no form of visibilities ends like this"):
        io.form_of(tmp_path / "f.xyz")
    with pytest.raises(InputError, match="does not exist"):
        io.form_of(tmp_path / "g.txt")


def test_option_of_another_form_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3 4 5\n")
    with pytest.raises(InputError, match=r"no option spw; its options are frequency_hz, units, phase_sign"):
        io.read(tmp_path / "a.txt", spw=1)


def test_shapes_must_agree():
    with pytest.raises(InputError, match="do not go with weight"):
        _visibilities(weight=np.ones((3, 4)))
    with pytest.raises(InputError, match="do not go with frequency"):
        _visibilities(frequency=np.array([1e11]))


def test_notes_do_not_reach_the_original():
    first = _visibilities()
    second = first.noted("more", frame="BARY")
    assert first.metadata["notes"] == ["made"]
    assert first.metadata["frame"] == "LSRK"
    assert second.metadata["notes"] == ["made", "more"]
    assert second.metadata["frame"] == "BARY"


@pytest.mark.parametrize(("value", "unit"), [(230.5, "GHz"), (230538.0, "MHz"), (2.3e8, "kHz")])
def test_frequencies_of_another_unit_are_named(value, unit):
    with pytest.raises(InputError, match=f"looks like {unit}; it must be in Hz"):
        io.ascending("a", [value, value * 1.001])


@pytest.mark.parametrize("frequency", [[], [np.nan, 1e11], [np.inf]])
def test_missing_frequencies(frequency):
    with pytest.raises(InputError, match="missing or not finite"):
        io.ascending("a", frequency)


def test_negative_frequency():
    with pytest.raises(InputError, match="must be positive"):
        io.ascending("a", [-1e11, 1e11])


def test_channels_are_brought_to_ascending_order():
    assert io.ascending("a", [1e11, 2e11, 3e11])[1] == []
    order, notes = io.ascending("a", [3e11, 2e11, 1e11])
    assert order.tolist() == [2, 1, 0]
    assert "reversed" in notes[0]
    order, notes = io.ascending("a", [2e11, 3e11, 1e11])
    assert order.tolist() == [2, 0, 1]
    assert "sorted" in notes[0]
    with pytest.raises(InputError, match="two channels lie at 200000000000 Hz"):
        io.ascending("a", [2e11, 3e11, 2e11])


def test_stokes_i_of_both_hands_has_the_variance_of_a_mean():
    """Weights 4 / (1/w1 + 1/w2) against the scatter of 2e5 draws: variances agree to 4 standard errors, 4 sqrt(2 / 2e5) = 1.3 %."""
    rng = np.random.default_rng(2)
    weight = np.array([4.0, 0.5])
    vis = (rng.normal(size=(200000, 2)) + 1j * rng.normal(size=(200000, 2))) / np.sqrt(weight)
    stokes, combined, refused = io.stokes_i(vis, np.broadcast_to(weight, vis.shape), np.zeros(vis.shape, bool), -1)
    assert not any(refused.values())
    np.testing.assert_allclose(stokes.real.var(), 1 / combined[0], rtol=0.013)
    np.testing.assert_allclose(combined, 4 / (1 / 4.0 + 1 / 0.5))


def test_stokes_i_of_a_polarised_source_is_the_plain_mean():
    stokes, _, _ = io.stokes_i(np.array([[1.5 + 0j, 0.5]]), np.array([[100.0, 1.0]]), np.zeros((1, 2), bool), -1)
    assert stokes[0] == 1.0


def test_one_hand_stands_for_both_and_each_reason_is_counted():
    vis = np.array([[1 + 1j, 9], [np.nan, 3 + 2j], [4 - 1j, 9], [9, 9], [5, np.inf]])
    weight = np.array([[2.0, 3], [1, 4], [5, 0], [-1, np.nan], [1, 1]])
    flag = np.array([[False, True], [False, False], [False, False], [False, False], [True, False]])
    stokes, combined, refused = io.stokes_i(vis, weight, flag, 1)
    np.testing.assert_array_equal(stokes, np.conj([1 + 1j, 3 + 2j, 4 - 1j, 0, 0]))
    np.testing.assert_array_equal(combined, [2, 4, 5, 0, 0])
    assert refused == {"flagged": 2, "nan": 3, "weight": 2}


def test_empty_channels_are_noted_and_an_empty_file_is_refused():
    flag = np.zeros((3, 5), bool)
    flag[1] = True
    assert io.usable("a", _visibilities(flag=flag)).metadata["notes"][-1] == "channels 1 hold no usable visibility: flagged"
    with pytest.raises(InputError, match=r"a: no visibility can be used, all are flagged or refused \(made\)"):
        io.usable("a", _visibilities(flag=np.ones((3, 5), bool)))


def test_writing_again_replaces_the_store(tmp_path):
    io.write(tmp_path / "a.zarr", _visibilities(seed=1))
    io.write(tmp_path / "a.zarr", _visibilities(seed=2, n_chan=4))
    np.testing.assert_array_equal(io.read(tmp_path / "a.zarr").vis, _visibilities(seed=2, n_chan=4).vis)
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="does not exist"):
        io.read(tmp_path / "a.zarr")
