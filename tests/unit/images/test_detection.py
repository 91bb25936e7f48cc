"""Extended sources among stars: which are taken, where they lie, how large they are."""

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import RUN, Source, hdus, wcs, write

pytest.importorskip("sep", reason="sep is not installed")

from galmass.errors import InputError
from galmass.images import detection, frames

OPTIONS = {"mag_range": [15.5, 19.5], "min_size": 1.3, "edge": 20}
SEEING = 0.5  # arcsec, standard deviation of the stars
GALAXIES = [(60.2, 70.9, 18.0), (140.7, 120.1, 16.0), (200.0, 40.0, 19.0), (150.0, 200.0, 21.0), (10.0, 100.0, 17.0), (220.0, 190.0, 14.0)]


def flux(magnitude: float) -> float:
    return 10 ** (0.4 * (22.5 - magnitude))


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """A field of 30 stars on a grid and six galaxies: one too faint, one at the edge, one too bright."""
    stars = [(x, y, 16.5 + 0.1 * i) for i, (x, y) in enumerate((x, y) for x in range(35, 260, 40) for y in range(25, 220, 40))]
    sources = [Source(*wcs("r").wcs_pix2world(x, y, 0), flux(m), SEEING) for x, y, m in stars]
    sources += [Source(*wcs("r").wcs_pix2world(x, y, 0), flux(m), 2 * SEEING) for x, y, m in GALAXIES]
    return frames.read(write(tmp_path_factory.mktemp("frames"), "r", hdus("r", sources, 5)))


def test_radius_of_the_stars(frame):
    # a Gaussian holds half of its flux within 1.1774 standard deviations
    assert detection.seeing_radius(detection.sources(frame)) == pytest.approx(1.1774 * SEEING, rel=0.04)


def test_galaxies_are_told_from_stars(frame):
    table = detection.extended(frame, OPTIONS)
    assert list(table) == list(detection.COLUMNS)
    expected = [GALAXIES[i] for i in (1, 0, 2)]
    np.testing.assert_allclose(table[["colc_r", "rowc_r"]] - 0.5, [g[:2] for g in expected], atol=0.1)
    np.testing.assert_allclose(np.transpose(frame.wcs.wcs_world2pix(table["ra"], table["dec"], 0)), table[["colc_r", "rowc_r"]] - 0.5, atol=1e-6)
    # 2.5 Kron radii hold 96 % and more of a Gaussian
    np.testing.assert_allclose(table["kron_mag_r"], [g[2] for g in expected], atol=0.1)
    np.testing.assert_allclose(table["r50_r"], 1.1774 * 2 * SEEING, rtol=0.1)
    np.testing.assert_allclose(table["axis_ratio_r"], 1, atol=0.1)
    assert (table["run"] == RUN).all()
    assert table["galaxy_id"].is_unique


def test_too_few_sources(tmp_path):
    with pytest.raises(InputError, match="only 0 well-measured sources"):
        detection.extended(frames.read(write(tmp_path, "r", hdus("r"))), OPTIONS)


def sights(rows) -> pd.DataFrame:
    """Rows (ra [arcsec], field, rowc_r, kron_mag_r) as a table of sources."""
    table = pd.DataFrame(rows, columns=["ra", "field", "rowc_r", "kron_mag_r"]).assign(ra=lambda t: 10 + t["ra"] / 3600)
    table["galaxy_id"] = [f"SDSS {i}" for i in range(len(table))]
    return table.assign(**{name: 0.0 for name in detection.COLUMNS if name not in table})[list(detection.COLUMNS)]


def test_a_source_of_two_fields_is_kept_once_where_it_lies_farther_from_the_edge():
    """Sights 0.3 arcsec apart have two names; a neighbour 5 arcsec off, and one beside it in the same field, stay."""
    table = sights([(0.0, 1, 1450.0, 15.0), (0.3, 2, 89.0, 15.1), (5.0, 2, 80.0, 14.0), (50.0, 1, 700.0, 16.0)])
    found, repeated = detection.once(table)
    assert repeated == 1
    assert found["galaxy_id"].tolist() == ["SDSS 2", "SDSS 1", "SDSS 3"]
    assert list(found.columns) == list(detection.COLUMNS)
    again, none = detection.once(found)
    assert none == 0
    pd.testing.assert_frame_equal(again, found)
