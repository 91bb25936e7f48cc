"""How far a deprojection is from the profile it stands for: surface density, mass, circular velocity, sign of the density."""

from collections.abc import Mapping

import numpy as np
import torch

from galmass import logs
from galmass.deprojection import direct, models
from galmass.deprojection.basis import Basis
from galmass.discs import velocity
from galmass.errors import InputError
from galmass.profiles import abel, mge, nuker
from galmass.stores import Column

Q_INTR, INCLINATION = 0.6, np.pi / 3
SURFACE_RADII = np.geomspace(1.0, 1e4, 321)  # pc
MASS_RADII = np.geomspace(1.0, 1e4, 61)
VELOCITY_RADII = np.geomspace(2.0, 5e3, 69)
INNER, OUTER = 20.0, 2e3  # pc: the narrower range of the velocities
CHUNK = 256
DIRECT = "direct"
ERRORS = ("surface_density", "mass", "velocity", "velocity_20pc_2kpc")
COLUMNS = {
    "method": Column("", "how the profile was expanded"),
    "alpha": Column("", "sharpness of the break"),
    "beta": Column("", "outer slope"),
    "gamma": Column("", "inner slope"),
    "r_break": Column("pc", "break radius"),
    "surface_density": Column("", "largest fractional error of the surface density on 1 pc - 10 kpc"),
    "mass": Column("", "largest fractional error of the enclosed mass on 1 pc - 10 kpc; NaN where it was not computed"),
    "velocity": Column("", "largest fractional error of the circular velocity on 2 pc - 5 kpc, q = 0.6; NaN where it was not computed"),
    "velocity_20pc_2kpc": Column("", "the same on 20 pc - 2 kpc"),
    "negative": Column("", "true: the density is negative at some radius of 1 pc - 10 kpc"),
}


def random_profiles(box: Mapping, n: int, seed: int) -> list[torch.Tensor]:
    """alpha, beta, gamma, r_break, (n, 1) float64, anywhere in the box.

    alpha half uniform, half log-uniform; gamma and beta - gamma uniform; r_break log-uniform.
    """
    generator = np.random.default_rng(seed)
    draw = {name: generator.uniform(low, high, n) for name, (low, high) in box.items()}
    logarithmic = {name: np.exp(generator.uniform(*np.log(box[name]), n)) for name in ("alpha", "r_break")}
    alpha = np.where(generator.random(n) < 0.5, draw["alpha"], logarithmic["alpha"])
    values = alpha, draw["gamma"] + draw["beta_minus_gamma"], draw["gamma"], logarithmic["r_break"]
    return [torch.from_numpy(v)[:, None] for v in values]


