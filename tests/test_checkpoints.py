"""Files of weights and configurations: damaged, hostile, odd, or of another network."""
import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from mst.checkpoints import config_from_dict, load_tensors, load_weights, save_tensors


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"w": torch.arange(3.)}, {"epoch": 2})
    return path


def test_what_was_saved_comes_back_and_nothing_else_is_left(checkpoint):
    tensors, info = load_tensors(checkpoint)
    assert torch.equal(tensors["w"], torch.arange(3.)) and info == {"format": 1, "epoch": 2}
    assert [p.name for p in checkpoint.parent.iterdir()] == ["a.safetensors"]


def test_a_cut_file_a_folder_and_nothing_at_all(checkpoint):
    cut = checkpoint.with_name("b.safetensors")
    cut.write_bytes(checkpoint.read_bytes()[:40])
    with pytest.raises(ValueError, match="is damaged"):
        load_tensors(cut)
    with pytest.raises(OSError, match="cannot be read .Is a directory"):
        load_tensors(checkpoint.parent)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        load_tensors(checkpoint.with_name("c.safetensors"))
    with pytest.raises(ValueError, match="its header lacks config:"):
        load_tensors(checkpoint, ["config", "epoch"])


class Trap:
    """Runs code when a pickle of it is opened."""
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened(tmp_path):
    sprung = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()  # the trap works
    sprung.unlink()
    torch.save({"w": Trap(sprung)}, tmp_path / "trap.safetensors")
    with pytest.raises(ValueError, match="is damaged"):
        load_tensors(tmp_path / "trap.safetensors")
    assert not sprung.exists()


@pytest.mark.parametrize("header", [
    "{}", '{"__metadata__": {"info": "[1]"}}', '{"__metadata__": {"info": "{"}}', "[" * 10_000,
    json.dumps({"__metadata__": {"info": "[" * 100_000}}),
    json.dumps({"__metadata__": {"info": '{"format": 2}'}})],
    ids=["empty", "a list", "no JSON", "deep", "deep inside", "newer format"])
def test_an_odd_header_is_named(tmp_path, header):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(ValueError, match="odd.safetensors "):
        load_tensors(path)


def test_weights_of_another_network():
    with pytest.raises(ValueError, match="a does not fit this Linear: weight is missing, bias is"):
        load_weights(nn.Linear(3, 1), {"w": torch.arange(3.)}, "a")
    with pytest.raises(ValueError, match=r"is \[1, 2\] instead of \[1, 3\]"):
        load_weights(nn.Linear(3, 1, bias=False), {"weight": torch.ones(1, 2)}, "a")
    with pytest.raises(ValueError, match="and 2 more; it belongs to another version or preset"):
        load_weights(nn.Linear(3, 1), dict.fromkeys("abc", torch.ones(1)), "a")


@dataclass(frozen=True)
class Inner:
    width: int = 4
    gain: float = 1.


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    limit: float | None = None


def test_a_configuration_of_another_form():
    with pytest.raises(ValueError, match="Inner.width is 'wide', not of type int"):
        config_from_dict(Outer, {"inner": {"width": "wide"}})
    with pytest.raises(ValueError, match="x.safetensors: Inner has no 'depth';"):
        config_from_dict(Outer, {"inner": {"depth": 3}}, "x.safetensors")
    with pytest.raises(ValueError, match=r"Outer is \[1\], no dictionary"):
        config_from_dict(Outer, [1])
