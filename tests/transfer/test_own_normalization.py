"""A teacher sees its input as its weights did, in every pipeline."""

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.crossmodal import DataConfig, Samples, SegmentationConfig, SegmentationPipeline, SegmentersConfig
from crdkit.data import ImagesConfig, ImageSplits, Normalize, PairedTensors, Statistics, load_splits
from crdkit.engine import TrainConfig, digest, make_accelerator
from crdkit.ensemble import EnsembleConfig, EnsemblePipeline
from crdkit.models import DepthCNN, Normalized, create, save_weights
from crdkit.transfer import TeachersConfig, TransferConfig, make_network, networks

ONE = TrainConfig(epochs=1, batch_size=8, lr=0.01)
OWN = Statistics(mean={"rgb": (0.125, 0.25, 0.5)}, std={"rgb": (0.5, 0.25, 2.0)})
DATA = Statistics(
    mean={"rgb": (0.4, 0.3, 0.2), "gray": (0.3,), "sar": (0.1, 0.2, 0.3)},
    std={"rgb": (0.2, 0.2, 0.2), "gray": (0.1,), "sar": (1.0, 1.0, 1.0)},
)


@pytest.fixture(scope="module")
def digits() -> ImageSplits:
    images = load_splits(ImagesConfig("digits", classes=3), torch.device("cpu"))
    return replace(images, train=images.train.subset(range(16)), test=images.test.subset(range(8)))


@pytest.fixture(autouse=True)
def told_anew() -> None:
    networks._tell.cache_clear()


