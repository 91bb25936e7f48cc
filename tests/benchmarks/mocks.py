"""What the benchmarks of inference weigh: the default's simulated NGC 4697 and a small one, from uv cells to modes and chains that outlive a killed run."""

import copy
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from bench_deprojection import settings
from record import ROOT, measure

from galmass import stores
from galmass.inference import assembly, fit, optimise, sampling, starts
from galmass.provenance import code_version
from galmass.visibilities import coverage, gridding, simulation

FULL = {"merge_cells": 1, "keep_cells": 1.0, "average_channels": 1}
SMALL = {"merge_cells": 5, "keep_cells": 0.3, "average_channels": 6, "clouds": 2**17, "signal_to_noise": 100.0}
SMALL_IMAGE = {"n_pix": 80}
# about NGC 4697, as wide as the small mock needs to be told from them: the truths of simulation-based calibration and the priors of its fits
NARROW = {
    "log_m_bh": {"kind": "uniform", "low": 7.4, "high": 8.6},
    "alpha": {"kind": "log_uniform", "low": 0.7, "high": 3.0},
    "gamma": {"kind": "uniform", "low": 0.5, "high": 1.0},
    "beta_minus_gamma": {"kind": "uniform", "low": 0.3, "high": 1.2},
    "r_break": {"kind": "log_uniform", "low": 100.0, "high": 400.0},
    "log_sigma_break": {"kind": "uniform", "low": 4.0, "high": 4.6},
    "inclination": {"kind": "isotropic", "low": 65.0, "high": 85.0},
    "position_angle": {"kind": "uniform", "low": 240.0, "high": 252.0},
    "x_offset": {"kind": "uniform", "low": -0.2, "high": 0.2},
    "y_offset": {"kind": "uniform", "low": -0.2, "high": 0.2},
    "v_sys": {"kind": "uniform", "low": 1225.0, "high": 1260.0},
    "sigma_gas": {"kind": "log_uniform", "low": 1.0, "high": 30.0},
    "flux": {"kind": "log_uniform", "low": 12.0, "high": 22.0},
    "scale_length": {"kind": "log_uniform", "low": 1.0, "high": 1.6},
}


@cache
def scratch() -> Path:
    """Folder of this code and this configuration: what was kept under another is not looked at."""
    used = json.dumps({key: settings()[key] for key in ("galaxies", "fitting", "seeds")})
    return ROOT / "results" / "bench" / stores.digest(f"{code_version(__file__, ROOT / 'workflow' / 'galmass')}{used}".encode())[:12]


def galaxy(simulated: Mapping | None = None, model: Mapping | None = None, priors: Mapping | None = None) -> dict:
    """The default's ngc4697_mock with what is to differ in its simulation, model and priors, on the grid of its uv cells."""
    entry = copy.deepcopy(settings()["galaxies"]["ngc4697_mock"])
    for key, changed in {"simulation": simulated, "model": model, "priors": priors}.items():
        entry[key] |= changed or {}
    size = cells(entry).size()
    entry["grid"] |= {"n_pix": size, "cell_arcsec": cells(entry).cell_arcsec(size)}
    return entry


def cells(entry: Mapping) -> coverage.Coverage:
    """Cells and channels that a galaxy is simulated at."""
    thinning = (entry["simulation"][key] for key in ("merge_cells", "keep_cells", "average_channels"))
    return coverage.thinned(coverage.read(ROOT / "resources" / "ngc4697" / "uv_cells.npz"), *thinning, settings()["seeds"]["simulation"])


def truth(entry: Mapping) -> dict:
    return {**entry["simulation"]["truth"], "distance": entry["distance_mpc"]}


def simulated(entry: Mapping, seed: int, of: Mapping | None = None, **options):
    """Visibilities by KinMS, and what was drawn; `of` the truth where it is another, `options` those of the simulation."""
    options = {"n_clouds": entry["simulation"]["clouds"], "median_count": entry["simulation"]["baselines_per_cell"], **options}
    options |= {} if "sigma" in options else {"signal_to_noise": entry["simulation"]["signal_to_noise"]}
    return simulation.simulate(of or truth(entry), cells(entry), seed, **options)


def grid(entry: Mapping, visibilities) -> gridding.Gridded:
    return gridding.of_visibilities(visibilities, **entry["grid"])


