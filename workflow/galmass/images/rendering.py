"""Images of simulated galaxies: bulge and disc, point spread function, pixels, neighbours, noise, by GalSim.

A galaxy is an exponential disc and a de Vaucouleurs bulge with one position angle. The share of the bulge rises
with the Sersic index of the band, and both shrink or grow together so that half of the light falls inside the
half-light radius of the band: what the truth says of size and profile is in the image and nowhere else. The noise of the
pixels is not that of the catalogue's magnitudes. Random numbers belong to the galaxy: the same bytes from any
number of processes.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from multiprocessing import get_all_start_methods, get_context

import numpy as np
from scipy.special import gammainc

from galmass.catalogues.schema import BANDS
from galmass.errors import InputError
from galmass.images import store
from galmass.stores import replacing

ZERO_POINT = store.ZERO_POINT
BULGE_SIZE = 0.5  # half-light radius of the bulge over that of the disc
_SERSIC_RANGE = (0.6, 6.0)  # of pure disc and pure bulge
_DISC, _BULGE = 1.6783469900166605, 7.669249442500804  # b_n: half of the light inside the half-light radius
_BATCH = 32  # galaxies of one task
_COLOURS = {"u": 2.2, "g": 1.0, "r": 0.0, "i": -0.4, "z": -0.6, "w1": -2.5, "w2": -2.6, "w3": -3.5}  # m - r of a neighbour per g - r
# as much of the light may fold over the edge of the Fourier image: below 0.01 of the sky's noise in any pixel, four times as fast as the default
_FOLDING = 0.05


@dataclass(frozen=True)
class Instrument:
    """What the sky is seen with; entries are those of the configuration.

    Attributes
    ----------
    bands : tuple of str
    n_pix : int
    pixel_scale_arcsec : float
    psf_fwhm_arcsec, sky_noise, electrons : dict of str -> float
        Per band: width of the point spread function (Moffat, beta 3.5), standard deviation of a pixel of sky [nanomaggy], electrons per nanomaggy.
    neighbours_per_arcmin2 : float
        Other objects brighter than r = 21.5.
    """

    bands: tuple[str, ...]
    n_pix: int
    pixel_scale_arcsec: float
    psf_fwhm_arcsec: Mapping[str, float]
    sky_noise: Mapping[str, float]
    electrons: Mapping[str, float]
    neighbours_per_arcmin2: float

    @classmethod
    def from_config(cls, entry: Mapping) -> "Instrument":
        """From ``samples.<name>.images.<store>`` of the configuration."""
        bands = tuple(entry["bands"])
        for name in ("psf_fwhm_arcsec", "sky_noise", "electrons"):
            wrong = [band for band in bands if not entry[name].get(band, 0) > 0]
            if wrong:
                raise InputError(f"images.{name} has no positive value for the bands {', '.join(wrong)}")
        kept = {name: {band: entry[name][band] for band in bands} for name in ("psf_fwhm_arcsec", "sky_noise", "electrons")}
        return cls(bands=bands, **kept, **{name: entry[name] for name in ("n_pix", "pixel_scale_arcsec", "neighbours_per_arcmin2")})

    @property
    def size_arcsec(self) -> float:
        """Side of a stamp."""
        return self.n_pix * self.pixel_scale_arcsec

    @cached_property
    def psf(self) -> dict:
        """Point spread function of each band, a GalSim object of unit flux."""
        import galsim

        return {band: galsim.Moffat(beta=3.5, fwhm=width, gsparams=_accuracy()) for band, width in self.psf_fwhm_arcsec.items()}

    def draw(self, model, band: str) -> np.ndarray:
        """Flux per pixel (n_pix, n_pix) of a model as the instrument sees it, without noise."""
        import galsim

        seen = galsim.Convolve(model, self.psf[band], gsparams=_accuracy())
        return seen.drawImage(nx=self.n_pix, ny=self.n_pix, scale=self.pixel_scale_arcsec, dtype=np.float32).array


@lru_cache
def _accuracy():
    import galsim

    return galsim.GSParams(folding_threshold=_FOLDING, maxk_threshold=0.005)


@lru_cache
def _unit(kind: str):
    """Round profile of unit flux and half-light radius."""
    import galsim

    return getattr(galsim, kind)(half_light_radius=1.0, gsparams=_accuracy())


def _placed(kind: str, flux: float, radius: float, axis_ratio: float, angle: float):
    """Profile with its major axis `radius` at `angle` [rad] from x to y."""
    import galsim

    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    jacobian = turn @ np.diag([radius, radius * axis_ratio]) @ turn.T
    # a matrix changes the flux by its determinant unless it is divided out
    return galsim.Transform(_unit(kind), jac=jacobian.ravel(), flux_ratio=flux / np.linalg.det(jacobian))


def bulge_fraction(sersic_n):
    """Share of the bulge in the light: 0 at a Sersic index of 0.6, 1 at 6, linear in its logarithm."""
    low, high = np.log(_SERSIC_RANGE)
    return np.clip((np.log(sersic_n) - low) / (high - low), 0, 1)


@lru_cache
def _disc_sizes() -> tuple[np.ndarray, np.ndarray]:
    """Half-light radius of the disc over that of the galaxy, as the share of the bulge goes from 0 to 1."""
    radius = np.linspace(0.3, 1.2, 4000)  # over that of the disc
    disc, bulge = gammainc(2, _DISC * radius), gammainc(8, _BULGE * (radius / BULGE_SIZE) ** 0.25)
    shares = np.linspace(0, 1, 201)
    halves = [np.interp(0.5, share * bulge + (1 - share) * disc, radius) for share in shares]
    return shares, 1 / np.array(halves)


def galaxy(flux: float, radius: float, sersic_n: float, axis_ratio: float, angle: float):
    """A galaxy as a GalSim object.

    Parameters
    ----------
    flux : float
    radius : float [arcsec]
        Half-light radius along the major axis.
    sersic_n, axis_ratio, angle : float
        Position angle in radians from x to y. The bulge is half as flat as the disc.
    """
    share = float(bulge_fraction(sersic_n))
    disc = radius * float(np.interp(share, *_disc_sizes()))
    parts = []
    if share < 1:
        parts.append(_placed("Exponential", flux * (1 - share), disc, axis_ratio, angle))
    if share > 0:
        parts.append(_placed("DeVaucouleurs", flux * share, BULGE_SIZE * disc, (1 + axis_ratio) / 2, angle))
    return parts[0] + parts[1] if len(parts) == 2 else parts[0]


def neighbours(instrument: Instrument, generator: np.random.Generator) -> list[dict]:
    """Other objects on a stamp: half of them stars, the rest small discs; counts of magnitudes rise as 10^(0.35 r)."""
    n = generator.poisson(instrument.neighbours_per_arcmin2 * (instrument.size_arcsec / 60) ** 2)
    return [
        {
            "r": 21.5 + np.log10(1 - generator.random()) / 0.35,
            "colour": generator.normal(0.8, 0.3),
            "position": tuple((generator.random(2) - 0.5) * instrument.size_arcsec),
            "star": generator.random() < 0.5,
            "radius": 0.8 * np.exp(0.4 * generator.standard_normal()),
            "axis_ratio": generator.uniform(0.3, 1.0),
            "angle": generator.uniform(0, np.pi),
        }
        for _ in range(n)
    ]


def _neighbour_image(one: Mapping, instrument: Instrument) -> np.ndarray:
    """Flux of one neighbour in all bands (n_band, n_pix, n_pix); drawn once, in the band with the middle seeing."""
    import galsim

    band = instrument.bands[len(instrument.bands) // 2]
    shape = galsim.DeltaFunction(flux=1.0, gsparams=_accuracy()) if one["star"] else _placed("Exponential", 1.0, one["radius"], one["axis_ratio"], one["angle"])
    drawn = instrument.draw(shape.shift(*one["position"]), band)
    magnitudes = np.array([one["r"] + _COLOURS[b] * one["colour"] for b in instrument.bands])
    return 10 ** (-0.4 * (magnitudes - ZERO_POINT))[:, None, None] * drawn


def noiseless(row: Mapping[str, float], instrument: Instrument) -> np.ndarray:
    """Flux per pixel (n_band, n_pix, n_pix) [nanomaggy] of a galaxy alone; `row` is a row of the truth."""
    image = np.empty((len(instrument.bands), instrument.n_pix, instrument.n_pix), np.float32)
    for plane, band in zip(image, instrument.bands, strict=True):
        shape = band if band in BANDS else BANDS[-1]  # the infrared has the shape of the reddest optical band
        flux = 10 ** (-0.4 * (row[f"true_mag_{band}"] - ZERO_POINT))
        angle = np.radians(row["position_angle"])
        plane[:] = instrument.draw(galaxy(flux, row[f"true_r50_{shape}"], row[f"true_sersic_n_{shape}"], row["axis_ratio"], angle), band)
    return image


def render(row: Mapping[str, float], instrument: Instrument, seed) -> tuple[np.ndarray, np.ndarray]:
    """Image with neighbours and noise, and its inverse variance, (n_band, n_pix, n_pix) [nanomaggy], [nanomaggy^-2].

    The inverse variance is estimated from sky, gain and the noisy image, as it is for real frames (`frames.Frame.region`); 0 where the variance
    so estimated is not positive.

    Parameters
    ----------
    row : mapping
        Row of the truth.
    seed : int or sequence of int
        Of this galaxy.
    """
    generator = np.random.default_rng(seed)
    flux = noiseless(row, instrument)
    for one in neighbours(instrument, generator):
        flux += _neighbour_image(one, instrument)
    sky, electrons = (np.array([values[band] for band in instrument.bands])[:, None, None] for values in (instrument.sky_noise, instrument.electrons))
    variance = sky**2 + np.maximum(flux, 0) / electrons
    noise = generator.standard_normal(flux.shape, dtype=np.float32)
    image = flux + np.sqrt(variance) * noise
    estimated = sky**2 + image / electrons
    return image.astype(np.float32), np.divide(1, estimated, out=np.zeros_like(estimated), where=estimated > 0).astype(np.float32)


def _render_batch(columns: Mapping[str, np.ndarray], start: int, instrument: Instrument, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Galaxies from row `start` on; a task of one process."""
    n = len(columns["position_angle"])
    pairs = [render({name: values[i] for name, values in columns.items()}, instrument, [seed, start + i]) for i in range(n)]
    return np.stack([image for image, _ in pairs]), np.stack([inverse for _, inverse in pairs])


