"""The simulated sky: speed and accuracy of rendering against plain GalSim, memory, and what its columns tell of the mass."""

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from record import ROOT

from galmass.catalogues import mock_information, simulation, truth
from galmass.images import rendering

sys.path.append(str(ROOT / "tests" / "unit" / "catalogues"))
from mock_options import OPTIONS

BANDS = tuple("ugriz")
ENTRY = {
    "bands": list(BANDS),
    "pixel_scale_arcsec": 0.396,
    "psf_fwhm_arcsec": dict(zip(BANDS, (1.5, 1.4, 1.3, 1.25, 1.25), strict=True)),
    "sky_noise": dict(zip(BANDS, (0.05, 0.02, 0.03, 0.045, 0.12), strict=True)),
    "electrons": dict(zip(BANDS, (250.0, 900.0, 1000.0, 750.0, 150.0), strict=True)),
    "neighbours_per_arcmin2": 4.0,
}
SETTINGS = simulation.settings_of(OPTIONS)
MOPT = [f"petro_mag_{b}" for b in BANDS]


def row(value, unit: str, goal: str, met: bool, peer: str | None = None, **more) -> dict:
    return {"value": value, "unit": unit, "goal": goal, "met": bool(met), "peer": peer, **more}


@cache
def galaxies(n: int):
    return simulation.build(OPTIONS | {"max_galaxies": n})[1]


def write(n: int, n_pix: int, processes: int) -> float:
    """Wall time [s]."""
    table = galaxies(n)
    with tempfile.TemporaryDirectory(prefix="galmass-sky-") as folder:
        start = time.perf_counter()
        rendering.write(Path(folder) / "images.zarr", table, ENTRY | {"n_pix": n_pix}, 1, processes)
        return time.perf_counter() - start


def plain(record: dict, band: str, n_pix: int) -> np.ndarray:
    """The same galaxy by GalSim as its manual shows: shear, convolve, draw, at the default accuracy."""
    import galsim

    share = float(rendering.bulge_fraction(record[f"true_sersic_n_{band}"]))
    size, q = record[f"true_r50_{band}"] * np.interp(share, *rendering._disc_sizes()), record["axis_ratio"]
    angle, flux = record["position_angle"] * galsim.degrees, 10 ** (-0.4 * (record[f"true_mag_{band}"] - 22.5))
    disc = galsim.Exponential(half_light_radius=size * np.sqrt(q), flux=flux * (1 - share)).shear(q=q, beta=angle)
    bulge = galsim.DeVaucouleurs(half_light_radius=0.5 * size * np.sqrt((1 + q) / 2), flux=flux * share).shear(q=(1 + q) / 2, beta=angle)
    seen = galsim.Convolve(disc + bulge, galsim.Moffat(beta=3.5, fwhm=ENTRY["psf_fwhm_arcsec"][band]))
    return seen.drawImage(nx=n_pix, ny=n_pix, scale=ENTRY["pixel_scale_arcsec"]).array


def speed(n_pix: int) -> dict:
    """Store and start of the processes included; per processor second beside it, since the machine may be busy."""
    instrument, records = rendering.Instrument.from_config(ENTRY | {"n_pix": n_pix}), galaxies(1000).to_dict("records")[:60]
    rendering.render(records[0], instrument, 0)
    start = time.process_time()
    for i, record in enumerate(records):
        rendering.render(record, instrument, [1, i])
    ours = len(records) / (time.process_time() - start)
    start = time.process_time()
    for record in records[:20]:
        for band in BANDS:
            plain(record, band, n_pix)
    peer = 20 / (time.process_time() - start)
    rate = 1000 / write(1000, n_pix, 2)
    return row(
        round(rate, 1),
        "galaxies/s, two processes",
        ">= 80 galaxies/s on two cores",
        rate >= 80,
        "plain GalSim, without neighbours and noise",
        ratio=round(ours / peer, 2),
        per_processor_second=round(ours, 1),
        peer_per_processor_second=round(peer, 1),
    )


def accuracy() -> dict:
    """Largest difference of any pixel from GalSim's default accuracy, over the sky's noise; 30 galaxies, five bands."""
    instrument, worst, lost = rendering.Instrument.from_config(ENTRY | {"n_pix": 64}), 0.0, 0.0
    for record in galaxies(1000).to_dict("records")[:30]:
        for image, band in zip(rendering.noiseless(record, instrument), BANDS, strict=True):
            difference = image - plain(record, band, 64)
            worst = max(worst, float(np.abs(difference).max()) / ENTRY["sky_noise"][band])
            lost = max(lost, abs(float(difference.sum())) / 10 ** (-0.4 * (record[f"true_mag_{band}"] - 22.5)))
    return row(
        float(f"{worst:.2g}"), "of the sky's noise", "<= 0.1", worst <= 0.1, "GalSim at its default accuracy", largest_flux_difference=float(f"{lost:.2g}")
    )


def peak(n: int) -> float:
    """Largest memory [MB] of a process that renders n galaxies alone."""
    write(n, 32, 1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def memory() -> dict:
    """Two shards are held: 2048 galaxies fill them."""
    found = {}
    for n in (2100, 6300):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found[n] = pool.submit(peak, n).result()
    few, many = found.values()
    # what a galaxy adds is its row of the truth
    return row({f"{n} galaxies": round(megabytes) for n, megabytes in found.items()}, "MB", "the same to 10 %", many <= 1.1 * few)


def drawing() -> dict:
    start = time.process_time()
    simulation.build(OPTIONS | {"max_galaxies": 20_000})
    rate = 20_000 / (time.process_time() - start)
    return row(round(rate), "galaxies per processor second", ">= 1000", rate >= 1000)


def information() -> dict:
    """Exact: the scatter that an ideal network reaches on 300 galaxies, and nats."""
    values = simulation.draw(300, SETTINGS, 77)[0]
    blocks = {
        "Mopt": MOPT,
        "MoptMir": [*MOPT, "mag_w1", "mag_w2"],
        "Mopt and n": [*MOPT, *(f"sersic_n_{b}" for b in BANDS)],
        "Iopt (Mopt, n, R50)": [*MOPT, *(f"{name}_{b}" for name in ("sersic_n", "r50") for b in BANDS)],
    }
    found = {name: mock_information.information(values, columns, SETTINGS, 1024) for name, columns in blocks.items()}
    better = found["Iopt (Mopt, n, R50)"]["sigma_mad"] <= 0.85 * found["Mopt"]["sigma_mad"]
    rounded = {name: {key: round(value, 3) for key, value in row.items()} for name, row in found.items()}
    return row(rounded, "nats, dex", "images leave <= 0.85 of the scatter of magnitudes", better)


def answers() -> dict:
    """The graph's answers for three inputs."""
    start = time.process_time()
    drawn = truth.graph(SETTINGS)
    blocks = {"Mopt": [*MOPT, "ebv"], "MoptZspec": [*MOPT, "ebv", "z"], "Iopt": [*truth.image_columns(BANDS), "ebv"]}
    rows = truth.answers(drawn, blocks, ["inclination", "z", "sersic_n_r", "r50_r", "axis_ratio_r", "position_angle"])
    seconds = time.process_time() - start
    found = {f"{one['block']}: {one['query']}": one["answer"] for one in rows}
    return row(found, "answer", "<= 5 s", seconds <= 5, seconds=round(seconds, 2))


ROWS = {
    "sky drawn": drawing,
    "sky rendered, 32 px": lambda: speed(32),
    "sky rendered, 64 px": lambda: speed(64),
    "sky accuracy": accuracy,
    "sky memory": memory,
    "sky information": information,
    "sky answers": answers,
}
