"""Accuracy and speed of deprojections and their velocities against peers, one thread: make bench AREA=deprojection

GALMASS_REAL_DATA=folder, with ngc4697_supermage/ in it, adds the network that the authors used before the paper.
"""

import importlib
import importlib.util
import math
import os
import resource
import shutil
import sys
import tempfile
import time
import timeit
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
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

from galmass import deprojection, stores
from galmass.deprojection import evaluation, models, training
from galmass.discs import velocity
from galmass.profiles import grid, mge, nuker
from galmass.units import G

N_PROFILES, N_EXACT, SEED = 100_000, 500, 20251124  # a seed that no training or evaluation of the workflow has
WEIGHTS = models.COMMITTED if models.COMMITTED.is_file() else ROOT / "results" / "deprojection" / "surrogate.safetensors"
QUANTILES = {"median": 0.5, "p99": 0.99, "max": 1.0}
SURFACE_GOALS = {"surrogate": (0.02, 0.25, 0.6), "direct": (0.0005, 0.1, 0.25)}  # %: median, 99 %, max
VELOCITY_GOALS = {"velocity": (0.15, 1.2), "velocity_20pc_2kpc": (0.02, 0.3)}  # %: median, 99 %
RANGES = {"velocity": "2 pc - 5 kpc", "velocity_20pc_2kpc": "20 pc - 2 kpc"}
CHUNKS = (256, 1024, 4096, N_PROFILES)


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


def spread(errors) -> dict:
    """Median, 99th percentile and largest of fractional errors [%], three digits."""
    return {name: float(f"{100 * np.quantile(errors[~np.isnan(errors)], q):.3g}") for name, q in QUANTILES.items()}


def within(found: dict, goals) -> bool:
    return all(v <= goal for v, goal in zip(found.values(), goals, strict=False))


def ratios(ours: dict, theirs: dict) -> dict:
    return {name: float(f"{theirs[name] / ours[name]:.3g}") for name in ours}


def percent(fraction) -> float:
    return float(f"{100 * float(fraction):.3g}")


@cache
def errors_of(method: str) -> dict:
    """Errors of all profiles, exact velocities for the first of them."""
    return evaluation.errors(*evaluation.methods({"surrogate": WEIGHTS})[method], profiles(), reference())


def supermage(dtype):
    """Their Nuker model with 64 Gaussians and their defaults; our G."""
    from supermage.simulators import velocity_models

    return velocity_models, velocity_models.NukerMGE(64, distance_Mpc=11.4, soft=0.1, device="cpu", dtype=dtype, G=G)


@cache
def supermage_errors() -> dict:
    """Of their projector, in float64, and of the velocities that their quadrature gives; v^2 <= 0 counts as 100 %."""
    code, model = supermage(torch.float64)
    sigma = model.projector.sigma_grid

    def solve(alpha, beta, gamma, r_break):
        return model.projector.surf_from_profile(code.nuker_profile_torch_1d(model.projector.r_grid, 1.0, r_break, alpha, beta, gamma))

    found = evaluation.errors(SimpleNamespace(sigma=sigma.numpy()), solve, profiles())
    radii, q, one = torch.from_numpy(evaluation.VELOCITY_RADII), torch.full_like(sigma, evaluation.Q_INTR), torch.ones(1, dtype=torch.float64)
    rest = (sigma, q, one, evaluation.INCLINATION * one, -math.inf * one)
    speeds = torch.stack([model.MGE.radial_velocity(radii, surf, *rest) for surf in solve(*(p[:N_EXACT] for p in profiles()))])
    off = np.abs(np.nan_to_num(speeds.numpy()) / reference().velocity - 1)
    near = (evaluation.VELOCITY_RADII >= evaluation.INNER) & (evaluation.VELOCITY_RADII <= evaluation.OUTER)
    return found | {"velocity": off.max(1), "velocity_20pc_2kpc": off[:, near].max(1)}


