"""How stored numbers become values: every unit against its definition, holes, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crdkit.data import DataError, Encoding, parse_encodings
from crdkit.recordings import FolderPairs

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(300, 9000, (6, 8)).astype("u2")
COUNTS[0, :2] = 0, 65535


def read(root: Path, name: str, *settings: str, **more: object) -> np.ndarray:
    """Sample 0 of one modality, whose files are in a folder of its name."""
    dataset = FolderPairs(root, {name: name}, encodings=parse_encodings(settings), **more)
    return dataset[0][name].squeeze(0).numpy()


def test_the_grammar_of_settings() -> None:
    parsed = parse_encodings(
        [
            "depth.unit=mm",
            "thermal.unit=raw",
            "thermal.channel=3",
            "label.values=0,255",
            "depth.clip=0.5,8",
            "thermal.invalid=-1, 4095",
            "event.scale=0.5",
            "thermal.fit=crop",
            "ir.homography=a=b.txt",
        ]
    )
    assert parsed == {
        "depth": Encoding("mm", clip=(0.5, 8.0)),
        "thermal": Encoding("raw", channel=3, invalid=(-1.0, 4095.0), fit="crop"),
        "label": Encoding(values=(0, 255)),
        "event": Encoding("scale", scale=0.5),
        "ir": Encoding(homography=Path("a=b.txt")),
    }
    assert parse_encodings([]) == {}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["depth=mm"], "NAME.KEY"),
        (["depth.unit"], "NAME.KEY"),
        (["depth.units=mm"], "unit"),
        (["depth.unit=mmm"], "mm"),
        (["depth.unit=scale"], "scale"),
        (["depth.unit=mm", "depth.scale=2"], "scale"),
        (["depth.scale=0"], "scale"),
        (["depth.scale=nan"], "scale"),
        (["depth.unit=disparity"], "focal_baseline"),
        (["depth.unit=m", "depth.focal_baseline=40"], "focal_baseline"),
        (["depth.unit=m", "depth.unit=mm"], "twice"),
        (["depth.channel=-1"], "channel"),
        (["depth.channel=red"], "red"),
        (["depth.clip=8"], "clip"),
        (["depth.clip=8,1"], "clip"),
        (["depth.transform=sqrt"], "log"),
        (["depth.fit=squeeze"], "crop"),
        (["label.values=0,0"], "values"),
        (["depth.fit=crop", "depth.homography=h.txt"], "homography"),
    ],
)
def test_unknown_keys_and_values_are_refused_with_the_nearest(settings: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_encodings(settings)


@pytest.mark.parametrize(
    "settings",
    [
        "dept.unit=mm",
        "label.unit=mm",
        "depth.values=0,1",
        "depth.unit=raw",
        "depth.unit=color",
        "rgb.unit=raw",
        "rgb.invalid=0",
    ],
)
def test_what_a_modality_cannot_have_is_refused(tmp_path: Path, settings: str) -> None:
    with pytest.raises(ValueError):
        FolderPairs(
            tmp_path, dict.fromkeys(("rgb", "depth", "label"), "."), encodings=parse_encodings([settings])
        )


def test_settings_need_no_torch() -> None:
    code = "import sys, crdkit.data as d; d.parse_encodings(['a.unit=m']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_distances_in_every_unit(tmp_path: Path, write) -> None:
    write("depth/a.png", COUNTS)
    number = np.where(np.isin(COUNTS, (0, 65535)), 0, COUNTS).astype("f8")
    for settings, expected in (
        (["depth.unit=mm"], number / 1000),
        (["depth.unit=kitti"], number / 256),
        (["depth.scale=0.0002"], number / 5000),
        (
            ["depth.unit=disparity", "depth.focal_baseline=380", "depth.scale=0.0625"],
            np.divide(380 * 16, number, out=np.zeros_like(number), where=number > 0),
        ),
    ):
        got = read(tmp_path, "depth", *settings)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert got.dtype == np.float32 and (got[0, :2] == 0).all(), "0 and 65535 are no readings"
    old = read(tmp_path, "depth", depth_scale=0.001)
    assert np.array_equal(old, read(tmp_path, "depth", "depth.unit=mm")), "bit for bit"
    assert np.array_equal(old[1:], (COUNTS[1:] * np.float32(0.001)).astype("f4"))
    kept = read(tmp_path, "depth", "depth.unit=mm", "depth.invalid=0")
    assert kept[0, 1] == pytest.approx(65.535), "a list of one's own takes the place of the default"


def test_sun_and_three_channels_of_eight_bits(tmp_path: Path, write) -> None:
    millimeters = COUNTS[1:].astype("u2")
    rotated = (millimeters << 3) | (millimeters >> 13)
    write("depth/a.png", rotated)
    np.testing.assert_allclose(read(tmp_path, "depth", "depth.unit=sun"), millimeters / 1000, rtol=1e-6)
    number = RNG.integers(1, 2**24, (6, 8))
    number[0, 0] = 0
    write("carla/depth/a.png", np.stack([number & 255, number >> 8 & 255, number >> 16], axis=2).astype("u1"))
    got = read(tmp_path / "carla", "depth", "depth.unit=packed24", "depth.scale=2e-6")
    np.testing.assert_allclose(got, number * 2e-6, rtol=1e-6)
    with pytest.raises(DataError, match="packed24"):
        read(tmp_path, "depth", "depth.unit=packed24", "depth.scale=2e-6")
    write("depth/a.png", np.full((6, 8), 9, "u1"))
    with pytest.raises(DataError, match="sun"):
        read(tmp_path, "depth", "depth.unit=sun")


@pytest.mark.parametrize("ending", [".npy", ".npz", ".tiff"])
@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "f4", "f8"])
def test_numbers_in_a_unit_of_their_own(tmp_path: Path, write, ending: str, kind: str) -> None:
    low = -100 if kind[0] in "if" else 0
    stored = np.linspace(low, 250, 48).reshape(6, 8).astype(kind)
    write(f"thermal/a{ending}", stored)
    got = read(tmp_path, "thermal", "thermal.unit=raw")
    assert got.dtype == np.float32 and np.array_equal(got, stored.astype("f4"))
    if kind[0] in "if":
        assert np.array_equal(read(tmp_path, "thermal"), got), "signed numbers and floats are no color"
    else:
        np.testing.assert_allclose(read(tmp_path, "thermal"), stored / np.iinfo(kind).max, rtol=1e-6)


def test_holes_of_own_units_are_nan(tmp_path: Path, write) -> None:
    stored = np.linspace(290, 310, 48).reshape(6, 8).astype("f4")
    stored[0, :3] = np.nan, np.inf, -9999
    write("thermal/a.npy", stored)
    got = read(tmp_path, "thermal", "thermal.invalid=-9999")
    assert np.isnan(got).nonzero()[1].tolist() == [0, 1, 2] and np.array_equal(got[1:], stored[1:])
    write("counts/a.png", COUNTS)
    got = read(tmp_path, "counts", "counts.unit=raw", "counts.invalid=65535")
    assert np.isnan(got[0, 1]) and np.isnan(got).sum() == 1 and got[0, 0] == 0
    metric = read(tmp_path, "counts", "counts.unit=mm")
    assert np.isnan(metric).sum() == 2, "distances: 0 and 65535"
    write("thermal/a.npy", np.full((6, 8), np.nan, "f4"))
    with pytest.raises(DataError, match=r"a\.npy"):
        read(tmp_path, "thermal")


def test_depth_in_floats_has_zero_for_nan(tmp_path: Path, write) -> None:
    stored = RNG.uniform(1, 5, (6, 8))
    stored[2, 3:5] = np.nan, np.inf
    write("depth/a.npy", stored)
    got = read(tmp_path, "depth")
    assert got[2, 3] == got[2, 4] == 0
    assert np.array_equal(np.delete(got, 2, 0), np.delete(stored, 2, 0).astype("f4"))


def test_clip_and_transforms(tmp_path: Path, write) -> None:
    write("depth/a.png", COUNTS)
    meters = np.where(np.isin(COUNTS, (0, 65535)), 0, COUNTS / 1000)
    hole = meters == 0
    clipped = np.where(hole, 0, meters.clip(1, 4))
    got = read(tmp_path, "depth", "depth.unit=mm", "depth.clip=1,4")
    np.testing.assert_allclose(got, clipped, rtol=1e-6)
    got = read(tmp_path, "depth", "depth.unit=mm", "depth.clip=1,4", "depth.transform=log")
    np.testing.assert_allclose(got, np.log(1 + clipped), rtol=1e-6)
    got = read(tmp_path, "depth", "depth.unit=mm", "depth.transform=inverse")
    np.testing.assert_allclose(got, np.where(hole, 0, 1 / np.where(hole, 1, meters)), rtol=1e-6)
    with pytest.raises(
        DataError, match="depth_scale"
    ):  # millimeters taken for meters, before they are clipped
        read(tmp_path, "depth", "depth.unit=m", "depth.clip=0,10")
    celsius = np.array([[-20.0, 0.0, 35.0, np.nan]], "f4")
    write("thermal/a.npy", celsius)
    with pytest.raises(DataError, match="-20"):
        read(tmp_path, "thermal", "thermal.transform=log")
    got = read(tmp_path, "thermal", "thermal.transform=log", "thermal.clip=-0.5,30")
    np.testing.assert_allclose(got, np.log([[0.5, 1, 31, np.nan]]), rtol=1e-6)
    got = read(tmp_path, "thermal", "thermal.transform=inverse")
    np.testing.assert_allclose(got, [[-0.05, np.nan, 1 / 35, np.nan]], rtol=1e-6)


def test_one_channel_of_a_file(tmp_path: Path, write) -> None:
    picture = RNG.integers(0, 256, (6, 8, 4), "u1")
    write("both/a.png", picture)
    encodings = parse_encodings(["thermal.channel=3", "green.channel=1"])
    dataset = FolderPairs(tmp_path, {"rgb": "both", "thermal": "both", "green": "both"}, encodings=encodings)
    sample = dataset[0]
    for name, channels in (
        ("rgb", picture[..., :3]),
        ("thermal", picture[..., 3:]),
        ("green", picture[..., 1:2]),
    ):
        expected = torch.from_numpy(channels.transpose(2, 0, 1).astype("f4")) / 255
        torch.testing.assert_close(sample[name], expected)
    write("both/a.png", picture[..., :3])
    with pytest.raises(DataError, match=r"a\.png.*3"):
        dataset[0]
    write("depth/a.png", picture[..., :3])
    with pytest.raises(DataError, match=r"depth\.channel"):
        read(tmp_path, "depth", "depth.unit=mm")


def test_gray_among_color_and_sixteen_bits(tmp_path: Path, write) -> None:
    color, gray = RNG.integers(0, 256, (6, 8, 3), "u1"), RNG.integers(0, 256, (6, 8), "u1")
    wide = RNG.integers(0, 65536, (6, 8, 3)).astype("u2")
    for name, picture in (("a", color), ("b", gray), ("c", wide)):
        write(f"rgb/{name}.png", picture)
    dataset = FolderPairs(tmp_path, {"rgb": "rgb"})
    for row, expected in enumerate((color / 255, np.repeat(gray[..., None], 3, 2) / 255, wide / 65535)):
        np.testing.assert_allclose(dataset[row]["rgb"].permute(1, 2, 0).numpy(), expected, rtol=1e-6)


def test_a_file_of_another_type_is_refused_by_name(tmp_path: Path, write) -> None:
    write("depth/a.png", COUNTS)
    write("depth/b.png", (COUNTS >> 8).astype("u1"))
    dataset = FolderPairs(
        tmp_path, {"depth": "depth"}, encodings=parse_encodings(["depth.unit=mm", "depth.stored=uint16"])
    )
    assert dataset[0]["depth"].max() > 1
    with pytest.raises(DataError, match=r"b\.png.*uint8.*uint16"):
        dataset[1]


def test_stored_values_of_labels_in_the_order_of_classes(tmp_path: Path, write) -> None:
    stored = np.array([[0, 255, 128, 7]], "u1")
    write("label/a.png", stored)
    dataset = FolderPairs(
        tmp_path, {"label": "label"}, encodings=parse_encodings(["label.values=255,0,128", "label.invalid=7"])
    )
    assert dataset[0]["label"].tolist() == [[1, 0, 2, 255]] and dataset.num_classes == 3
    assert read(tmp_path, "label", "label.values=0,128", "label.invalid=7").tolist() == [0, 255, 1, 255]
    with pytest.raises(DataError, match=r"a\.png.*\b7\b"):
        read(tmp_path, "label", "label.values=0,128")
    write("label/a.png", np.array([[65535, 2, 300]], "u2"))
    with pytest.raises(DataError, match="300"):
        read(tmp_path, "label", "label.invalid=65535")
    assert read(tmp_path, "label", "label.invalid=65535,300").tolist() == [255, 2, 255]
    with pytest.raises(ValueError, match="3"):
        FolderPairs(
            tmp_path, {"label": "label"}, num_classes=2, encodings=parse_encodings(["label.values=0,1,2"])
        )
    with pytest.raises(DataError, match="256"):
        FolderPairs(tmp_path, {"label": "label"}, num_classes=256)
