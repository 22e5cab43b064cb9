"""Augmentations that are drawn once, and what the teachers say of them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crdkit.common import ManifestError, OutputError
from crdkit.data import (
    AugmentConfig,
    ImageAugment,
    ImageAugmentConfig,
    MappedArray,
    PairedAugment,
    PairedTensors,
    Statistics,
)
from crdkit.distillers import build_terms, parse_method
from crdkit.engine import derive_seed, make_accelerator, seeded
from crdkit.transfer import (
    Cache,
    CachedAugmentations,
    Inputs,
    Teacher,
    TeacherTargets,
    TransferData,
    TransferTask,
    cached_targets,
    make_spec,
)

FLAT = Statistics(mean={"rgb": (0.0,) * 3, "depth": (0.0,)}, std={"rgb": (1.0,) * 3, "depth": (1.0,)})
READS = frozenset({"logits", "embedding", "maps.2"})


def images(count: int = 40) -> TransferData:
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    dataset = PairedTensors(rgb=rgb, label=torch.arange(count) % 4)
    config = ImageAugmentConfig(crop="padded", padding=2, jitter=0.0, grayscale=0.0)
    return TransferData(dataset, ImageAugment(config), "rgb", FLAT, (8, 8), labels=dataset.labels)


def pairs(count: int = 20) -> TransferData:
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    depth = torch.rand(count, 1, 8, 8, generator=generator) + 1
    augment = PairedAugment(AugmentConfig().without_depth_noise())
    return TransferData(PairedTensors(rgb=rgb, depth=depth), augment, "depth", FLAT, (8, 8))


def cache(data: TransferData, folder: Path, number: int = 3, **more: Any) -> Cache:
    settings = {"limit": 2.0**30, "fingerprint": {"data": 1}, "accelerator": make_accelerator(cpu=True)}
    return Cache(data, number, folder=folder, **settings | more)


def test_pixels_are_of_the_augmentation_and_the_same_every_time(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = cache(images(), tmp_path).dataset([], []).store["images"]
    assert torch.equal(torch.get_rng_state(), state)  # nothing of the caller's generator is used
    assert first.shape == (3, 40, 3, 8, 8) and first.dtype == torch.uint8
    torch.manual_seed(6)
    assert torch.equal(cache(images(), tmp_path).dataset([], []).store["images"], first)
    other = cache(images(), tmp_path, seed=1).dataset([], []).store["images"]
    assert not torch.equal(other, first) and not torch.equal(first[0], first[1])
    # Pixels are only moved: each augmentation has the values of its image, but for what left the frame.
    plain = images().dataset.tensors["rgb"]
    assert set(first[1, 0].ravel().tolist()) <= set(plain[0].ravel().tolist()) | {0}


@pytest.mark.parametrize("place", ["device", "disk"])
def test_outputs_are_what_the_teacher_says(networks: list[nn.Module], tmp_path: Path, place: str) -> None:
    store = cache(images(), tmp_path, place=place).dataset([Teacher(networks[1])], [READS]).store
    pixels = torch.tensor(np.asarray(store["images"])[2, 10:14]).float() / 255
    outputs = networks[1](pixels)
    expected = {"logits": outputs.logits, "embedding": outputs.embedding, "maps.2": outputs.maps[2]}
    for name, tensor in expected.items():
        kept = torch.tensor(np.asarray(store[f"teacher.0.{name}"])[2, 10:14])
        torch.testing.assert_close(kept, tensor, atol=1e-5, rtol=1e-4)
    assert "teacher.0.maps.1" not in store


def test_teachers_see_the_pixels_of_their_modality_that_belong_to_the_students(
    networks: list[nn.Module], tmp_path: Path
) -> None:
    data = pairs()
    made = cache(data, tmp_path, dtype="float16").dataset([Teacher(networks[0])], [frozenset({"embedding"})])
    with seeded(0):
        torch.manual_seed(derive_seed("augmentation", 0, 0))
        batch = data.augment(data.dataset.__getitems__(range(20)))
    assert torch.equal(made.store["images"][0], batch["depth"])
    kept = made.store["teacher.0.embedding"][0]
    assert kept.dtype == torch.float16
    torch.testing.assert_close(kept.float(), networks[0](batch["rgb"]).embedding, rtol=2e-3, atol=2e-3)


def test_folders_are_made_once_and_known_by_what_they_are_of(
    networks: list[nn.Module], tmp_path: Path
) -> None:
    teachers = [Teacher(network) for network in networks[:2]]
    on_disk = {"place": "disk"}
    cache(images(), tmp_path, **on_disk).dataset(teachers, [READS, READS])
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(list(tmp_path.iterdir())) == 3
    again = cache(images(), tmp_path, **on_disk).dataset(teachers, [READS, READS])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == stamps
    assert isinstance(again.store["images"], MappedArray)
    cache(images(), tmp_path, number=2, **on_disk).dataset(teachers[:1], [READS])
    assert len(list(tmp_path.iterdir())) == 5
    path = next(path for path in stamps if path.stem == "images")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=r"images\.npy"):
        cache(images(), tmp_path, **on_disk).dataset([], [])


def test_two_runs_may_make_the_same_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is done while the first is writing; what is there then stays, and serves both."""
    made, others = cache(images(), tmp_path, place="disk"), list[Any]()
    batches = made._batches

    def slow() -> Any:
        yield from batches()
        others.append(cache(images(), tmp_path, place="disk").dataset([], []).store["images"])

    monkeypatch.setattr(made, "_batches", slow)
    store = made.dataset([], []).store
    assert len(others) == 1 and store["images"].path == others[0].path
    assert np.array_equal(store["images"][:], others[0][:])
    assert [path.name[:7] for path in tmp_path.iterdir()] == ["pixels-"]  # nothing half-made is left