def surface(method: str) -> dict:
    """Largest fractional error of the surface density of each profile on 1 pc - 10 kpc."""
    found, theirs, goals = errors_of(method), supermage_errors(), SURFACE_GOALS[method]
    value, peer, negative = spread(found["surface_density"]), spread(theirs["surface_density"]), percent(found["negative"].mean())
    return {
        "value": value,
        "unit": "%",
        "goal": f"<= {' / '.join(map(str, goals))} %" + ", negative density <= 0.1 %" * (method == "direct"),
        "met": within(value, goals) and (method != "direct" or negative <= 0.1),
        "peer": "supermage 1.0.3 ridge projector, 64 Gaussians, float64",
        "ratio": ratios(value, peer),
        "peer_value": peer,
        "negative_percent": negative,
        "peer_negative_percent": percent(theirs["negative"].mean()),
        "n": N_PROFILES,
        **({"weights": WEIGHTS.name, "nodes_of_the_grid": models.load(WEIGHTS)[1]["grid"]["n_node"]} if method == "surrogate" else {}),
    }


def earlier_network(folder: Path, n: int = 20_000, chunk: int = 500) -> dict:
    """The authors' network of 30 Gaussians in units of the break radius; no goal, a peer.

    Its grid as in the notebook of supermage 0.6.0: 0.05 to 100 break radii, over sqrt(3), in the middle of 30 bins.
    """
    weights = {name: torch.from_numpy(v).double() for name, v in np.load(folder / "model_symlog_final_weights.npz").items()}
    low, high = (math.log10(r / math.sqrt(3)) for r in (0.05, 100.0))
    sigma = 10 ** (low + (high - low) * (torch.arange(30, dtype=torch.float64) + 0.5) / 30)
    everywhere, inside = [], []
    for alpha, beta, gamma, r_break in zip(*(p[:n].split(chunk) for p in profiles()), strict=True):
        hidden = torch.cat([alpha, beta, gamma], dim=1)
        for k in range(6):
            hidden = torch.nn.functional.linear(hidden if k == 0 else torch.selu(hidden), weights[f"layer{k}_W"], weights[f"layer{k}_b"])
        amplitudes = torch.sign(hidden) * 1e-12 * (10 ** hidden.abs() - 1)
        x = torch.from_numpy(evaluation.SURFACE_RADII) / r_break
        found = (amplitudes[:, None, :] * torch.exp(-0.5 * (x[..., None] / sigma) ** 2)).sum(-1)
        error = (found * torch.exp(-nuker.log_density_at(torch.log(x), alpha, beta, gamma)) - 1).abs()
        everywhere.append(error.amax(1))
        inside.append(torch.where((x >= 0.05) & (x <= 100), error, 0).amax(1))
    value, own = (spread(torch.cat(v).numpy()) for v in (everywhere, inside))
    ours = spread(errors_of("surrogate")["surface_density"])
    return {
        "value": value,
        "unit": "%",
        "goal": "none: a peer of the surrogate",
        "met": all(ours[k] <= value[k] for k in ours),
        "peer": "surrogate",
        "ratio": ratios(ours, value),
        "on_its_0.05_to_100_break_radii": own,
        "n": n,
    }


def velocities(method: str, column: str) -> dict:
    """Largest fractional error of v_c of each profile, q = 0.6, against the exact deprojection."""
    value, peer, goals = spread(errors_of(method)[column]), spread(supermage_errors()[column]), VELOCITY_GOALS[column]
    return {
        "value": value,
        "unit": "%",
        "goal": f"<= {' / '.join(map(str, goals))} % (median / 99 %)",
        "met": within(value, goals),
        "peer": "supermage 1.0.3 projector and quadrature, 64 Gaussians, float64",
        "ratio": ratios(value, peer),
        "peer_value": peer,
        "n": N_EXACT,
    }


