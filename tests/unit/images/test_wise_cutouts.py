"""WISE cutouts from a server on this machine that plays unWISE: galaxies in the middle, fluxes kept, gaps masked, pieces restarted."""

import gzip
import io
import tarfile

import numpy as np
import pandas as pd
import pytest
from playing_unwise import FLUX, NOISE, packed, tile_wcs
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galmass.errors import InputError
from galmass.images import store, wise_cutouts
from galmass.integrity import Manifest
from galmass.transport import Policy, Transport

OPTIONS = {"n_pix": 24, "bands": ["w1", "w2", "w3"], "version": "allwise", "batch": 4, "max_missing": 0.2}
CATALOGUE = pd.DataFrame({"galaxy_id": [f"g{i}" for i in range(10)], "ra": np.linspace(10, 10.4, 10), "dec": np.linspace(0.2, 0.31, 10)})


@pytest.fixture(scope="module")
def running():
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield server


class Player:
    """unWISE."""

    def __init__(self, server, monkeypatch):
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.clear()
        server.expect_request("/cutout_fits").respond_with_handler(self)
        self.address, self.asked, self.answer = server.url_for("/cutout_fits"), [], packed

    def __call__(self, request):
        known = request.args
        assert known["version"] == "allwise"
        assert (known["file_img_m"], known["file_invvar_m"]) == ("on", "on")
        self.asked.append(round(float(known["ra"]), 4))
        answer = self.answer(float(known["ra"]), float(known["dec"]), int(known["size"]), known["bands"])
        return answer if isinstance(answer, Response) else Response(answer, content_type="application/x-tgz")

    def download(self, folder, catalogue=CATALOGUE, **changes):
        policy = Policy(jitter=0.0, requests_per_minute=float("inf"), attempts=2, parallel=2, address=self.address)
        return wise_cutouts.download(catalogue, folder, OPTIONS | changes, Transport(policy, sleep=lambda s: None))


@pytest.fixture
def player(running, monkeypatch):
    return Player(running, monkeypatch)


def moments(image):
    """Flux and centre (x, y) of an image, from its middle [pixel]."""
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]] - (image.shape[0] - 1) / 2
    return image.sum(), (image * xx).sum() / image.sum(), (image * yy).sum() / image.sum()


def test_galaxies_are_in_the_middle_with_their_fluxes(player, tmp_path):
    pieces = player.download(tmp_path)
    table = wise_cutouts.assemble(CATALOGUE, pieces, tmp_path / "images.zarr", OPTIONS, {"sample": "test"})
    cutouts = store.open(tmp_path / "images.zarr")
    cutouts.verify()
    assert cutouts.bands == ["w1", "w2", "w3"]
    assert cutouts.pixel_scale_arcsec == 2.75
    assert list(cutouts.galaxy_id) == list(CATALOGUE["galaxy_id"])
    image = cutouts.image(np.arange(10))
    assert image.shape == (10, 3, 24, 24)
    for galaxy in image:
        for i, band in enumerate((1, 2, 3)):
            flux, x, y = moments(galaxy[i])
            # a Gaussian of 2.6 to 2.8 pixels loses 4e-5 of its flux beyond 12 pixels, its sampling 1e-10; float32 does the rest
            assert flux == pytest.approx(FLUX[band], rel=2e-4)
            assert abs(x) < 0.002
            assert abs(y) < 0.002
    assert (cutouts.mask(np.arange(10)) == 0).all()
    # shifting by a fraction of a pixel averages the noise of neighbours: an inverse variance of NOISE^-2 or more
    assert (cutouts.inverse_variance(np.arange(10)) >= NOISE**-2 * 0.99).all()
    assert (table["reason"] == "").all()
    assert list(table.columns) == list(wise_cutouts.columns())


def test_metadata(player, tmp_path):
    import zarr

    wise_cutouts.assemble(CATALOGUE, player.download(tmp_path), tmp_path / "images.zarr", OPTIONS, {"sample": "test"})
    known = dict(zarr.open_group(str(tmp_path / "images.zarr"), mode="r").attrs)
    for key, value in {"instrument": "WISE", "release": "unWISE allwise", "magnitude_system": "Vega", "zero_point": 22.5, "sample": "test"}.items():
        assert known[key] == value


