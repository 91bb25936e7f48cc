"""Speed of the sampler, the fit at full coverage, the default, and what the parts of the likelihood do: make bench AREA=inference

GALMASS_PARTS=speed,default measures the rows with one of these words in their names, as arguments of the script do; a killed run goes on where it was.
GALMASS_SECONDS=300 (of a sampler that is a peer), GALMASS_ESS=1000 and GALMASS_MOCKS=400 (repetitions of the noise) can be made less for a trial.
"""

import math
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context

import mocks
import numpy as np
import torch
from bench_deprojection import settings
from bench_survey import prepared, snakemake
from bench_visibilities import digits, hold, row
from threadpoolctl import threadpool_limits

from galmass import devices, stores
from galmass.inference import diagnostics, fisher, noise
from galmass.visibilities import coverage, gridding
from galmass.visibilities.io import Visibilities
from galmass.visibilities.model import ARCSEC, primary_beam

BOUNDED = mocks.setting("GALMASS_SECONDS", 300)  # s of the chains of a peer after its warm-up
N_LOOKED = 200  # draws of a posterior at which another likelihood is taken
N_REPEATED = mocks.setting("GALMASS_MOCKS", 400)  # repetitions of the noise: 1.1 % on a coverage of 95 %
WITHIN = 1.96  # standard deviations of a 95 % interval
DEFAULT_RULES = ("plot_visibilities", "plot_fit", "summarise_black_holes", "compare_models")


@cache
def default_mock() -> tuple:
    """The default's galaxy, its grid and its Nuker posterior."""
    entry = mocks.galaxy()
    gridded = mocks.grid(entry, mocks.simulated(entry, settings()["seeds"]["simulation"])[0])
    return entry, gridded, mocks.posterior(entry, gridded)


def default_chains(sampler: str = "delayed", **options):
    """Of a sampler on the default's posterior, all from the same modes; a killed run is gone on from."""
    entry, gridded, problem = default_mock()
    at, _ = mocks.modes("default", entry, problem, gridded)
    return mocks.chains(f"default_{sampler}", problem, at, sampler=sampler, **{"target_ess": 1000, "max_steps": 10**6} | options)


def timed(sampler: str, **options) -> dict:
    """Effective samples of the slowest parameter a second, after set-up and warm-up and with them."""
    begun = mocks.kept(mocks.scratch() / f"default_{sampler}.json", lambda: {"seconds": default_chains(sampler, **options, max_steps=1).seconds})["seconds"]
    result = default_chains(sampler, **options, max_seconds=begun + BOUNDED)
    ess = float(result.diagnostics.bulk_ess.min())
    value = {"ess_per_s": ess / (result.seconds - begun), "with_set_up": ess / result.seconds, "set_up_s": begun, "ess": ess}
    value |= {"r_hat": float(result.diagnostics.r_hat.max()), "acceptance": result.acceptance, "likelihoods": result.n_likelihoods}
    return {key: digits(v) for key, v in value.items()} | {"sampler": result.sampler, "converged": result.converged}


def speed() -> dict:
    """Of all samplers from the same modes of the default's mock, for BOUNDED at most."""
    entry, gridded, problem = default_mock()
    _, search = mocks.modes("default", entry, problem, gridded)
    ours = timed("delayed", n_chains=16)
    peers = {sampler: timed(sampler, n_chains=4) for sampler in ("mala", "hmc")}
    ratios = {name: [digits(ours[key] / peer["ess_per_s"]) for key in ("ess_per_s", "with_set_up")] for name, peer in peers.items()}
    met = ratios["mala"][0] >= 200 and ratios["mala"][1] >= 50 and ours["converged"]
    about = {"ratio": ratios["mala"], "ratio_hmc": ratios["hmc"], "peer_value": peers, "search_s": digits(search), "parameters": problem.n}
    return row(ours, "", ">= 200 times MALA, >= 50 with set-up, R-hat < 1.01", met, "MALA and HMC with the Fisher matrix, the same posterior", **about)