def build_grid(folder: Path) -> dict:
    """In a process of its own, for its peak memory; not ru_maxrss, which a child inherits."""
    config, start = settings("config/nuker.yaml"), time.perf_counter()
    options = config["deprojection"]["grid"]
    arrays = grid.build(options["axes"], options["held_out"], config["seeds"]["nuker_grid"])
    stores.write_arrays(folder / "grid.zarr", arrays, {"axes": options["axes"]})
    seconds = time.perf_counter() - start
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return {"seconds": round(seconds, 2), "peak_gb": round(peak / 1e6, 3), "file_mb": round(size / 1e6, 1), "nodes": len(arrays["held_out"][0])}


def full_grid() -> dict:
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        value = pool.submit(build_grid, Path(folder)).result()
    met = value["seconds"] <= 60 and value["peak_gb"] <= 2 and value["file_mb"] <= 500 and value["nodes"] == 6_250_000
    return {"value": value, "unit": "s, GB, MB", "goal": "<= 60 s, <= 2 GB, <= 500 MB", "met": met, "peer": None}


def seconds(call) -> float:
    """Shortest of five timings of a call [s]."""
    call()
    timer = timeit.Timer(call)
    number, _ = timer.autorange()
    return min(timer.repeat(5, number)) / number


def gradient(call, leaves):
    leaves = [v.detach().requires_grad_() for v in leaves]
    return torch.autograd.grad(call(*leaves).sum(), leaves)


def cost(solve, parameters, chunk: int = N_PROFILES) -> dict:
    """Microseconds a point: forward, and forward with gradients in all parameters."""
    parts = list(zip(*(p.split(chunk) for p in parameters), strict=True))

    def forward():
        with torch.no_grad():
            for part in parts:
                solve(*part)

    def backward():
        for part in parts:
            gradient(solve, part)

    return {name: float(f"{1e6 * seconds(call) / len(parameters[0]):.3g}") for name, call in (("forward", forward), ("with_gradient", backward))}


def surrogate_cost(n: int, limit: float, n_direct: int) -> dict:
    """Time of the surrogate in float32 against that of the direct solution (float64 inside)."""
    ours, direct = deprojection.load(WEIGHTS), deprojection.load(method="direct")
    parameters = [p[:n].float() for p in profiles()]
    by_chunk = {chunk: cost(ours.amplitudes, parameters, chunk) for chunk in CHUNKS if chunk <= n} or {n: cost(ours.amplitudes, parameters)}
    chunk, value = min(by_chunk.items(), key=lambda entry: entry[1]["forward"])
    peer = cost(direct.amplitudes, [p[:n_direct] for p in parameters])
    return {
        "value": value,
        "unit": "us a point",
        "goal": f"<= {limit:g} us, with gradients <= {3 * limit:g} us",
        "met": value["forward"] <= limit and value["with_gradient"] <= 3 * limit,
        "peer": "direct",
        "ratio": ratios(value, peer),
        "peer_value": peer,
        "gradient_over_forward": round(value["with_gradient"] / value["forward"], 2),
        "checked_call": cost(ours, parameters, chunk),
        "chunk": chunk,
        "by_chunk": by_chunk,
    }


def example() -> tuple:
    """Amplitudes (float64), sigma, q, inclination, mass, softening of the example of the configuration, and its Nuker parameters."""
    e = settings()["deprojection"]["example"]
    parameters = e["alpha"], e["gamma"] + e["beta_minus_gamma"], e["gamma"], e["r_break_pc"]
    expanded = deprojection.load(WEIGHTS)
    amplitudes = 10 ** e["log_sigma_break"] * expanded(*(torch.tensor(v, dtype=torch.float64) for v in parameters))
    return amplitudes, expanded.sigma, e["q_intr"], math.radians(e["inclination_deg"]), e["log_m_bh"], e["softening_pc"], parameters


def mge_vcirc():
    """jampy's function; the rest of the package, which its __init__ imports, is written for Python 3.12."""
    origin = Path(importlib.util.find_spec("jampy").origin).parent
    for name in ("jampy", "jampy.mge", "jampy.util"):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(origin.joinpath(*name.split(".")[1:]))]
    return importlib.import_module("jampy.mge.mge_vcirc").mge_vcirc


