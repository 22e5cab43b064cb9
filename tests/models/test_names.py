"""Names of weights as wrappers and larger networks write them."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from crdkit.models import (
    DepthCNN,
    Frozen,
    Normalized,
    create,
    load_repdistiller,
    load_state,
    load_weights,
    save_weights,
)
from crdkit.models.names import fit_names


def filled(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return network


def small() -> nn.Module:
    return filled(DepthCNN(widths=(3, 4), strides=(2, 1)))


def require_same(network: nn.Module, state: dict[str, Tensor]) -> None:
    own = network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], value) for name, value in state.items())


PREFIXES = (
    "module.",
    "module.module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module._orig_mod.",
    "_fsdp_wrapped_module.",
    "backbone.",
    "encoder_q.",
    "model.",
    "module.encoder_q.",
    "model.module.",
    "model.encoder.net.",
    "_orig_mod.model.",
    "model._orig_mod.backbone.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_one_prefix_comes_off(prefix: str, tmp_path: Path) -> None:
    state = small().state_dict()
    torch.save({"state_dict": {prefix + name: value for name, value in state.items()}}, tmp_path / "w.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target = small()
        assert load_weights(target, tmp_path / "w.pth") == ((), (), ())
        require_same(target, state)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_published_networks_are_recognized_behind_it(prefix: str, tmp_path: Path) -> None:
    source = filled(create("resnet8", num_classes=7))
    state = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save({"net": state, "acc": 71.0}, tmp_path / "w.pth")
    require_same(load_repdistiller(tmp_path / "w.pth"), source.state_dict())
    again = create("resnet8", num_classes=7, weights=tmp_path / "w.pth", new_head=False)
    require_same(again, source.state_dict())


def test_wrappers_may_stand_within_names_and_before_some_of_them() -> None:
    state = small().state_dict()
    mixed = {}
    for number, (name, value) in enumerate(state.items()):
        first, _, rest = name.partition(".")
        mixed[(f"module.{name}", name, f"{first}._orig_mod.{rest}")[number % 3]] = value
    target = small()
    load_state(target, mixed)
    require_same(target, state)


def test_other_parts_of_the_file_are_left_out_and_named() -> None:
    state = small().state_dict()
    moco = {f"module.encoder_q.{name}": value for name, value in state.items()}
    moco |= {f"module.encoder_k.{name}": value * 2 for name, value in state.items()}
    target = small()
    with pytest.warns(UserWarning, match=r"'encoder_q\.'.*encoder_k"):
        load_state(target, {**moco, "module.queue": torch.zeros(3)})
    require_same(target, state)


def test_a_name_outside_of_the_part_counts_if_the_network_has_it() -> None:
    source = create("resnet8", num_classes=5)
    state = {
        name if name.startswith("fc.") else f"backbone.{name}": x for name, x in source.state_dict().items()
    }
    target = create("resnet8", num_classes=5)
    load_state(target, state)
    require_same(target, source.state_dict())


def test_a_network_that_is_hardly_there_is_refused() -> None:
    state = small().state_dict()
    few = {f"encoder.{name}": value for name, value in list(state.items())[:4]}
    with pytest.raises(ValueError, match="DepthCNN"):
        load_state(small(), {**few, "head.weight": torch.zeros(2)})
    full = {f"encoder.{name}": value for name, value in state.items()}
    with pytest.raises(ValueError, match="unexpected: more"):
        load_state(small(), {**full, "encoder.more": torch.zeros(2)})
    full.pop("encoder.layers.1.0.weight")
    with pytest.raises(ValueError, match=r"missing: layers\.1\.0\.weight"):
        load_state(small(), full)


def test_counts_are_no_weights(tmp_path: Path) -> None:
    source = create("resnet8", num_classes=4)
    state = source.state_dict()
    profiled = {"total_ops": torch.zeros(1), "layer1.0.total_params": torch.zeros(1), **state}
    averaged = {"n_averaged": torch.tensor(3), **{f"module.{name}": value for name, value in state.items()}}
    without = {name: x for name, x in state.items() if not name.endswith("num_batches_tracked")}
    for content in (profiled, averaged, without, {f"module.{name}": x for name, x in profiled.items()}):
        torch.save({"model": content}, tmp_path / "w.pth")
        target = create("resnet8", num_classes=4)
        load_weights(target, tmp_path / "w.pth")
        for read in (target, load_repdistiller(tmp_path / "w.pth")):
            assert all(torch.equal(read.state_dict()[name], value) for name, value in without.items())
    plain = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    counted = {**plain.state_dict(), "1.num_batches_tracked": torch.tensor(3)}
    assert load_state(plain, counted) == ((), (), ())


def test_wrapped_networks_take_files_of_bare_and_wrapped_ones(tmp_path: Path) -> None:
    bare = small()
    frozen, averaged = Frozen(copy.deepcopy(bare)), torch.optim.swa_utils.AveragedModel(bare)
    averaged.n_averaged.fill_(5)
    kinds = {
        "bare": bare,
        "frozen": frozen,
        "averaged": averaged,
        "compiled": torch.compile(copy.deepcopy(bare)),
    }
    for name, network in kinds.items():
        save_weights(network, tmp_path / f"{name}.safetensors")
    for name in kinds:
        targets = (
            small(),
            Frozen(small()),
            torch.optim.swa_utils.AveragedModel(small()),
            torch.compile(small()),
        )
        for target in targets:
            load_weights(target, tmp_path / f"{name}.safetensors")
            inner = [value for key, value in target.state_dict().items() if "n_averaged" not in key]
            assert all(torch.equal(a, b) for a, b in zip(inner, bare.state_dict().values(), strict=True))
    assert targets[2].n_averaged == 0
    load_weights(targets[2], tmp_path / "averaged.safetensors")
    assert targets[2].n_averaged == 5


def test_two_modules_that_differ_by_a_wrapper_alone_are_kept_apart() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.module = nn.ModuleDict({"layer": nn.Linear(2, 2)})

    source, target = Both(), Both()
    load_state(target, source.state_dict())
    require_same(target, source.state_dict())
    fitted = fit_names(source.state_dict(), target.state_dict())
    assert fitted.state.keys() == source.state_dict().keys() and not fitted.left_out


def test_an_encoder_is_read_from_a_segmenter_and_a_head_of_other_layers_is_drawn(tmp_path: Path) -> None:
    whole = filled(create("resnet18", num_classes=3))
    state = {
        f"network.encoder.{name}": x for name, x in whole.state_dict().items() if not name.startswith("fc.")
    }
    state |= {
        "network.head.weight": torch.zeros(3),
        "normalize.mean": torch.zeros(3),
        "normalize.std": torch.ones(3),
    }
    torch.save(state, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match=r"network\.head\.weight"):
        encoder = create("resnet18", num_classes=None, weights=tmp_path / "w.pth", bare=True).eval()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(encoder(x).embedding, whole.eval()(x).embedding)

    moco = {f"encoder_q.{name}": x for name, x in whole.state_dict().items() if not name.startswith("fc.")}
    moco |= {"encoder_q.fc.0.weight": torch.zeros(9, 512), "encoder_q.fc.2.weight": torch.zeros(4, 9)}
    torch.save(moco, tmp_path / "w.pth")
    for classes in (None, 5):
        network = create(
            "resnet18", num_classes=classes, weights=tmp_path / "w.pth", new_head=True, bare=True
        )
        network.eval()
        assert torch.equal(network(x).embedding, whole(x).embedding)
    with pytest.raises(ValueError, match="no classifier"):
        create("resnet18", num_classes=5, weights=tmp_path / "w.pth", new_head=False, bare=True)


def test_a_file_with_its_normalization_is_no_bare_network(tmp_path: Path) -> None:
    from crdkit.data import Normalize, Statistics

    statistics = Statistics(mean={"rgb": (0.1, 0.2, 0.3)}, std={"rgb": (0.4, 0.5, 0.6)})
    source = create("resnet8", num_classes=4)
    save_weights(Normalized(Normalize(statistics, "rgb"), source), tmp_path / "w.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = create("resnet8", num_classes=4, weights=tmp_path / "w.safetensors", bare=True)
        require_same(loaded, source.state_dict())
    for door in (
        load_repdistiller,
        lambda path: create("resnet8", num_classes=4, weights=path),
        lambda path: load_weights(create("resnet8", num_classes=4), path),
    ):
        with pytest.raises(ValueError, match="holds its normalization"):
            door(tmp_path / "w.safetensors")