def test_methods_that_read_vectors_share_one_pass_of_the_teacher(
    networks: list[nn.Module], tmp_path: Path
) -> None:
    teacher, seen = Teacher(networks[0]), 0

    def count(module: nn.Module, given: Any, outputs: Any) -> None:
        nonlocal seen
        seen += len(given[0])

    teacher.network.register_forward_hook(count)
    state = torch.get_rng_state()
    made = cache(images(), tmp_path)
    for reads in ({"logits"}, {"embedding"}, {"logits", "embedding"}):
        served = made.dataset([teacher], [frozenset(reads)])
        assert {name for name in served.store if "teacher" in name} == {f"teacher.0.{n}" for n in reads}
    assert seen == 3 * 40 + 2  # and two samples to see which parts are vectors
    assert torch.equal(torch.get_rng_state(), state)
    made.dataset([teacher], [frozenset({"maps.2"})])  # a map may be too large for memory: it lies for itself
    assert seen == 2 * 3 * 40 + 2


@pytest.mark.parametrize(
    "method", ["kd-mean", "kd-weighted", "ca-mkd", "aekd+aekd-hint", "angle", "crd+kd", "rkd", "fitnet"]
)
def test_first_step_has_the_loss_of_live_teachers(
    method: str, networks: list[nn.Module], tmp_path: Path
) -> None:
    data, teachers = images(), [Teacher(networks[0]), Teacher(networks[2])]
    student = networks[1]
    losses = []
    for live in (False, True):
        with seeded(1):
            specs = [make_spec(student, teacher, data) for teacher in teachers]
            terms = build_terms(parse_method(method, {"crd": {"num_negatives": 8}}), specs)
            reads = [
                frozenset().union(*(term.projector.reads[n] for term in terms.values())) for n in range(2)
            ]
            made = cache(data, tmp_path).dataset(teachers, reads)
            batch = made.__getitems__(list(range(20, 36)))
            targets = TeacherTargets(teachers) if live else cached_targets
            task = TransferTask(student, terms, Inputs(targets), task_weight=1.0)
            found, _ = task.terms(task.module, batch)
        losses.append({name: value.detach() for name, value in found.items()})
    assert losses[0].keys() == losses[1].keys() > {"task"}
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("place", ["device", "disk"])
def test_every_augmentation_is_served_with_the_label(tmp_path: Path, place: str) -> None:
    made = cache(images(), tmp_path, place=place).dataset([], [])
    batch = made.__getitems__([6] * 60)
    assert batch["index"].tolist() == [6] * 60 and batch["label"].tolist() == [2] * 60
    pixels = torch.tensor(np.asarray(made.store["images"])[:, 6]).float() / 255
    for number in range(3):
        assert (batch["rgb"] == pixels[number]).flatten(1).all(1).any()
    assert len(made) == 40 and made[3]["rgb"].shape == (3, 8, 8)


def test_a_mapped_cache_is_sent_to_workers_by_its_path(networks: list[nn.Module], tmp_path: Path) -> None:
    made = cache(images(), tmp_path, place="disk").dataset([Teacher(networks[0])], [READS])
    sent = pickle.dumps(made)
    assert len(sent) < 5000 < made.store["images"].nbytes
    other: CachedAugmentations = pickle.loads(sent)
    torch.manual_seed(0)
    first = made.__getitems__([1, 2])
    torch.manual_seed(0)
    second = other.__getitems__([1, 2])
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_size_is_told_and_bounded_before_it_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3 * 40 * 3 * 8 * 8 + 40 * 8
    with pytest.raises(OutputError, match="cache-limit"):
        cache(images(), tmp_path, place="device", limit=size - 1).dataset([], [])
    on_disk = cache(images(), tmp_path, limit=size - 1).dataset([], [])
    assert isinstance(on_disk.store["images"], MappedArray)
    assert isinstance(
        cache(images(), tmp_path / "b", limit=size).dataset([], []).store["images"], torch.Tensor
    )
    assert str(tmp_path) in capsys.readouterr().out
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": size - 1}))
    with pytest.raises(OutputError, match="MiB"):
        cache(images(), tmp_path / "c", place="disk").dataset([], [])
    assert not (tmp_path / "c").exists()