def converged(radius, amplitudes, sigma, q: float, inclination: float) -> np.ndarray:
    """v_c^2 of the Gaussians by adaptive quadrature of the homoeoid integral over ln t, to 1e-9 of its largest value times radius."""
    x = radius / sigma[:, None]
    q_obs = math.hypot(q * math.sin(inclination), math.cos(inclination))

    def integrand(ln_t):
        t = math.exp(ln_t)
        return t**3 / math.sqrt(1 - (1 - q * q) * t * t) * (amplitudes @ (x * np.exp(-0.5 * (x * t) ** 2)))

    return math.sqrt(8 * math.pi) * G * q_obs * radius * integrate.quad_vec(integrand, -40, 0, epsabs=0, epsrel=1e-9, norm="max")[0]


def circular_velocity() -> dict:
    """v_c on 400 radii of 1 pc - 10 kpc with all Gaussians and a black hole, float32, of the example of the configuration."""
    amplitudes, sigma, q, inclination, log_mass, softening, nuker_parameters = example()
    radius, distance = np.geomspace(1.0, 1e4, 400), 11.4
    leaves = [torch.as_tensor(v, dtype=torch.float32) for v in (amplitudes, q, inclination, log_mass, softening)]
    radius32, sigma32 = torch.from_numpy(radius).float(), sigma.float()
    table = velocity.VelocityTable(sigma, 1.0, 1e4, torch.float32)

    def unchecked(amplitudes, *rest):
        return velocity.speed(velocity.squared_velocity(radius32, amplitudes, sigma32, *rest, table=table))

    def public(amplitudes, *rest):
        return velocity.circular_velocity(radius32, amplitudes, sigma32, *rest)

    ours = public(*leaves).double().numpy()
    hole = velocity.black_hole_squared(*(torch.as_tensor(v, dtype=torch.float64) for v in (radius, log_mass, softening))).numpy()
    exact = np.sqrt(converged(radius, amplitudes.numpy(), sigma.numpy(), q, inclination) + hole)
    vcirc, pc = mge_vcirc(), distance * math.pi / 0.648  # per arcsec
    q_obs = np.full(len(sigma), float(mge.observed_axial_ratio(torch.tensor(q), torch.tensor(inclination))))
    theirs = partial(vcirc, amplitudes.numpy(), sigma.numpy() / pc, q_obs, math.degrees(inclination), 10**log_mass, distance, radius / pc, soft=softening / pc)
    differences = {
        "from_quadrature": float(np.abs(ours / exact - 1).max()),
        "from_jampy": float(np.abs(ours / (theirs() * math.sqrt(G / 0.004301)) - 1).max()),  # their G
    }
    times = {name: {"forward": seconds(lambda f=f: f(*leaves)), "with_gradient": seconds(lambda f=f: gradient(f, leaves))} for name, f in
             (("circular_velocity", public), ("table", unchecked))}  # fmt: skip
    value = {name: {key: float(f"{1e3 * t:.3g}") for key, t in entry.items()} for name, entry in times.items()}
    peer = {"forward": 1e3 * (t := supermage_velocity(radius32, nuker_parameters))[0], "with_gradient": 1e3 * t[1]}
    return {
        "value": value,
        "unit": "ms",
        "goal": "circular_velocity <= 2 ms, equal to jampy and a converged quadrature to 1e-4",
        "met": value["circular_velocity"]["forward"] <= 2 and max(differences.values()) <= 1e-4,
        "peer": "supermage 1.0.3 NukerMGE.velocity, 64 Gaussians, defaults, float32",
        "ratio": ratios(value["circular_velocity"], peer),
        "peer_value": {name: round(v, 1) for name, v in peer.items()},
        "jampy_ms": round(1e3 * seconds(theirs), 1),
        "n_gauss": len(sigma),
        **differences,
    }


