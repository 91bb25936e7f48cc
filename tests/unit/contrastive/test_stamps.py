"""Images as a network sees them: stretch, orientations, normalisation, bands and pixels of the right galaxy."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from scipy.special import ndtr

from galmass import stores
from galmass.contrastive.modalities import Images, Modality, sized, usable
from galmass.contrastive.sources import evenly, open_stores
from galmass.contrastive.stamps import ImageScaling, Stamps, interpolation, resampled, stretch, turned, unstretch
from galmass.errors import InputError
from galmass.images import store


@pytest.fixture(scope="module")
def ids() -> list[str]:
    return [f"J{i:03d}" for i in range(70)]  # three chunks of the store


@pytest.fixture(scope="module")
def pixels():
    """Optical (70, 3, 16, 16) and infrared (70, 1, 8, 8) images: float32, no two alike."""
    g = np.random.default_rng(0)
    return {"optical": g.normal(1, 5, (70, 3, 16, 16)).astype(np.float32), "infrared": g.normal(0, 1, (70, 1, 8, 8)).astype(np.float32)}


@pytest.fixture(scope="module")
def paths(tmp_path_factory, ids, pixels):
    folder = tmp_path_factory.mktemp("stores")
    for name, bands in (("optical", "ugr"), ("infrared", ["w1"])):
        image = pixels[name]
        with stores.replacing(folder / name) as part:
            writer = store.create(part, len(image), list(bands), image.shape[-1], 0.4 if name == "optical" else 0.8)
            writer.write(0, image, np.ones_like(image), np.zeros(image.shape), ids)
            writer.close()
    return {"optical": folder / "optical", "infrared": folder / "infrared"}


@pytest.fixture(scope="module")
def frame(ids):
    """Sixty-six of the galaxies, so that two threads take part, in another order than the store."""
    g = np.random.default_rng(1)
    table = {"galaxy_id": ids, "log_mass": g.uniform(9, 11, 70), "ebv": g.uniform(0, 0.1, 70)}
    table |= {f"petro_flux_{band}": g.lognormal(3, 1, 70) for band in "ugr"}
    return pd.DataFrame(table).sample(66, random_state=2).reset_index(drop=True)


def _modality(*images, name="I") -> Modality:
    return Modality(name, (), (), {"ebv": "linear"}, images)


PLAIN = _modality(Images("optical", ("r", "u"), 12))


def _plain(modality):
    return ImageScaling([0.0] * modality.n_band, [1.0] * modality.n_band, [1.0] * modality.n_band)


def _rows(frame) -> np.ndarray:
    return frame["galaxy_id"].str[1:].astype(int).to_numpy()


def test_stretch_is_sign_times_log():
    x = np.array([-1e4, -2.0, -0.1, 0.0, 1e-3, 3.0, 1e6])
    np.testing.assert_allclose(stretch(torch.tensor(x)), np.sign(x) * np.log(1 + np.abs(x)), rtol=1e-12)  # float64; 1 + 1e-3 loses three digits


def test_unstretch_is_its_inverse():
    x = torch.linspace(-50, 2000, 301, dtype=torch.float64)
    torch.testing.assert_close(unstretch(stretch(x)), x, rtol=1e-13, atol=1e-13)  # exp of a logarithm in float64


def test_stretch_has_a_slope_of_one_at_zero():
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    stretch(x + 1e-9).backward()
    assert x.grad.item() == pytest.approx(1, abs=1e-8)


def test_turned_is_one_of_the_eight_orientations_of_the_square():
    image = torch.arange(2 * 9.0).reshape(1, 2, 3, 3)
    all_eight = turned(image.expand(8, -1, -1, -1), torch.arange(8)).numpy()
    expected = [np.rot90(x, k, (-2, -1)) for x in (image[0].numpy(), image[0].numpy()[..., ::-1]) for k in range(4)]
    np.testing.assert_array_equal(all_eight, expected)
    assert len({x.tobytes() for x in all_eight}) == 8
    # the centre of the stamp stays where it is, bands are not mixed
    assert set(all_eight[:, 0, 1, 1]) == {4.0}
    assert set(all_eight[:, 1, 1, 1]) == {13.0}


def test_each_galaxy_is_turned_on_its_own():
    images, codes = torch.randn(6, 1, 4, 4), torch.tensor([3, 0, 5, 3, 7, 0])
    together = turned(images, codes)
    for i in range(6):
        assert torch.equal(together[i : i + 1], turned(images[i : i + 1], codes[i : i + 1]))
    assert torch.equal(together[1], images[1])


@pytest.mark.parametrize("threads", [1, 2])
def test_read_gives_the_right_galaxies_bands_and_pixels(frame, paths, pixels, threads):
    stamps = Stamps(frame, PLAIN, open_stores(PLAIN, paths), _plain(PLAIN), threads)
    rows = np.random.default_rng(3).permutation(66)
    seen = stamps.read(rows).numpy()
    expected = pixels["optical"][_rows(frame)[rows]][:, [2, 0], 2:14, 2:14]
    np.testing.assert_allclose(seen, np.sign(expected) * np.log1p(np.abs(expected)), rtol=1e-5)  # float32
    assert len(stamps) == 66
    np.testing.assert_array_equal(stamps.chunk_of(), _rows(frame) // store.CHUNK)


def test_without_n_pix_the_whole_stamp_is_seen(frame, paths):
    whole, named = _modality(Images("optical", ("r", "u"))), _modality(Images("optical", ("r", "u"), 16))
    cutouts = open_stores(whole, paths)
    assert sized(whole, cutouts) == named
    assert sized(PLAIN, cutouts) == PLAIN
    assert usable(frame, whole, np.linspace(8, 12, 17), cutouts)[0].all()
    both = [Stamps(frame, m, cutouts, _plain(m)) for m in (whole, named)]
    assert torch.equal(*(stamps.read(np.arange(9)) for stamps in both))
    assert ImageScaling.fit(frame, whole, cutouts, "noise") == ImageScaling.fit(frame, named, cutouts, "noise")


def test_no_two_share_a_reader(frame, paths):
    """Training galaxies are read by a thread of their own while the validation galaxies are: the cache of a reader knows no lock."""
    cutouts = open_stores(PLAIN, paths)
    one, two = (Stamps(frame, PLAIN, cutouts, _plain(PLAIN), threads=2) for _ in range(2))
    readers = [id(reader) for stamps in (one, two) for readers in stamps._readers for reader in readers]
    assert len({*readers, id(cutouts["optical"])}) == 5


def test_no_galaxy_is_an_empty_batch(frame, paths):
    assert Stamps(frame, PLAIN, open_stores(PLAIN, paths), _plain(PLAIN)).read([]).shape == (0, 2, 12, 12)


def test_normalised_images_are_divided_by_the_flux_and_no_less_than_the_floor(frame, paths, pixels):
    modality = _modality(Images("optical", ("u", "g"), 16, "petro_flux"))
    assert modality.columns == ("ebv", "petro_flux_u", "petro_flux_g")
    cutouts = open_stores(modality, paths)
    scaling = ImageScaling.fit(frame, modality, cutouts, "nanomaggy")
    # of the paper: the 2nd percentile in u, the 0.1th in the other bands
    floor = [np.percentile(frame["petro_flux_u"], 2), np.percentile(frame["petro_flux_g"], 0.1)]
    assert scaling.flux_floor == pytest.approx(floor)
    assert (scaling.unit, scaling.scale) == ([1, 1], [1, 1])
    flux = np.maximum(frame[["petro_flux_u", "petro_flux_g"]].to_numpy(), floor)
    expected = pixels["optical"][_rows(frame)][:, :2] / flux[:, :, None, None]
    assert (flux[:, 0] > frame["petro_flux_u"]).sum() == 2  # of 66: the floor was used
    seen = Stamps(frame, modality, cutouts, scaling).read(np.arange(66)).numpy()
    np.testing.assert_allclose(seen, np.sign(expected) * np.log1p(np.abs(expected)), rtol=1e-4, atol=1e-7)


def test_a_brighter_galaxy_of_the_same_form_looks_the_same_when_normalised(frame, paths, pixels, tmp_path, ids):
    modality = _modality(Images("optical", ("u", "g"), 16, "petro_flux"))
    cutouts = open_stores(modality, paths)
    scaling = ImageScaling.fit(frame, modality, cutouts, "noise")
    with stores.replacing(tmp_path / "bright") as part:
        writer = store.create(part, 70, list("ugr"), 16, 0.4)
        writer.write(0, 4 * pixels["optical"], np.ones_like(pixels["optical"]), np.zeros(pixels["optical"].shape), ids)
        writer.close()
    fluxes = [f"petro_flux_{band}" for band in "ugr"]
    bright = frame.assign(**{name: 4 * frame[name] for name in fluxes})
    above = np.flatnonzero((frame[fluxes[:2]] > scaling.flux_floor).all(axis=1))
    one, two = Stamps(frame, modality, cutouts, scaling), Stamps(bright, modality, open_stores(modality, {"optical": tmp_path / "bright"}), scaling)
    torch.testing.assert_close(one.read(above), two.read(above), rtol=1e-5, atol=1e-6)  # float32


def test_noise_scaling_makes_the_scatter_the_unit(frame, paths, pixels):
    modality = _modality(Images("optical", ("u", "g", "r"), 16))
    scaling = ImageScaling.fit(frame, modality, open_stores(modality, paths), "noise")
    values = pixels["optical"][_rows(frame)]
    for i in range(3):
        mad = 1.4826 * np.median(np.abs(values[:, i] - np.median(values[:, i])))
        assert scaling.unit[i] == pytest.approx(mad, rel=1e-3)  # the median of an even number of pixels, float32
    seen = Stamps(frame, modality, open_stores(modality, paths), scaling).read(np.arange(66))
    np.testing.assert_allclose(seen.square().mean((0, 2, 3)), 1, rtol=1e-4)


def test_two_stores_share_the_pixels_of_the_first(frame, paths, pixels):
    modality = _modality(Images("optical", ("g",)), Images("infrared", ("w1",)))
    seen = Stamps(frame, modality, open_stores(modality, paths), _plain(modality)).read(np.arange(5))
    assert seen.shape == (5, 2, 16, 16)
    # pixels half as wide; linear about pixel centres, the edge repeated: scipy's spline of order 1; a quarter of the flux in each
    y = (np.arange(16) + 0.5) / 2 - 0.5
    for i in range(5):
        infrared = pixels["infrared"][_rows(frame)[i], 0]
        expected = ndimage.map_coordinates(infrared, np.meshgrid(y, y, indexing="ij"), order=1, mode="nearest") / 4
        np.testing.assert_allclose(seen[i, 1], stretch(torch.from_numpy(expected)), atol=1e-5)  # float32


def _source(n_pix, scale, offset=(1.7, -0.9), sigma=2.0):
    """Flux per pixel of a Gaussian of flux 1 [arcsec] at an offset (x, y) from the centre."""
    edges = [(np.arange(n_pix + 1) - n_pix / 2) * scale - d for d in offset]
    x, y = (np.diff(ndtr(e / sigma)) for e in edges)
    return torch.from_numpy(np.outer(y, x).astype(np.float32))


@pytest.mark.parametrize(("n_source", "source_scale"), [(32, 1.2), (9, 2.75), (33, 0.8), (128, 0.25)])
def test_a_source_stays_where_it_is_on_the_sky(n_source, source_scale):
    n_pix, scale = 64, 0.396
    seen = resampled(_source(n_source, source_scale), interpolation(n_pix, scale, n_source, source_scale)).numpy()
    offset = (np.arange(n_pix) - (n_pix - 1) / 2) * scale
    assert seen.sum() == pytest.approx(1, abs=0.01)
    # a pixel of 2.75 arcsec does not sample the source: a twentieth of it
    assert [(seen.sum(axis) * offset).sum() / seen.sum() for axis in (0, 1)] == pytest.approx([1.7, -0.9], abs=0.02 if source_scale < 2 else 0.14)
    if source_scale < 1:
        np.testing.assert_allclose(seen, _source(n_pix, scale), atol=0.05 * seen.max())  # widened by its pixels


def test_beyond_the_field_of_the_second_there_is_nothing():
    seen = resampled(torch.ones(4, 4), interpolation(16, 1.0, 4, 2.0))  # 16 arcsec, and 8
    assert torch.equal(seen > 0, torch.nn.functional.pad(torch.ones(8, 8, dtype=torch.bool), (4, 4, 4, 4)))
    torch.testing.assert_close(seen[4:12, 4:12], torch.full((8, 8), 0.25))


def test_the_same_pixels_are_left_alone():
    images = torch.randn(2, 8, 8)
    assert interpolation(8, 0.4, 8, 0.4) is None
    assert resampled(images, None) is images


def test_evenly():
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly(3, 1000).tolist() == [0, 1, 2]


# --- what is missing or does not fit


def test_usable_counts_galaxies_without_an_image(paths):
    g = np.random.default_rng(1)
    frame = pd.DataFrame({"galaxy_id": ["J003", "J999", "J004", "X"], "log_mass": [10, 10, 20, 10], "ebv": g.uniform(0, 0.1, 4)})
    keep, left_out = usable(frame, PLAIN, np.linspace(8, 12, 17), open_stores(PLAIN, paths))
    assert keep.tolist() == [True, False, False, False]
    assert left_out == {"no optical image": 2, "mass outside 8 to 12 dex": 1}


def test_a_galaxy_without_an_image_is_named(frame, paths):
    frame = frame.assign(galaxy_id=frame["galaxy_id"].where(frame.index != 7, "J777"))
    with pytest.raises(InputError, match=r"has no image of 1 galaxies, the first of them J777"):
        Stamps(frame, PLAIN, open_stores(PLAIN, paths), _plain(PLAIN))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (Images("optical", ("r", "y"), 16), "needs the optical band y; the store has u, g, r"),
        (Images("optical", ("r",), 18), "images.n_pix is 18, and the optical stamps have 16 pixels"),
        (Images("optical", ("r",), 15), "an even number fewer, so that the centre stays"),
        (Images("radio", ("l",), 16), "needs the radio images; given are those of: none"),
    ],
)
def test_what_the_stores_do_not_have_is_named(frame, paths, images, message):
    modality = _modality(images)
    cutouts = open_stores(modality, paths)
    with pytest.raises(InputError, match=message):
        usable(frame, modality, np.linspace(8, 12, 17), cutouts)
    with pytest.raises(InputError, match=message):
        Stamps(frame, modality, cutouts, _plain(modality))


def test_unknown_words_and_fluxes_that_cannot_divide(frame, paths):
    wrong = _modality(Images("optical", ("u",), 16, "total"))
    with pytest.raises(InputError, match=r"images.normalise is 'total'; known: none, petro_flux"):
        ImageScaling.fit(frame, wrong, open_stores(wrong, paths), "nanomaggy")
    with pytest.raises(InputError, match="stretch 'asinh' is unknown; known: nanomaggy, noise"):
        ImageScaling.fit(frame, PLAIN, open_stores(PLAIN, paths), "asinh")
    faint = _modality(Images("optical", ("u",), 16, "petro_flux"))
    with pytest.raises(InputError, match=r"the 2.0 percentile of petro_flux_u is -1 nanomaggy"):
        ImageScaling.fit(frame.assign(petro_flux_u=-1.0), faint, open_stores(faint, paths), "nanomaggy")


def test_images_of_the_configuration():
    entry = {"values": [], "errors": [], "scalars": {"ebv": "linear"}, "bin_width": 0.05}
    optical = {"store": "optical", "bands": ["g", "r"], "n_pix": 32, "normalise": "petro_flux"}
    one = Modality.from_config("I", entry | {"images": optical})
    assert one.images == (Images("optical", ("g", "r"), 32, "petro_flux"),)
    both = Modality.from_config("I", entry | {"images": [optical, {"store": "infrared", "bands": ["w1"], "n_pix": 8}]})
    assert (both.n_band, both.n_pix) == (3, 32)
    for modality in (one, both):
        assert Modality.from_config("I", modality.to_dict()) == modality
    whole = Modality.from_config("I", entry | {"images": {"store": "optical", "bands": ["g"]}})
    assert whole.images == (Images("optical", ("g",), None, "none"),)
    assert Modality.from_config("I", entry).images == Modality.from_config("I", entry | {"images": None}).images == ()


def test_a_photometric_modality_is_described_as_before_there_were_images():
    assert Modality("M", ("a", "b"), (), {}).to_dict() == {"name": "M", "values": ("a", "b"), "errors": (), "scalars": {}}