def fit_alone(simulated: dict) -> dict:
    """A whole fit in a process of its own, for its peak memory."""
    devices.use_threads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as scratch:
        entry = mocks.galaxy(simulated)
        gridded = mocks.grid(entry, mocks.simulated(entry, settings()["seeds"]["simulation"])[0])
        before = hold()
        return mocks.whole_fit(entry, gridded, scratch) | {"GB": hold(), "GB_before": before, "channels": len(gridded.frequency)}


def full_coverage() -> dict:
    """The default's mock at all cells and channels, search and set-up included."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(fit_alone, mocks.FULL).result()
    value = {"min": found["seconds"] / 60, **{key: found[key] for key in ("ess", "r_hat", "GB")}}
    met = found["seconds"] <= 1200 and found["ess"] >= 1000 and found["r_hat"] < 1.01
    mass = found["parameters"]["log_m_bh"]
    about = {key: found[key] for key in ("n_data", "channels", "n_likelihoods", "acceptance", "sampler", "notes")} | {"GB_before": digits(found["GB_before"])}
    about |= {"log_m_bh": [digits(mass["median"]), *mass["interval_95"]], "truth": settings()["galaxies"]["ngc4697_mock"]["simulation"]["truth"]["log_m_bh"]}
    return row({key: digits(v) for key, v in value.items()}, "", "R-hat < 1.01, ESS >= 1000 in <= 20 min", met, **about)


def default() -> dict:
    """All rules of the default's galaxy on two cores: simulation, import, grid, three fits, checks, figures, tables."""
    folder = prepared()
    seconds = snakemake(folder, "dynamics", "--until", *DEFAULT_RULES, "--cores", "2", "--resources", "gpu=2")
    fits = {path.parent.name: stores.read_json(path) for path in sorted((folder / "results").glob("*/fit/*/summary.json"))}
    tables = {path.parent.name: path.read_text().splitlines() for path in (folder / "benchmarks").glob("*/*/fit_visibilities.tsv")}
    value = {name: {"s": float(tables[name][1].split()[0]), **{key: digits(fit[key]) for key in ("ess", "r_hat")}} for name, fit in fits.items()}
    about = {"fits": value, "log_m_bh": {name: fit["parameters"]["log_m_bh"]["interval_95"] for name, fit in fits.items()}}
    met = seconds <= 120 and len(fits) == 3 and all(fit["converged"] for fit in fits.values())
    return row(round(seconds, 1), "s", "<= 120 s on two cores, all fits converged", met, **about)


def reweighted(problem, x, log_weights) -> dict:
    """What importance weights change in log M_BH of draws x (n, d), and how much ln L differs."""
    smoothed, k = diagnostics.smooth(log_weights)
    mass, share = x[:, problem.names.index("log_m_bh")].numpy(), np.exp(smoothed)
    sd = mass.std()
    mean = share @ mass
    moved = {"shift_sigma": (mean - mass.mean()) / sd, "width": math.sqrt(share @ (mass - mean) ** 2) / sd}
    moved |= {"ln_L_rms": np.std(log_weights), "ln_L_largest": np.abs(log_weights - np.median(log_weights)).max(), "pareto_k": k}
    return {key: digits(v) for key, v in moved.items()}


def over_the_posterior(other) -> dict:
    """What another likelihood, a function of physical vectors, would change over the posterior of the default's mock."""
    _, _, problem = default_mock()
    enough = {"target_ess": mocks.setting("GALMASS_ESS", 1000), "max_r_hat": 1.02}
    x = mocks.draws(problem, default_chains(n_chains=16, **enough), N_LOOKED)
    with torch.no_grad():
        return reweighted(problem, x, np.array([float(other(point) - problem(point)) for point in x]))


def surrogate() -> dict:
    """Network against exact least squares under the rotation curve."""
    entry, gridded, _ = default_mock()
    value = over_the_posterior(mocks.posterior(entry, gridded, method="direct"))
    met = abs(value["shift_sigma"]) <= 0.1 and value["pareto_k"] < diagnostics.PARETO_LIMIT
    return row(value, "", "shift of log M_BH <= 0.1 sigma", met, "direct")


