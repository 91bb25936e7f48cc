"""Accuracy and speed of deprojections and their velocities against peers, on one thread: make bench AREA=deprojection

GALMASS_REAL_DATA=folder, with ngc4697_supermage/ in it, adds the network that the authors used before the paper.
"""

import importlib.util
import math
import os
import shutil
import sys
import tempfile
import time
import timeit
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from operator import le
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
import yaml
from bench_survey import prepared, snakemake
from record import ROOT, measure
from scipy import integrate
from snakemake.utils import update_config
from threadpoolctl import threadpool_limits

from galmass import deprojection, devices, stores
from galmass.deprojection import models, training
from galmass.discs import evaluation
from galmass.discs.velocity import VelocityTable, circular_velocity, speed, squared_velocity
from galmass.profiles import grid, nuker
from galmass.units import G

N_PROFILES, N_EXACT, SEED = 100_000, 2000, 20251124  # a seed of nothing else; of 500 the 99th percentile is noise
SURFACE_GOALS = {"surrogate": (0.02, 0.25, 0.6), "direct": (0.0005, 0.1, 0.25, 0.1)}  # %: median, 99 %, largest; of profiles
VELOCITY_GOALS = {"velocity": (0.15, 1.2), "velocity_20pc_2kpc": (0.02, 0.3)}  # %: median, 99 %
RANGES = {"velocity": "2 pc - 5 kpc", "velocity_20pc_2kpc": "20 pc - 2 kpc"}
DISTANCE = 11.4  # Mpc, where peers take arcseconds
PC = DISTANCE * math.pi / 0.648  # per arcsec


def row(value, unit: str, goal: str, met: bool, peer: str | None = None, **more) -> dict:
    return {"value": value, "unit": unit, "goal": goal, "met": bool(met), "peer": peer, **more}


def digits(value) -> float:
    return float(f"{value:.3g}")


def spread(errors, negative=None) -> dict:
    """Median, 99th percentile and largest of fractional errors, and the fraction of profiles with a negative density [%]."""
    values = dict(zip(("median", "p99", "max"), np.nanquantile(errors, (0.5, 0.99, 1.0)), strict=True))
    return {name: digits(100 * v) for name, v in (values | ({} if negative is None else {"negative_density": negative.mean()})).items()}


def against(theirs: dict, ours: dict) -> dict:
    """The peer's numbers and how many times ours they are."""
    return {"ratio": {name: digits(theirs[name] / v) for name, v in ours.items() if v}, "peer_value": theirs}


