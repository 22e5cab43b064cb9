"""What one part must not have, or must have, beside another: the same frames, the same classes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from crdkit.data import IGNORE, DataError, Encoding, PairedTensors
from crdkit.recordings import FolderPairs, check_label_parts, near_duplicates
from crdkit.recordings.duplicates import difference_hash


def scenes(count: int, seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Smooth random pictures (N, H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 200, (count, 6, 8, 3)).astype("u1")
    return np.stack([cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC) for image in coarse])


def memory(images: np.ndarray) -> PairedTensors:
    return PairedTensors(rgb=torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))


def test_a_hash_is_the_signs_of_differences() -> None:
    gray = np.random.default_rng(0).random((8, 9)).astype("f4")
    expected = 0
    for row in range(8):
        for column in range(8):
            expected = expected * 2 + int(gray[row, column] < gray[row, column + 1])
    assert difference_hash(gray) == expected
    assert difference_hash(np.zeros((20, 30), "f4")) == 0


def test_near_duplicates_are_found_whatever_their_size_and_brightness() -> None:
    train, test = scenes(300, 0), scenes(200, 1)
    noise = np.random.default_rng(2).normal(0, 2, train[0].shape)
    test[7] = train[250]
    test[11] = (train[3] * 0.8 + 20 + noise).clip(0, 255)
    test[199] = cv2.imdecode(cv2.imencode(".jpg", train[299])[1], cv2.IMREAD_COLOR)
    assert near_duplicates(memory(train), memory(test)) == [(3, 11), (250, 7), (299, 199)]
    smaller = np.stack([cv2.resize(image, (40, 30), interpolation=cv2.INTER_AREA) for image in train[:5]])
    assert near_duplicates(memory(train), memory(smaller)) == [(i, i) for i in range(5)]


def test_pictures_without_structure_are_no_duplicates() -> None:
    black = np.zeros((3, 8, 12, 3), "u1")
    assert near_duplicates(memory(black), memory(black)) == []


def test_only_the_compared_modality_is_read(tmp_path: Path, write) -> None:
    for row, image in enumerate(scenes(3, 0)):
        write(f"rgb/{row}.png", image)
        write(f"depth/{row}.png", np.zeros((4, 4), "u1"))  # which cannot be read
    dataset = FolderPairs(tmp_path, {"rgb": "rgb", "depth": "depth"})
    assert near_duplicates(dataset, dataset) == [(0, 0), (1, 1), (2, 2)]


def maps(*labels: int) -> PairedTensors:
    return PairedTensors(label=torch.tensor(labels, dtype=torch.uint8).reshape(1, 1, -1))


def test_a_class_that_nobody_sees_is_named() -> None:
    assert check_label_parts({"train": maps(0, 1, 2, IGNORE), "test": maps(0)}, 3) == []
    unseen, judged = check_label_parts(
        {"train": maps(0, 0, 3), "test": maps(1, 3)}, 4, ("sky", "car", "cat", "road")
    )
    assert all(word in unseen for word in ("train", "car", "cat")) and "road" not in unseen
    assert "car" in judged and "test" in judged and "cat" not in judged
    assert len(check_label_parts({"train": maps(0, 2)}, 3)) == 1


def test_masks_of_two_values_are_explained(tmp_path: Path, write) -> None:
    mask = np.zeros((4, 6), "u1")
    mask[:, 3:] = 255
    write("label/0.png", mask)
    plain = FolderPairs(tmp_path, {"label": "label"}, num_classes=2)
    with pytest.raises(DataError, match=r"label\.values=0,255") as told:
        check_label_parts({"train": plain, "test": plain}, 2)
    assert "50%" in str(told.value)
    named = FolderPairs(tmp_path, {"label": "label"}, encodings={"label": Encoding(values=(0, 255))})
    assert check_label_parts({"train": named, "test": named}, 2) == []
    with pytest.raises(DataError, match="train"):
        check_label_parts({"train": maps(IGNORE), "test": maps(1)}, 2)
