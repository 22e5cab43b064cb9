"""Weights to and from files; nothing in a file ever runs."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from crdkit.models import DepthCNN, load_weights, read_weights, save_weights


def small() -> DepthCNN:
    network = DepthCNN(widths=(3, 4), strides=(2, 1))
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return network


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(ka == kb and torch.equal(va, vb) for (ka, va), (kb, vb) in pairs)


def test_round_trip(tmp_path) -> None:
    source, target = small(), small()
    save_weights(source, tmp_path / "deep" / "w.safetensors")
    assert not same(source, target)
    report = load_weights(target, tmp_path / "deep" / "w.safetensors")
    assert same(source, target)
    assert report == ((), (), ())
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("wrap", [dict, lambda s: {"model": s, "epoch": 4}, lambda s: {"state_dict": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_layouts(tmp_path, wrap, prefix: str) -> None:
    source, target = small(), small()
    torch.save(wrap({prefix + k: v for k, v in source.state_dict().items()}), tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert same(source, target)


def test_misfits_are_listed_and_nothing_is_loaded(tmp_path) -> None:
    target = small()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    state["extra"] = torch.zeros(1)
    state["layers.1.0.weight"] = torch.zeros(4, 9, 3, 3)
    del state["layers.0.1.bias"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError) as caught:
        load_weights(target, tmp_path / "w.pth")
    message = str(caught.value)
    assert "missing: layers.0.1.bias" in message
    assert "unexpected: extra" in message
    assert "layers.1.0.weight (4, 9, 3, 3) where the module has (4, 3, 3, 3)" in message
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())

    report = load_weights(target, tmp_path / "w.pth", strict=False)
    assert report == (("layers.0.1.bias",), ("extra",), ("layers.1.0.weight",))
    assert torch.equal(target.state_dict()["layers.0.1.weight"], before["layers.0.1.weight"] + 1)
    assert torch.equal(target.state_dict()["layers.1.0.weight"], before["layers.1.0.weight"])


def test_a_file_of_another_network_is_refused_even_when_not_strict(tmp_path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="DepthCNN"):
        load_weights(small(), tmp_path / "w.pth", strict=False)


def test_tied_weights_are_stored_once_and_come_back_tied(tmp_path) -> None:
    def tied() -> nn.Sequential:
        net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        net[1].weight = net[0].weight
        return net

    source, target = tied(), tied()
    save_weights(source, tmp_path / "w.safetensors")
    assert list(read_weights(tmp_path / "w.safetensors")) == ["0.weight"]
    load_weights(target, tmp_path / "w.safetensors")
    assert same(source, target) and target[0].weight is target[1].weight
    with pytest.raises(ValueError, match=r"missing: 1\.weight"):
        load_weights(
            nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)),
            tmp_path / "w.safetensors",
        )


def test_overlapping_views_are_written_apart(tmp_path) -> None:
    net = nn.Module()
    storage = torch.arange(6.0)
    net.register_buffer("head", storage[:4])
    net.register_buffer("tail", storage[2:])
    save_weights(net, tmp_path / "w.safetensors")
    stored = read_weights(tmp_path / "w.safetensors")
    assert stored["head"].tolist() == [0, 1, 2, 3] and stored["tail"].tolist() == [2, 3, 4, 5]


class Planted:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize(
    "write", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj, protocol=2))]
)
def test_planted_code_is_refused_and_does_not_run(tmp_path, write) -> None:
    write({"weight": Planted(tmp_path / "ran")}, tmp_path / "teacher.pth")
    with pytest.raises(ValueError, match=r"teacher\.pth"):
        load_weights(small(), tmp_path / "teacher.pth")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Planted(tmp_path / "ran")))  # the plant works where nothing guards it
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_broken_files_are_named(tmp_path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "pth":
        torch.save(small().state_dict(), whole)
    else:
        save_weights(small(), whole)
    for size in (0, 7, len(whole.read_bytes()) // 2):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(ValueError, match=rf"cut\.{suffix}"):
            read_weights(cut)
    html = tmp_path / f"page.{suffix}"
    html.write_text("<!DOCTYPE html><title>404</title>")
    with pytest.raises(ValueError, match=rf"page\.{suffix}"):
        read_weights(html)


def test_what_is_not_weights_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        read_weights(tmp_path / "none.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="tensors"):
        read_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(ValueError, match="'epoch' is int"):
        read_weights(tmp_path / "epoch.pth")
    state = small().state_dict()
    state["layers.0.1.bias"] = torch.full((3,), torch.nan)
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match=r"'layers\.0\.1\.bias' holds NaN"):
        load_weights(small(), tmp_path / "nan.pth")
    with pytest.raises(ValueError, match=r"\.safetensors.*'w\.pth'"):
        save_weights(small(), tmp_path / "w.pth")


def test_a_failed_save_keeps_the_file_before_it(tmp_path, monkeypatch) -> None:
    source = small()
    save_weights(source, tmp_path / "w.safetensors")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crdkit.models.weights.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(small(), tmp_path / "w.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    target = small()
    load_weights(target, tmp_path / "w.safetensors")
    assert same(source, target)
