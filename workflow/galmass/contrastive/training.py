"""Train the supervised contrastive model with Lightning; killed and started again, it ends the same."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.nn.functional import cross_entropy

from galmass import checkpoints, devices, logs, stores
from galmass.contrastive import windows
from galmass.contrastive.data import galaxies, loaders
from galmass.contrastive.losses import contrastive_losses
from galmass.contrastive.modalities import Modality, Standardisation, sized
from galmass.contrastive.models import Model, build_network, options_of
from galmass.contrastive.schedules import learning_rate_factor
from galmass.contrastive.sources import evenly
from galmass.contrastive.stamps import ImageScaling
from galmass.errors import InputError


class ContrastiveTraining(pl.LightningModule):
    """Losses, optimiser and validation likelihood of a network.

    Parameters
    ----------
    network : PhotometryNetwork or ImageNetwork
    options : mapping
        Section ``contrastive`` of the configuration.
    stamp : str
        Digest of everything that the training depends on; a checkpoint with another one is refused.
    """

    def __init__(self, network, options: Mapping, stamp: str):
        super().__init__()
        self.network, self.options, self.stamp = network, options, stamp
        self._terms: list[dict] = []

    def training_step(self, batch, _):
        terms = contrastive_losses(self.network, *map(devices.share, windows.oriented(batch)))
        self._terms.append({name: value.detach() for name, value in terms.items()})
        return sum(self.options["loss_weights"][name] * value for name, value in terms.items())

    def validation_step(self, batch, _):
        values, context, mass_bin = batch
        main, _ = self.network.encode(values, context)
        nll = cross_entropy(self.network.estimate(main), mass_bin)
        self.log("validation_cross_entropy", nll, on_step=False, on_epoch=True, batch_size=len(values))

    def on_validation_epoch_end(self):
        """Mean losses since the last validation: to give Lightning those of every step costs time in each."""
        self.log_dict({name: torch.stack([terms[name] for terms in self._terms]).mean() for name in self._terms[0]}, sync_dist=True)
        self._terms.clear()

    def configure_optimizers(self):
        options = self.options
        optimiser = torch.optim.Adam(self.network.parameters(), lr=options["learning_rate"], fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, options))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["stamp"] = self.stamp


class WholeCheckpoints(TorchCheckpointIO):
    """Replace a checkpoint whole: Lightning's own way is a copy where the temporary folder is on another file system."""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        with stores.replacing(path) as part:
            torch.save(checkpoint, part)


class BestWeights(Callback):
    """Keep the weights of the best validation cross-entropy; they travel inside the checkpoint."""

    def __init__(self):
        self.score, self.step, self.weights = math.inf, 0, {}

    def on_validation_end(self, trainer, module):
        score = float(trainer.callback_metrics["validation_cross_entropy"])
        if not trainer.sanity_checking and score < self.score:
            self.score, self.step = score, trainer.global_step
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in module.network.state_dict().items()}

    def state_dict(self) -> dict:
        return {"score": self.score, "step": self.step, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.score, self.step, self.weights = state["score"], state["step"], state["weights"]


class Patience(EarlyStopping):
    """Stop after so many validations without a better cross-entropy, also when killed just then and resumed."""

    def __init__(self, patience: int):
        super().__init__("validation_cross_entropy", patience=patience, check_on_train_epoch_end=False)

    def on_train_start(self, trainer, module):
        trainer.should_stop = self.wait_count >= self.patience


class History(Callback):
    """Losses at every validation, and the progress bar; the rows travel inside the checkpoint."""

    def __init__(self, label: str):
        self.label, self.rows, self.bar = label, [], None

    def on_train_start(self, trainer, module):
        if trainer.global_step and trainer.is_global_zero:
            print(f"{self.label}: going on at step {trainer.global_step} of {trainer.max_steps}")
        self.bar = logs.progress(trainer.max_steps, trainer.global_step, self.label, hidden=not trainer.is_global_zero)

    def on_train_batch_end(self, trainer, module, *_):
        self.bar.update()

    def on_train_epoch_end(self, trainer, module):
        if self.rows and self.rows[-1]["step"] == trainer.global_step:
            return  # a resumed fit closes the epoch of its checkpoint once more
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        broken = [name for name, value in row.items() if not math.isfinite(value)]
        if broken:
            raise InputError(f"{self.label}: {', '.join(broken)} became NaN or infinite at step {trainer.global_step}; lower contrastive.learning_rate")
        self.rows.append({"step": trainer.global_step, **row})
        self.bar.set_postfix_str(f"validation cross-entropy {row['validation_cross_entropy']:.3f} nat", refresh=False)

    def on_fit_end(self, trainer, module):
        if self.bar is not None:
            self.bar.close()

    def state_dict(self) -> dict:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]


