"""The file of a surrogate: it comes back as it was, and nothing else is taken for one."""

import json
import pickle
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from galmass.deprojection import models
from galmass.deprojection.basis import Basis
from galmass.deprojection.surrogate import PaperNetwork, Surrogate
from galmass.errors import InputError

OPTIONS = {"recipe": "galmass", "width": 8, "depth": 2}
PAPER = {"recipe": "paper", "output": "symexp"}
NOTES = {"box": models.BOX, "grid": {"n_node": 576}}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return models.build(Basis(), models.BOX, OPTIONS)


@pytest.fixture
def path(module, tmp_path):
    models.save(tmp_path / "surrogate.safetensors", module, NOTES | {"options": OPTIONS})
    return tmp_path / "surrogate.safetensors"


def header_of(path) -> dict:
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["galmass"])


def rewrite(path, header, weights=None) -> None:
    save_file(load_file(path) if weights is None else weights, path, metadata={"galmass": json.dumps(header)})


@pytest.mark.parametrize(("options", "kind"), [(OPTIONS, Surrogate), (PAPER, PaperNetwork)])
def test_comes_back_as_it_was(options, kind, draw, tmp_path):
    basis = Basis() if options is OPTIONS else Basis(32, 1.0, 1e4, n_inner=0, n_outer=0)
    module, parameters = models.build(basis, models.BOX, options), [p.float() for p in draw(10)]
    models.save(tmp_path / "m", module, NOTES | {"options": options})
    found, header = models.load(tmp_path / "m")
    assert isinstance(found, kind)
    assert found.basis == basis
    assert torch.equal(found(*parameters), module(*parameters))
    assert header["grid"] == NOTES["grid"]
    assert header["options"] == options
    assert header["box"] == models.BOX


def test_what_is_loaded_is_at_rest(path):
    module, _ = models.load(path)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())


def test_the_same_network_gives_the_same_bytes(module, path, tmp_path):
    models.save(tmp_path / "again", module, {"options": OPTIONS, **NOTES})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_nothing_is_left_beside_the_file(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]


class Malicious:
    def __reduce__(self):
        return (warnings.warn, ("code of a file was executed",))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", pickle.dumps(Malicious()), b"\x10" + bytes(7) + b"{}"])
@pytest.mark.filterwarnings("error:code of a file")
def test_a_foreign_file_is_refused(content, tmp_path):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(InputError, match=r"/m is no safetensors file .* make it again with snakemake train_deprojection"):
        models.load(tmp_path / "m")


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"surrogate\.safetensors is no safetensors file"):
        models.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"/m is no safetensors file .* make it again"):
        models.load(tmp_path / "m")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no safetensors file"):
        models.load(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"galmass": "{}"}, {"galmass": json.dumps({"format": "galmass contrastive 1"})}])
def test_weights_of_another_origin_are_refused(metadata, tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "m", metadata=metadata)
    with pytest.raises(InputError, match=r"/m is .*, not 'galmass deprojection 1'; make it again"):
        models.load(tmp_path / "m")


@pytest.mark.parametrize("text", ["no JSON", "[1, 2]", '"galmass deprojection 1"'])
def test_a_header_that_is_none_is_refused(text, tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "m", metadata={"galmass": text})
    with pytest.raises(InputError, match=r"/m is .* make it again"):
        models.load(tmp_path / "m")


def test_another_version_is_refused(path):
    rewrite(path, header_of(path) | {"format": "galmass deprojection 0"})
    with pytest.raises(InputError, match=r"is 'galmass deprojection 0', not 'galmass deprojection 1'"):
        models.load(path)


def test_altered_weights_are_refused(path):
    weights = load_file(path)
    weights["network.last.bias"][3] += 1e-6
    rewrite(path, header_of(path), weights)
    with pytest.raises(InputError, match="does not hold what was written; make it again"):
        models.load(path)


@pytest.mark.parametrize("change", [{"sigma_max": 1e4}, {"sigma_min": 0.301, "sigma_max": 3.01e4}, {"n_outer": 12}])
def test_weights_under_another_grid_of_gaussians_are_refused(path, change):
    """Where every shape fits, too: all amplitudes would be wrong."""
    header = header_of(path)
    rewrite(path, header | {"basis": header["basis"] | change})
    with pytest.raises(InputError, match="does not hold what was written; make it again"):
        models.load(path)


@pytest.mark.parametrize("change", [{"box": models.BOX | {"r_break": [20.0, 2000.0]}}, {"options": OPTIONS | {"width": 9}}])
def test_weights_of_another_network_are_refused(module, change, tmp_path):
    """Another window, another width: written so, but not what this code makes of it."""
    models.save(tmp_path / "m", module, NOTES | {"options": OPTIONS} | change)
    with pytest.raises(InputError, match=r"(?s)/m holds weights of another network or another grid of Gaussians .* make it again"):
        models.load(tmp_path / "m")


@pytest.mark.parametrize("missing", ["sha256", "basis", "box", "options"])
def test_a_header_with_a_gap_is_refused(path, missing):
    header = header_of(path)
    del header[missing]
    rewrite(path, header)
    with pytest.raises(InputError, match=r"surrogate\.safetensors"):
        models.load(path)
