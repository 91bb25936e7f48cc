"""Held-out mass densities of a modality, as informations need them ("MI mode" of arXiv 2509.23901), for every galaxy by cross-fitting."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from galmass import checkpoints, devices, stores
from galmass.contrastive import ensembles, folds, windows
from galmass.contrastive.modalities import Modality, Standardisation, bin_index, sized
from galmass.contrastive.models import build_network
from galmass.contrastive.sources import evenly
from galmass.contrastive.stamps import ImageScaling, Stamps, turned

BLOCK = 2048  # galaxies of a member that are in work at a time


@dataclass(frozen=True)
class Member:
    """One network: the fold that it does not see, its place in the ensemble, its seed."""

    fold: int
    place: int
    seed: int


def members(n_fold: int, n_ensemble: int, seed: int) -> list[Member]:
    """Every network of a modality, fold by fold."""
    return [Member(f, e, int(np.random.default_rng([seed, f, e]).integers(2**31))) for f in range(n_fold) for e in range(n_ensemble)]


class PhotometryData:
    """Standardised columns of all galaxies, once per fold, and the rows of every member."""

    def __init__(self, frame, modality: Modality, edges, parts: list, chosen: list[Member], batch_size: int):
        self.parts, self.chosen, self.batch_size = parts, chosen, batch_size
        arrays, seen = modality.arrays(frame), []
        for training, _, _ in parts:
            standardisation = Standardisation.fit(*(a[training] for a in arrays), modality)
            seen.append([torch.from_numpy(a) for a in standardisation.apply(*arrays)])
        self.values, self.context = (torch.stack(list(a)) for a in zip(*seen, strict=True))
        self.mass_bin = torch.from_numpy(bin_index(frame["log_mass"].to_numpy(float), edges))
        self._permutations: dict[int, tuple[int, np.ndarray]] = {}

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        return self._rows(np.stack([self._batch_of(m, step) for m in range(len(self.chosen))]))

    def _batch_of(self, m: int, step: int) -> np.ndarray:
        training = self.parts[self.chosen[m].fold][0]
        size = min(self.batch_size, len(training))
        permutation, place = divmod(step, len(training) // size)
        if self._permutations.get(m, (-1,))[0] != permutation:
            self._permutations[m] = permutation, np.random.default_rng([self.chosen[m].seed, permutation]).permutation(training)
        return np.resize(self._permutations[m][1][place * size : (place + 1) * size], self.batch_size)

    def validation(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return self._blocks(1)

    def held_out(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return self._blocks(2)

    def _blocks(self, part: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All galaxies of a part of each member's fold; shorter ones are filled up with bin -1."""
        rows = [self.parts[member.fold][part] for member in self.chosen]
        longest = max(map(len, rows))
        padded = np.stack([np.concatenate([r, np.full(longest - len(r), -1)]) for r in rows])
        for start in range(0, longest, BLOCK):
            yield self._rows(padded[:, start : start + BLOCK])

    def _rows(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        fold = torch.tensor([member.fold for member in self.chosen])[:, None]
        rows = torch.from_numpy(rows)
        return self.values[fold, rows], self.context[fold, rows], self.mass_bin[rows].where(rows >= 0, -1)

    def fingerprint(self) -> bytes:
        """Bytes that are the same for the same galaxies and parts."""
        rows = b"".join(r.tobytes() for parts in self.parts for r in parts)
        return rows + b"".join(t.numpy().tobytes() for t in (self.values, self.context, self.mass_bin))


class ImageData:
    """Images of one member's galaxies, streamed from the store."""

    def __init__(self, frame, modality: Modality, edges, parts: tuple, member: Member, cutouts: Mapping, options: Mapping):
        training, validation, held_out = (frame.iloc[rows] for rows in parts)
        standardisation = Standardisation.fit(*modality.arrays(training), modality)
        self.scaling = ImageScaling.fit(training, modality, cutouts, options["stretch"])
        self.options = options | {"batch_size": min(options["batch_size"], len(training) // 2 * 2)}
        given = (modality, standardisation, self.scaling, cutouts, edges, self.options, member.seed)
        self._training, self._validation = windows.datasets(training, validation, *given)
        stamps = Stamps(held_out, modality, cutouts, self.scaling, options["readers"])
        context = torch.from_numpy(np.hstack(standardisation.apply(*modality.arrays(held_out))))
        bins = torch.from_numpy(bin_index(held_out["log_mass"].to_numpy(float), edges))
        self._held_out = windows.ImageBlocks(stamps, context, bins, block=256, window=0)
        self.example = self._training.stamps.read(evenly(len(training), 1024))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        images, context, mass_bin, orientation = self._training[step]
        return turned(images, orientation[:, 0])[None], context[None], mass_bin[None]

    def validation(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return (tuple(t[None] for t in self._validation[i]) for i in range(len(self._validation)))

    def held_out(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return (tuple(t[None] for t in self._held_out[i]) for i in range(len(self._held_out)))

    def fingerprint(self) -> bytes:
        """Bytes that are the same for the same galaxies and images."""
        return b"".join(part.fingerprint() for part in (self._training, self._validation, self._held_out))


@torch.no_grad()
def predict(ensemble: ensembles.Ensemble, weights: Mapping, data, edges) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy [nat] and mean mass [log10 M_sun] of every held-out galaxy, both (n_member, n); filled-up places at the end mean nothing."""
    device = devices.best_device()
    weights = {name: w.to(device) for name, w in weights.items()}
    middle = torch.tensor((edges[1:] + edges[:-1]) / 2, dtype=torch.float32, device=device)
    nll, mean = [], []
    for values, context, mass_bin in data.held_out():
        log_probability = ensemble(values.to(device), context.to(device), weights)
        chosen = log_probability.gather(-1, mass_bin.clamp_min(0).to(device)[..., None])[..., 0]
        nll.append(-chosen.cpu().numpy())
        mean.append((log_probability.exp() @ middle).cpu().numpy())
    return np.concatenate(nll, 1), np.concatenate(mean, 1)


def cross_fitted(
    frame, modality: Modality, edges, options: Mapping, plan: Mapping, seed: int, scratch: str | Path, code: str = "", cutouts: Mapping | None = None
) -> tuple[dict[str, np.ndarray], dict]:
    """Held-out cross-entropies and mean masses of every galaxy by every member that did not see it.

    Parameters
    ----------
    frame : DataFrame
        Catalogue rows with every input measured and the mass inside the bins.
    edges : float array (n_bin + 1,) [log10 M_sun]
    options : mapping
        From `galmass.plan.density_options`.
    plan : mapping
        ``folds``, ``ensemble`` (networks of a fold), ``validation`` (share of the training galaxies that stops them).
    seed : int
        Of folds, weights and batches.
    scratch : path
        Folder for checkpoints, one for each stamp of code, data and configuration.

    Returns
    -------
    dict
        ``nll`` (n_galaxy, n_member) [nat], ``mass_mean`` (n_galaxy, n_member), ``fold`` (n_galaxy,).
    dict
        Notes: best steps and scores of the members, sizes of the parts.
    """
    modality = sized(modality, cutouts)
    fold = folds.assign(frame["galaxy_id"], plan["folds"], seed)
    parts = folds.divide(frame["galaxy_id"], fold, plan["validation"], seed)
    everyone = members(plan["folds"], plan["ensemble"], seed)
    # photometry: all at once; images: one after the other, each with its own stream from the store
    groups = [[member] for member in everyone] if modality.images else [everyone]
    nll, mean = (np.full((len(frame), plan["ensemble"]), np.nan, np.float32) for _ in range(2))
    notes = {"members": [], "n_galaxy": len(frame), "n_train": [len(p[0]) for p in parts], "n_validation": [len(p[1]) for p in parts]}
    with checkpoints.alone_in(Path(scratch), "train_density"):
        for group in groups:
            best, found = _group(frame, modality, edges, options, parts, group, Path(scratch), code, cutouts)
            for i, member in enumerate(group):
                rows = parts[member.fold][2]
                nll[rows, member.place], mean[rows, member.place] = (a[i, : len(rows)] for a in found)
                described = {"best_step": int(best["step"][i]), "validation_cross_entropy": float(best["score"][i])}
                notes["members"].append({"fold": member.fold, "member": member.place, "seed": member.seed} | described)
    return {"nll": nll, "mass_mean": mean, "fold": fold}, notes


def labelled(frame, found: Mapping) -> dict:
    """Arrays of `cross_fitted` with their axes, units and galaxies, as a store takes them."""
    member = ("galaxy", "member")
    # text in Zarr 3 has no settled form: bytes of one length can be read by everybody
    words = np.array([str(name).encode("ascii") for name in frame["galaxy_id"]])
    identifiers = np.frombuffer(words.tobytes(), np.uint8).reshape(len(words), -1)
    return {
        "galaxy_id": (identifiers, ("galaxy", "character"), stores.Column("", "identifiers in ASCII, padded with zeros")),
        "fold": (found["fold"], ("galaxy",), stores.Column("", "fold of the galaxy: its networks were trained on the others")),
        "nll": (found["nll"], member, stores.Column("nat", "minus the log-probability of the bin of the true mass, held out")),
        "mass_mean": (found["mass_mean"], member, stores.Column("dex(solMass)", "mean of the mass density, held out")),
    }


def _group(frame, modality, edges, options, parts, group, scratch, code, cutouts) -> tuple[dict, tuple]:
    """Train some members together; their best weights and what they say of their held-out galaxies."""
    if modality.images:
        data = ImageData(frame, modality, edges, parts[group[0].fold], group[0], cutouts, options)
    else:
        data = PhotometryData(frame, modality, edges, parts, group, options["batch_size"])
    networks = [build_network(modality, edges, options, member.seed) for member in group]
    if modality.images:
        networks[0].fit_apertures(data.example, torch.tensor(data.scaling.scale))
    described = [modality.to_dict(), np.asarray(edges).tolist(), options, [vars(member) for member in group], code]
    stamp = stores.digest(json.dumps(described, sort_keys=True).encode() + data.fingerprint())
    ensemble, label = ensembles.Ensemble(networks), f"{modality.name} fold {group[0].fold}" if modality.images else modality.name
    best, _ = ensembles.train(ensemble, data, options, stamp, scratch / f"{stamp[:12]}.ckpt", label)
    return best, predict(ensemble, best["weights"], data, np.asarray(edges, float))
