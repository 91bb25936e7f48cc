"""Train a surrogate on the nodes of a grid; killed and started again, it ends the same."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import mse_loss

from galmass import checkpoints, devices, logs, stores
from galmass.deprojection.basis import Basis
from galmass.deprojection.soap import SOAP
from galmass.deprojection.surrogate import PaperNetwork, Surrogate, endless_system, exact_corrections, features, place, whitening, window
from galmass.errors import InputError
from galmass.profiles import mge, nuker
from galmass.profiles.grid import nuker_parameters

CHUNK = 128  # nodes solved at a time
N_VALIDATION = 2048  # held-out nodes behind the validation loss
WIDEST = 0.25  # gap in the phases of the nodes, in steps: a network with four waves in two steps still bridges it
N_WHITENING = 2048  # training nodes behind the mean normal matrix


class Corrections:
    """The recipe `galmass`: exact corrections of training nodes, whitened; mean squared error; SOAP.

    Parameters
    ----------
    training, held_out : float arrays (n, 4)
        Rows of the grid.
    box : mapping of name -> pair
        The ends of its axes.
    options : mapping
        Section ``deprojection.recipes.galmass`` of the configuration.
    label : str
        Of the progress bar.
    """

    def __init__(self, training, held_out, box: Mapping, options: Mapping, label: str):
        basis = Basis()
        self.module = Surrogate(basis, box["r_break"], options["width"], options["depth"]).to(devices.best_device())
        self.optimiser = SOAP(self.module.network.parameters(), lr=options["learning_rate"])
        _require_phases(basis, training, held_out)
        positions = window(basis, box["r_break"])
        factor = whitening(basis.step, positions, lambda: _aligned(basis, training[:N_WHITENING]))
        solved = [_solved(basis, positions, factor, rows, label) for rows in (training, held_out)]
        scale = float(solved[0][1].square().mean().sqrt())
        self.module.unwhiten.copy_(scale * factor)
        self.seen, self.wanted = solved[0][0], solved[0][1] / scale
        self.unseen = (solved[1][0], solved[1][1] / scale)

    def loss(self, rows):
        """Mean squared error of whitened corrections, in units of their variance."""
        return mse_loss(self.module.network(self.seen[rows]), self.wanted[rows])

    def validation_loss(self):
        """The same on held-out nodes."""
        return mse_loss(self.module.network(self.unseen[0]), self.unseen[1])


def _require_phases(basis: Basis, *rows) -> None:
    """Break radii a whole number of steps apart would show the network one phase alone."""
    phases = np.unique(np.concatenate([place(basis, torch.from_numpy(r[:, 3:].astype(float)))[1].numpy() for r in rows]))
    widest = np.max(np.diff(phases, append=phases[0] + 1))
    if widest > WIDEST:
        raise InputError(
            f"the break radii of the grid leave {widest:.0%} of the places between two Gaussians unseen (they are nearly whole steps of "
            f"{basis.step:.3f} in ln r apart); change deprojection.grid.axes.r_break.count"
        )


def _aligned(basis: Basis, rows):
    """alpha, beta, gamma, phase of rows of the grid, chunk by chunk."""
    for chunk in np.array_split(rows, math.ceil(len(rows) / CHUNK)):
        alpha, beta, gamma, r_break = map(torch.from_numpy, nuker_parameters(chunk))
        yield alpha, beta, gamma, place(basis, r_break)[1]


def _solved(basis: Basis, positions, factor, rows, label: str):
    """Features and exact whitened corrections of rows of the grid, float32."""
    whiten, seen, wanted = torch.linalg.inv(factor), [], []
    with logs.progress(len(rows), 0, f"{label}: exact solutions") as bar:
        for alpha, beta, gamma, phase in _aligned(basis, rows):
            corrections = exact_corrections(*endless_system(basis.step, positions, alpha, beta, gamma, phase), positions)
            seen.append(features(alpha, beta - gamma, gamma, phase).float())
            wanted.append((corrections @ whiten).float())
            bar.update(len(alpha))
    return torch.cat(seen).to(devices.best_device()), torch.cat(wanted).to(devices.best_device())


class Profiles:
    """The recipe of the paper: mean squared error of the normalised surface density, Adam; arguments of `Corrections`."""

    N_RADIUS = 100

    def __init__(self, training, held_out, box: Mapping, options: Mapping, label: str):
        basis = Basis(options["n_gauss"], *options["sigma_range"], n_inner=0, n_outer=0)
        device = devices.best_device()
        self.module = PaperNetwork(basis, options["output"]).to(device)
        self.optimiser = torch.optim.Adam(self.module.parameters(), lr=options["learning_rate"])
        self.radii = PaperNetwork.PIVOT * torch.logspace(0, 4, self.N_RADIUS, device=device)  # 1 pc to 10 kpc
        self.shapes = mge.gaussians(self.radii, torch.tensor(basis.sigma, dtype=torch.float32, device=device))
        self.seen, self.unseen = ([torch.from_numpy(v).float().to(device) for v in nuker_parameters(rows)] for rows in (training, held_out))

    def loss(self, rows):
        return self._error([v[rows] for v in self.seen])

    def validation_loss(self):
        return self._error(self.unseen)

    def _error(self, parameters):
        logs_of_profile = nuker.log_surface_density(self.radii, *parameters)
        return mse_loss(self.module.normalised(*parameters) @ self.shapes, torch.exp(logs_of_profile - logs_of_profile[:, :1]))


RECIPES = {"galmass": Corrections, "paper": Profiles}


def train(nodes, held_out, box: Mapping, options: Mapping, seed: int, scratch: str | Path, code: str = "", label: str = "training"):
    """Train a network, or go on where an earlier attempt stopped.

    Parameters
    ----------
    nodes : float array (n_node, 4)
        ``parameters`` of the grid.
    held_out : bool array (n_node,)
        Nodes that no training sees.
    box : mapping of name -> pair
        The ends of its axes.
    options : mapping
        ``recipe``, ``nodes``, ``steps``, ``batch_size``, ``learning_rate``, ``validate_every`` and those of the recipe.
    seed : int
        Of the choice of nodes, the weights and the order of the batches.
    scratch : path
        Folder for the checkpoint, one for each stamp of code, nodes and options.
    code : str
        Digest of the code.

    Returns
    -------
    nn.Module
        `Surrogate` or `PaperNetwork`.
    list of dict
        Losses at every validation.

    Raises
    ------
    InputError
        When a loss is no number, or a checkpoint is not of this training.
    """
    generator = np.random.default_rng(seed)
    training = nodes[_chosen(np.flatnonzero(~held_out), options["nodes"], generator)]
    unseen = nodes[_chosen(np.flatnonzero(held_out), N_VALIDATION, generator)]
    if not len(training) or not len(unseen):
        raise InputError(f"the grid has {np.sum(~held_out)} training and {np.sum(held_out)} held-out nodes; both are needed: raise deprojection.grid.held_out")
    described = json.dumps([dict(options), seed, code, {k: list(v) for k, v in box.items()}], sort_keys=True).encode()
    stamp = stores.digest(described + training.tobytes() + unseen.tobytes())
    checkpoint = Path(scratch) / stamp[:12] / "last.ckpt"
    with checkpoints.alone_in(Path(scratch), "train_deprojection"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            problem = RECIPES[options["recipe"]](training, unseen, box, options, label)
        history = _fit(problem, len(training), options, seed, checkpoint, stamp, label)
    return problem.module.cpu(), history


def _chosen(candidates, count: int, generator):
    """At most `count` of the candidates, at random, in random order."""
    return generator.permutation(candidates)[:count]


def learning_rate_factor(step: int, options: Mapping) -> float:
    """A hundred steps of warm-up, then half a cosine to zero; constant in the paper's recipe."""
    if options["recipe"] == "paper":
        return 1.0
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / options["steps"]))