def needed_columns(instrument: Instrument) -> list[str]:
    """Columns of the truth that the images are made from."""
    shapes = dict.fromkeys(band if band in BANDS else BANDS[-1] for band in instrument.bands)
    own = [f"true_mag_{band}" for band in instrument.bands]
    return ["position_angle", "axis_ratio", *own, *(f"{name}_{band}" for name in ("true_r50", "true_sersic_n") for band in shapes)]


def batches(truth, instrument: Instrument, seed: int, processes: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """First row, images and inverse variances of `_BATCH` galaxies after another.

    At most two batches per process are under way or waiting, however many galaxies there are. Where processes cannot be forked
    there is one: others begin by running the calling script again.
    """
    columns = {name: truth[name].to_numpy(float) for name in needed_columns(instrument)}
    starts = range(0, len(truth), _BATCH)
    tasks = (({name: values[i : i + _BATCH] for name, values in columns.items()}, i, instrument, seed) for i in starts)
    if processes == 1 or "fork" not in get_all_start_methods():
        yield from ((task[1], *_render_batch(*task)) for task in tasks)
        return
    waiting: deque = deque()
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        for task in tasks:
            waiting.append((task[1], pool.submit(_render_batch, *task)))
            if len(waiting) >= 2 * processes:
                start, done = waiting.popleft()
                yield start, *done.result()
        yield from ((start, *done.result()) for start, done in waiting)


def write(path, truth, entry: Mapping, seed: int, processes: int = 1, tell: Callable[[int], None] = lambda n: None) -> None:
    """Render the galaxies of a truth table into a store of cutouts.

    Parameters
    ----------
    path : path
        Folder of the store.
    truth : DataFrame
        As `simulation.build` gives it.
    entry : mapping
        Of an `Instrument`.
    seed : int
    processes : int
        Any number gives the same bytes.
    tell : callable
        Called with the number of galaxies of every batch that is done.
    """
    instrument = Instrument.from_config(entry)
    missing = [name for name in needed_columns(instrument) if name not in truth]
    if missing:
        raise InputError(f"the truth lacks the columns {', '.join(missing)}, which images of the bands {', '.join(instrument.bands)} need")
    names = truth["galaxy_id"].to_numpy(str)
    notes = {key: dict(value) if isinstance(value, Mapping) else value for key, value in entry.items() if key not in ("bands", "n_pix", "pixel_scale_arcsec")}
    with replacing(path) as part:
        notes |= {"instrument": "simulated", "release": "galmass.catalogues.mock", "seed": seed}
        writer = store.create(part, len(truth), instrument.bands, instrument.n_pix, instrument.pixel_scale_arcsec, notes)
        for start, image, inverse_variance in batches(truth, instrument, seed, processes):
            writer.write(start, image, inverse_variance, np.zeros(image.shape, np.uint8), names[start : start + len(image)])
            tell(len(image))
        writer.close()
