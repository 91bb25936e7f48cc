"""Cutouts from frames of full size against reproject and against what was put into the frames."""

import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from record import ROOT
from reproject import reproject_interp

from galmass.images import cutouts, fields, frames

sys.path.append(str(ROOT / "tests" / "unit" / "images"))
import synthetic_frames
from synthetic_frames import CAMCOL, FIELD, RUN, Source

N_PIX, N_GALAXY, FLUX = 64, 40, 100.0
SHAPE = (frames.N_ROW, frames.N_COLUMN)
REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "sdss_frames_2820-3-0122"


def row(value, unit: str, goal: str, met: bool, peer: str | None = None, **more) -> dict:
    return {"value": value, "unit": unit, "goal": goal, "met": bool(met), "peer": peer, **more}


def digits(value) -> float:
    return float(f"{float(value):.3g}")


def places(n: int) -> np.ndarray:
    """x, y in the r frame: the middles of cells, moved by up to 20 pixels, so that few galaxies have no neighbour."""
    n_row, n_column = SHAPE
    across = int(np.ceil(np.sqrt(n * n_column / n_row)))
    down = -(-n // across)
    cells = np.stack(np.meshgrid((np.arange(across) + 0.5) / across, (np.arange(down) + 0.5) / down), -1).reshape(-1, 2)[:n]
    return 90 + cells * (np.array([n_column, n_row]) - 180) + np.random.default_rng(1).uniform(-20, 20, (n, 2))


def sky(n: int) -> tuple[np.ndarray, np.ndarray]:
    synthetic_frames.SHAPE = SHAPE  # the middle of the tangential plane is the middle of the frame
    return synthetic_frames.wcs("r").wcs_pix2world(*places(n).T, 0)


@cache
def folder() -> tempfile.TemporaryDirectory:
    """Frames of one field with noise, in five bands, not packed."""
    made = tempfile.TemporaryDirectory(prefix="galmass-frames-")
    sources = [Source(*place, FLUX) for place in np.transpose(sky(N_GALAXY))]
    for i, band in enumerate(frames.BANDS):
        synthetic_frames.write(Path(made.name), band, synthetic_frames.hdus(band, sources, i, shape=SHAPE))
    return made


@cache
def field(noise: bool = True) -> dict[str, frames.Frame]:
    found = {band: frames.read_named(folder().name, band, RUN, CAMCOL, FIELD) for band in frames.BANDS}
    if noise:
        return found
    sources = [Source(*place, FLUX) for place in np.transpose(sky(N_GALAXY))]
    return {b: replace(f, image=synthetic_frames.image(sources, f.wcs, SHAPE)) for b, f in found.items()}


def theirs(galaxy: int, band: str) -> np.ndarray:
    """reproject_interp of one galaxy in one band onto its stamp, from the part of the frame around it."""
    frame, place = field(False)[band], places(N_GALAXY)[galaxy]
    target, source = field(False)["r"].wcs.deepcopy(), frame.wcs.deepcopy()
    target.wcs.crpix += (N_PIX - 1) / 2 - place
    corner = np.maximum(0, place.astype(int) - N_PIX)
    source.wcs.crpix -= corner
    part = frame.image[corner[1] : corner[1] + 2 * N_PIX, corner[0] : corner[0] + 2 * N_PIX]
    image, _ = reproject_interp((part, source), target, (N_PIX, N_PIX), order="bicubic")
    return image * np.linalg.det(target.wcs.cd) / np.linalg.det(frame.wcs.wcs.cd)


def speed(frames_of_field, ra, dec, repeat: int = 3) -> float:
    """Galaxies per second of processor time: other people's processes do not count."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        cutouts.cut(frames_of_field, ra, dec, frames.BANDS, N_PIX)
        times.append(time.process_time() - start)
    return len(ra) / min(times)


def cutouts_per_second() -> dict:
    ours = speed(field(), *sky(N_GALAXY))
    theirs(0, "r")  # makes the frames without noise
    start = time.process_time()
    for galaxy in range(4):
        for band in frames.BANDS:
            theirs(galaxy, band)
    peer = 4 / (time.process_time() - start)
    more = {"peer_per_second": digits(peer), "ratio": digits(ours / peer)}
    return row(digits(ours), "galaxies/s of one core", ">= 100, five bands, 64 pixels, after decompression", ours >= 100, "reproject_interp, bicubic", **more)


def flux() -> dict:
    image, _, _ = cutouts.cut(field(False), *sky(N_GALAXY), frames.BANDS, N_PIX)
    worst = np.abs(image.sum((2, 3)) / FLUX - 1).max()
    return row(digits(100 * worst), "%", "<= 0.5 %, largest of five bands and all galaxies", worst <= 0.005)


def registration() -> dict:
    image, _, _ = cutouts.cut(field(False), *sky(N_GALAXY), frames.BANDS, N_PIX)
    offset = np.arange(N_PIX) - (N_PIX - 1) / 2
    x, y = (image.sum(2) @ offset) / FLUX, (image.sum(3) @ offset) / FLUX
    worst = max(np.abs(x).max(), np.abs(y).max())
    return row(digits(worst), "pixel", "<= 0.05 from the middle, largest of five bands and all galaxies", worst <= 0.05)


def shift(image, other) -> float:
    """By how many pixels two images of one thing are shifted: least squares on the gradient."""
    gradient = np.stack(np.gradient(image)).reshape(2, -1).T
    return float(np.hypot(*np.linalg.lstsq(gradient, (image - other).ravel(), rcond=None)[0]))


def equal_to_reproject() -> dict:
    n = 8
    image, _, _ = cutouts.cut(field(False), *(v[:n] for v in sky(N_GALAXY)), frames.BANDS, N_PIX)
    pairs = [(image[g, b].astype(float), theirs(g, band)) for g in range(n) for b, band in enumerate(frames.BANDS)]
    worst, pixel = max(shift(*pair) for pair in pairs), max(np.abs(a - b).max() / a.max() for a, b in pairs)
    more = {"pixel_difference_of_peak": digits(pixel)}
    return row(digits(worst), "pixel", "<= 0.02", worst <= 0.02, "reproject_interp, bicubic", **more)


def _peak(source: str, n: int) -> float:
    """Peak memory [MB] of a process that cuts n galaxies of one field into a store."""
    ra, dec = (np.resize(v, n) for v in sky(1000))
    y = np.resize(places(1000)[:, 1], n)
    table = {"galaxy_id": [f"J{i:06d}" for i in range(n)], "ra": ra, "dec": dec, "run": RUN, "camcol": CAMCOL, "field": FIELD, "rowc_r": y + 0.5}
    with tempfile.TemporaryDirectory() as scratch:
        fields.cut_catalogue(
            pd.DataFrame(table), source, Path(scratch) / "a.zarr", {"bands": frames.BANDS, "n_pix": N_PIX, "sub_pixel": True, "max_missing": 0.0}
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory() -> dict:
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        peaks = {n: round(pool.submit(_peak, folder().name, n).result()) for n in (1000, 5000, 20000)}
    # at 1000 galaxies the first of the two shards that a store holds is not yet full
    growth, more = peaks[20000] / peaks[5000] - 1, {f"at_{n}_mb": peak for n, peak in peaks.items()}
    return row(peaks[20000], "MB", "the same at 5e3 and 2e4 galaxies to 10 %", abs(growth) <= 0.1, **more)


def decompression() -> dict:
    """What a packed frame costs before anything is cut."""
    start = time.process_time()
    found = {band: frames.read_named(REAL, band, 2820, 3, 122) for band in frames.BANDS}
    seconds = time.process_time() - start
    ra, dec = found["r"].wcs.wcs_pix2world(*places(N_GALAXY).T, 0)
    rate = speed(found, ra, dec)
    return row(digits(seconds), "s for five packed frames", "none: bzip2's own time", True, real_cutouts_per_second=digits(rate))


ROWS = {
    "cutouts a second": cutouts_per_second,
    "flux of cutouts": flux,
    "registration of cutouts": registration,
    "cutouts and reproject": equal_to_reproject,
    "memory of cutting": memory,
}
if REAL.is_dir():
    ROWS["reading real frames"] = decompression
else:
    print("skipped: reading real frames; GALMASS_REAL_DATA does not say where they are")
