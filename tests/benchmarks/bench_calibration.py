"""Simulation-based calibration of whole fits, and what wrong assumptions do to the black hole: make bench AREA=calibration

Each mock is kept as it is done: a killed run goes on, also in several sittings. GALMASS_PARTS=words measures the rows with one of
these words in their names; GALMASS_MOCKS=n and GALMASS_ESS=n (1000) make a trial; GALMASS_PROCESSES=2 run at a time.
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import mocks
import numpy as np
import torch
from bench_visibilities import digits, row
from scipy import stats
from threadpoolctl import threadpool_limits

from galmass import devices
from galmass.inference import sampling
from galmass.visibilities import gridding, imaging

N_MOCKS = {"model": 100, "KinMS": 40}  # by the fitted model itself: nothing but the sampler can be wrong; by KinMS, through the gridding
SCOUTS, STARTS = 64, 2
OPTIONS = {"n_chains": 8, "target_ess": 200, "max_r_hat": 1.05, "max_steps": 800}  # a rank among 99 needs no more
N_RANKED, N_BINS = 99, 10  # draws that a truth is ranked among, hardly correlated; bins of its 100 ranks
PROCESSES = mocks.setting("GALMASS_PROCESSES", 2)


@cache
def small() -> tuple:
    """The small galaxy with narrow priors, its grid as observed by KinMS at the published parameters, its posterior, and the noise [Jy]."""
    entry = mocks.galaxy(mocks.SMALL, mocks.SMALL_IMAGE, mocks.NARROW)
    data, drawn = mocks.simulated(entry, 1)
    gridded = mocks.grid(entry, data)
    return entry, gridded, mocks.posterior(entry, gridded), drawn["sigma_jy"]


def by_model(x, rng) -> gridding.Gridded:
    """The small galaxy with the physical vector x by the model that is fitted, and noise as the likelihood declares it: Student's t times the error."""
    _, gridded, problem, _ = small()
    nu = np.where(gridded.mask, np.minimum(gridded.nu, 1e9), 1)
    t = [rng.standard_t(nu) for _ in range(2)]
    noise = np.where(gridded.mask, gridded.std.real * t[0] + 1j * gridded.std.imag * t[1], 0)
    return replace(gridded, mean=mocks.exact(problem, gridded, x).mean + noise)


def by_kinms(x, rng) -> gridding.Gridded:
    """The same by KinMS, with noise of each visibility, gridded."""
    entry, _, problem, sigma = small()
    of = mocks.truth(entry) | dict(zip(problem.names, x.tolist(), strict=True))
    return mocks.grid(entry, mocks.simulated(entry, int(rng.integers(2**31)), of, sigma=sigma)[0])


def calibrated(kind: str, seed: int) -> dict:
    """A galaxy drawn from the priors, observed and fitted: ranks of its parameters among the draws, and how the fit went."""
    entry, _, problem, _ = small()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        x = problem.parameters.physical(problem.parameters.sample(torch.Generator().manual_seed(seed), 1))[0]
    gridded = {"model": by_model, "KinMS": by_kinms}[kind](x, rng)
    problem = mocks.posterior(entry, gridded)
    with tempfile.TemporaryDirectory() as scratch:
        at, search = mocks.modes(str(Path(scratch) / "modes"), entry, problem, gridded, SCOUTS, STARTS, seed)
        result = sampling.run(problem, "delayed", at, OPTIONS, seed, scratch, "calibration", f"{kind} {seed}")
    return summary(problem, x, result) | {"seconds": search + result.seconds}


def summary(problem, x, result: sampling.Result) -> dict:
    """Ranks of the truth x among N_RANKED draws and its cumulative probability among all, for each parameter."""
    every, ranked = mocks.draws(problem, result), mocks.draws(problem, result, N_RANKED)
    i = problem.names.index("log_m_bh")
    about = {"ranks": (ranked < x).sum(0).tolist(), "below": (every < x).double().mean(0).tolist(), "truth": x.tolist()}
    about |= {"log_m_bh": [float(every[:, i].median()), float(every[:, i].std())], "converged": result.converged, "sampler": result.sampler}
    numbers = {"ess": result.diagnostics.bulk_ess.min(), "r_hat": result.diagnostics.r_hat.max(), "acceptance": result.acceptance}
    return about | {key: float(value) for key, value in numbers.items()} | {"notes": result.notes}


def keep(kind: str, seed: int) -> dict:
    """In a process of the pool."""
    devices.use_threads(1)
    with threadpool_limits(1):
        return mocks.kept(mocks.scratch() / f"calibration_{kind}" / f"{seed}.json", partial(calibrated, kind, seed))