def posterior(entry: Mapping, gridded, likelihood: str = "student_t", method: str = "surrogate", **options):
    """Of the Nuker model, with the default's priors where the galaxy has no others."""
    setup = {"galaxy": entry, "fitting": settings()["fitting"] | {"likelihood": likelihood}, "mass_model": "nuker", "weights": None}
    return assembly.assemble(setup | {"deprojection": {"method": method, "extrapolate": "error"}}, gridded, **options)


def vector(problem, values: Mapping):
    """Physical vector of named values."""
    return torch.tensor([values[name] for name in problem.names], dtype=torch.float64)


def exact(problem, gridded, x) -> gridding.Gridded:
    """The grid with the model at the physical vector x for its means, and the errors that the weights promise."""
    mean = np.zeros_like(gridded.mean)
    with torch.no_grad():
        mean[gridded.mask] = problem.visibilities(x).numpy()
    return replace(gridded, mean=mean, std=gridded.propagated * (1 + 1j))


def kept(path: Path, make: Callable[[], dict]) -> dict:
    """What `make` returns, from the JSON file `path` where an earlier call wrote it."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        stores.write_json(path, make())
    return stores.read_json(path)


def modes(name: str, entry: Mapping, problem, gridded, n_scouts: int | None = None, n_starts: int | None = None, seed: int = 1) -> tuple[torch.Tensor, float]:
    """Modes (k, d), the best first, and the seconds that it took to find them; scouts and starts of the default."""
    options = settings()["fitting"]

    def search() -> dict:
        start = time.perf_counter()
        scouts = starts.scouts(problem, gridded, entry, n_scouts or options["scouts"], seed)
        found = optimise.search(problem, scouts, n_starts or options["starts"], f"{name}: modes")
        return {"z": [mode.z.tolist() for mode in found], "seconds": time.perf_counter() - start}

    found = kept(scratch() / name / "modes.json", search)
    return torch.tensor(found["z"], dtype=torch.float64), found["seconds"]


def chains(name: str, problem, at, seed: int = 1, sampler: str = "delayed", **options) -> sampling.Result:
    """Draws from modes `at`; goes on where an earlier call with this name stopped."""
    return sampling.run(problem, sampler, at, options, seed, scratch() / name, name, name)


def weighed(name: str, entry: Mapping, problem, gridded, **options) -> sampling.Result:
    """Chains from the modes that the default's search finds, to as many effective samples as a median needs."""
    enough = {"n_chains": 8, "target_ess": setting("GALMASS_ESS", 1000), "max_r_hat": 1.02, "max_steps": 2000}
    return chains(name, problem, modes(name, entry, problem, gridded)[0], **enough | options)


def draws(problem, result: sampling.Result, n: int | None = None):
    """Physical draws (n, d), evenly from all chains; all of them where n is None."""
    flat = result.z.transpose(0, 1).reshape(-1, problem.n)
    chosen = flat if n is None else flat[torch.linspace(0, len(flat) - 1, n).long()]
    with torch.no_grad():
        return problem.parameters.physical(chosen)


def black_hole(problem, result: sampling.Result) -> tuple[float, float]:
    """Median and standard deviation of log M_BH."""
    values = draws(problem, result)[:, problem.names.index("log_m_bh")]
    return float(values.median()), float(values.std())


def whole_fit(entry: Mapping, gridded, at, **fitting) -> dict:
    """Summary of a fit as the workflow makes it, with the seconds from the grid on."""
    start = time.perf_counter()
    problem, options = posterior(entry, gridded), settings()["fitting"] | fitting
    _, summary = fit.fit(problem, gridded, entry, options, settings()["seeds"]["fitting"], at, {}, "whole fit")
    return summary | {"seconds": time.perf_counter() - start}


def setting(name: str, default: int) -> int:
    """Of the environment: less of it makes a trial of a benchmark."""
    return int(os.environ.get(name, default))


def report(area: str, rows: Mapping[str, Callable[[], dict]]) -> None:
    """Measure the rows whose name has one of the words of the command line or of GALMASS_PARTS in it (all where there are none), and print a table."""
    words = sys.argv[1:] or os.environ.get("GALMASS_PARTS", "").split(",")
    found = [measure(f"{area}: {name}", run) for name, run in rows.items() if any(word in name for word in words)]
    lines = [(r["name"], r["goal"], f"{r['value']} {r['unit']}".strip(), "met" if r["met"] else "MISSED") for r in found]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)] if lines else []
    print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines))
    print(f"{sum(r['met'] for r in found)} of {len(found)} goals met")
