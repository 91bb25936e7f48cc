"""MeasurementSets written here with casacore from the geometry of plane waves, and a real one against its UVFITS twin."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.constants import c

from galmass.errors import InputError
from galmass.visibilities import io

tables = pytest.importorskip("casacore.tables", reason="python-casacore is not installed")

FREQUENCY, WIDTH, N_CHAN = 2.3e11, 2e6, 4
EAST, NORTH, FLUX = 3e-6, -5e-6, 0.7  # rad, rad, Jy
XX, XY, YX, YY, RR, LL = 9, 10, 11, 12, 5, 8
REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "uv_evla"
real = pytest.mark.skipif(not REAL.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with uv_evla")


def _describe(name, kind):
    return tables.makearrcoldesc(name, 0, ndim=2, valuetype=kind)


def _write(path, corr=(XX, XY, YX, YY), windows=((FREQUENCY, WIDTH),), fields=("NGC 1",), spectrum=True, corrected=False, edit=None, diameters=None):
    """A snapshot of all pairs of five antennas in each window and field; `edit` changes the table before it is closed."""
    columns = [_describe("DATA", "complex")] + [_describe("WEIGHT_SPECTRUM", "float")] * spectrum + [_describe("CORRECTED_DATA", "complex")] * corrected
    main = tables.default_ms(str(path), tables.maketabdesc(columns))
    _fill_small(path, corr, windows, fields, diameters or [12.0] * 5)
    positions = np.random.default_rng(3).normal(size=(5, 2)) * 300
    first, second = np.triu_indices(5, 0)  # with autocorrelations
    row = 0
    for window, (start, step) in enumerate(windows):
        for field in range(len(fields)):
            main.addrows(len(first))
            frequency = start + step * np.arange(N_CHAN)
            delay = positions @ [EAST, NORTH] / c.value  # where the source is nearer, the wave is ahead
            wave = np.sqrt(FLUX) * np.exp(2j * np.pi * delay[:, None] * frequency)
            vis = wave[first] * wave[second].conj() * (1 + field)
            data = np.repeat(vis[:, :, None], len(corr), axis=2)
            data[:, :, [k for k, code in enumerate(corr) if code in (XY, YX)]] += 50
            baseline = positions[first] - positions[second]
            values = {
                "DATA": data,
                "UVW": np.column_stack([baseline, 0 * first]),
                "FLAG": np.zeros(data.shape, bool),
                "WEIGHT": np.full((len(first), len(corr)), 3.0),
                "ANTENNA1": first,
                "ANTENNA2": second,
                "DATA_DESC_ID": np.full(len(first), window),
                "FIELD_ID": np.full(len(first), field),
                "FLAG_ROW": np.zeros(len(first), bool),
                "TIME": np.full(len(first), 5e9),
            }
            values |= {"WEIGHT_SPECTRUM": np.full(data.shape, 2.0)} if spectrum else {}
            values |= {"CORRECTED_DATA": 2 * data} if corrected else {}
            for name, value in values.items():
                main.putcol(name, value, startrow=row, nrow=len(first))
            row += len(first)
    if edit:
        edit(main)
    main.close()
    return path


def _fill_small(path, corr, windows, fields, diameters):
    def fill(name, rows):
        with tables.table(f"{path}/{name}", readonly=False, ack=False) as table:
            table.addrows(len(rows))
            for k, row in enumerate(rows):
                for column, value in row.items():
                    table.putcell(column, k, value)

    steps = [start + step * np.arange(N_CHAN) for start, step in windows]
    fill("SPECTRAL_WINDOW", [{"CHAN_FREQ": f, "CHAN_WIDTH": np.full(N_CHAN, abs(f[1] - f[0])), "MEAS_FREQ_REF": 1, "NUM_CHAN": N_CHAN} for f in steps])
    fill("DATA_DESCRIPTION", [{"SPECTRAL_WINDOW_ID": k, "POLARIZATION_ID": 0} for k in range(len(windows))])
    fill("POLARIZATION", [{"CORR_TYPE": np.array(corr, np.int32), "NUM_CORR": len(corr)}])
    fill("FIELD", [{"NAME": name, "PHASE_DIR": np.array([[-1.0, 0.2]]), "SOURCE_ID": 0} for name in fields])
    fill("ANTENNA", [{"POSITION": np.array([2225e3, -5440e3, -2481e3]), "DISH_DIAMETER": d} for d in diameters])
    fill("OBSERVATION", [{"TELESCOPE_NAME": "ALMA"}])


def _expected(visibilities):
    return FLUX * np.exp(-2j * np.pi * (visibilities.u * EAST + visibilities.v * NORTH))


@pytest.mark.parametrize("corr", [(XX, XY, YX, YY), (XX, YY), (RR, LL), (YY,)])
def test_source_has_the_phase_of_the_convention(tmp_path, corr):
    """From delays of a plane wave, with UVW = x1 - x2 and V = <E1 E2*>; complex64 numbers of about 1, good to 1e-7."""
    visibilities = io.read(_write(tmp_path / "a.ms", corr))
    assert visibilities.vis.shape == (N_CHAN, 10)
    np.testing.assert_allclose(visibilities.vis, _expected(visibilities), atol=3e-7)
    assert np.ptp(np.angle(visibilities.vis)) > 1  # radians: there is a phase to be wrong
    np.testing.assert_allclose(visibilities.weight, 4.0 if len(corr) > 1 else 2.0)
    assert visibilities.metadata == {
        "frame": "LSRK",
        "rest_frequency_hz": None,
        "phase_centre_deg": pytest.approx([360 - np.degrees(1.0), np.degrees(0.2)]),
        "dish_diameter_m": 12.0,
        "location_itrf_m": pytest.approx([2225e3, -5440e3, -2481e3]),
        "telescope": "ALMA",
        "source": "NGC 1",
        "notes": ["read DATA with WEIGHT_SPECTRUM", "conjugated: the file has exp(+2 pi i (u l + v m))", "5 rows are autocorrelations: left out"],
    }


def test_store_takes_what_was_read(tmp_path):
    visibilities = io.read(_write(tmp_path / "a.ms"))
    io.write(tmp_path / "a.zarr", visibilities)
    back = io.read(tmp_path / "a.zarr")
    assert back.metadata == visibilities.metadata
    np.testing.assert_array_equal(back.vis, visibilities.vis)


@pytest.mark.parametrize(("value", "kept"), [(230.538e9, 230.538e9), (0.0, None), (230.538, None)])
def test_rest_frequency_of_the_source_table(tmp_path, value, kept):
    path = _write(tmp_path / "a.ms")
    description = tables.maketabdesc([tables.makearrcoldesc("REST_FREQUENCY", 0.0, ndim=1)])
    with tables.default_ms_subtable("SOURCE", f"{path}/SOURCE", description) as source:
        source.addrows(2)
        for row, number in enumerate([7, 0]):  # the first is another source
            source.putcell("SOURCE_ID", row, number)
            source.putcell("SPECTRAL_WINDOW_ID", row, -1)
            source.putcell("REST_FREQUENCY", row, np.array([1.5e11 if number else value]))
    assert io.read(path).metadata["rest_frequency_hz"] == kept
    assert io.read(path, rest_frequency_hz=2.2e11).metadata["rest_frequency_hz"] == 2.2e11


def test_columns(tmp_path):
    path = _write(tmp_path / "a.ms", corrected=True)
    corrected, raw = io.read(path), io.read(path, column="DATA", weights="WEIGHT")
    np.testing.assert_array_equal(corrected.vis, 2 * raw.vis)
    np.testing.assert_allclose(raw.weight, 6.0)  # 4 / (1/3 + 1/3)
    assert raw.metadata["notes"][0] == "read DATA with WEIGHT"
    plain = _write(tmp_path / "b.ms", spectrum=False)
    np.testing.assert_allclose(io.read(plain).weight, 6.0)
    with pytest.raises(InputError, match="no column CORRECTED_DATA; it has DATA"):
        io.read(plain, column="CORRECTED_DATA")
    with pytest.raises(InputError, match="weights = 'WEIGHT_SPECTRUM'; it has WEIGHT"):
        io.read(plain, weights="WEIGHT_SPECTRUM")


def test_windows_and_fields_must_be_chosen(tmp_path):
    def weigh(main):
        main.putcol("WEIGHT_SPECTRUM", np.broadcast_to(np.arange(1.0, 5.0)[:, None], (main.nrows(), N_CHAN, 4)))

    path = _write(tmp_path / "a.ms", windows=((FREQUENCY, WIDTH), (FREQUENCY + 1e9, -WIDTH)), fields=("NGC 1", "NGC 2"), edit=weigh)
    with pytest.raises(InputError, match=r"choose by the option spw. There are 0: 4 channels, 230\.0000 to 230\.0060 GHz; 1: 4 channels, 230\.99"):
        io.read(path)
    with pytest.raises(InputError, match=r"choose by the option field. There are 0: NGC 1; 1: NGC 2"):
        io.read(path, spw=1)
    visibilities = io.read(path, spw=1, field="NGC 2")
    assert (np.diff(visibilities.frequency) > 0).all()
    assert "channels reversed" in visibilities.metadata["notes"][1]
    np.testing.assert_array_equal(visibilities.weight[:, 0], [8, 6, 4, 2])
    np.testing.assert_allclose(visibilities.vis, 2 * _expected(visibilities), atol=6e-7)
    np.testing.assert_array_equal(io.read(path, spw=1, field=1).vis, visibilities.vis)
    with pytest.raises(InputError, match=r"windows \[0, 1\] have other channels"):
        io.read(path, spw=[0, 1], field=0)


def test_executions_with_the_same_channels_are_read_as_one(tmp_path):
    path = _write(tmp_path / "a.ms", windows=((FREQUENCY, WIDTH), (FREQUENCY, WIDTH)))
    visibilities = io.read(path, spw=[0, 1])
    assert visibilities.vis.shape == (N_CHAN, 20)
    np.testing.assert_allclose(visibilities.vis, _expected(visibilities), atol=3e-7)


def test_bad_samples_are_flagged_and_counted(tmp_path):
    def spoil(main):
        data, flag, weight = (main.getcol(name) for name in ("DATA", "FLAG", "WEIGHT_SPECTRUM"))
        flag[1, 0] = True
        data[2, 1, 0] = np.nan
        weight[3, 2, [0, 3]] = [0, -1]
        flag[:, 3] = True
        for name, value in {"DATA": data, "FLAG": flag, "WEIGHT_SPECTRUM": weight}.items():
            main.putcol(name, value)
        main.putcell("FLAG_ROW", 4, True)

    visibilities = io.read(_write(tmp_path / "a.ms", edit=spoil))
    assert visibilities.flag.sum() == 1 + 1 + 3 + 10  # a sample, a weight, a row, a channel
    assert (visibilities.weight[visibilities.flag] == 0).all()
    np.testing.assert_allclose(visibilities.vis[~visibilities.flag], _expected(visibilities)[~visibilities.flag], atol=3e-7)
    notes = " ".join(visibilities.metadata["notes"])
    assert "1 samples refused: visibility or weight is NaN" in notes
    assert "2 samples refused: weight zero or negative" in notes
    assert "channels 3 hold no usable visibility" in notes


def test_all_flagged(tmp_path):
    def spoil(main):
        main.putcol("FLAG_ROW", np.ones(main.nrows(), bool))

    with pytest.raises(InputError, match=r"no visibility can be used.*80 samples of the parallel hands are flagged"):
        io.read(_write(tmp_path / "a.ms", edit=spoil))


def test_gigahertz(tmp_path):
    with pytest.raises(InputError, match="looks like GHz"):
        io.read(_write(tmp_path / "a.ms", windows=((230.0, 0.002),)))


def test_mixed_dishes_have_no_common_diameter(tmp_path):
    metadata = io.read(_write(tmp_path / "a.ms", diameters=[12.0, 12.0, 7.0, 7.0, 12.0])).metadata
    assert metadata["dish_diameter_m"] is None
    assert "dishes of 7, 12 m are mixed" in metadata["notes"][1]


def test_no_parallel_hands(tmp_path):
    with pytest.raises(InputError, match="no parallel hands"):
        io.read(_write(tmp_path / "a.ms", corr=(XY, YX)))


def test_broken_set(tmp_path):
    path = _write(tmp_path / "a.ms")
    (path / "table.dat").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no readable MeasurementSet"):
        io.read(path)


def test_empty_set(tmp_path):
    path = _write(tmp_path / "a.ms", edit=lambda main: main.removerows(range(main.nrows())))
    with pytest.raises(InputError, match="its main table is empty"):
        io.read(path)


def test_chunks_do_not_change_anything(tmp_path, monkeypatch):
    path = _write(tmp_path / "a.ms")
    whole = io.read(path)
    monkeypatch.setattr("galmass.visibilities.measurement_set.CHUNK", 1000)  # three rows
    np.testing.assert_array_equal(io.read(path).vis, whole.vis)


@pytest.fixture(scope="module")
def both():
    return [io.read(REAL / f"day2_TDEM0003_10s_norx_1src_1spw.{ending}") for ending in ("ms", "uvfits")]


@real
def test_both_forms_of_real_data_agree(both):
    """casacore copied complex64 numbers and weights: equal bit for bit; u, v went through seconds in float32 to metres in float64: 2e-16."""
    ms, uvfits = both
    for name in ("vis", "weight", "flag", "frequency", "time", "baseline"):
        np.testing.assert_array_equal(getattr(ms, name), getattr(uvfits, name))
    for name in ("u", "v"):
        np.testing.assert_allclose(getattr(ms, name), getattr(uvfits, name), rtol=1e-15)
    for name in ("frame", "source", "telescope", "rest_frequency_hz"):
        assert ms.metadata[name] == uvfits.metadata[name]
    np.testing.assert_allclose(ms.metadata["phase_centre_deg"], uvfits.metadata["phase_centre_deg"], rtol=1e-12)
    assert ms.vis.shape == (64, 1360)


@real
def test_real_baselines_are_antenna_1_minus_antenna_2(both):
    """u, v [m] of the file against antenna positions turned by the hour angle; the hour angle that fits this file best is 3.4 deg off, 15 % shows the sign."""
    from astropy.time import Time

    ms = both[0]
    with tables.table(str(REAL / "day2_TDEM0003_10s_norx_1src_1spw.ms" / "ANTENNA"), ack=False) as antennas:
        position = antennas.getcol("POSITION")
    x, y, z = (position[ms.baseline // 65536] - position[ms.baseline % 65536]).T
    ra, dec = np.radians(ms.metadata["phase_centre_deg"])
    angle = Time(ms.time / 86400, format="mjd", scale="utc", location=("0d", "0d")).sidereal_time("mean").rad - ra
    u = np.sin(angle) * x + np.cos(angle) * y
    v = np.sin(dec) * (-np.cos(angle) * x + np.sin(angle) * y) + np.cos(dec) * z
    wavelength = c.value / ms.frequency[0]
    assert (u @ ms.u[0]) * wavelength / (u @ u) == pytest.approx(1, abs=0.15)
    assert (v @ ms.v[0]) * wavelength / (v @ v) == pytest.approx(1, abs=0.15)
