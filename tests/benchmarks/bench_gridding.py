"""Speed, memory and agreement of gridding against viscube, and the time of a mock observation, on one thread: make bench AREA=gridding"""

import contextlib
import io
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import yaml
from record import ROOT, measure
from threadpoolctl import threadpool_limits

from galmass.visibilities import coverage, gridding, simulation
from galmass.visibilities.io import Visibilities

N_VIS, N_CHAN, N_PIX = 1_150_000, 74, 512
SAME = ("re", "im", "std_re", "std_im")


def row(value, unit: str, goal: str, met: bool, peer: str | None = None, **more) -> dict:
    return {"value": value, "unit": unit, "goal": goal, "met": bool(met), "peer": peer, **more}


def digits(value) -> float:
    return float(f"{value:.3g}")


@cache
def cells() -> coverage.Coverage:
    return coverage.read(ROOT / "resources" / "ngc4697" / "uv_cells.npz")


class Rows:
    """An array (n_chan, n) of which each row is made when it is asked for: `base` times the factor of the channel."""

    def __init__(self, base, factors):
        self.base, self.factors, self.shape, self.ndim = base, factors, (len(factors), len(base)), 2

    def __getitem__(self, channel):
        return self.base * self.factors[channel]


def visibilities(n_vis: int, n_chan: int, weights=(0.5, 2.0)) -> Visibilities:
    """Of the real uv cells of NGC 4697, each with as many baselines; u, v grow with the frequency, weights differ by a factor of 4, or as `weights` say."""
    rng, real = np.random.default_rng(1), cells()
    u, v, _ = coverage.draw_baselines(real, rng.multinomial(n_vis, np.full(len(real.u), 1 / len(real.u))), rng)
    turned = rng.choice([-1.0, 1.0], n_vis)  # both halves, as correlators write them
    vis = 0.5 + rng.normal(size=n_vis) + 1j * rng.normal(size=n_vis)
    scale, one = real.frequency[:n_chan] / real.frequency[0], np.ones(n_chan, np.float32)
    places = (Rows(a * turned, scale) for a in (u, v))
    weight = Rows(rng.uniform(*weights, n_vis).astype(np.float32), one)
    return Visibilities(*places, Rows(vis, 1 + 0.01 * np.arange(n_chan)), weight, Rows(np.zeros(n_vis, bool), one.astype(bool)), real.frequency[:n_chan], {})


def grid_all() -> dict:
    """In a process of its own, for its peak memory; VmHWM, because ru_maxrss begins at that of the parent."""
    with threadpool_limits(1):
        data, before = visibilities(N_VIS, N_CHAN), hold()
        wall, cpu = time.perf_counter(), time.process_time()
        found = gridding.grid(data, N_PIX, cells().cell_arcsec(N_PIX))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"s": digits(wall), "cpu_s": digits(cpu), "GB": digits(hold()), "GB_before": digits(before), "filled_cells": int(found.mask.sum())}