def train(
    training,
    validation,
    modality: Modality,
    edges,
    options: Mapping,
    seed: int,
    scratch: str | Path,
    code: str = "",
    cutouts: Mapping | None = None,
    n_devices: int = 1,
) -> tuple[Model, list[dict]]:
    """Train a model, or go on where an earlier attempt stopped.

    Parameters
    ----------
    training, validation : DataFrame
        Catalogue rows with every input measured and the mass inside the bins.
    modality : Modality
    edges : float array (n_bin + 1,)
    options : mapping
        Section ``contrastive`` of the configuration.
    seed : int
        Of the weights and the order of the pairs.
    scratch : path
        Folder for checkpoints, one for each stamp of code, data and configuration: after an edit the
        training starts afresh.
    code : str
        Digest of the code, part of what a checkpoint must agree with.
    cutouts : mapping of str to galmass.images.store.Cutouts, optional
        Open stores of the images, where the modality has some (`sources.open_stores`).
    n_devices : int
        That share every mini-batch: the losses are those of one device, to rounding. Lightning starts the program once more for each
        device but the first; these companions end in here.

    Returns
    -------
    Model
        With the weights of the best validation cross-entropy.
    list of dict
        Losses at every validation.
    """
    devices.require(n_devices)
    modality, options = sized(modality, cutouts), options_of(modality, options)
    if options["batch_size"] % (2 * n_devices):
        raise InputError(f"contrastive.batch_size is {options['batch_size']}, and run.devices {n_devices}: each device needs as many whole pairs as any other")
    standardisation = Standardisation.fit(*modality.arrays(training), modality)
    scaling = ImageScaling.fit(training, modality, cutouts, options["stretch"]) if modality.images else None
    network = build_network(modality, edges, options, seed)
    if scaling is None:
        data = [galaxies(frame, modality, standardisation, edges) for frame in (training, validation)]
    else:
        data = list(windows.datasets(training, validation, modality, standardisation, scaling, cutouts, edges, options, seed))
        network.fit_apertures(data[0].stamps.read(evenly(len(training), 1024)), torch.tensor(scaling.scale))
    stamp = training_stamp(data, modality, edges, options, seed, code)
    best, history, scratch = BestWeights(), History(modality.name), Path(scratch) / stamp[:12]
    trainer = make_trainer(options, scratch, [best, Patience(options["patience"]), history], n_devices)
    if scaling is None:
        both_loaders = loaders(*data, options, seed, lambda: trainer.global_step)
    else:
        both_loaders = windows.loaders(*data, options["validate_every"], lambda: trainer.global_step)
    with checkpoints.alone_in(scratch.parent, "train_encoder"):
        _fit(trainer, ContrastiveTraining(network, options, stamp), both_loaders, scratch / "last.ckpt")
    if not trainer.is_global_zero:
        sys.exit(0)
    network.load_state_dict(best.weights)
    notes = {"best_step": best.step, "validation_cross_entropy": best.score, "steps": trainer.global_step, "seed": seed}
    notes |= {"n_train": len(training), "n_validation": len(validation), "options": dict(options)}
    return Model(network, modality, standardisation, np.asarray(edges), notes, scaling), history.rows


def training_stamp(data: list, modality: Modality, edges, options: Mapping, seed: int, code: str) -> str:
    """Digest of data, modality, bins, options, seed and code."""
    described = json.dumps([modality.to_dict(), np.asarray(edges).tolist(), options, seed, code], sort_keys=True)
    return stores.digest(described.encode() + b"".join(d.fingerprint() for d in data))


def make_trainer(options: Mapping, scratch: Path, callbacks: list[Callback], n_devices: int) -> pl.Trainer:
    """Deterministic, blind to SLURM variables, one checkpoint that is replaced whole; batches come as they are and are shared in each step."""
    checkpoint = ModelCheckpoint(scratch, filename="last", save_top_k=1, every_n_epochs=1, save_on_train_epoch_end=True, enable_version_counter=False)
    return pl.Trainer(
        accelerator="auto",
        devices=n_devices,
        strategy="ddp" if n_devices > 1 else "auto",
        use_distributed_sampler=False,
        plugins=[LightningEnvironment(), WholeCheckpoints()],
        deterministic=True,
        max_steps=options["max_steps"],
        gradient_clip_val=options["gradient_clip_norm"],
        callbacks=[*callbacks, checkpoint],
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _fit(trainer: pl.Trainer, module: ContrastiveTraining, both_loaders, checkpoint: Path) -> None:
    """Fit from the checkpoint where there is one."""
    if not checkpoint.is_file():
        trainer.fit(module, *both_loaders)
        return
    checkpoints.read(checkpoint, module.stamp)
    trainer.fit(module, *both_loaders, ckpt_path=checkpoint, weights_only=True)
