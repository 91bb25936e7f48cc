"""Sersic indices by position, from FITS files as the NYU-VAGC has them."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from playing_archives import galaxies, sersic_files

from galmass.catalogues import nyu_vagc
from galmass.errors import InputError
from galmass.transport import Answer, Policy, Transport

RAW = galaxies(40)


def test_indices_of_the_right_galaxies(tmp_path):
    objects = nyu_vagc.read(sersic_files(RAW, tmp_path / "vagc"))
    assert list(objects.columns) == list(nyu_vagc.COLUMNS)
    table, unmatched = nyu_vagc.match(RAW, objects)
    assert unmatched == 1
    assert table.iloc[-1].isna().all()
    np.testing.assert_allclose(table["sersic_n_z"][:-1], 1.04 + np.arange(39) * 0.1, rtol=1e-6)  # float32
    np.testing.assert_array_equal(table["sersic_n_r"].isna(), [i in (0, 39) for i in range(40)])
    assert nyu_vagc.match(RAW, objects, 0.2)[1] == 40


def test_files_that_do_not_belong_together(tmp_path):
    with pytest.raises(InputError, match="positions have 39 rows, the Sersic fits 38"):
        nyu_vagc.read(sersic_files(RAW, tmp_path / "a", n_missing=1))
    with pytest.raises(InputError, match=r"of shape \(3,\); both must be of one version"):
        nyu_vagc.read(sersic_files(RAW, tmp_path / "b", n_band=3))
    with pytest.raises(InputError, match=r"object_sdss_imaging.fits has no column RA"):
        nyu_vagc.read(tmp_path)
    folder = sersic_files(RAW, tmp_path / "c")
    Table({"SERSIC": [1.0]}).write(folder / "sersic_catalog.fits", overwrite=True)
    with pytest.raises(InputError, match=r"sersic_catalog.fits has no column SERSIC_N"):
        nyu_vagc.read(folder)


def test_download(tmp_path):
    source = sersic_files(RAW, tmp_path / "archive")

    def send(request):
        content = (source / request.url.rsplit("/", 1)[1]).read_bytes()
        return Answer(200, {"content-length": str(len(content))}, [content])

    nyu_vagc.download(tmp_path / "came", Transport(Policy(requests_per_minute=float("inf")), send))
    pd.testing.assert_frame_equal(nyu_vagc.read(tmp_path / "came"), nyu_vagc.read(source))
    cut = Transport(Policy(attempts=1), lambda r: Answer(200, {}, [b"SIMPLE  =" + b" " * 3000]))
    with pytest.raises(InputError, match="3009 bytes are no whole number of FITS blocks"):
        cut.fetch(nyu_vagc.remote_file(nyu_vagc.FITS), tmp_path / "x")