def hold() -> float:
    """Largest resident memory so far [GB]."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")) / 1e6


def volume() -> dict:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        value = pool.submit(grid_all).result()
    return row(value, "", "<= 60 s, <= 4 GB", value["s"] <= 60 and value["GB"] <= 4, visibilities=N_VIS, channels=N_CHAN)


def theirs(data: Visibilities, engine: str, **options):
    """Means and errors by viscube of partners and originals on 511 cells a side, and the seconds that it takes without the augmentation."""
    from viscube import grid_cube

    u, v, vis, weight = (np.stack([a[k] for k in range(len(data.frequency))]) for a in (data.u, data.v, data.vis, data.weight))
    uu, vv, re, im, w, *_ = grid_cube.hermitian_augment(u, v, vis, weight, weight, weight)
    field_of_view = N_PIX * cells().cell_arcsec(N_PIX)
    common = {"frequencies": data.frequency, "uu": uu, "vv": vv, "vis_re": re, "vis_imag": im, "weight": w, "invvar_group_re": w, "invvar_group_im": w}
    start = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        found = getattr(grid_cube, engine)(**common, npix=N_PIX - 1, fov_arcsec=field_of_view, **options)
    return found[:4], time.perf_counter() - start


def ours(data: Visibilities):
    start = time.perf_counter()
    return gridding.grid(data, N_PIX, cells().cell_arcsec(N_PIX)), time.perf_counter() - start


def half_plane(theirs):
    """Their planes (rows -v) in our layout without the Nyquist row and column."""
    middle = N_PIX // 2 - 1
    return np.fft.ifftshift(theirs[:, ::-1, middle:], axes=1)


def agreement() -> dict:
    """Largest differences of means and errors over the standard error, the cell at u = v = 0 apart; thin and full cells.

    Of equal weights. Where weights differ theirs is another estimate, which is too large, and its mean variance over ours is told.
    """
    found, values, expected, planes = both(visibilities(60_000, 2, (1.0, 1.0)))
    error = {name: digits(np.max(np.abs(values[name] - expected[name]) / values["std_re"])) for name in SAME}
    twice = int(np.sum(half_plane(planes[2])[:, N_PIX // 2 :, 0] > 0))
    about = {"cells": len(values["re"]), "thin_cells": int(np.isinf(found.nu[found.mask]).sum()), "their_cells_given_twice_at_u_0": twice}
    _, values, expected, _ = both(visibilities(60_000, 2))
    about["their_variance_over_ours_where_weights_differ"] = digits(np.mean(expected["std_re"] ** 2) / np.mean(values["std_re"] ** 2))
    return row(error, "standard errors", "<= 1e-6", max(error.values()) <= 1e-6, "viscube 0.4.8 non-overlapping engine, m = 1, beta = 2", **about)


def both(data: Visibilities):
    """Our grid, our numbers and theirs by name in the cells that we fill, and their planes."""
    found, _ = ours(data)
    planes, _ = theirs(data, "grid_cube_all_stats_nonoverlap", m=1, beta=gridding.BETA, n_aug=data.vis.shape[1])
    rows = np.delete(np.arange(N_PIX), N_PIX // 2)
    mask, mean, std = (a[:, rows, : N_PIX // 2] for a in (found.mask, found.mean, found.std))
    mask = mask.copy()
    mask[:, 0, 0] = False  # they keep the sign of u there as it comes
    values = dict(zip(SAME, (mean.real[mask], mean.imag[mask], std.real[mask], std.imag[mask]), strict=True))
    return found, values, dict(zip(SAME, (half_plane(p)[mask] for p in planes), strict=True)), planes


def speed() -> dict:
    """A channel of all visibilities, theirs and ours in one process; ours the best of three."""
    data = visibilities(N_VIS, 1)
    best = min(ours(data)[1] for _ in range(3))
    _, tree = theirs(data, "grid_cube_all_stats", window_kwargs={"m": 1, "beta": gridding.BETA})
    _, bins = theirs(data, "grid_cube_all_stats_nonoverlap", m=1, beta=gridding.BETA, n_aug=N_VIS)
    about = {"peer_s": digits(tree), "ratio": digits(tree / best), "nonoverlapping_s": digits(bins), "nonoverlapping_ratio": digits(bins / best)}
    met = tree / best >= 20
    return row(digits(best), "s a channel", ">= 20 times faster", met, "viscube 0.4.8 KD-tree engine, one of 74 channels", visibilities=N_VIS, **about)


def galaxy() -> dict:
    """Published parameters of NGC 4697."""
    text = """
    {log_m_bh: 8.07, alpha: 1.45, gamma: 0.77, beta_minus_gamma: 0.40, r_break: 206.7, log_sigma_break: 4.31, q_intr: 0.7, distance: 11.4, inclination: 76.0,
    position_angle: 247.0, x_offset: 0.0, y_offset: 0.0, v_sys: 1240.0, sigma_gas: 1.65, flux: 16.3, scale_length: 1.3}
    """
    return yaml.safe_load(text)


def mock(thinned: bool) -> dict:
    real = coverage.thin(cells(), 0.2, 3, np.random.default_rng(1)) if thinned else cells()
    start = time.perf_counter()
    data, _ = simulation.simulate(galaxy(), real, 1, n_clouds=10**6, signal_to_noise=100.0)
    took, about = time.perf_counter() - start, {"channels": len(data.frequency), "visibilities": int((~data.flag).sum()), "clouds": 2**20}
    return row(digits(took), "s", "<= 20 s" if thinned else "<= 60 s", took <= (20 if thinned else 60), **about)


if __name__ == "__main__":
    with threadpool_limits(1):
        results = [
            measure("gridding: 1.15 million visibilities, 74 channels", volume),
            measure("gridding: agreement with viscube", agreement),
            measure("gridding: a channel against viscube", speed),
            measure("gridding: mock observation, thinned", lambda: mock(True)),
            measure("gridding: mock observation, full coverage", lambda: mock(False)),
        ]
    print(f"{sum(r['met'] for r in results)} of {len(results)} goals met")
