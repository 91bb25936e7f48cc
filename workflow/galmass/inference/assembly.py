"""From the setup of a fit (grid, galaxy, mass model, options) to its `Posterior`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from galmass import stores
from galmass.discs import mass_models, optical
from galmass.discs.cube import DiscCube
from galmass.errors import InputError
from galmass.inference import kinds, noise
from galmass.inference.likelihood import Posterior
from galmass.inference.parameters import Parameters
from galmass.units import LIGHT, PC_PER_ARCSEC
from galmass.visibilities import gridding, imaging
from galmass.visibilities.model import VisibilityModel

N_RADIUS = 300
INNERMOST = 0.005  # of a pixel: smallest radius at which the circular velocity is taken


def log_likelihood(setup) -> Posterior:
    """The log likelihood of a fit as a callable of the physical parameter vector, with `names`, `units` and `prior`; differentiable.

    Parameters
    ----------
    setup : path or mapping
        Folder of a fit (results/<galaxy>/fit/<mass model>), or what `read_setup` makes of its setup.json: that file names others relative to
        itself, a mapping relative to the working directory.

    Returns
    -------
    Posterior
        Called with vectors (..., n) it gives (...), one after the other: ``torch.func.vmap`` cannot map it, since the points of the quadrature are as
        many as the velocities of each vector need.

    Raises
    ------
    InputError
        For a mapping that lacks a part of a setup, which are more than the galaxy's entry in the config.

    Examples
    --------
    >>> ln_l = log_likelihood("results/ngc4697_mock/fit/nuker")
    >>> ln_l(torch.tensor(x, requires_grad=True)).backward()
    """
    if not isinstance(setup, Mapping):
        setup = read_setup(Path(setup) / "setup.json")
    _require_whole(setup)
    return assemble(setup, gridding.read(setup["grid"]))


def _require_whole(setup: Mapping) -> None:
    model = str(setup.get("mass_model"))
    needed = ["galaxy", "fitting", "mass_model", "grid", *["deprojection"] * (model == "nuker"), *["mge_table"] * model.startswith("mge")]
    missing = [key for key in needed if setup.get(key) is None]
    if missing or not isinstance(setup["grid"], str | Path):
        lacking = ", ".join(missing) or "the path of grid.zarr under grid"
        raise InputError(f"log_likelihood: the mapping lacks {lacking}; give the folder of a fit, or what is in its setup.json")


def read_setup(path) -> dict:
    """setup.json with the files that it names, relative to it, as paths."""
    path = Path(path)
    setup = stores.read_json(path)
    for key in ("grid", "weights", "mge_table"):
        if setup.get(key):
            setup[key] = str((path.parent / setup[key]).resolve())
    return setup


def write_setup(path, setup: Mapping) -> None:
    """Write setup.json; the files that it names become relative to it, so that the folder can move with its results."""
    import os

    folder = Path(path).parent
    moved = {key: os.path.relpath(setup[key], folder) for key in ("grid", "weights", "mge_table") if setup.get(key)}
    stores.write_json(path, {**setup, **moved})


def assemble(setup: Mapping, gridded, device="cpu", dtype=torch.float32) -> Posterior:
    """The posterior of a fit.

    Parameters
    ----------
    setup : mapping
        `galaxy` (its entry in the config), `fitting`, `mass_model`, `deprojection` (of nuker: method, extrapolate), `weights` (of the
        network, None for the committed ones), `mge_table` (path, of mge).
    gridded : Gridded

    Raises
    ------
    InputError
        For priors that the mass model cannot answer, or an image larger than the grid.
    """
    galaxy, fitting = setup["galaxy"], setup["fitting"]
    model = visibility_model(galaxy, gridded, device, dtype)
    pc = galaxy["distance_mpc"] * PC_PER_ARCSEC  # per arcsec
    mass = mass_model(setup, radii(galaxy, gridded.cell_arcsec) * pc)
    parameters = parameters_of(setup, mass, model.disc, gridded)
    mass.check_priors(parameters.ranges)
    nodes = np.geomspace(0.1 * gridded.cell_arcsec, 0.5 * galaxy["model"]["n_pix"] * gridded.cell_arcsec, fitting["velocity_nodes"])
    at_nodes = mass.at(nodes * pc)
    cells = gridded.mask
    errors, used = noise.of_cells(
        galaxy.get("likelihood") or fitting["likelihood"],
        *(values[cells] for values in (gridded.mean, gridded.std, gridded.propagated, gridded.nu)),
        np.broadcast_to(gridded.real_only, cells.shape)[cells],
        gridded.metadata["kernel"]["information_factor"],
    )
    return Posterior(model, mass, at_nodes, parameters, errors, used)


def visibility_model(galaxy: Mapping, gridded, device="cpu", dtype=torch.float32) -> VisibilityModel:
    """Gas disc of a galaxy, seen at the filled cells of a grid."""
    options, cell = galaxy["model"], gridded.cell_arcsec
    if options["centroids"] and gridded.metadata.get("grid"):
        raise InputError("config: model.centroids is true, and these visibilities came gridded, without the centroids of their cells; set it to false")
    disc = DiscCube(
        options["oversampling"] * options["n_pix"],
        cell / options["oversampling"],
        gridded.frequency,
        galaxy["rest_frequency_hz"],
        radii(galaxy, cell),
        options["profile"],
        options["thick"],
        dtype=dtype,
        device=device,
    )
    return VisibilityModel(
        disc,
        gridded.n_pix,
        cell,
        gridded.frequency,
        gridded.mask,
        galaxy["dish_diameter_m"],
        galaxy["primary_beam_coefficient"],
        taper=gridded.taper,
        centroids=(gridded.du[gridded.mask], gridded.dv[gridded.mask]) if options["centroids"] else None,
        dtype=dtype,
        device=device,
    )


def radii(galaxy: Mapping, cell_arcsec: float):
    """Radii (N_RADIUS,) [arcsec] at which the circular velocity is taken, from the middle of a pixel to beyond the corners of the image."""
    return np.geomspace(INNERMOST * cell_arcsec, galaxy["model"]["n_pix"] * cell_arcsec, N_RADIUS)


def mass_model(setup: Mapping, radius_pc) -> mass_models.MassModel:
    """Mass model of a fit at `radius_pc`."""
    name, galaxy = setup["mass_model"], setup["galaxy"]
    options = {"gas_mass": galaxy["model"]["gas_mass"]}
    if name == "nuker":
        options |= setup["deprojection"]
        options |= {"weights": setup.get("weights")} if options["method"] == "surrogate" else {}
    table = None
    if name.startswith("mge"):
        options["drop_innermost"] = name == "mge_without_innermost"
        table, name = optical.read_table(setup["mge_table"]), "mge"
    return mass_models.make(name, options, radius_pc, galaxy["distance_mpc"], table)


def parameters_of(setup: Mapping, mass, disc, gridded) -> Parameters:
    """Parameters of mass and gas with the priors of the config: those of the galaxy first, then those of the mass model."""
    galaxy, fitting = setup["galaxy"], setup["fitting"]
    own = fitting["model_priors"].get(setup["mass_model"], {})
    kinds.require_known("fitting.priors", fitting["priors"])
    kinds.require_known(f"fitting.model_priors.{setup['mass_model']}", own)
    kinds.require_known("priors", galaxy["priors"], {*mass_models.UNITS, *disc.names})
    declared = {**fitting["priors"], **own, **galaxy["priors"]}
    order = [name for name in (*mass.names, *disc.names) if name != "distance" or name in declared]
    priors = {name: _absolute(name, declared[name], galaxy, gridded) for name in order if name in declared}
    pivot = galaxy["model"]["pivot_arcsec"] * galaxy["distance_mpc"] * PC_PER_ARCSEC if "log_sigma_break" in order else None
    return Parameters.from_config(priors, order, {**dict(zip(disc.names, disc.units, strict=True)), **mass.units}, pivot)


def _absolute(name: str, prior: Mapping, galaxy: Mapping, gridded) -> dict:
    """A prior whose numbers refer to something, in the parameter's own unit."""
    kinds.require_reference(f"priors.{name}", prior)
    prior = dict(prior)
    reference = prior.pop("of", None)
    if reference == "v_sys":
        prior |= {key: prior[key] + galaxy["v_sys_kms"] for key in kinds.ADDED if key in prior}
    elif reference == "shortest_baselines":
        flux = shortest_baseline_flux(gridded, galaxy["rest_frequency_hz"])
        if flux <= 0:
            raise InputError(
                f"config: priors.{name} refers to the flux on the shortest baselines, which is {flux:.3g} Jy km/s; state it in Jy km/s, with of: null"
            )
        prior |= {key: prior[key] * flux for key in kinds.SCALED if key in prior}
    elif reference == "beam_and_field":
        field = galaxy["model"]["n_pix"] * gridded.cell_arcsec
        prior |= {"low": prior["low"] * imaging.beam(gridded).size, "high": prior["high"] * field}
    return prior


def shortest_baseline_flux(gridded, rest_frequency: float) -> float:
    """Flux [Jy km/s] that the shortest baselines show, summed over the band."""
    flux, _, _ = imaging.short_spacing_spectrum(gridded)
    velocity = LIGHT * (1 - gridded.frequency / rest_frequency)
    return float((flux * abs(np.gradient(velocity))).sum())