@cache
def settings(*overlays: str) -> dict:
    """config/config.yaml and what is laid over it."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    for overlay in overlays:
        update_config(config, yaml.safe_load((ROOT / overlay).read_text()))
    return config


@cache
def profiles() -> list:
    return evaluation.random_profiles(models.BOX, N_PROFILES, SEED)


@cache
def reference() -> evaluation.Reference:
    return evaluation.Reference(profiles(), N_EXACT)


@cache
def errors_of(method: str) -> dict:
    """Errors of all profiles, those of the velocity for the first of them; the surrogate in float32, as it is used."""
    loaded, kind = deprojection.load(method=method), torch.float32 if method == "surrogate" else torch.float64
    return evaluation.errors(loaded.basis, lambda *p: loaded.amplitudes(*(v.to(kind) for v in p)), profiles(), reference())


def supermage(dtype):
    """Their module, and their Nuker model with 64 Gaussians and their defaults but our G."""
    from supermage.simulators import velocity_models

    return velocity_models, velocity_models.NukerMGE(64, distance_Mpc=DISTANCE, soft=0.1, device="cpu", dtype=dtype, G=G)


@cache
def supermage_errors() -> dict:
    """Of their projector, in float64, and of the velocities that their quadrature gives; v^2 <= 0 counts as 100 %."""
    code, model = supermage(torch.float64)
    sigma, radii = model.projector.sigma_grid, evaluation.VELOCITY_RADII

    def solve(alpha, beta, gamma, r_break):
        return model.projector.surf_from_profile(code.nuker_profile_torch_1d(model.projector.r_grid, 1.0, r_break, alpha, beta, gamma))

    found, one = evaluation.errors(SimpleNamespace(sigma=sigma.numpy()), solve, profiles()), torch.ones(1, dtype=torch.float64)
    rest = sigma, torch.full_like(sigma, evaluation.Q_INTR), one, evaluation.INCLINATION * one, -math.inf * one
    speeds = [model.MGE.radial_velocity(torch.from_numpy(radii), surf, *rest) for surf in solve(*(p[:N_EXACT] for p in profiles()))]
    off = np.abs(np.nan_to_num(torch.stack(speeds).numpy()) / reference().velocity - 1)
    near = (radii >= evaluation.INNER) & (radii <= evaluation.OUTER)
    return found | {"velocity": off.max(1), "velocity_20pc_2kpc": off[:, near].max(1)}


def surface(method: str) -> dict:
    """Largest fractional error of the surface density of each profile on 1 pc - 10 kpc."""
    value, theirs = (spread(found["surface_density"], found["negative"]) for found in (errors_of(method), supermage_errors()))
    goals, peer = SURFACE_GOALS[method], "supermage 1.0.3 ridge projector, 64 Gaussians, float64"
    return row(value, "%", f"<= {' / '.join(map(str, goals))} %", all(map(le, value.values(), goals)), peer, n=N_PROFILES, **against(theirs, value))


def earlier_network(folder: Path, n: int = 20_000, chunk: int = 500) -> dict:
    """The authors' network of 30 Gaussians in units of the break radius.

    Its grid as in the notebook of supermage 0.6.0: 0.05 to 100 break radii, over sqrt(3), in the middle of 30 bins.
    """
    weights = {name: torch.from_numpy(v).double() for name, v in np.load(folder / "model_symlog_final_weights.npz").items()}
    low, high = (math.log10(r / math.sqrt(3)) for r in (0.05, 100.0))
    sigma = 10 ** (low + (high - low) * (torch.arange(30, dtype=torch.float64) + 0.5) / 30)
    errors = []
    for alpha, beta, gamma, r_break in zip(*(p[:n].split(chunk) for p in profiles()), strict=True):
        hidden = torch.cat([alpha, beta, gamma], dim=1)
        for k in range(6):
            hidden = torch.nn.functional.linear(torch.selu(hidden) if k else hidden, weights[f"layer{k}_W"], weights[f"layer{k}_b"])
        amplitudes, x = torch.sign(hidden) * 1e-12 * (10 ** hidden.abs() - 1), torch.from_numpy(evaluation.SURFACE_RADII) / r_break
        found = (amplitudes[:, None, :] * torch.exp(-0.5 * (x[..., None] / sigma) ** 2)).sum(-1)
        error = (found * torch.exp(-nuker.log_density_at(torch.log(x), alpha, beta, gamma)) - 1).abs()
        errors.append(torch.stack([error.amax(1), torch.where((x >= 0.05) & (x <= 100), error, 0).amax(1)]))
    theirs, on_its_range = (spread(v.numpy()) for v in torch.cat(errors, dim=1))
    value = spread(errors_of("surrogate")["surface_density"])
    met, about = all(map(le, value.values(), theirs.values())), against(theirs, value) | {"peer_on_0.05_to_100_break_radii": on_its_range, "peer_n": n}
    return row(value, "%", "better than the peer", met, "the authors' network before the paper, 30 Gaussians", **about)


def velocities(method: str, column: str) -> dict:
    """Largest fractional error of v_c of each profile, q = 0.6, against the exact deprojection."""
    value, goals = spread(errors_of(method)[column]), VELOCITY_GOALS[column]
    about, peer = against(spread(supermage_errors()[column]), value), "supermage 1.0.3 projector and quadrature, 64 Gaussians, float64"
    return row(value, "%", f"<= {' / '.join(map(str, goals))} %", all(map(le, value.values(), goals)), peer, n=N_EXACT, **about)


def build_grid(folder: Path) -> dict:
    """In a process of its own, for its peak memory; VmHWM, because ru_maxrss begins at that of the parent."""
    config, start = settings("config/nuker.yaml"), time.perf_counter()
    options = config["deprojection"]["grid"]
    arrays = grid.build(options["axes"], options["held_out"], config["seeds"]["nuker_grid"])
    stores.write_arrays(folder / "grid.zarr", arrays, {"axes": options["axes"]})
    took = time.perf_counter() - start
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return {"s": digits(took), "GB": digits(peak / 1e6), "MB on disk": digits(size / 1e6), "nodes": len(arrays["held_out"][0])}


def full_grid() -> dict:
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        value = pool.submit(build_grid, Path(folder)).result()
    return row(value, "", "<= 60 s, <= 2 GB, <= 500 MB", all(map(le, value.values(), (60, 2, 500))) and value["nodes"] == 6_250_000)


def seconds(call) -> float:
    """Shortest of three timings of a call [s]."""
    number = (timer := timeit.Timer(call)).autorange()[0]
    return min(timer.repeat(3, number)) / number


def costs(call, arguments, unit: float = 1e-6) -> dict:
    """Time of a call for lists of tensors, one after the other: forward, and forward with gradients in all tensors."""

    def with_gradient(*tensors):
        leaves = [v.detach().requires_grad_() for v in tensors]
        return torch.autograd.grad(call(*leaves).sum(), leaves)

    with torch.no_grad():
        forward = seconds(lambda: [call(*tensors) for tensors in arguments])
    both = seconds(lambda: [with_gradient(*tensors) for tensors in arguments])
    return {"forward": digits(forward / unit), "with_gradient": digits(both / unit)}


def surrogate_cost(n: int, limit: float, n_direct: int) -> dict:
    """Time of the surrogate in float32 against that of the direct solution (float64 inside)."""
    ours, direct = deprojection.load(), deprojection.load(method="direct")
    parameters = [p[:n].float() for p in profiles()]
    value = costs(ours.amplitudes, [parameters], 1e-6 * n)
    about = against(costs(direct.amplitudes, [[p[:n_direct] for p in parameters]], 1e-6 * n_direct), value)
    about |= {"gradient_over_forward": digits(value["with_gradient"] / value["forward"]), "checked_call": costs(ours, [parameters], 1e-6 * n)}
    return row(value, "us a point", f"<= {limit} us, with gradients <= {3 * limit} us", all(map(le, value.values(), (limit, 3 * limit))), "direct", **about)


@cache
def example() -> SimpleNamespace:
    """The galaxy of the configuration, expanded in float64."""
    g, expanded = SimpleNamespace(**settings()["deprojection"]["example"]), deprojection.load()
    shape = g.alpha, g.gamma + g.beta_minus_gamma, g.gamma, g.r_break_pc
    g.sigma, g.inclination = expanded.sigma.numpy(), math.radians(g.inclination_deg)
    g.q_obs = math.hypot(g.q_intr * math.sin(g.inclination), math.cos(g.inclination))
    g.amplitudes = 10**g.log_sigma_break * expanded(*map(partial(torch.tensor, dtype=torch.float64), shape)).numpy()
    return g


def converged(g, radius) -> np.ndarray:
    """v_c by adaptive quadrature of the homoeoid integral over ln t."""
    x = radius / g.sigma[:, None]

    def integrand(ln_t):
        t = math.exp(ln_t)
        return t**3 / math.sqrt(1 - (1 - g.q_intr**2) * t * t) * (g.amplitudes @ (x * np.exp(-0.5 * (x * t) ** 2)))

    stars = math.sqrt(8 * math.pi) * G * g.q_obs * radius * integrate.quad_vec(integrand, -40, 0, epsabs=0, epsrel=1e-9, norm="max")[0]
    return np.sqrt(stars + G * 10**g.log_m_bh * radius**2 / (radius**2 + g.softening_pc**2) ** 1.5)


def jampy(g, radius):
    """v_c by jampy's function, ready to be called; the rest of the package, which its __init__ imports, is written for Python 3.12."""
    origin = Path(importlib.util.find_spec("jampy").origin).parent
    for name in ("jampy", "jampy.mge", "jampy.util"):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(origin.joinpath(*name.split(".")[1:]))]
    vcirc = importlib.import_module("jampy.mge.mge_vcirc").mge_vcirc
    observed = g.amplitudes, g.sigma / PC, np.full(len(g.sigma), g.q_obs), math.degrees(g.inclination)
    return partial(vcirc, *observed, 10**g.log_m_bh, DISTANCE, radius / PC, soft=g.softening_pc / PC)


