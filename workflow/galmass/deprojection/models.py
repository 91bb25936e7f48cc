"""The file that holds a surrogate, and all that is needed to use and to reproduce it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from galmass import stores
from galmass.deprojection.basis import Basis
from galmass.deprojection.surrogate import PaperNetwork, Surrogate
from galmass.errors import InputError

FORMAT = "galmass deprojection 1"
REMEDY = "make it again with snakemake train_deprojection"
BOX = {"alpha": [0.1, 10.0], "gamma": [0.001, 1.2], "beta_minus_gamma": [0.3, 3.0], "r_break": [2.0, 2000.0]}
COMMITTED = Path(__file__).resolve().parents[3] / "resources" / "nuker.safetensors"


def build(basis: Basis, box: Mapping, options: Mapping):
    """The untrained network of a recipe."""
    if options["recipe"] == "paper":
        return PaperNetwork(basis, options["output"])
    return Surrogate(basis, box["r_break"], options["width"], options["depth"])


def save(path, module, notes: Mapping) -> None:
    """Write a network as safetensors; basis, box and `notes` are JSON in the header.

    Parameters
    ----------
    notes : mapping
        ``box``, ``options`` (of the training), ``grid`` (digest and number of nodes) and whatever else should be known.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    header = {"format": FORMAT, "basis": asdict(module.basis), **notes}
    with stores.replacing(path) as part:
        save_file(weights, part, metadata={"galmass": json.dumps(header | {"sha256": _digest(header, weights)}, sort_keys=True)})


def _digest(header: Mapping, weights: Mapping) -> str:
    """SHA-256 of header and tensors: the weights mean nothing with another basis, box or network."""
    tensors = b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))
    return stores.digest(json.dumps(header, sort_keys=True).encode() + tensors)


def load(path):
    """Network and header of a file that `save` wrote; nothing in it is executed.

    Raises
    ------
    InputError
        When the file cannot be read, is of another version, or its weights do not fit its grid of Gaussians.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = dict(json.loads((file.metadata() or {}).get("galmass", "{}")))
            weights = {name: file.get_tensor(name) for name in file.offset_keys()}
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no safetensors file ({error}); {REMEDY}") from error
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is {header.get('format', 'of unknown origin')!r}, not '{FORMAT}'; {REMEDY}")
    if header.pop("sha256", None) != _digest(header, weights):
        raise InputError(f"{path} does not hold what was written; {REMEDY}")
    module = build(Basis(**header["basis"]), header["box"], header["options"])
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:  # of the same format, and yet of another version of the code
        raise InputError(f"{path} holds weights of another network or another grid of Gaussians ({error}); {REMEDY}") from error
    return module.requires_grad_(False).eval(), header
