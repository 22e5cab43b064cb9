"""What files hold is guessed once and checked over all parts; what is unknown is asked, with the figures."""

from pathlib import Path

import numpy as np
import pytest

from crdkit.data import DataError, Encoding
from crdkit.recordings import FolderPairs, resolve, survey

RNG = np.random.default_rng(0)


def millimeters(low: float = 1000, high: float = 9000) -> np.ndarray:
    return RNG.uniform(low, high, (12, 16)).astype("u2")


def parts(root: Path, name: str, encoding: Encoding | None = None) -> dict[str, FolderPairs]:
    encodings = {name: encoding} if encoding else {}
    return {p: FolderPairs(root / p, {name: name}, encodings=encodings) for p in ("train", "test")}


def fill(write, name: str, ending: str = ".png", **pictures: list[np.ndarray]) -> None:
    for part, images in pictures.items():
        for number, image in enumerate(images):
            write(f"{part}/{name}/{number}{ending}", image)


def settle(root: Path, name: str, encoding: Encoding | None = None) -> tuple[dict[str, Encoding], list[str]]:
    return resolve({name: encoding} if encoding else {}, survey(parts(root, name, encoding)))


def test_figures_are_those_of_the_readings(tmp_path: Path, write) -> None:
    image = millimeters()
    image[:3] = 0
    image[3] = 65535
    fill(write, "depth", train=[image], test=[image] * 50)
    train, test = survey(parts(tmp_path, "depth"))
    known = image[4:]
    assert (train.part, train.modality, train.dtype, train.channels, train.files) == (
        "train",
        "depth",
        "uint16",
        1,
        1,
    )
    assert (train.low, train.high) == (known.min(), known.max())
    assert train.median == pytest.approx(np.median(known), rel=0.02)
    assert test.files == 32 and train.example.endswith("train/depth/0.png")


def test_depth_is_guessed_in_millimeters_or_meters(tmp_path: Path, write) -> None:
    fill(write, "depth", train=[millimeters()] * 2, test=[millimeters()])
    resolved, (line,) = settle(tmp_path, "depth")
    assert resolved == {"depth": Encoding("mm", stored="uint16")}
    assert all(word in line for word in ("depth", "millimeters", "uint16", "guessed"))
    dataset = parts(tmp_path, "depth")["train"].with_encodings(resolved)
    assert dataset[0]["depth"].min() > 1 and dataset[0]["depth"].max() < 9
    floats = tmp_path / "floats"
    for part in ("train", "test"):
        write(f"floats/{part}/depth/0.npy", RNG.uniform(1, 9, (12, 16)).astype("f4"))
    assert settle(floats, "depth")[0] == {"depth": Encoding("m", stored="float32")}


@pytest.mark.parametrize(
    "image",
    [
        np.full((4, 6), 100, "u1"),
        np.full((4, 6), 60000, "u2"),
        np.full((4, 6), 1500.0),
        np.full((4, 6), 20, "i4"),
    ],
)
def test_depth_of_an_unknown_unit_is_asked_for(tmp_path: Path, write, image: np.ndarray) -> None:
    fill(write, "depth", ".npy", train=[image], test=[image])
    with pytest.raises(DataError) as asked:
        settle(tmp_path, "depth")
    assert f"{image.max():g}" in str(asked.value) and "depth.unit" in str(asked.value)
    given = Encoding("scale", scale=0.001)
    assert settle(tmp_path, "depth", given)[0]["depth"].scale == 0.001


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("given", [None, Encoding("scale", scale=0.001)])
def test_two_stored_types_are_refused_with_both(
    tmp_path: Path, write, mixed: bool, given: Encoding | None
) -> None:
    """DenseDepth's NYU: 8 bits (255 = 10 m) to train on, 16 bits (mm) to test; or both in one part."""
    eight, sixteen = (millimeters() / 1000 * 25.5).astype("u1"), millimeters()
    train = [sixteen, eight, sixteen] if mixed else [eight] * 3
    fill(write, "depth", train=train, test=[sixteen] * 3)
    with pytest.raises(DataError) as asked:
        settle(tmp_path, "depth", given)
    for told in ("uint8", "uint16", "train/depth", "test/depth", "median"):
        assert told in str(asked.value)