def supermage_velocity(g, radius) -> dict:
    """Time [ms] of their velocity at their defaults in float32, the projection of the profile included."""
    model, arcsec = supermage(torch.float32)[1], g.r_break_pc / PC
    values = g.inclination, g.q_intr, g.log_m_bh, g.alpha, -g.beta_minus_gamma, g.gamma, arcsec, g.log_sigma_break
    return costs(lambda p: model.velocity(radius, params=p), [[torch.tensor(values)]], 1e-3)


def rotation_curve() -> dict:
    """v_c on 400 radii of 1 pc - 10 kpc with all Gaussians and a black hole, in float32."""
    g, radius = example(), np.geomspace(1.0, 1e4, 400)
    leaves = [torch.as_tensor(v, dtype=torch.float32) for v in (g.amplitudes, g.q_intr, g.inclination, g.log_m_bh, g.softening_pc)]
    r, sigma, table = torch.from_numpy(radius).float(), torch.from_numpy(g.sigma).float(), VelocityTable(g.sigma, 1.0, 1e4, torch.float32)
    calls = lambda a, *rest: circular_velocity(r, a, sigma, *rest), lambda a, *rest: speed(squared_velocity(r, a, sigma, *rest, table=table))
    (value, tabulated), ours, theirs = (costs(call, [leaves], 1e-3) for call in calls), calls[0](*leaves).double().numpy(), jampy(g, radius)
    exact = {"from_quadrature": converged(g, radius), "from_jampy": theirs() * math.sqrt(G / 0.004301)}  # their G
    off = {name: digits(np.abs(ours / v - 1).max()) for name, v in exact.items()}
    about = off | against(supermage_velocity(g, r), value) | {"table": tabulated, "n_gauss": len(sigma)}
    goal, peer = "<= 2 ms, equal to jampy 9.0.2 and to a converged quadrature to 1e-4", "supermage 1.0.3 NukerMGE.velocity, 64 Gaussians, its defaults, float32"
    return row(value, "ms", goal, value["forward"] <= 2 and max(off.values()) <= 1e-4, peer, jampy_ms=digits(1e3 * seconds(theirs)), **about)


