"""Fixed views and the teachers' answers to them, made once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from crdkit.data import DataError, ImagesConfig, ImageSplits, load_splits
from crdkit.distillers import build_terms
from crdkit.engine import TransferTask, make_accelerator, make_classifier, make_pair, seeded
from crdkit.ensemble import FixedViews, Teachers, ViewStore, methods_of_many

CONFIG = ImagesConfig("digits", classes=3)


@pytest.fixture(scope="module")
def images() -> ImageSplits:
    return load_splits(CONFIG, torch.device("cpu"))


@pytest.fixture(scope="module")
def teachers(images: ImageSplits) -> list[nn.Module]:
    with seeded(0):
        return [make_classifier(name, images).eval() for name in ("resnet8", "wrn_16_1")]


def store(images: ImageSplits, folder: Path, number: int = 3) -> ViewStore:
    return ViewStore(folder, images, number, facts={"data": 1}, accelerator=make_accelerator(cpu=True))


def test_views_are_of_the_augmentation_and_the_same_every_time(images: ImageSplits, tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = store(images, tmp_path / "a").views()
    assert torch.equal(torch.get_rng_state(), state)  # nothing of the caller's generator is used
    count = len(images.train)
    assert first.shape == (3, count, 3, 32, 32) and first.dtype == "uint8"
    torch.manual_seed(6)
    assert (store(images, tmp_path / "b").views() == first).all()
    plain = (images.train.__getitems__([0, 1])["rgb"] * 255).round().byte().numpy()
    assert (first[0, :2] != plain).any() and (first[0] != first[1]).any()
    # Pixels are only moved: each view has the values of its image, but for what left the frame.
    assert set(first[1, 0].ravel()) <= set(plain[0].ravel()) | {0}


def test_answers_are_what_the_network_says(
    images: ImageSplits, teachers: list[nn.Module], tmp_path: Path
) -> None:
    found = store(images, tmp_path).answers(teachers[1])
    views = torch.tensor(store(images, tmp_path).views()[2, 10:14]).float() / 255
    outputs = teachers[1](views)
    for name, tensor in (("logits", outputs.logits), ("embedding", outputs.embedding)):
        torch.testing.assert_close(torch.tensor(found[name][2, 10:14]), tensor, atol=1e-5, rtol=1e-4)


def test_files_are_made_once_and_known_by_what_they_are_of(
    images: ImageSplits, teachers: list[nn.Module], tmp_path: Path
) -> None:
    for teacher in teachers:
        store(images, tmp_path).answers(teacher)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(stamps) == 3
    store(images, tmp_path).answers(teachers[0])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    store(images, tmp_path, number=2).answers(teachers[0])
    assert len(list(tmp_path.iterdir())) == 5
    for path in stamps:
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="cut short"):
        store(images, tmp_path).views()


@pytest.mark.parametrize("method", ["kd-mean", "kd-weighted", "crd+kd", "rkd"])
def test_first_step_has_the_loss_of_live_teachers(
    method: str, images: ImageSplits, teachers: list[nn.Module], tmp_path: Path
) -> None:
    kept = store(images, tmp_path)
    losses = []
    for views in (
        FixedViews(kept.views(), [kept.answers(teacher) for teacher in teachers]),
        FixedViews(kept.views(), (), Teachers(teachers)),
    ):
        with seeded(1):
            student = make_classifier("resnet8", images)
            pairs = [make_pair(student, teacher, images) for teacher in teachers]
            settings = {"crd": {"num_negatives": 32}}
            terms = build_terms(method, pairs, settings, methods=methods_of_many())
            task = TransferTask(student, terms, views, task_weight=1.0)
            found, _ = task.terms(task.module, images.train.__getitems__(list(range(20, 36))))
        losses.append({name: value.detach() for name, value in found.items()})
    assert losses[0].keys() == losses[1].keys() > {"task"}
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=1e-5, atol=1e-6)


def test_images_that_are_augmented_as_they_are_read_have_no_fixed_views(
    images: ImageSplits, tmp_path: Path
) -> None:
    class Folder:
        """Neither in memory nor plain."""

    with pytest.raises(ValueError, match="leave --views at 0"):
        store(replace(images, train=Folder()), tmp_path)


def test_every_view_is_served(images: ImageSplits, tmp_path: Path) -> None:
    kept = store(images, tmp_path)
    views = FixedViews(kept.views())
    batch = images.train.__getitems__([4] * 60)
    served, targets = views(batch)
    assert targets is None
    for number in range(3):
        one = torch.tensor(kept.views()[number, 4]).float() / 255
        assert (served == one).flatten(1).all(1).any()