def test_pieces_are_not_asked_for_again(player, tmp_path):
    pieces = player.download(tmp_path)
    assert len(player.asked) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(path.name for path in pieces), "manifest.jsonl"])
    assert player.download(tmp_path) == pieces
    assert len(player.asked) == 10
    player.download(tmp_path, n_pix=16)
    assert len(player.asked) == 20
    entries = Manifest(tmp_path / "manifest.jsonl").entries()
    assert {entry["release"] for entry in entries} == {"unWISE allwise"}


def test_download_killed_at_half_goes_on(player, tmp_path):
    player.answer = lambda *place: packed(*place) if len(player.asked) <= 6 else Response("", 503)
    with pytest.raises(InputError, match="status 503; run again later"):
        player.download(tmp_path)
    assert len(list(tmp_path.glob("piece.*.npz"))) == 1
    before, player.answer = set(player.asked[:6]), packed
    player.asked.clear()
    pieces = player.download(tmp_path)
    assert not before & set(player.asked)
    whole = wise_cutouts.assemble(CATALOGUE, pieces, tmp_path / "a.zarr", OPTIONS)
    assert (whole["reason"] == "").all()


def test_store_is_that_of_an_uninterrupted_run(player, tmp_path):
    for folder, batch in (("a", 4), ("b", 7)):
        wise_cutouts.assemble(CATALOGUE, player.download(tmp_path / folder, batch=batch), tmp_path / folder / "images.zarr", OPTIONS)
    one, other = (store.open(tmp_path / folder / "images.zarr") for folder in "ab")
    np.testing.assert_array_equal(one.image(np.arange(10)), other.image(np.arange(10)))


def test_galaxies_without_an_image_and_at_the_edge(player, tmp_path):
    catalogue = CATALOGUE.copy()
    half = 1024 * 2.75 / 3600
    catalogue.loc[2, "dec"] = 0.25 + half - 2.75 * 4 / 3600  # four rows from the edge of the coadd: a third of the stamp is missing
    catalogue.loc[3, "dec"] = 0.25 + half - 2.75 * 10.5 / 3600  # one row or two are missing
    lost = round(catalogue["ra"][5], 4)
    player.answer = lambda ra, *place: Response("no coverage", 404) if round(ra, 4) == lost else packed(ra, *place)
    table = wise_cutouts.assemble(catalogue, player.download(tmp_path, catalogue), tmp_path / "images.zarr", OPTIONS)
    assert table["reason"].tolist() == ["", "", "edge or gap", "", "", "no image", "", "", "", ""]
    cutouts = store.open(tmp_path / "images.zarr")
    mask, image, inverse_variance = (array([2, 3, 5]) for array in (cutouts.mask, cutouts.image, cutouts.inverse_variance))
    assert table["missing_w1"][2] == pytest.approx(mask[0, 0].mean())
    assert 0.25 < mask[0, 0].mean() < 0.42
    assert 0 < mask[1, 0].mean() < 0.1
    assert mask[0, 0, -3:].all()
    assert not mask[0, 0, :12].any()
    assert mask[2].all()
    assert (image[mask == 1] == 0).all()
    assert (inverse_variance[mask == 1] == 0).all()


def test_a_service_that_has_moved_is_no_survey_without_images(player, tmp_path):
    player.answer = lambda *place: Response("gone", 404)
    with pytest.raises(InputError, match=r"/cutout_fits is not there any more \(status 404.*\(archives\.unwise\.address\): none of 4 files is there"):
        player.download(tmp_path)
    assert not list(tmp_path.glob("piece.*.npz"))
    assert Manifest(tmp_path / "manifest.jsonl").entries() == []
    player.answer = packed
    table = wise_cutouts.assemble(CATALOGUE, player.download(tmp_path), tmp_path / "images.zarr", OPTIONS)
    assert (table["reason"] == "").all()