class Reference:
    """Exact masses and velocities of the first `n` profiles, by quadrature (`profiles.abel`)."""

    def __init__(self, parameters, n: int):
        self.n = n
        arrays = [p[:n].numpy() for p in parameters]
        q_obs = float(mge.observed_axial_ratio(torch.tensor(Q_INTR), torch.tensor(INCLINATION)))
        parts = []
        with logs.progress(n, 0, "exact deprojections") as bar:
            for rows in np.array_split(np.arange(n), max(1, n // 50)):
                profile = nuker.Nuker(*(a[rows] for a in arrays))
                parts.append((abel.enclosed_mass(profile, MASS_RADII, Q_INTR, q_obs), abel.circular_velocity(profile, VELOCITY_RADII, Q_INTR, q_obs)))
                bar.update(len(rows))
        self.mass, self.velocity = (np.concatenate(v) for v in zip(*parts, strict=True))


def errors(basis: Basis, solve, parameters, reference: Reference | None = None) -> dict[str, np.ndarray]:
    """The columns `ERRORS` and ``negative`` of profiles.

    Parameters
    ----------
    basis : Basis
    solve : callable
        (alpha, beta, gamma, r_break), tensors (n, 1) -> amplitudes (n, n_gauss).
    parameters : four (n, 1) float64 tensors
    reference : Reference, optional
        Of the same profiles; without one masses and velocities are NaN.
    """
    chunks = list(zip(*(p.split(CHUNK) for p in parameters), strict=True))
    with torch.no_grad():
        amplitudes = torch.cat([solve(*chunk).double() for chunk in chunks])
        worst = [direct.relative_error(basis, a, SURFACE_RADII, *c).abs().amax(1) for a, c in zip(amplitudes.split(CHUNK), chunks, strict=True)]
        densities = mge.density(torch.from_numpy(SURFACE_RADII), amplitudes, torch.from_numpy(basis.sigma))
    worst = torch.nan_to_num(torch.cat(worst), nan=torch.inf)  # no number is the worst error
    found = {"surface_density": worst.numpy(), "negative": (~(densities > 0)).any(1).numpy()}
    unknown = np.full(len(amplitudes), np.nan)
    return found | {name: unknown.copy() for name in ERRORS[1:]} | _against(reference, basis, amplitudes)


def _against(reference: Reference | None, basis: Basis, amplitudes) -> dict[str, np.ndarray]:
    if reference is None:
        return {}
    sigma, radii = torch.from_numpy(basis.sigma), torch.from_numpy(VELOCITY_RADII)
    amplitudes, rest = amplitudes[: reference.n], np.full(len(amplitudes) - reference.n, np.nan)
    q, i = torch.tensor(Q_INTR, dtype=torch.float64), torch.tensor(INCLINATION, dtype=torch.float64)
    mass = mge.enclosed_mass(torch.from_numpy(MASS_RADII), amplitudes, sigma, mge.observed_axial_ratio(q, i)).numpy()
    speed = velocity.circular_velocity(radii, amplitudes, sigma, q, i, -np.inf, 0.0).numpy()
    off = np.abs(speed / reference.velocity - 1)
    near = (radii.numpy() >= INNER) & (radii.numpy() <= OUTER)
    values = {"mass": np.abs(mass / reference.mass - 1).max(1), "velocity": off.max(1), "velocity_20pc_2kpc": off[:, near].max(1)}
    return {name: np.concatenate([value, rest]) for name, value in values.items()}


def table(methods: Mapping[str, tuple], parameters, reference: Reference):
    """One row per method and profile, see `COLUMNS`; `methods` holds basis and solver by name."""
    import pandas as pd

    named = dict(zip(("alpha", "beta", "gamma", "r_break"), (p[:, 0].numpy() for p in parameters), strict=True))
    frames = [pd.DataFrame({"method": name, **named, **errors(*method, parameters, reference)}) for name, method in methods.items()]
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def summary(frame) -> dict:
    """Median, 99th percentile and largest of every error, and the fraction of profiles with a negative density, by method."""
    result = {}
    for name, rows in frame.groupby("method", sort=False):
        measured = {error: rows[error].dropna() for error in ERRORS}
        result[name] = {
            error: {"median": float(v.median()), "p99": float(v.quantile(0.99)), "largest": float(v.max()), "n": len(v)} for error, v in measured.items()
        }
        result[name]["negative_fraction"] = float(rows["negative"].mean())
    return result


def summary_rows(found: Mapping) -> list[dict]:
    """The summary as rows of a table for people, errors in per cent."""
    rows = []
    for method, entry in found.items():
        row = {"method": method}
        for error in ERRORS:
            values = (entry[error][key] for key in ("median", "p99", "largest"))
            row[f"{error} [%]: median / 99 % / largest"] = " / ".join(f"{100 * v:.2g}" for v in values)
        rows.append(row | {"negative density [%]": f"{100 * entry['negative_fraction']:.2g}", "profiles": entry["surface_density"]["n"]})
    return rows


def ablations(n_gauss: list[int], sigma_ranges: list[list[float]]) -> dict[str, tuple]:
    """Exact solutions with other numbers of Gaussians, and with other ranges of them without wings: (basis, solver) by name."""
    bases = {f"{n} Gaussians": Basis(n_core=n) for n in n_gauss}
    bases |= {f"{low:g} pc - {high / 1e3:g} kpc, no wings": Basis(64, low, high, n_inner=0, n_outer=0) for low, high in sigma_ranges}
    return {name: (basis, lambda *parameters, basis=basis: direct.solve(basis, *parameters)) for name, basis in bases.items()}


def methods(networks: Mapping[str, object]) -> tuple[dict[str, tuple], dict]:
    """Basis and solver by name: the networks of these files, in float32 as they are used, and the exact solution; the box that all of them cover."""
    found, boxes = {}, []
    for name, path in networks.items():
        module, header = models.load(path)
        found[name] = (module.basis, lambda *parameters, module=module: module(*(p.float() for p in parameters)))
        boxes.append(header["box"])
    box = {name: [max(b[name][0] for b in boxes), min(b[name][1] for b in boxes)] for name in models.BOX}
    if any(low >= high for low, high in box.values()):
        raise InputError(f"the networks {', '.join(map(str, networks.values()))} share no box: {boxes}; change deprojection.grid.axes")
    return found | {DIRECT: (Basis(), lambda *parameters: direct.solve(Basis(), *parameters))}, box


def worst_cases(frame, methods: Mapping[str, tuple], method: str, n: int = 4) -> dict:
    """Error of the surface density along the radius for the worst profiles of a method, by that method and by the exact solution."""
    rows = frame[frame["method"] == method].nlargest(n, "surface_density")
    profiles = []
    for row in rows.to_dict("records"):
        parameters = {name: row[name] for name in ("alpha", "beta", "gamma", "r_break")}
        column = [torch.tensor([[v]], dtype=torch.float64) for v in parameters.values()]
        curves = {}
        for name in (method, DIRECT):
            basis, solve = methods[name]
            curves[name] = direct.relative_error(basis, solve(*column), SURFACE_RADII, *column)[0].tolist()
        profiles.append(parameters | {"errors": curves})
    return {"radius_pc": SURFACE_RADII.tolist(), "profiles": profiles}


def example_velocity(deprojection, example: Mapping) -> list[dict]:
    """Circular velocity [km/s] of one galaxy at 200 radii of 1 pc - 10 kpc: by `deprojection`, exact, and its parts.

    Parameters
    ----------
    deprojection : Deprojection
    example : mapping
        alpha, beta_minus_gamma, gamma, r_break_pc, log_sigma_break, q_intr, inclination_deg, log_m_bh, softening_pc.
    """
    e = example
    nuker_values = e["alpha"], e["gamma"] + e["beta_minus_gamma"], e["gamma"], e["r_break_pc"]
    radii, i = np.geomspace(1.0, 1e4, 200), torch.deg2rad(torch.tensor(e["inclination_deg"], dtype=torch.float64))
    sigma_break, q = 10.0 ** e["log_sigma_break"], torch.tensor(e["q_intr"], dtype=torch.float64)
    amplitudes = sigma_break * deprojection(*(torch.tensor(v, dtype=torch.float64) for v in nuker_values))
    whole, stars = (
        velocity.circular_velocity(torch.from_numpy(radii), amplitudes, deprojection.sigma, q, i, mass, e["softening_pc"]).numpy()
        for mass in (e["log_m_bh"], -np.inf)
    )
    profile = nuker.Nuker(*(np.array([v]) for v in nuker_values), sigma_break=sigma_break)
    mass, softening = (torch.tensor(e[key], dtype=torch.float64) for key in ("log_m_bh", "softening_pc"))
    black_hole = np.sqrt(velocity.black_hole_squared(torch.from_numpy(radii), mass, softening).numpy())
    exact = np.hypot(abel.circular_velocity(profile, radii, e["q_intr"], float(mge.observed_axial_ratio(q, i))), black_hole)
    names = ("radius_pc", "velocity_km_s", "exact_km_s", "stars_km_s", "black_hole_km_s")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(radii, whole, exact, stars, black_hole, strict=True)]
