"""Text tables against the numbers written, the real ones against what their comments say, viscube grids against a plane put together here."""

import bz2
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.visibilities import io
from galmass.visibilities.tables import RAD_TO_ARCSEC

REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "uvtables"
real = pytest.mark.skipif(not REAL.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with uvtables")

ROWS = np.array([[1e5, -2e5, 0.5, 0.1, 4.0], [-3e4, 7e3, 0.2, -0.3, 2.0], [10.0, 20.0, 1.0, 0.0, 1.0]])


def _table(path, rows=ROWS, comments="", delimiter=" "):
    text = comments + "\n".join(delimiter.join(f"{x:.17g}" for x in row) for row in rows) + "\n"
    opened = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    with opened(path, "wt") as file:
        file.write(text)
    return path


@pytest.mark.parametrize(("ending", "delimiter"), [(".txt", " "), (".txt.gz", " "), (".dat.bz2", " "), (".csv", ",")])
def test_numbers_come_back(tmp_path, ending, delimiter):
    visibilities = io.read(_table(tmp_path / f"a{ending}", delimiter=delimiter), frequency_hz=2.3e11)
    np.testing.assert_array_equal(visibilities.u, ROWS[:, 0])
    np.testing.assert_array_equal(visibilities.v, ROWS[:, 1])
    np.testing.assert_array_equal(visibilities.vis, [ROWS[:, 2] + 1j * ROWS[:, 3]])
    np.testing.assert_array_equal(visibilities.weight, [ROWS[:, 4]])
    assert visibilities.frequency.tolist() == [2.3e11]
    assert not visibilities.flag.any()


def test_units(tmp_path):
    """Metres times nu / c; a wavelength of 1 mm to the last bits."""
    frequency = 299792458e3
    plain = _table(tmp_path / "a.txt")
    np.testing.assert_allclose(io.read(plain, frequency_hz=frequency, units="m").u, ROWS[:, 0] * 1e3, rtol=1e-15)
    np.testing.assert_allclose(io.read(plain, frequency_hz=frequency, units="klambda").v, ROWS[:, 1] * 1e3, rtol=1e-15)
    stated = _table(tmp_path / "b.txt", comments="# u [m], v [m], Re [Jy]\n")
    np.testing.assert_allclose(io.read(stated, frequency_hz=frequency).u, ROWS[:, 0] * 1e3, rtol=1e-15)
    assert "u, v in m as the comments say" in io.read(stated, frequency_hz=frequency).metadata["notes"]
    with pytest.raises(InputError, match=r"the option units says lambda, the table's comments \[m\]"):
        io.read(stated, frequency_hz=frequency, units="lambda")
    with pytest.raises(InputError, match="units = 'feet'; it must be one of lambda, klambda, m"):
        io.read(plain, frequency_hz=frequency, units="feet")
    with pytest.raises(InputError, match=r"u in \[ft\], an unknown unit; give the option units"):
        io.read(_table(tmp_path / "c.txt", comments="# u [ft] v [ft]\n"), frequency_hz=frequency)


def test_frequency_is_asked_for_by_name(tmp_path):
    with pytest.raises(InputError, match="give the option frequency_hz"):
        io.read(_table(tmp_path / "a.txt"))
    with pytest.raises(InputError, match="frequency_hz = 230 looks like GHz"):
        io.read(_table(tmp_path / "a.txt"), frequency_hz=230.0)
    stated = io.read(_table(tmp_path / "b.txt", comments="# wavelength[m] = 0.0013\n"))
    np.testing.assert_allclose(stated.frequency, 299792458 / 0.0013)


def test_bad_rows_are_flagged_and_counted(tmp_path):
    bad = [[np.nan, 0, 1, 1, 1], [0, 0, np.nan, 1, 1], [0, 0, 1, 1, 0], [0, 0, 1, 1, -2], [0, 0, 1, 1, np.inf]]
    visibilities = io.read(_table(tmp_path / "a.txt", np.vstack([ROWS, bad])), frequency_hz=2.3e11)
    assert visibilities.flag.tolist() == [[False] * 3 + [True] * 5]
    for array in (visibilities.u, visibilities.v, visibilities.vis, visibilities.weight):
        assert np.isfinite(array).all()
    notes = " ".join(visibilities.metadata["notes"])
    assert "3 samples refused: visibility or weight is NaN" in notes
    assert "2 samples refused: weight zero or negative" in notes
    with pytest.raises(InputError, match="no visibility can be used"):
        io.read(_table(tmp_path / "b.txt", bad), frequency_hz=2.3e11)


def test_what_is_no_table(tmp_path):
    (tmp_path / "a.txt").write_text("u v Re Im w\n1 2 3 4 5\n")
    with pytest.raises(InputError, match="no table of numbers"):
        io.read(tmp_path / "a.txt", frequency_hz=2.3e11)
    with pytest.raises(InputError, match="has 4 columns"):
        io.read(_table(tmp_path / "b.txt", ROWS[:, :4]), frequency_hz=2.3e11)
    (tmp_path / "c.txt.bz2").write_bytes(bz2.compress(b"1 2 3 4 5\n" * 9)[:20])
    with pytest.raises(InputError, match="no table of numbers"):
        io.read(tmp_path / "c.txt.bz2", frequency_hz=2.3e11)
    (tmp_path / "d.txt").write_text("# nothing\n")
    with pytest.warns(UserWarning, match="no data"), pytest.raises(InputError, match="has 0 columns"):
        io.read(tmp_path / "d.txt", frequency_hz=2.3e11)


def test_conjugation_by_option(tmp_path):
    path = _table(tmp_path / "a.txt")
    as_is, turned = (io.read(path, frequency_hz=2.3e11, phase_sign=sign) for sign in (-1, 1))
    np.testing.assert_array_equal(turned.vis, as_is.vis.conj())
    assert "conjugated" in " ".join(turned.metadata["notes"])
    assert "taken for granted" in " ".join(as_is.metadata["notes"])


@real
@pytest.mark.parametrize(
    ("name", "options", "n_vis", "unit", "reach"),
    [
        ("frank_test_datafile.txt", {"frequency_hz": 2.4e11}, 196, "lambda", (4e6, 1e7)),  # DSHARP: 5 to 12 km at 1.25 mm
        ("frank_multi_ring_C43_6.txt.bz2", {}, 54180, "lambda", (1e6, 2e6)),  # C43-6: 2.5 km at 1.3 mm
        ("galario_uvtable.txt", {"frequency_hz": 3e11}, 13923, "m", (3e5, 1e6)),
    ],
)
def test_real_tables(name, options, n_vis, unit, reach):
    visibilities = io.read(REAL / name, **options)
    assert visibilities.vis.shape == (1, n_vis)
    assert f"u, v in {unit} as the comments say" in visibilities.metadata["notes"]
    assert reach[0] < np.hypot(visibilities.u, visibilities.v).max() < reach[1]
    assert not visibilities.flag.any()


N_PIX, N_CHAN, DELTA_U = 9, 2, 5000.0


def _plane(seed=5):
    """Hermitian full plane (n_chan, row, u), its errors, and the mask of filled cells; viscube's rows run from v > 0 to v < 0."""
    rng = np.random.default_rng(seed)
    shape = (N_CHAN, N_PIX, N_PIX)
    vis = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    std = rng.uniform(1, 2, shape) + 1j * rng.uniform(1, 2, shape)
    mask = rng.random(shape) < 0.3
    mask[:, 4, 4] = False
    turn = (slice(None), slice(None, None, -1), slice(None, None, -1))
    std, mask = std + std[turn], mask | mask[turn]
    return np.where(mask, vis + vis[turn].conj(), 0), np.where(mask, std, 1), mask


def _npz(path, half=True, edit=None, **extra):
    vis, std, mask = _plane()
    rows = slice(N_PIX // 2, None) if half else slice(None)
    content = {
        "npix": N_PIX,
        "fov_arcsec": 206265 / DELTA_U,
        "delta_u": DELTA_U,
        "vis_bin_re": vis.real[:, rows],
        "vis_bin_imag": vis.imag[:, rows],
        "std_bin_re": std.real[:, rows],
        "std_bin_imag": std.imag[:, rows],
        "mask": mask[:, rows].copy(),
        "chan_freq_hz": np.array([2.30e11, 2.31e11]),
    }
    if half:  # viscube masks and zeroes the left half of the row v = 0
        for name in ("mask", "vis_bin_re", "vis_bin_imag"):
            content[name] = content[name].copy()
            content[name][:, 0, : N_PIX // 2] = 0
        content |= {"half_plane": True, "taper_map": np.outer(np.hanning(N_PIX), np.hanning(N_PIX)), "window": "kaiser_bessel", "window_m": 1}
    content |= extra
    if edit:
        edit(content)
    np.savez(path, **content)
    return path


@pytest.mark.parametrize("half", [True, False])
def test_each_independent_cell_comes_once(tmp_path, half):
    visibilities = io.read(_npz(tmp_path / "a.npz", half))
    vis, std, mask = _plane()
    # of each pair (u, v), (-u, -v) one: v < 0, or v = 0 and u > 0
    row, column = np.indices((N_PIX, N_PIX))
    v, u = N_PIX // 2 - row, column - N_PIX // 2
    wanted = {(a, b) for a, b in zip(u[mask.any(0)], v[mask.any(0)], strict=True) if b < 0 or (b == 0 and a > 0)}
    cells = [(int(a), int(b)) for a, b in zip(visibilities.u / DELTA_U, visibilities.v / DELTA_U, strict=True)]
    assert len(cells) == len(set(cells))
    assert set(cells) == wanted
    for k, (a, b) in enumerate(cells):
        place = (slice(None), N_PIX // 2 - b, a + N_PIX // 2)
        there = mask[place]
        np.testing.assert_array_equal(visibilities.flag[:, k], ~there)
        np.testing.assert_array_equal(visibilities.vis[there, k], vis[place][there])
        np.testing.assert_array_equal(visibilities.std[there, k], std[place][there])
        np.testing.assert_allclose(visibilities.weight[there, k], 2 / np.abs(std[place][there]) ** 2)
    assert (visibilities.weight[visibilities.flag] == 0).all()
    assert mask[0].sum() == 2 * (~visibilities.flag[0]).sum()  # the rest of the full plane is its mirror


@pytest.mark.parametrize("half", [True, False])
def test_north_stays_north(tmp_path, half):
    """A point source in viscube's layout, whose `uv_grid_to_fft_image_convention` turns the axis of v."""
    east, north = np.radians(np.array([2.0, 5.0]) / 3600)
    v, u = DELTA_U * (N_PIX // 2 - np.arange(N_PIX)), DELTA_U * (np.arange(N_PIX) - N_PIX // 2)
    wave = np.exp(-2j * np.pi * (u[None, :] * east + v[:, None] * north))
    rows = slice(N_PIX // 2, None) if half else slice(None)
    parts = {"vis_bin_re": wave.real, "vis_bin_imag": wave.imag}
    parts = {name: np.broadcast_to(part[rows], (N_CHAN, *part[rows].shape)) for name, part in parts.items()}
    visibilities = io.read(_npz(tmp_path / "a.npz", half, **parts))
    expected = np.exp(-2j * np.pi * (visibilities.u * east + visibilities.v * north))
    for found, flag in zip(visibilities.vis, visibilities.flag, strict=True):
        np.testing.assert_allclose(found[~flag], expected[~flag], atol=1e-12)


def test_grid_is_described(tmp_path):
    visibilities = io.read(_npz(tmp_path / "a.npz"))
    grid = visibilities.metadata["grid"]
    assert grid["n_pix"] == N_PIX
    assert grid["half_plane"] is True
    assert grid["window"] == "kaiser_bessel"
    np.testing.assert_allclose(grid["cell_arcsec"] * N_PIX * DELTA_U / RAD_TO_ARCSEC, 1, rtol=1e-15)
    np.testing.assert_array_equal(visibilities.taper, np.outer(np.hanning(N_PIX), np.hanning(N_PIX)))
    assert io.read(_npz(tmp_path / "b.npz", half=False)).taper is None
    io.write(tmp_path / "a.zarr", visibilities)
    assert io.read(tmp_path / "a.zarr").metadata["grid"] == grid


def test_conjugation_of_a_grid_by_option(tmp_path):
    path = _npz(tmp_path / "a.npz")
    as_is, turned = (io.read(path, phase_sign=sign) for sign in (-1, 1))
    np.testing.assert_array_equal(turned.vis, as_is.vis.conj())
    np.testing.assert_array_equal(turned.std, as_is.std)  # errors of the parts, no complex number


def test_channels_of_a_grid_are_sorted(tmp_path):
    ascending = io.read(_npz(tmp_path / "a.npz"))
    descending = io.read(_npz(tmp_path / "b.npz", chan_freq_hz=np.array([2.31e11, 2.30e11])))
    np.testing.assert_array_equal(descending.vis, ascending.vis[::-1])
    np.testing.assert_array_equal(descending.frequency, ascending.frequency)
    assert "channels reversed" in descending.metadata["notes"][0]


def test_cells_without_an_error_are_flagged(tmp_path):
    def spoil(content):
        for value, place in zip((np.nan, 0.0, np.inf), np.argwhere(content["mask"]), strict=False):
            content["std_bin_re"][tuple(place)] = value

    good, bad = io.read(_npz(tmp_path / "a.npz")), io.read(_npz(tmp_path / "b.npz", edit=spoil))
    assert bad.flag.sum() == good.flag.sum() + 3
    assert "3 cells refused" in bad.metadata["notes"][0]
    assert np.isfinite(bad.weight).all()


def _break(key, value):
    return lambda content: content.update({key: value})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_break("apo_map", np.ones((N_PIX, N_PIX))), "carries apo_map"),
        (lambda content: content.pop("std_bin_re"), "lacks std_bin_re"),
        (_break("chan_freq_hz", np.array([230.0, 231.0])), "looks like GHz"),
        (_break("chan_freq_hz", np.array([2.3e11, 2.3e11])), "two channels lie at"),
        (_break("npix", 8), "npix = 8 is even"),
        (_break("npix", 11), "not that of the grid"),
        (_break("vis_bin_re", np.ones((N_CHAN, 4, 9))), "go with npix = 9"),
        (_break("delta_u", 2 * DELTA_U), "does not go with fov_arcsec"),
        (_break("taper_map", np.ones((3, 3))), "not that of the grid"),
        (lambda content: content["mask"].fill(False), "no visibility can be used"),
    ],
)
def test_grids_that_cannot_be_used(tmp_path, edit, message):
    with pytest.raises(InputError, match=message):
        io.read(_npz(tmp_path / "a.npz", edit=edit))


def test_full_plane_that_is_not_hermitian(tmp_path):
    def spoil(content):
        content["mask"][0, 8, 8] = ~content["mask"][0, 8, 8]

    with pytest.raises(InputError, match="the mask of the full plane is not symmetric"):
        io.read(_npz(tmp_path / "a.npz", half=False, edit=spoil))


def test_half_plane_with_cells_left_of_the_centre_only(tmp_path):
    def spoil(content):
        content["mask"][:, 0] = False
        content["mask"][0, 0, 1] = True

    with pytest.raises(InputError, match="without their partners"):
        io.read(_npz(tmp_path / "a.npz", edit=spoil))


def test_broken_npz(tmp_path):
    path = _npz(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"no readable .npz"):
        io.read(path)
    path.write_text("<html>")
    with pytest.raises(InputError, match=r"no readable .npz"):
        io.read(path)