def pixels() -> dict:
    """Pixels of the default's model against half as wide ones: what `model.oversampling` 1 costs."""
    entry, gridded, _ = default_mock()
    value = over_the_posterior(mocks.posterior(entry | {"model": entry["model"] | {"oversampling": 2}}, gridded))
    return row(value, "", "shift of log M_BH <= 0.2 sigma", abs(value["shift_sigma"]) <= 0.2, "oversampling 2")


def at_visibilities(problem, data: Visibilities, entry: dict):
    """ln L of physical vectors by each visibility for itself: the model's image carried to each baseline by finufft."""
    import finufft

    disc, cell = problem.model.disc, problem.model.disc.cell_arcsec * ARCSEC
    beam = primary_beam(disc.n_pix, disc.cell_arcsec, data.frequency, entry["dish_diameter_m"], entry["primary_beam_coefficient"])
    turns = [np.ascontiguousarray(2 * math.pi * cell * a) for a in (data.v, data.u)]
    smeared = np.sinc(data.u * cell) * np.sinc(data.v * cell)

    def log_likelihood(x) -> float:
        with torch.no_grad():
            image = problem.model.cube(*(f(x).to(disc.dtype) for f in (problem.velocity, problem.geometry))).numpy() * beam
        found = finufft.nufft2d2(*turns, image.astype(complex), isign=-1, eps=1e-7, nthreads=1) / smeared
        return -0.5 * float(np.sum(data.weight * np.abs(data.vis - found) ** 2))

    return log_likelihood


@cache
def noiseless(median_count: float) -> Visibilities:
    """The default's mock without noise, but with the weights of that which it should have."""
    entry, seed = mocks.galaxy(), settings()["seeds"]["simulation"]
    noisy, drawn = mocks.simulated(entry, seed, median_count=median_count)
    quiet, _ = mocks.simulated(entry, seed, median_count=median_count, sigma=1e-9 * drawn["sigma_jy"])
    return replace(quiet, weight=noisy.weight)


def gridded_or_not(median_count: float, centroids: bool) -> dict:
    """Uv cells against the visibilities in them: log M_BH of data without noise, and how ln L varies over the posterior."""
    entry, data = mocks.galaxy(model={"centroids": centroids}), noiseless(median_count)
    gridded = mocks.grid(entry, data)
    problem = mocks.posterior(entry, gridded, "gaussian")
    result = mocks.weighed(f"gridding_{median_count:g}_{centroids}", entry, problem, gridded)
    x, each = mocks.draws(problem, result, N_LOOKED), at_visibilities(problem, data, entry)
    with torch.no_grad():
        value = reweighted(problem, x, np.array([each(point) - float(problem(point)) for point in x]))
        truth = mocks.vector(problem, mocks.truth(entry))
        value["chi2_of_truth"] = [digits(-2 * f) for f in (each(truth), float(problem(truth)) - problem.noise.constant)]
    median, sigma = mocks.black_hole(problem, result)
    value["off_truth_sigma"] = digits((median - mocks.truth(entry)["log_m_bh"]) / sigma)
    demanded = median_count >= 20
    met = not demanded or abs(value["shift_sigma"]) <= 0.2
    return row(value, "", "shift of log M_BH <= 0.2 sigma" if demanded else "reported", met, "each visibility, finufft", visibilities=int((~data.flag).sum()))


@cache
def linear() -> tuple:
    """The small galaxy about its truth: its cells, what they are gridded with, the Jacobian (n_data, d) of the coordinates, and the prior's curvature."""
    entry = mocks.galaxy(mocks.SMALL, mocks.SMALL_IMAGE)
    data, drawn = mocks.simulated(entry, 1)
    gridded = mocks.grid(entry, data)
    problem = mocks.posterior(entry, gridded, dtype=torch.float64)
    z = problem.parameters.coordinates(mocks.vector(problem, mocks.truth(entry)))
    jacobian = fisher.central_jacobian(problem.predict, z, torch.full_like(z, 1e-4))
    return entry, drawn["sigma_jy"], jacobian, fisher.positive(fisher.prior_curvature(problem, z), 1e-3), problem.names.index("log_m_bh")