def test_a_type_that_the_survey_did_not_see_is_refused_when_read(tmp_path: Path, write) -> None:
    images = [millimeters() for _ in range(80)]
    images[1] = (images[1] >> 8).astype("u1")
    fill(write, "depth", train=images, test=images[2:4])
    resolved, _ = settle(tmp_path, "depth")
    dataset = parts(tmp_path, "depth")["train"].with_encodings(resolved)
    assert dataset[0]["depth"].max() > 1
    name = dataset.names.index("1")
    with pytest.raises(DataError, match=r"1\.png.*uint8"):
        dataset[name]


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("depth", (1000, 9000), (200, 1800)),  # a factor of 5
        ("thermal", (15.0, 35.0), (288.0, 308.0)),  # Celsius and Kelvin
        ("thermal", (-5.0, 5.0), (268.0, 278.0)),
    ],
)
def test_parts_in_two_units_are_asked_for(tmp_path: Path, write, name: str, train, test) -> None:
    kind = "u2" if name == "depth" else "f4"
    images = {p: [RNG.uniform(*r, (12, 16)).astype(kind)] for p, r in (("train", train), ("test", test))}
    fill(write, name, ".npy", **images)
    with pytest.raises(DataError, match="median"):
        settle(tmp_path, name)
    told = settle(tmp_path, name, Encoding("mm" if name == "depth" else "raw"))[1]
    assert len(told) == 2 and told[1].startswith("warning"), "what was given is believed, and told"


def test_parts_that_agree_pass(tmp_path: Path, write) -> None:
    for name, low, high in (("thermal", 15, 35), ("counts", -30, 30)):
        pair = [
            RNG.uniform(low, high, (12, 16)).astype("f4"),
            RNG.uniform(low + 5, high + 9, (12, 16)).astype("f4"),
        ]
        fill(write, name, ".tiff", train=pair, test=pair[1:])
        assert settle(tmp_path, name)[0] == {name: Encoding("raw", stored="float32")}
    dark, bright = RNG.integers(2, 9, (12, 16, 3), "u1"), RNG.integers(99, 250, (12, 16, 3), "u1")
    fill(write, "rgb", train=[bright], test=[dark])
    assert settle(tmp_path, "rgb")[0] == {"rgb": Encoding("color")}, "8-bit color has but one meaning"


def test_color_of_two_bit_depths(tmp_path: Path, write) -> None:
    eight, sixteen = RNG.integers(0, 256, (12, 16, 3), "u1"), RNG.integers(0, 65536, (12, 16, 3)).astype("u2")
    fill(write, "rgb", train=[eight, sixteen], test=[sixteen])
    assert settle(tmp_path, "rgb")[0] == {"rgb": Encoding("color")}
    fill(write, "rgb", test=[sixteen >> 4])  # 12 bits in 16
    with pytest.raises(DataError, match="median"):
        settle(tmp_path, "rgb")
    fill(write, "thermal", train=[eight[..., 0]], test=[eight[..., 0]])
    assert settle(tmp_path, "thermal")[0] == {"thermal": Encoding("color", stored="uint8")}


def test_labels_are_not_surveyed_and_one_part_is_enough(tmp_path: Path, write) -> None:
    write("rgb/0.png", np.zeros((4, 6, 3), "u1"))
    write("label/0.png", np.zeros((4, 6), "u1"))
    dataset = FolderPairs(tmp_path, {"rgb": "rgb", "label": "label"})
    (figures,) = survey({"train": dataset})
    assert figures.modality == "rgb" and figures.channels == 3
    encodings, lines = resolve({"label": Encoding(values=(0, 7))}, [figures])
    assert encodings["label"] == Encoding(values=(0, 7)) and len(lines) == 1


def test_packed_numbers_and_sentinels_of_distances(tmp_path: Path, write) -> None:
    packed = RNG.integers(1, 256, (12, 16, 3), "u1")
    fill(write, "depth", train=[packed], test=[packed])
    resolved, _ = settle(tmp_path, "depth", Encoding("packed24", scale=1e-6))
    dataset = parts(tmp_path, "depth")["train"].with_encodings(resolved)
    expected = packed.astype(int) @ [1, 256, 65536] * 1e-6
    np.testing.assert_allclose(dataset[0]["depth"][0], expected, rtol=1e-6)
    sparse = millimeters()
    sparse[1:] = 0
    fill(write, "range", train=[sparse], test=[sparse])
    figures = survey(parts(tmp_path, "range", Encoding("mm")))
    assert figures[0].low == sparse[0].min(), "of what is far away, 0 is no reading by any name"


def test_files_of_several_channels_are_asked_for(tmp_path: Path, write) -> None:
    picture = RNG.integers(0, 256, (12, 16, 3), "u1")
    fill(write, "thermal", train=[picture], test=[picture[..., 0]])
    with pytest.raises(DataError, match=r"thermal\.channel"):
        settle(tmp_path, "thermal")
    assert settle(tmp_path, "thermal", Encoding(channel=0))[0]["thermal"].stored == "uint8"


def test_resolved_encodings_fit_parts_without_some_modality(tmp_path: Path, write) -> None:
    write("rgb/0.png", np.zeros((4, 6, 3), "u1"))
    pairs = FolderPairs(tmp_path, {"rgb": "rgb"})
    again = pairs.with_encodings({"rgb": Encoding("color"), "label": Encoding(values=(0, 255))})
    assert set(again.encodings) == {"rgb"} and again.num_classes is None