def test_a_single_galaxy_may_have_no_image(player, tmp_path):
    player.answer = lambda *place: Response("no coverage", 404)
    one = CATALOGUE.iloc[:1]
    table = wise_cutouts.assemble(one, player.download(tmp_path, one), tmp_path / "images.zarr", OPTIONS)
    assert table["reason"].tolist() == ["no image"]


def test_the_coadd_that_holds_the_stamp_is_taken():
    half = 1024 * 2.75 / 3600
    ra, dec = 10.2, 0.25 + half - 3 * 2.75 / 3600
    both = (((10.2, 0.25), "0102p002"), ((10.2, 0.25 + 2 * half - 60 * 2.75 / 3600), "0102p017"))
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        for i, tiles in enumerate((both, both[::-1], both[:1])):
            path = Path(folder) / f"{i}.tar.gz"
            path.write_bytes(packed(ra, dec, 48, tiles=tiles))
            image, _, mask = wise_cutouts.read(path, ra, dec, OPTIONS)
            assert mask.any() == (i == 2)
            if i < 2:
                assert moments(image[0])[0] == pytest.approx(FLUX[1], rel=2e-4)


def test_a_band_that_is_missing_is_masked(tmp_path):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(packed(10.2, 0.25, 48, "13"))
    image, inverse_variance, mask = wise_cutouts.read(path, 10.2, 0.25, OPTIONS)
    np.testing.assert_array_equal(mask.all((1, 2)), [False, True, False])
    assert (image[1] == 0).all()
    assert (inverse_variance[1] == 0).all()


def test_pixels_that_are_no_numbers_are_masked():
    header = tile_wcs((10.2, 0.25), 61).to_header()
    image, inverse_variance = np.ones((61, 61)), np.ones((61, 61))
    image[30, 25], inverse_variance[40, 30], inverse_variance[20, 30] = np.nan, 0, -1
    tile = wise_cutouts.Tile(image, inverse_variance, header)
    stamp, weight, mask = wise_cutouts.stamp([tile], 10.2, 0.25, 25)
    for y, x in ((12, 7), (22, 12), (2, 12)):
        assert mask[y, x]
    assert not mask[12, 12]
    assert np.isfinite(stamp).all()
    np.testing.assert_allclose(stamp[~mask], 1.0, atol=1e-9)
    assert (weight[mask] == 0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>busy", "a web page came in place of the file"),
        (packed(10, 0.2, 48)[:-400], "the gzip stream is not whole"),
        (b"", "an empty answer came"),
        (packed(10, 0.2, 48, MAGZP=25.0), r"coadd 0102p002 in w1 has magnitude 25.0, not 22.5; are these unWISE's images"),
        (gzip.compress(b"no tar"), "is no archive of unWISE"),
    ],
    ids=["web page", "cut", "empty", "other unit", "no tar"],
)
def test_answers_that_cannot_be_trusted(player, tmp_path, content, message):
    player.answer = lambda *place: content
    with pytest.raises(InputError, match=message):
        player.download(tmp_path)
    assert not list(tmp_path.glob("*.npz"))


def test_image_without_inverse_variance(tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(packed(10.2, 0.25, 48, "1"))) as source, tarfile.open(path, "w:gz") as archive:
        member = source.getmembers()[0]
        archive.addfile(member, source.extractfile(member))
    with pytest.raises(InputError, match="has not both an image and an inverse variance of one size"):
        wise_cutouts.read(path, 10.2, 0.25, OPTIONS)


def test_damaged_piece_is_named(player, tmp_path):
    pieces = player.download(tmp_path)
    pieces[1].write_bytes(pieces[1].read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"{pieces[1].name} cannot be read .*; delete it and run again"):
        wise_cutouts.assemble(CATALOGUE, pieces, tmp_path / "images.zarr", OPTIONS)
    assert not (tmp_path / "images.zarr").exists()


def test_stamps_wider_than_the_service_cuts():
    with pytest.raises(InputError, match="n_pix is 240; unWISE cuts at most 256 pixels, 24 of which are the margin"):
        wise_cutouts.remote_file(10.0, 0.0, OPTIONS | {"n_pix": 240})
