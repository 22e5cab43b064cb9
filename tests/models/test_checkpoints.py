"""Checkpoints as trainers write them: where the weights are, what lies beside them, what is refused."""

import argparse
import builtins
import collections
import datetime
import os
import pathlib
import pickle
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crdkit.models import DepthCNN, load_weights, read_weights


def small() -> DepthCNN:
    return DepthCNN(widths=(3, 4), strides=(2, 1))


def scaled(state: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    return {name: value * factor for name, value in state.items()}


def optimizer_of(network: nn.Module) -> dict[str, Any]:
    adam = torch.optim.Adam(network.parameters())
    network(torch.rand(2, 1, 8, 8)).embedding.sum().backward()
    adam.step()
    return adam.state_dict()


CONTAINERS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    **{
        key: lambda state, key=key: {"epoch": 3, key: state, "best": torch.tensor(70.0)}
        for key in ("state_dict", "model", "net", "network", "student", "module", "params", "ema")
    },
    "model.state_dict": lambda state: {"model": {"state_dict": state, "arch": "x"}, "epoch": 3},
    "state.model.net": lambda state: {"state": {"model": {"net": state}}, "epoch": 3},
    "a word of one's own": lambda state: {"my_cnn": state, "epoch": 3},
    "defaultdict": lambda state: collections.defaultdict(dict, {"net": collections.defaultdict(int, state)}),
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_wherever_trainers_put_them(name: str, zipped: bool, tmp_path: Path) -> None:
    source = small()
    content = CONTAINERS[name](source.state_dict())
    content["optimizer"] = optimizer_of(source)
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_weights(tmp_path / "w.pth")
    assert list(found) == list(source.state_dict())
    assert all(torch.equal(found[key], value) for key, value in source.state_dict().items())


def test_parts_of_a_network_are_named_after_their_places(tmp_path: Path) -> None:
    encoder, decoder = small(), nn.Linear(2, 3)
    torch.save({"a": encoder.state_dict(), "b": {"c": decoder.state_dict()}}, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert "a.layers.0.0.weight" in found and "b.c.bias" in found
    target = nn.Linear(2, 3)
    with pytest.warns(UserWarning, match=r"'b\.c\.'.*a\.layers"):
        load_weights(target, tmp_path / "w.pth")
    assert torch.equal(target.weight, decoder.weight)
    assert read_weights(f"{tmp_path / 'w.pth'}#b").keys() == {"weight", "bias"}


@pytest.mark.parametrize(
    "key", ["state_dict_ema", "model_ema", "ema", "ema_state_dict", "teacher", "averaged"]
)
def test_of_several_sets_of_weights_one_is_read_and_the_other_can_be(key: str, tmp_path: Path) -> None:
    state = small().state_dict()
    path = tmp_path / "w.pth.tar"
    for averaged in (
        scaled(state, 2),
        {"decay": 0.9, "shadow": {f"module.{n}": 2 * t for n, t in state.items()}},
    ):
        torch.save({key: averaged, "state_dict": state}, path)
        with pytest.warns(UserWarning, match=rf"'state_dict' is read.*w\.pth\.tar#{key}") as told:
            plain = read_weights(path)
        assert len(told) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            other = read_weights(f"{path}#{key}")
            named = read_weights(f"{path}#state_dict")
        assert all(torch.equal(plain[name], value) for name, value in state.items())
        assert all(torch.equal(named[name], value) for name, value in state.items())
        assert other.keys() == state.keys()
        assert all(torch.equal(other[name], 2 * value) for name, value in state.items())
    with pytest.raises(ValueError, match="nothing"):
        read_weights(f"{path}#nothing")


def test_an_entry_may_be_the_beginning_of_names(tmp_path: Path) -> None:
    state = small().state_dict()
    both = {f"module.encoder_q.{name}": value for name, value in state.items()}
    both |= {f"module.encoder_k.{name}": value * 3 for name, value in state.items()}
    torch.save({"state_dict": {**both, "module.queue": torch.zeros(4, 4)}}, tmp_path / "moco.pth")
    for entry in ("encoder_k", "module.encoder_k", "state_dict.encoder_k", "state_dict.module.encoder_k"):
        found = read_weights(f"{tmp_path / 'moco.pth'}#{entry}")
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], 3 * value) for name, value in state.items())
    with pytest.raises(ValueError, match=r"encoder_x.*encoder_q, encoder_k, queue"):
        read_weights(f"{tmp_path / 'moco.pth'}#encoder_x")