def workflow() -> dict:
    """What the deprojection adds to the survey alone in the default after set-up, on two cores."""
    first, second, options = prepared(), prepared(), ("--cores", "2", "--resources", "gpu=2")
    try:
        alone, deprojected, default = snakemake(first, "survey", *options), snakemake(first, "deprojection", *options), snakemake(second, *options)
    finally:
        shutil.rmtree(first.parent)
        shutil.rmtree(second.parent)
    about, added = {"survey_s": digits(alone), "default_s": digits(default), "deprojection_alone_s": digits(deprojected)}, default - alone
    return row(digits(added), "s", "<= 30 s", added <= 30, **about)


def train() -> dict:
    """The training behind the committed weights, on the full grid, and the errors of what comes out."""
    options, seeds = (settings("config/nuker.yaml")[key] for key in ("deprojection", "seeds"))
    axes, recipe = options["grid"]["axes"], {"recipe": "galmass", **options["recipes"]["galmass"]}
    arrays = grid.build(axes, options["grid"]["held_out"], seeds["nuker_grid"])
    box, nodes, held_out = {name: [axis["low"], axis["high"]] for name, axis in axes.items()}, arrays["parameters"][0], arrays["held_out"][0]
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        module, history = training.train(nodes, held_out, box, recipe, seeds["deprojection"], scratch)
        minutes = (time.perf_counter() - start) / 60
    module.requires_grad_(False).eval()
    found = evaluation.errors(module.basis, lambda *p: module(*(v.float() for v in p)), profiles(), reference())
    goals = {"surface_density": SURFACE_GOALS["surrogate"], **VELOCITY_GOALS}
    reached = {name: spread(found[name]) for name in goals}
    met = minutes <= 15 and all(all(map(le, reached[name].values(), goals[name])) for name in goals)
    about = {"ratio": digits(600 / minutes), "reached_percent": reached, "held_out_loss": history[-1]["validation_loss"], "nodes": len(nodes)}
    goal, peer = "<= 15 min on two cores, to the goals of the surrogate", "the paper: 10 h on an RTX 4060 Ti"
    return row(digits(minutes), "min", goal, met, peer, **about, device=str(devices.best_device()), threads=torch.get_num_threads())


def main() -> None:
    devices.use_threads(1)
    rows = {f"{method}, surface density": partial(surface, method) for method in SURFACE_GOALS}
    if "GALMASS_REAL_DATA" in os.environ:
        rows["surrogate and the authors' earlier network"] = partial(earlier_network, Path(os.environ["GALMASS_REAL_DATA"]) / "ngc4697_supermage")
    else:
        print("skipped: the authors' earlier network; GALMASS_REAL_DATA does not say where their file is")
    rows |= {f"{method}, v_c on {RANGES[column]}": partial(velocities, method, column) for column in VELOCITY_GOALS for method in SURFACE_GOALS}
    rows |= {"surrogate, one point": partial(surrogate_cost, 1, 200, 1), "surrogate, batch of 1e5": partial(surrogate_cost, N_PROFILES, 10, 4096)}
    rows |= {"v_c on 400 radii": rotation_curve, "grid of 6 250 000 nodes": full_grid, "added to the default": workflow, "training": train}
    with threadpool_limits(1):
        found = [measure(f"deprojection: {name}", run) for name, run in rows.items()]
    print(f"{sum(r['met'] for r in found)} of {len(found)} goals met")


if __name__ == "__main__":
    main()