def noise_alone(entry: dict, sigma: float, n_vis: int, rng) -> gridding.Gridded:
    """A grid of noise, `n_vis` visibilities in every cell, of as much noise a cell whatever n_vis is."""
    real, sigma = mocks.cells(entry), sigma * math.sqrt(n_vis / 24)
    u, v, cell = coverage.draw_baselines(real, np.full(len(real.u), n_vis), rng)
    flag = ~real.filled[:, cell]
    vis = sigma * (rng.standard_normal((*flag.shape, 2)) @ [1, 1j])
    return mocks.grid(entry, Visibilities(u, v, vis, np.full(flag.shape, sigma**-2), flag, real.frequency, {}))


def noise_of(kind: str, gridded) -> noise.Noise:
    values = (a[gridded.mask] for a in (gridded.mean, gridded.std, gridded.propagated, gridded.nu))
    real_only = np.broadcast_to(gridded.real_only, gridded.mask.shape)[gridded.mask]
    return noise.of_cells(kind, *values, real_only)[0]


def fitted(data: noise.Noise, jacobian, prior, z, copies: int):
    """Mode (d,) near z and covariance of a linear model, each datum counted `copies` times."""
    for _ in range(12):  # Student's t converges by a factor of a few a step
        score, weights = data.score_and_weights(jacobian @ z)
        information = copies * jacobian.T @ (weights[:, None] * jacobian) + prior
        z = z + torch.linalg.solve(information, copies * jacobian.T @ score - prior @ z)
    model = (jacobian @ z).requires_grad_()
    (curvature,) = torch.autograd.grad(data.score_and_weights(model)[0].sum(), model)
    return z, torch.linalg.inv(prior - copies * jacobian.T @ (curvature[:, None] * jacobian))


def offsets(kind: str, n_vis: int, copies: int):
    """Errors of log M_BH in the standard deviations that its posteriors have, and these (N_REPEATED,), for truths from the prior."""
    entry, sigma, jacobian, prior, i = linear()
    factor, found = fisher.covariance_factor(prior), []
    for seed in range(N_REPEATED):
        rng = np.random.default_rng(seed)
        data = noise_of(kind, noise_alone(entry, sigma, n_vis, rng))
        z = factor @ torch.from_numpy(rng.standard_normal(len(prior)))
        mode, covariance = fitted(noise.Noise(data.data + jacobian @ z, data.std, torch.where(data.known, math.inf, data.nu)), jacobian, prior, z, copies)
        found.append((float((mode - z)[i] / covariance[i, i].sqrt()), float(covariance[i, i].sqrt())))
    return np.array(found).T


def covered(kind: str, n_vis: int, copies: int = 1) -> dict:
    """How often the 95 % interval of log M_BH holds the truth, with the model linear about NGC 4697 and noise that goes through the gridding."""
    off, width = offsets(kind, n_vis, copies)
    value, demanded = digits(100 * np.mean(np.abs(off) < WITHIN)), kind != "gaussian_x2" and copies == 1
    about = {"rms_of_error_over_sigma": digits(off.std()), "width": digits(width.mean()), "visibilities_a_cell": n_vis, "repetitions": len(off)}
    return row(value, "%", "90 - 99 %" if demanded else "reported", not demanded or 90 <= value <= 99, **about)


def rows() -> dict:
    found = {"speed": speed, "full coverage": full_coverage, "default": default, "surrogate or direct": surrogate, "pixels, oversampling 1 or 2": pixels}
    found |= {
        f"grid or visibilities, {n} a cell{', centroids' * centroids}": partial(gridded_or_not, n, centroids)
        for n, centroids in ((24, False), (24, True), (3, False), (3, True))
    }
    found |= {f"likelihood {kind}, {n} a cell": partial(covered, kind, n) for kind in noise.KINDS for n in (3, 8, 20)}
    return found | {"both halves of the plane, student_t, 20 a cell": partial(covered, "student_t", 20, 2)}


if __name__ == "__main__":
    devices.use_threads(1)
    with threadpool_limits(1):
        mocks.report("inference", rows())
