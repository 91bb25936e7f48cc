"""A trained network with all that is needed to use it, and the file that holds both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from galmass import devices, stores
from galmass.contrastive.image_networks import ImageNetwork
from galmass.contrastive.modalities import Modality, Standardisation
from galmass.contrastive.networks import PhotometryNetwork
from galmass.contrastive.stamps import ImageScaling, Stamps
from galmass.errors import InputError

FORMAT = "galmass contrastive model 1"


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to use it on a catalogue."""

    network: PhotometryNetwork | ImageNetwork
    modality: Modality
    standardisation: Standardisation
    edges: np.ndarray
    notes: dict
    scaling: ImageScaling | None = None

    @torch.no_grad()
    def predict(self, frame, cutouts: Mapping | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Main latents (n_galaxy, n_main) and densities (n_galaxy, n_bin), float32, of catalogue rows.

        Parameters
        ----------
        cutouts : mapping of str to galmass.images.store.Cutouts, optional
            Open stores of the images, where the modality has some (`sources.open_stores`).
        """
        network, device = self.network.eval(), devices.best_device()
        network.to(device)
        images = Stamps(frame, self.modality, cutouts, self.scaling) if self.modality.images else None
        values, context = self.standardisation.apply(*self.modality.arrays(frame))
        latents, densities = [], []
        for rows in np.array_split(np.arange(len(context)), max(1, len(context) // (4096 if images is None else 256))):
            seen = _seen(images, torch.from_numpy(values[rows]), torch.from_numpy(context[rows]), rows)
            main, _ = network.encode(*(x.to(device) for x in seen))
            latents.append(main.cpu().numpy())
            densities.append(network.estimate(main).softmax(-1).cpu().numpy())
        return np.concatenate(latents), np.concatenate(densities)


def _seen(images: Stamps | None, values: torch.Tensor, context: torch.Tensor, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """What the encoder is given of some galaxies: beside images, magnitudes are part of the context."""
    return (values, context) if images is None else (images.read(rows), torch.cat([values, context], 1))


def options_of(modality: Modality, options: Mapping) -> dict:
    """Section ``contrastive`` for a modality: what ``contrastive.images`` says holds where there are images, and is absent elsewhere."""
    usual = {name: value for name, value in options.items() if name != "images"}
    return usual | dict(options.get("images", {})) if modality.images else usual


def build_network(modality: Modality, edges, options: Mapping, seed: int) -> PhotometryNetwork | ImageNetwork:
    """A network with weights drawn from `seed`; the global random state is left as it was."""
    n_value, n_context = len(modality.values), len(modality.errors) + len(modality.scalars)
    edges = torch.tensor(edges, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if modality.images:
            return ImageNetwork(options["network"], modality.n_band, modality.n_pix, n_value + n_context, edges, options)
        return PhotometryNetwork(options["network"], n_value, n_context, edges, options)


def save(path, model: Model) -> None:
    """Write a model as safetensors; everything but the weights is JSON in the header."""
    header = {
        "format": FORMAT,
        "modality": model.modality.to_dict(),
        "standardisation": model.standardisation.to_dict(),
        "edges": model.edges.tolist(),
        "notes": model.notes,
    }
    if model.scaling is not None:
        header["scaling"] = model.scaling.to_dict()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    header["sha256"] = _weights_digest(weights)
    with stores.replacing(path) as part:
        # one entry: safetensors writes several in random order, and the file would not be reproducible
        save_file(weights, part, metadata={"galmass": json.dumps(header, sort_keys=True)})


def _weights_digest(weights: Mapping) -> str:
    """SHA-256 of names and values of all tensors."""
    return stores.digest(b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights)))


def load(path) -> Model:
    """Read a model that `save` wrote; nothing in the file is executed.

    Raises
    ------
    InputError
        When the file is no safetensors file, or not one of ours.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = dict(json.loads((file.metadata() or {}).get("galmass", "{}")))
            weights = {name: file.get_tensor(name) for name in file.offset_keys()}
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path} is no safetensors file ({error}); delete it and run again") from error
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is no '{FORMAT}' but {header.get('format', 'of unknown origin')!r}; train it with train_encoder")
    if header["sha256"] != _weights_digest(weights):
        raise InputError(f"{path} holds other weights than were written; delete it and run again")
    entry = header["modality"]
    modality = Modality.from_config(entry["name"], entry)
    scaling = ImageScaling(**header["scaling"]) if modality.images else None
    network = build_network(modality, header["edges"], header["notes"]["options"], seed=0)
    network.load_state_dict(weights)
    return Model(network, modality, Standardisation(**header["standardisation"]), np.array(header["edges"]), header["notes"], scaling)