def test_a_file_whose_name_has_the_sign_is_that_file(tmp_path: Path) -> None:
    torch.save(small().state_dict(), tmp_path / "run#3.pth")
    assert read_weights(tmp_path / "run#3.pth").keys() == small().state_dict().keys()
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        read_weights(tmp_path / "absent.pth#ema")


PLAIN: dict[str, Any] = {
    "float64": np.float64(93.2),
    "float32": np.float32(0.5),
    "bool": np.bool_(True),
    "int64 array": np.arange(3),
    "strings": np.array(["a", "bc"]),
    "dtype": np.dtype("float16"),
    "generator": np.random.RandomState(0).get_state(),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "ordered": collections.OrderedDict(a=1),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2]),
    "namespace": types.SimpleNamespace(lr=0.1),
    "arguments": argparse.Namespace(lr=0.1, out=pathlib.Path("runs/a"), when=datetime.datetime(2020, 1, 1)),
    "path": pathlib.PurePosixPath("runs/a"),
    "windows": pathlib.PureWindowsPath("c:/a"),
    "delta": datetime.timedelta(hours=2),
    "range": range(3),
    "frozen": frozenset((1, 2)),
    "nested": {"best": [np.float64(1), (pathlib.Path("a"), {np.int64(3)})]},
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("zipped", [True, False])
def test_plain_values_beside_the_weights_are_passed_over(name: str, zipped: bool, tmp_path: Path) -> None:
    state = small().state_dict()
    torch.save({"acc": PLAIN[name], "net": state}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_weights(tmp_path / "w.pth")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_dictionaries_of_other_packages_are_dictionaries(tmp_path: Path, monkeypatch: Any) -> None:
    class AttributeDict(dict[str, Any]):
        pass

    AttributeDict.__module__, AttributeDict.__qualname__ = "lightning.fabric.utilities.data", "AttributeDict"
    module = types.ModuleType("lightning.fabric.utilities.data")
    module.AttributeDict = AttributeDict  # type: ignore[attr-defined]
    for part in ("lightning", "lightning.fabric", "lightning.fabric.utilities"):
        monkeypatch.setitem(__import__("sys").modules, part, types.ModuleType(part))
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    state = small().state_dict()
    torch.save({"hyper_parameters": AttributeDict(lr=0.1), "state_dict": state}, tmp_path / "last.ckpt")
    monkeypatch.undo()
    assert read_weights(tmp_path / "last.ckpt").keys() == state.keys()


class Planted:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize("zipped", [True, False, None])
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "system"), (builtins.eval, "eval"), (os.makedirs, "os.makedirs")]
)
def test_what_is_refused_is_named(function: Any, name: str, zipped: bool | None, tmp_path: Path) -> None:
    plant = Planted(function, str(tmp_path / "made"))
    content = {"model": small().state_dict(), "x": plant}
    path = tmp_path / "w.pth"
    if zipped is None:
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"w\.pth") as caught:
        read_weights(path)
    message = str(caught.value)
    assert (name in message) or zipped is None
    assert "\x1b" not in message and "weights_only" not in message and "add_safe_globals" not in message
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert not (tmp_path / "made").exists()


def test_all_that_is_refused_is_named_and_whole_networks_are(tmp_path: Path) -> None:
    torch.save({"a": Planted(os.system, "true"), "b": Planted(builtins.exec, "")}, tmp_path / "two.pth")
    with pytest.raises(ValueError, match=r"builtins\.exec, .*system"):
        read_weights(tmp_path / "two.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_weights(tmp_path / "whole.pth")


def test_a_program_is_no_file_of_weights(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "script.pt")
        with pytest.raises(ValueError, match=r"script\.pt.*TorchScript") as caught:
            read_weights(tmp_path / "script.pt")
    assert "weights_only" not in str(caught.value)


def test_what_stands_in_the_place_of_a_tensor_is_named(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1), "b": np.zeros(1)}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="'b'"):
        read_weights(tmp_path / "w.pth")
    for content in ({}, {"model": {}}, {"optimizer": optimizer_of(small())}, [1], torch.zeros(2)):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(ValueError, match=r"w\.pth"):
            read_weights(tmp_path / "w.pth")