def _fit(problem, n_row: int, options: Mapping, seed: int, checkpoint: Path, stamp: str, label: str) -> list[dict]:
    batches = torch.Generator().manual_seed(seed)
    history = _resume(problem, batches, checkpoint, stamp)
    done = history[-1]["step"] if history else 0
    if done:
        print(f"{label}: going on at step {done} of {options['steps']}")
    with logs.progress(options["steps"], done, label) as bar:
        for step in range(done, options["steps"]):
            for group in problem.optimiser.param_groups:
                group["lr"] = options["learning_rate"] * learning_rate_factor(step, options)
            loss = problem.loss(torch.randint(n_row, (options["batch_size"],), generator=batches))
            problem.optimiser.zero_grad()
            loss.backward()
            problem.optimiser.step()
            bar.update()
            if (step + 1) % options["validate_every"] == 0 or step + 1 == options["steps"]:
                history.append(_validate(problem, step + 1, loss.item(), label))
                bar.set_postfix_str(f"held-out loss {history[-1]['validation_loss']:.2e}", refresh=False)
                _keep(problem, batches, checkpoint, stamp, history)
    return history


def _validate(problem, step: int, loss: float, label: str) -> dict:
    with torch.no_grad():
        row = {"step": step, "training_loss": loss, "validation_loss": float(problem.validation_loss())}
    if not all(map(math.isfinite, row.values())):
        raise InputError(f"{label}: the loss became NaN or infinite before step {step}; lower the learning_rate")
    return row


def _keep(problem, batches, checkpoint: Path, stamp: str, history: list[dict]) -> None:
    state = {"stamp": stamp, "module": problem.module.state_dict(), "optimiser": problem.optimiser.state_dict()}
    with stores.replacing(checkpoint) as part:
        torch.save(state | {"batches": batches.get_state(), "history": history}, part)


def _resume(problem, batches, checkpoint: Path, stamp: str) -> list[dict]:
    """Put everything back to where the checkpoint left it; its history."""
    if not checkpoint.is_file():
        return []
    state = checkpoints.read(checkpoint, stamp)
    problem.module.load_state_dict(state["module"])
    problem.optimiser.load_state_dict(state["optimiser"])
    batches.set_state(state["batches"])
    return state["history"]
