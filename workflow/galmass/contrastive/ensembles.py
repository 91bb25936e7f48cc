"""Networks of one shape trained side by side by cross-entropy alone; killed and started again, they end the same."""

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from galmass import checkpoints, devices, logs, stores
from galmass.contrastive.networks import MixtureEstimator
from galmass.contrastive.schedules import learning_rate_factor
from galmass.errors import InputError


class Data(Protocol):
    """What an ensemble is trained on; everything has a leading axis of members."""

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Values (n_member, n, ...), context (n_member, n, n_context) and mass bins (n_member, n) of a step."""

    def validation(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The same of all validation galaxies, a block at a time; bin -1 where a member has fewer."""


class MassDensity(nn.Module):
    """Encoder and estimator of a network as one map: values, context -> log-probability of the mass bins (n, n_bin), or of given ones (n,)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.network.decoder = nn.Identity()  # nothing is reconstructed: no weights for it

    def forward(self, values: Tensor, context: Tensor, mass_bin: Tensor | None = None) -> Tensor:
        main, estimator = self.network.encode(values, context)[0], self.network.estimator
        if mass_bin is not None and isinstance(estimator, MixtureEstimator):
            return estimator.log_probability(main, mass_bin)
        everywhere = estimator(main).log_softmax(-1)
        return everywhere if mass_bin is None else everywhere.gather(-1, mass_bin[..., None])[..., 0]


class Ensemble:
    """Networks whose weights are stacked along a leading axis of members, so that one call serves all."""

    def __init__(self, networks: list[nn.Module]):
        parameters, self.buffers = stack_module_state([MassDensity(network) for network in networks])
        self.parameters = {name: p.detach().requires_grad_() for name, p in parameters.items() if p.numel()}
        self.n, self._shape = len(networks), copy.deepcopy(MassDensity(networks[0])).to("meta")

    def to(self, device) -> "Ensemble":
        """Move the weights."""
        self.parameters = {name: p.detach().to(device).requires_grad_() for name, p in self.parameters.items()}
        self.buffers = {name: b.to(device) for name, b in self.buffers.items()}
        return self

    def __call__(self, values: Tensor, context: Tensor, weights: Mapping | None = None) -> Tensor:
        """Log-probabilities (n_member, n, n_bin), each member of its own galaxies."""
        return self._call(values, context, weights=weights)

    def losses(self, values: Tensor, context: Tensor, mass_bin: Tensor) -> Tensor:
        """Cross-entropy [nat] of each galaxy, (n_member, n); 0 where the bin is -1."""
        chosen = self._call(values, context, mass_bin.clamp_min(0))
        return -chosen.where(mass_bin >= 0, torch.zeros_like(chosen))

    def _call(self, *batch: Tensor, weights: Mapping | None = None) -> Tensor:
        parameters = self.parameters if weights is None else weights
        if self.n == 1:  # convolutions are faster without the axis of members
            alone = [{name: t[0] for name, t in tensors.items()} for tensors in (parameters, self.buffers)]
            return functional_call(self._shape, tuple(alone), tuple(t[0] for t in batch))[None]
        return vmap(lambda p, b, *one: functional_call(self._shape, (p, b), one))(parameters, self.buffers, *batch)


def clip(parameters: Mapping, limit: float) -> None:
    """Shorten the gradient of each member to at most `limit`; 0: leave it."""
    if not limit:
        return
    gradients = [p.grad for p in parameters.values()]
    norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    factor = (limit / (norm + 1e-6)).clamp_max(1.0)
    for g in gradients:
        g.mul_(factor.reshape(-1, *[1] * (g.dim() - 1)))


def train(ensemble: Ensemble, data: Data, options: Mapping, stamp: str, checkpoint: Path, label: str) -> tuple[dict, list[dict]]:
    """Train every member and keep, of each, the weights of its best validation cross-entropy.

    Parameters
    ----------
    options : mapping
        ``max_steps``, ``validate_every``, ``patience`` (validations without a better cross-entropy of any member),
        ``learning_rate``, ``weight_decay``, ``schedule``, ``gradient_clip_norm``.
    stamp : str
        Digest of all that the training depends on; a checkpoint with another one is refused.
    checkpoint : path
        Replaced whole at every validation.

    Returns
    -------
    dict
        ``weights``: stacked, ``score`` (n_member,) [nat], ``step`` (n_member,).
    list of dict
        Cross-entropies at every validation, mean of the members.
    """
    device = devices.best_device()
    ensemble.to(device)
    optimiser = torch.optim.AdamW(ensemble.parameters.values(), lr=options["learning_rate"], weight_decay=options["weight_decay"], fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, options))
    best = {"weights": {}, "score": torch.full((ensemble.n,), math.inf), "step": torch.zeros(ensemble.n, dtype=torch.long)}
    state = {"step": 0, "best": best, "history": []}
    if checkpoint.is_file():
        state = _resume(checkpoint, stamp, ensemble, optimiser, schedule)
        print(f"{label}: going on at step {state['step']} of {options['max_steps']}")
    bar = logs.progress(options["max_steps"], state["step"], label)
    while state["step"] < options["max_steps"] and not _finished(state, options):
        total = 0.0
        for step in range(state["step"], state["step"] + options["validate_every"]):
            total += _step(ensemble, optimiser, schedule, [t.to(device) for t in data.batch(step)], options)
            bar.update()
        state["step"] += options["validate_every"]
        _validate(ensemble, data, state, total / options["validate_every"], device, label)
        with stores.replacing(checkpoint) as part:
            torch.save({"stamp": stamp, **state, "now": ensemble.parameters, "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}, part)
    bar.close()
    return state["best"], state["history"]


def _finished(state: Mapping, options: Mapping) -> bool:
    return bool(((state["step"] - state["best"]["step"]) >= options["patience"] * options["validate_every"]).all())


def _step(ensemble: Ensemble, optimiser, schedule, batch: list[Tensor], options: Mapping) -> float:
    """One step of all members; the mean of their losses [nat]."""
    optimiser.zero_grad(set_to_none=True)
    loss = ensemble.losses(*batch).mean(1)
    loss.sum().backward()
    clip(ensemble.parameters, options["gradient_clip_norm"])
    optimiser.step()
    schedule.step()
    return float(loss.detach().mean())


@torch.no_grad()
def _validate(ensemble: Ensemble, data: Data, state: dict, trained: float, device, label: str) -> None:
    """Score every member, keep the weights of those that are better than before, add a row to the history."""
    total, count = torch.zeros(ensemble.n), torch.zeros(ensemble.n)
    for batch in data.validation():
        mass_bin = batch[-1]
        found = ensemble.losses(*(t.to(device) for t in batch))
        total, count = total + found.sum(1).cpu(), count + (mass_bin >= 0).sum(1)
    score, best = total / count, state["best"]
    if not torch.isfinite(score).all():
        raise InputError(f"{label}: the validation cross-entropy became NaN or infinite at step {state['step']}; lower information.training.learning_rate")
    better = score < best["score"]
    for name, p in ensemble.parameters.items():
        now = p.detach().cpu()
        kept = best["weights"].get(name, now)
        best["weights"][name] = torch.where(better.reshape(-1, *[1] * (now.dim() - 1)), now, kept).clone()
    best["score"], best["step"] = torch.where(better, score, best["score"]), torch.where(better, state["step"], best["step"])
    state["history"].append({"step": state["step"], "cross_entropy": trained, "validation_cross_entropy": float(score.mean())})


def _resume(checkpoint: Path, stamp: str, ensemble: Ensemble, optimiser, schedule) -> dict:
    """Weights, optimiser and schedule as they were at the last validation."""
    found = checkpoints.read(checkpoint, stamp)
    with torch.no_grad():
        for name, p in ensemble.parameters.items():
            p.copy_(found["now"][name])
    optimiser.load_state_dict(found["optimiser"])
    schedule.load_state_dict(found["schedule"])
    return {key: found[key] for key in ("step", "best", "history")}
