"""Each modality at its own size, aspects compared, and the ways to settle two fields of view."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from crdkit.data import IGNORE, AugmentConfig, DataError, Encoding, PairedAugment, PairedTensors, Statistics
from crdkit.recordings import FolderPairs

ALL = {"rgb": "rgb", "depth": "depth", "label": "label"}


def three(write, depth: tuple[int, int], label: tuple[int, int], rgb: tuple[int, int] = (121, 162)) -> None:
    write("rgb/a.png", np.zeros((*rgb, 3), "u1"))
    write("depth/a.png", np.full(depth, 1500, "u2"))
    write("label/a.png", np.zeros(label, "u1"))


@pytest.mark.parametrize(
    ("depth", "label", "named"),
    [
        ((60, 80), (121, 162), None),
        ((480, 640), (60, 80), None),
        ((162, 121), (121, 162), "depth/a.png"),
        ((121, 162), (162, 121), "label/a.png"),
        ((90, 162), (121, 162), "depth/a.png"),
        ((117, 162), (121, 162), "depth/a.png"),  # 3.4 %
        ((119, 162), (121, 162), None),  # 1.7 %
    ],
)
def test_aspects_may_differ_by_two_percent(tmp_path: Path, write, depth, label, named: str | None) -> None:
    three(write, depth, label)
    dataset = FolderPairs(tmp_path, ALL, depth_scale=0.001, size=(48, 64))
    if named is None:
        assert {dataset[0][name].shape[-2:] for name in ALL} == {(48, 64)}
        return
    with pytest.raises(DataError) as refused:
        dataset[0]
    for told in (named, "rgb/a.png", "121×162", ".fit"):
        assert told in str(refused.value)


def test_a_size_for_each_modality(tmp_path: Path, write) -> None:
    three(write, (60, 80), (121, 162))
    sizes = {"rgb": (24, 32), "depth": (6, 8), "label": (12, 16)}
    dataset = FolderPairs(tmp_path, ALL, depth_scale=0.001, size=sizes)
    memory = PairedTensors.from_dataset(dataset)
    assert {name: tuple(x.shape[-2:]) for name, x in memory.tensors.items()} == sizes
    assert Statistics.measure(memory).mean["depth"] == pytest.approx((1.5,))
    for wrong in ({"rgb": (24, 32)}, {**sizes, "thermal": (2, 2)}):
        with pytest.raises(ValueError):
            FolderPairs(tmp_path, ALL, depth_scale=0.001, size=wrong)
    with pytest.raises(ValueError):
        FolderPairs(tmp_path, ALL, depth_scale=0.001, size={**sizes, "depth": (0, 8)})


@pytest.mark.parametrize("shape", [(40, 160), (120, 80)])  # wider and narrower than 3:4
def test_crop_pad_and_stretch(tmp_path: Path, write, shape: tuple[int, int]) -> None:
    height, width = shape
    write("rgb/a.png", np.zeros((60, 80, 3), "u1"))
    y, x = np.indices(shape)
    stored = 1000 + 10.0 * y + x
    label = np.full(shape, 3, "u1")

    def read(fit: str, size: tuple[int, int] = (60, 80)) -> dict[str, torch.Tensor]:
        for name, picture in (("depth", stored.astype("u2")), ("thermal", stored), ("label", label)):
            write(f"{name}/a.npy", picture)
        encodings = {name: Encoding(fit=fit) for name in ("thermal", "label")}
        encodings["depth"] = Encoding("scale", scale=1e-3, fit=fit)
        modalities = {name: name for name in ("rgb", "thermal", "depth", "label")}
        return FolderPairs(tmp_path, modalities, size=size, encodings=encodings)[0]

    # Cropped to its own pixels: nothing is resized.
    kept = (40, 53) if width > height else (60, 80)
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    got = read("crop", kept)
    inner = stored[top : top + kept[0], left : left + kept[1]]
    np.testing.assert_allclose(got["thermal"][0], inner)
    np.testing.assert_allclose(got["depth"][0], inner / 1000, rtol=1e-6)
    whole = (120, 160)
    top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
    got = read("pad", whole)
    inside = np.zeros(whole, bool)
    inside[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(got["thermal"][0].isnan(), ~inside)
    np.testing.assert_array_equal(got["depth"][0] == 0, ~inside)
    np.testing.assert_array_equal(got["label"] == IGNORE, ~inside)
    np.testing.assert_allclose(got["thermal"][0].numpy()[inside].reshape(shape), stored)
    assert np.array_equal(read("stretch", shape)["thermal"][0], stored.astype("f4"))


@pytest.mark.parametrize("ending", [".txt", ".csv", ".npy", ".json"])
def test_a_homography_moves_pixels_onto_the_first_modality(tmp_path: Path, write, ending: str) -> None:
    """Twice as large, turned by a quarter and shifted: pixel (x, y) lies at (41 − 2 y, 2 x + 3)."""
    matrix = np.array([[0.0, -2, 41], [2, 0, 3], [0, 0, 1]]) * 5
    path = tmp_path / f"h{ending}"
    if ending == ".npy":
        np.save(path, matrix)
    elif ending == ".json":
        path.write_text(json.dumps(matrix.tolist()))
    else:
        np.savetxt(path, matrix, delimiter="," if ending == ".csv" else " ")
    y, x = np.indices((16, 20))
    numbers = 100 + 20 * y + x
    write("rgb/a.png", np.zeros((50, 50, 3), "u1"))
    for name, picture in (
        ("thermal", numbers.astype("f4")),
        ("depth", numbers / 100),
        ("label", (numbers % 7).astype("u1")),
        ("ir", (numbers // 2).astype("u1")),
    ):
        write(f"{name}/a.npy", picture)
    names = ("rgb", "thermal", "depth", "label", "ir")
    encodings = {name: Encoding(homography=path) for name in names[1:]}
    got = FolderPairs(tmp_path, {name: name for name in names}, encodings=encodings)[0]
    for row, column in ((0, 0), (3, 5), (15, 19), (7, 12)):
        place = (2 * column + 3, 41 - 2 * row)
        assert got["thermal"][0][place] == numbers[row, column]
        assert got["depth"][0][place] == pytest.approx(numbers[row, column] / 100)
        assert got["label"][place] == numbers[row, column] % 7
        assert got["ir"][0][place] == pytest.approx((numbers[row, column] // 2) / 255, abs=1e-6)
    assert got["thermal"][0, 0, 0].isnan() and got["depth"][0, 0, 0] == 0 and got["label"][0, 0] == IGNORE
    assert got["ir"][0, 0, 0] == 0 and got["ir"].shape == (1, 50, 50)
    alone = FolderPairs(tmp_path, {name: name for name in names}, encodings=encodings).select("depth")[0]
    assert set(alone) == {"index", "depth"} and torch.equal(alone["depth"], got["depth"])


def test_what_is_no_homography(tmp_path: Path, write) -> None:
    write("rgb/a.png", np.zeros((4, 4, 3), "u1"))
    for name, text in (
        ("two.txt", "1 0\n0 1\n"),
        ("flat.txt", "1 0 0\n1 0 0\n0 0 1\n"),
        ("word.json", "hello"),
    ):
        (tmp_path / name).write_text(text)
    for name in ("two.txt", "flat.txt", "word.json", "nowhere.npy"):
        with pytest.raises(DataError, match=name):
            FolderPairs(
                tmp_path, {"rgb": "rgb", "ir": "rgb"}, encodings={"ir": Encoding(homography=tmp_path / name)}
            )
    with pytest.raises(ValueError, match="rgb"):
        FolderPairs(tmp_path, {"rgb": "rgb"}, encodings={"rgb": Encoding(fit="crop")})


def test_without_size_nothing_is_stretched(tmp_path: Path, write) -> None:
    three(write, (60, 80), (121, 162))
    with pytest.raises(DataError, match="size"):
        FolderPairs(tmp_path, ALL, depth_scale=0.001)[0]


def test_one_geometry_at_every_size() -> None:
    """Each modality carries where it is, in relative coordinates; after the crop all tell the same place."""

    def ramps(height: int, width: int) -> torch.Tensor:
        y = (torch.arange(height) * 2 + 1) / height - 1
        x = (torch.arange(width) * 2 + 1) / width - 1
        return torch.stack(torch.broadcast_tensors(x, y[:, None])).expand(8, 2, height, width).clone()

    config = AugmentConfig.none()
    config = type(config)(**{**vars(config), "crop_scale": (0.3, 0.6), "flip": 0.5})
    batch = {
        "ab": ramps(64, 64),
        "thermal": ramps(32, 48),
        "label": torch.arange(16 * 24).reshape(1, 16, 24).expand(8, 16, 24).clone(),
    }
    torch.manual_seed(0)
    result = PairedAugment(config)(batch)
    assert {name: x.shape for name, x in result.items()} == {name: x.shape for name, x in batch.items()}
    means = {name: result[name].mean((-1, -2)) for name in ("ab", "thermal")}
    torch.testing.assert_close(means["ab"], means["thermal"], rtol=0, atol=0.02)
    columns = (result["label"] % 24 * 2 + 1) / 24 - 1
    rows = (result["label"] // 24 * 2 + 1) / 16 - 1
    from_label = torch.stack([columns.mean((-1, -2)), rows.mean((-1, -2))], dim=1)
    torch.testing.assert_close(means["ab"], from_label, rtol=0, atol=0.05)
    assert means["ab"].abs().max() > 0.05, "the crops are not all centered"


def test_one_size_draws_and_moves_as_ever() -> None:
    """A second size changes no bit of the modalities of the first."""
    generator = torch.Generator().manual_seed(0)
    batch = {"rgb": torch.rand(4, 3, 12, 16, generator=generator), "depth": torch.rand(4, 1, 12, 16) + 1}
    more = batch | {"thermal": torch.rand(4, 1, 6, 8, generator=generator)}
    outcomes = []
    for given in (batch, more):
        torch.manual_seed(5)
        outcomes.append(PairedAugment()(given))
    assert all(torch.equal(outcomes[0][name], outcomes[1][name]) for name in batch)
