"""A trained network with all that is needed to use it, and the file that holds both."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from galmass import devices, stores
from galmass.contrastive.modalities import Modality, Standardisation
from galmass.contrastive.networks import PhotometryNetwork
from galmass.errors import InputError

FORMAT = "galmass contrastive model 1"


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to use it on a catalogue."""

    network: PhotometryNetwork
    modality: Modality
    standardisation: Standardisation
    edges: np.ndarray
    notes: dict

    @torch.no_grad()
    def predict(self, frame) -> tuple[np.ndarray, np.ndarray]:
        """Main latents (n_galaxy, n_main) and densities (n_galaxy, n_bin), float32, of catalogue rows."""
        network, device = self.network.eval(), devices.best_device()
        network.to(device)
        values, context = self.standardisation.apply(*self.modality.arrays(frame))
        parts = []
        for rows in np.array_split(np.arange(len(values)), max(1, len(values) // 4096)):
            main, _ = network.encode(torch.from_numpy(values[rows]).to(device), torch.from_numpy(context[rows]).to(device))
            parts.append((main.cpu().numpy(), network.estimate(main).softmax(-1).cpu().numpy()))
        latent, density = (np.concatenate(p) for p in zip(*parts, strict=True))
        return latent, density


def build_network(modality: Modality, edges, options: Mapping, seed: int) -> PhotometryNetwork:
    """A network with weights drawn from `seed`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PhotometryNetwork(
            options["network"], len(modality.values), len(modality.errors) + len(modality.scalars), torch.tensor(edges, dtype=torch.float32), options
        )


def save(path, model: Model) -> None:
    """Write a model as safetensors; everything but the weights is JSON in the header."""
    header = {
        "format": FORMAT,
        "modality": asdict(model.modality),
        "standardisation": model.standardisation.to_dict(),
        "edges": model.edges.tolist(),
        "notes": model.notes,
    }
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
    modality = Modality(entry["name"], tuple(entry["values"]), tuple(entry["errors"]), entry["scalars"])
    network = build_network(modality, header["edges"], header["notes"]["options"], seed=0)
    network.load_state_dict(weights)
    return Model(network, modality, Standardisation(**header["standardisation"]), np.array(header["edges"]), header["notes"])