def supermage_velocity(radius, nuker_parameters) -> tuple[float, float]:
    """Seconds of their velocity at their defaults, Nuker profile included: forward, with gradient."""
    alpha, beta, gamma, r_break = nuker_parameters
    e, model = settings()["deprojection"]["example"], supermage(torch.float32)[1]
    values = (
        math.radians(e["inclination_deg"]),
        e["q_intr"],
        e["log_m_bh"],
        alpha,
        gamma - beta,
        gamma,
        r_break * 0.648 / (math.pi * 11.4),
        e["log_sigma_break"],
    )
    leaf = [torch.tensor(values)]
    return seconds(lambda: model.velocity(radius, params=leaf[0])), seconds(lambda: gradient(lambda p: model.velocity(radius, params=p), leaf))


def workflow() -> dict:
    """`snakemake deprojection` after set-up, on two cores, in a clone; its start is in the default anyway."""
    clone, before = prepared(), resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        took = snakemake(clone, "--cores", "2", "--resources", "gpu=2", "deprojection")
    finally:
        shutil.rmtree(clone.parent)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"value": round(took, 1), "unit": "s", "goal": "<= 30 s", "met": took <= 30, "peer": None, "processor_s": round(processor, 1)}


def train() -> dict:
    """The training behind the committed weights, on the full grid, and the errors of what comes out."""
    config = settings("config/nuker.yaml")
    options, seeds = config["deprojection"], config["seeds"]
    arrays = grid.build(options["grid"]["axes"], options["grid"]["held_out"], seeds["nuker_grid"])
    box = {name: [axis["low"], axis["high"]] for name, axis in options["grid"]["axes"].items()}
    recipe = {"recipe": "galmass", **options["recipes"]["galmass"]}
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        module, history = training.train(arrays["parameters"][0], arrays["held_out"][0], box, recipe, seeds["deprojection"], scratch)
        minutes = (time.perf_counter() - start) / 60
    module.requires_grad_(False).eval()
    found = evaluation.errors(module.basis, lambda *p: module(*(v.float() for v in p)), profiles(), reference())
    reached = {name: spread(found[name]) for name in ("surface_density", *VELOCITY_GOALS)}
    goals = {"surface_density": SURFACE_GOALS["surrogate"], **VELOCITY_GOALS}
    return {
        "value": round(minutes, 2),
        "unit": "min",
        "goal": "<= 15 min on two cores, to the goals of the surrogate",
        "met": minutes <= 15 and all(within(reached[name], goals[name]) for name in goals),
        "peer": "the paper: 10 h on an RTX 4060 Ti",
        "ratio": round(600 / minutes, 1),
        "reached_percent": reached,
        "device": str(training.devices.best_device()),
        "threads": torch.get_num_threads(),
        "validation_loss": history[-1]["validation_loss"],
    }


def main() -> None:
    torch.set_num_threads(1)
    rows = {f"{method}, surface density": partial(surface, method) for method in SURFACE_GOALS}
    data = os.environ.get("GALMASS_REAL_DATA")
    if data:
        rows["authors' earlier network"] = partial(earlier_network, Path(data) / "ngc4697_supermage")
    else:
        print("skipped: the authors' earlier network; GALMASS_REAL_DATA does not say where their file is")
    rows |= {f"{method}, v_c on {RANGES[column]}": partial(velocities, method, column) for column in VELOCITY_GOALS for method in SURFACE_GOALS}
    rows |= {"grid of 6 250 000 nodes": full_grid, "surrogate, one point": partial(surrogate_cost, 1, 200, 1)}
    rows |= {"surrogate, batch of 1e5": partial(surrogate_cost, N_PROFILES, 10, 4096), "v_c on 400 radii": circular_velocity}
    rows |= {"snakemake deprojection after set-up": workflow, "training": train}
    with threadpool_limits(1):
        found = [measure(f"deprojection: {name}", run) for name, run in rows.items()]
    print(f"{sum(r['met'] for r in found)} of {len(found)} goals met")


if __name__ == "__main__":
    main()