def figures(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    normalize: Any = network.normalize
    return tuple(normalize.mean.flatten().tolist()), tuple(normalize.std.flatten().tolist())


def own_file(path: Path, classes: int | None = 3, name: str = "resnet8") -> str:
    save_weights(Normalized(Normalize(OWN, "rgb"), create(name, num_classes=classes)), path)
    return str(path)


@pytest.mark.parametrize("kind", [CompressionPipeline, EnsemblePipeline])
def test_teachers_of_images(kind: Any, digits: ImageSplits, tmp_path: Path, capsys: Any) -> None:
    config: Any = CompressionConfig if kind is CompressionPipeline else partial(EnsembleConfig, teachers=(1,))
    file, bare = own_file(tmp_path / "own.safetensors"), tmp_path / "ckpt.pth"
    torch.save({"model": create("resnet8", num_classes=3).state_dict()}, bare)
    weights = (file, str(bare), "none", own_file(tmp_path / "also.safetensors"))
    teacher = TeachersConfig(architecture=("resnet8",), weights=weights, normalization=("own",))
    one = kind(
        config(student="resnet8", teacher=teacher, data=ImagesConfig("digits", classes=3), cpu=True),
        digits,
        make_accelerator(cpu=True),
        tmp_path / "run",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = [one.builder.teacher(number).network for number in (0, 0, 1, 2, 3)]
    measured = one.data.statistics.mean["rgb"]
    assert figures(built[0]) == figures(built[4]) == (OWN.mean["rgb"], OWN.std["rgb"])
    for network in built[2:4]:
        assert figures(network)[0] == pytest.approx(measured)
    lines = [line for line in capsys.readouterr().out.splitlines() if "normalized" in line]
    assert [weights[number] in line for number, line in zip((0, 3), lines, strict=True)] == [True, True]
    assert all("0.125, 0.25, 0.5" in line for line in lines)
    data = replace(one.config, teacher=replace(teacher, normalization=("data",)))
    other = kind(data, digits, make_accelerator(cpu=True), tmp_path / "data").builder.teacher(0).network
    assert figures(other)[0] == pytest.approx(measured)
    assert digest(other.state_dict()) != digest(built[0].state_dict())
    assert digest(other.network.state_dict()) == digest(built[0].network.state_dict())


@pytest.mark.parametrize("labels", [True, False])
def test_segmenting_teachers(labels: bool, tmp_path: Path) -> None:
    file = own_file(tmp_path / "own.safetensors", 5, "resnet18")
    teacher = SegmentersConfig(weights=(file,), labels=labels, classes=5, width=8, train=ONE)
    network = segmentation(tmp_path, teacher, (32, 32)).builder.teacher_network(0)
    assert figures(network) == (OWN.mean["rgb"], OWN.std["rgb"])


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_teachers_file_is_opened_once_each_time_it_is_built(
    suffix: str, digits: ImageSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, segmenter = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for file, classes, name in ((classifier, 3, "resnet8"), (segmenter, 5, "resnet18")):
        own_file(file.with_suffix(".safetensors"), classes, name)
        if suffix == "pth":
            torch.save(load_file(file.with_suffix(".safetensors")), file)
    opened: list[str] = []

    def counting(read: Any) -> Any:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            opened.append(Path(path).name)
            return read(path, *args, **kwargs)

        return call

    for module in ("checkpoints", "description"):  # every place that opens a file of weights
        reader = f"crdkit.models.{module}.safe_open"
        monkeypatch.setattr(reader, counting(safe_open))
    monkeypatch.setattr(torch, "load", counting(torch.load))
    network = make_network("resnet8", "rgb", DATA, num_classes=3, weights=str(classifier))
    assert figures(network) == (OWN.mean["rgb"], OWN.std["rgb"]) and opened == [classifier.name]
    config = CompressionConfig(
        student="resnet8",
        teacher=TeachersConfig(architecture=("resnet8",), weights=(str(classifier),)),
        data=ImagesConfig("digits", classes=3),
        cpu=True,
    )
    one = CompressionPipeline(config, digits, make_accelerator(cpu=True), tmp_path / "run")
    teacher = SegmentersConfig(weights=(str(segmenter),), labels=False, classes=5, train=ONE)
    other = segmentation(tmp_path, teacher, (32, 32))
    for pipeline, file in ((one, classifier), (other, segmenter), (one, classifier)):
        opened.clear()
        built = pipeline.builder.teacher(0).network
        assert opened == [file.name] and figures(built) == (OWN.mean["rgb"], OWN.std["rgb"])


def segmentation(
    folder: Path, teacher: SegmentersConfig, size: tuple[int, int], **changes: Any
) -> SegmentationPipeline:
    generator = torch.Generator().manual_seed(0)
    pairs = PairedTensors(
        rgb=torch.randint(0, 256, (8, 3, *size), dtype=torch.uint8, generator=generator),
        depth=torch.rand(8, 1, *size, generator=generator) + 1,
        label=torch.randint(0, 3, (8, *size), dtype=torch.uint8, generator=generator),
    )
    config = SegmentationConfig(
        data=DataConfig(size=size), teacher=teacher, transfer=TransferConfig(train=ONE), cpu=True, **changes
    )
    samples = Samples(pairs, pairs.subset(range(4)), 3, tuple("abc"))
    return SegmentationPipeline(
        config,
        samples,
        make_accelerator(cpu=True),
        folder,
        student=lambda: DepthCNN(1, widths=(4, 8, 8), strides=(2, 2, 2)),
    )


def test_libraries_say_theirs_of_rgb_alone(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("timm")
    file = str(tmp_path / "w.safetensors")
    save_weights(create("timm/tf_efficientnet_lite0", num_classes=2), file)
    name = "timm/tf_efficientnet_lite0"
    own = make_network(name, "rgb", DATA, num_classes=2, weights=file)
    assert figures(own) == ((0.5,) * 3, (0.5,) * 3)
    for modality in ("gray", "sar"):
        other = make_network(name, modality, DATA, num_classes=2, weights=file)
        assert figures(other)[0] == pytest.approx(DATA.mean[modality])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "pretrained_cfg" in lines[0] and "of the data" in lines[1]
    for normalization, mean in (("imagenet", 0.485), ("data", 0.4), ("none", 0.0), ("0.1,0,0/1,1,1", 0.1)):
        chosen = make_network(name, "rgb", DATA, num_classes=2, weights=file, normalization=normalization)
        assert figures(chosen)[0][0] == pytest.approx(mean)


def test_an_unknown_source_warns_and_no_weights_say_nothing(tmp_path: Path, capsys: Any) -> None:
    save_weights(create("squeezenet1_1", num_classes=2), tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match=r"w\.safetensors"):
        network = make_network(
            "squeezenet1_1", "rgb", DATA, num_classes=2, weights=str(tmp_path / "w.safetensors")
        )
    assert figures(network)[0] == pytest.approx(DATA.mean["rgb"])
    torch.manual_seed(0)
    drawn = make_network("resnet8", "rgb", DATA, num_classes=2)
    torch.manual_seed(0)
    data = make_network("resnet8", "rgb", DATA, num_classes=2, normalization="data")
    assert digest(drawn.state_dict()) == digest(data.state_dict())
    assert capsys.readouterr().out == ""


def test_layers_are_read_from_the_configuration(tmp_path: Path) -> None:
    config = TeachersConfig(layers=("all", "2,-1", "blocks.8,norm"))
    assert len(config) == 3
    assert [spec.layers for spec in config.specs] == [None, (2, -1), ("blocks.8", "norm")]
    with pytest.raises(ValueError, match="layers"):
        TeachersConfig(layers=())


def test_a_vision_transformer_teaches_by_its_patches(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    name, file = "timm/vit_small_patch14_dinov2", tmp_path / "dino.safetensors"
    save_weights(create(name), file)
    teacher = SegmentersConfig(
        architecture=(name,), weights=(str(file),), labels=False, layers=("5,norm",), train=ONE
    )
    one = segmentation(tmp_path, teacher, (56, 84), method=("fitnet",), setting=("fitnet.hint=-1",))
    one.check()
    (built,) = one.teachers
    assert figures(built.network)[0] == pytest.approx((0.485, 0.456, 0.406))
    with torch.no_grad():
        outputs = built.network(torch.rand(1, 3, 56, 84))
    assert [tuple(m.shape) for m in outputs.maps] == [(1, 384, 4, 6)] * 2 and outputs.logits is None
    before = digest(built.network.state_dict())
    transferred = one.transfer("fitnet", 0)
    assert len(transferred.history) == 1 and digest(built.network.state_dict()) == before
    other = replace(teacher, layers=("4,norm",))
    again = segmentation(tmp_path, other, (56, 84), method=("fitnet",), setting=("fitnet.hint=-1",))
    assert digest(again.teachers[0].network.state_dict()) != before