def calibration(kind: str) -> dict:
    """Uniformity of the ranks (chi^2 of N_BINS bins; Talts et al. 2018), and how often the 95 % interval of log M_BH holds the truth."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        waiting = [pool.submit(keep, kind, seed) for seed in range(mocks.setting("GALMASS_MOCKS", N_MOCKS[kind]))]
        done = [future.result() for future in as_completed(waiting)]
    names = small()[2].names
    ranks, below = (np.array([d[key] for d in done]) for key in ("ranks", "below"))
    p_values = {name: digits(uniformity(r)) for name, r in zip(names, ranks.T, strict=True)}
    inside = digits(100 * np.mean(np.abs(below[:, names.index("log_m_bh")] - 0.5) < 0.475))
    value = {"smallest_p": min(p_values.values()), "log_m_bh_95_percent_covers": inside}
    about = {"p_values": p_values, "mocks": len(done), "not_converged": sum(not d["converged"] for d in done)}
    about |= {"fell_back": sum(d["sampler"] != "delayed" for d in done), "s_a_mock": digits(np.mean([d["seconds"] for d in done]))}
    about |= {"mean_rank": {name: digits(r.mean()) for name, r in zip(names, ranks.T, strict=True)}, "sd_of_log_m_bh": median_of(done, 1)}
    met = value["smallest_p"] > 0.01 / len(names) and 90 <= inside <= 99
    demanded = kind == "model"
    goal = f"p > {0.01 / len(names):.2g}, 90 - 99 %" if demanded else "reported: the model's own error counts"
    return row(value, "", goal, met or not demanded, "Talts et al. 2018", priors=mocks.NARROW, **about)


def median_of(done: list, place: int) -> float:
    return digits(np.median([d["log_m_bh"][place] for d in done]))


def uniformity(ranks) -> float:
    """p-value of ranks among 0 .. N_RANKED."""
    return stats.chisquare(np.bincount(ranks * N_BINS // (N_RANKED + 1), minlength=N_BINS)).pvalue


@cache
def noiseless() -> tuple:
    """The small galaxy under the default's priors, and its grid with the model of the truth for data: what a median moves by is bias."""
    entry = mocks.galaxy(mocks.SMALL, mocks.SMALL_IMAGE)
    gridded = mocks.grid(entry, mocks.simulated(entry, 1)[0])
    problem = mocks.posterior(entry, gridded, "gaussian")
    return entry, mocks.exact(problem, gridded, mocks.vector(problem, mocks.truth(entry)))


def black_hole(name: str, gridded, priors: dict) -> tuple[float, float]:
    """Median and standard deviation of log M_BH of a fit of the small galaxy."""
    entry = noiseless()[0] | {"priors": priors}
    problem = mocks.posterior(entry, gridded, "gaussian")
    return mocks.black_hole(problem, mocks.weighed(f"bias_{name}", entry, problem, gridded))


def fixed(**values) -> dict:
    return {name: {"kind": "fixed", "value": value} for name, value in values.items()}


def off_centre(share: float) -> dict:
    """Priors that hold the centre a share of the beam off, along the major axis."""
    entry, gridded = noiseless()
    at, size = mocks.truth(entry), share * imaging.beam(gridded).size
    angle = np.radians(at["position_angle"])
    return fixed(x_offset=at["x_offset"] + size * float(np.sin(angle)), y_offset=at["y_offset"] + size * float(np.cos(angle)))


def with_continuum(share: float) -> gridding.Gridded:
    """With a point source in the centre left in, from minus to plus a share of the line's mean flux density along the band."""
    entry, gridded = noiseless()
    at, offset = mocks.truth(entry), gridded.frequency - gridded.frequency.mean()
    u, v = imaging.uv_cells(gridded.n_pix, gridded.cell_arcsec)
    turned = np.exp(-2j * np.pi * gridding.ARCSEC * (u * at["x_offset"] + v * at["y_offset"]))
    line = imaging.short_spacing_spectrum(gridded)[0].mean()
    return replace(gridded, mean=np.where(gridded.mask, gridded.mean + share * line * (offset / offset.max())[:, None, None] * turned, 0))


def thick(share: float) -> gridding.Gridded:
    """Of a disc with a scale height of a share of its scale length."""
    entry, gridded = noiseless()
    of = mocks.truth(entry)
    problem = mocks.posterior(entry | {"model": entry["model"] | {"thick": True}}, gridded, "gaussian")
    return mocks.exact(problem, gridded, mocks.vector(problem, of | {"thickness": share * of["scale_length"]}))


def bias(name: str, make) -> dict:
    """Shift of the median of log M_BH by a wrong assumption, in standard deviations of the right one."""
    gridded, priors = make()
    (right, sigma), (wrong, width) = black_hole("none", noiseless()[1], {}), black_hole(name, gridded, priors)
    about = {"dex": digits(wrong - right), "log_m_bh": [right, wrong], "sigma": [digits(sigma), digits(width)]}
    return row(digits((wrong - right) / sigma), "sigma", "reported", True, **about)


def against_truth() -> dict:
    """Of the right assumptions: how far the median of a posterior of data without noise lies off."""
    (right, sigma), truth = black_hole("none", noiseless()[1], {}), mocks.truth(noiseless()[0])["log_m_bh"]
    value = digits((right - truth) / sigma)
    return row(value, "sigma", "<= 0.5: a skewed posterior", abs(value) <= 0.5, sigma=digits(sigma))


WRONG = {
    "centre 0.1 beam off": lambda: (noiseless()[1], off_centre(0.1)),
    "centre 0.3 beam off": lambda: (noiseless()[1], off_centre(0.3)),
    "dispersion 5 instead of 1.65": lambda: (noiseless()[1], fixed(sigma_gas=5.0)),
    "dispersion 15 instead of 1.65": lambda: (noiseless()[1], fixed(sigma_gas=15.0)),
    "continuum slope 2 % of the line": lambda: (with_continuum(0.02), {}),
    "thickness 0.1 scale lengths": lambda: (thick(0.1), {}),
}


def rows() -> dict:
    found = {f"ranks, mocks by {kind}": partial(calibration, kind) for kind in N_MOCKS} | {"bias, nothing wrong": against_truth}
    return found | {f"bias, {name}": partial(bias, name.replace(" ", "_"), make) for name, make in WRONG.items()}


if __name__ == "__main__":
    devices.use_threads(1)
    with threadpool_limits(1):
        mocks.report("calibration", rows())
