"""Which files belong to one sample, by names, patterns, times or tables; which samples to one recording."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from crdkit.data import DataError
from crdkit.recordings import FolderPairs, split_by_group

PICTURE = np.zeros((4, 6, 3), "u1")
BOTH = {"a": "a", "b": "b"}


def files(dataset: FolderPairs, *modalities: str) -> list[tuple[str, ...]]:
    """The paths of every sample, below the root."""
    return [
        tuple(str(Path(dataset._where(row, name)).relative_to(dataset.root)) for name in modalities)
        for row in range(len(dataset))
    ]


def test_nested_folders_pair_by_relative_name(tmp_path: Path, write) -> None:
    for name in ("s2/1", "s1/1", "s1/2", "0"):
        write(f"a/{name}.png", PICTURE)
        write(f"b/{name}.jpg", PICTURE)
    dataset = FolderPairs(tmp_path, BOTH)
    assert dataset.names == ["0", "s1/1", "s1/2", "s2/1"]
    assert files(dataset, "a", "b")[1] == ("a/s1/1.png", "b/s1/1.jpg")
    assert FolderPairs(tmp_path, BOTH, split=["s2/1"]).names == ["s2/1"]
    assert FolderPairs(tmp_path, {"a": "a"})[3]["index"] == 3, "a folder that nobody asked for may be missing"


def test_names_are_compared_in_one_form_of_unicode(tmp_path: Path, write) -> None:
    for folder, form in (("a", "NFC"), ("b", "NFD")):
        write(f"{folder}/{unicodedata.normalize(form, 'küche')}.npy", PICTURE)
    assert len(FolderPairs(tmp_path, BOTH)) == 1
    assert len(FolderPairs(tmp_path, BOTH, split=[unicodedata.normalize("NFD", "küche")])) == 1


def test_everything_that_does_not_pair_is_told_at_once(tmp_path: Path, write) -> None:
    for folder, names in (("a", ("1", "2", "3")), ("b", ("1", "4"))):
        for name in names:
            write(f"{folder}/{name}.png", PICTURE)
    write("c/1.png", PICTURE)
    write("c/1.jpg", PICTURE)
    (tmp_path / "c/9.png").write_bytes(b"")
    with pytest.raises(DataError) as refused:
        FolderPairs(tmp_path, {**BOTH, "c": "c", "d": "nowhere"})
    for told in ("1.jpg", "9.png", "nowhere", "a (3 files) lacks 4", "b (2 files) lacks 2, 3"):
        assert told in str(refused.value)


def test_patterns_with_a_captured_key(tmp_path: Path, write) -> None:
    for number in ("0007", "0012"):
        write(f"x/left/{number}_rgb.png", PICTURE)
        write(f"x/right/{number}_d.png", PICTURE[..., 0])
    patterns = {"rgb": r"x/left/(\d+)_rgb\.png", "depth": r"x/right/(\d{4})_d\.png"}
    dataset = FolderPairs(tmp_path, patterns, depth_scale=0.001)
    assert dataset.names == ["0007", "0012"]
    assert files(dataset, "rgb", "depth")[1] == ("x/left/0012_rgb.png", "x/right/0012_d.png")
    with pytest.raises(DataError, match=r"left.*right"):
        FolderPairs(tmp_path, {"rgb": r"x/{left,right}/(\d+)_.*"})
    either = FolderPairs(tmp_path, {"rgb": r"x/({left,right}/\d+)_.*"})
    assert either.names == ["left/0007", "left/0012", "right/0007", "right/0012"]
    for wrong in (r"x/left/(\d+_rgb\.png", r"x/left/(?:\d+)_rgb\.png", r"y/(\d+)\.png"):
        with pytest.raises(DataError):
            FolderPairs(tmp_path, {"rgb": wrong})
    (tmp_path / "x/other.png").write_bytes(b"")  # which no pattern can match
    assert len(FolderPairs(tmp_path, patterns, depth_scale=0.001)) == 2
    write("x/left/0013_rgb.png", PICTURE)
    with pytest.raises(DataError, match="0013"):
        FolderPairs(tmp_path, patterns, depth_scale=0.001)


def test_a_pattern_may_differ_in_the_ending_alone(tmp_path: Path, write) -> None:
    write("s/1.png", PICTURE)
    write("s/1.npy", PICTURE)
    dataset = FolderPairs(tmp_path, {"a": r"s/(\d+)\.png", "b": r"s/(\d+).npy"})
    assert files(dataset, "a", "b") == [("s/1.png", "s/1.npy")]


def test_the_nearest_time_within_a_tolerance(tmp_path: Path, write) -> None:
    for time in ("10.000", "10.033", "10.066", "10.100", "11.000"):
        write(f"a/{time}.png", PICTURE)
    for time in ("9.990", "10.030", "10.040", "10.110"):
        write(f"b/{time}.png", PICTURE)
    dataset = FolderPairs(tmp_path, BOTH, match="time", tolerance=0.02)
    assert files(dataset, "a", "b") == [
        ("a/10.000.png", "b/9.990.png"),
        ("a/10.033.png", "b/10.030.png"),
        ("a/10.100.png", "b/10.110.png"),
    ], "10.040 is nearest to 10.033, whose closer partner takes it, and 26 ms from 10.066"
    assert dataset.unmatched == {"a": ("10.066", "11.000"), "b": ("10.040",)}
    wider = FolderPairs(tmp_path, BOTH, match="time", tolerance=0.03)
    assert ("a/10.066.png", "b/10.040.png") in files(wider, "a", "b"), "each file once"
    with pytest.raises(DataError):
        FolderPairs(tmp_path, BOTH, match="time", tolerance=0.001)
    for settings in (
        {"match": "time"},
        {"tolerance": 0.1},
        {"match": "near"},
        {"match": "time", "tolerance": -1},
    ):
        with pytest.raises(ValueError):
            FolderPairs(tmp_path, BOTH, **settings)


def test_times_of_two_recordings_do_not_mix(tmp_path: Path, write) -> None:
    for name in ("a/s1/f_1.0", "a/s2/f_1.0", "b/s1/g_1.1", "b/s2/g_1.0"):
        write(f"{name}.png", PICTURE)
    dataset = FolderPairs(tmp_path, BOTH, match="time", tolerance=0.2)
    assert files(dataset, "a", "b") == [
        ("a/s1/f_1.0.png", "b/s1/g_1.1.png"),
        ("a/s2/f_1.0.png", "b/s2/g_1.0.png"),
    ]
    write("a/s1/first.png", PICTURE)
    with pytest.raises(DataError, match="first"):
        FolderPairs(tmp_path, BOTH, match="time", tolerance=0.2)


ROWS = [
    {"rgb": "r/1.png", "thermal": "t/x.npy", "group": "street", "split": "train"},
    {"rgb": "r/2.png", "thermal": "t/y.npy", "group": "yard", "split": "train"},
    {"rgb": "r/3.png", "thermal": "t/z.npy", "group": "street", "split": "test"},
]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_table_of_paths(tmp_path: Path, write, ending: str) -> None:
    for number, row in enumerate(ROWS):
        write(row["rgb"], PICTURE)
        write(row["thermal"], np.full((4, 6), 20.0 + number))
    path = tmp_path / f"pairs{ending}"
    table(path, ROWS)
    whole = FolderPairs.from_table(path)
    assert whole.modalities == ("rgb", "thermal") and whole.names == ["r/1.png", "r/2.png", "r/3.png"]
    assert whole.groups.dtype == np.int64
    assert [whole.group_names[g] for g in whole.groups] == ["street", "yard", "street"]
    train = FolderPairs.from_table(path, split="train", size=(2, 3))
    assert len(train) == 2 and train[1]["thermal"].unique().tolist() == [21.0]
    assert FolderPairs.from_table(path, ["thermal"], group="split").group_names == ("test", "train")
    grouped = FolderPairs.from_table(path, group="split")
    assert grouped.modalities == ("rgb", "thermal") and grouped.group_names == ("test", "train")
    by_name = FolderPairs.from_table(path, group=r"r/(\d)")
    assert by_name.groups.tolist() == [0, 1, 2] and by_name.modalities == ("rgb", "thermal")
    for wrong in ({"split": "val"}, {"modalities": ["depth"]}, {"group": "scene"}):
        with pytest.raises(DataError):
            FolderPairs.from_table(path, **wrong)
    bad = [*ROWS, {"rgb": "r/1.png", "thermal": ""}, {"rgb": "r/9.png", "thermal": "t/x.npy"}]
    table(path, bad)
    with pytest.raises(DataError) as refused:
        FolderPairs.from_table(path, ["rgb", "thermal"])
    for told in ("r/1.png is named twice", "r/9.png", "has no thermal", "t/x.npy"):
        assert told in str(refused.value)


def test_a_column_without_entries_is_no_modality(tmp_path: Path, write) -> None:
    write("1.png", PICTURE)
    write("1_l.png", PICTURE[..., 0])
    write("2.png", PICTURE)
    rows = [
        {"rgb": "1.png", "label": "1_l.png", "split": "train"},
        {"rgb": "2.png", "label": "", "split": "unlabeled"},
    ]
    table(tmp_path / "pairs.csv", rows)
    assert FolderPairs.from_table(tmp_path / "pairs.csv", split="train").modalities == ("rgb", "label")
    assert FolderPairs.from_table(tmp_path / "pairs.csv", split="unlabeled").modalities == ("rgb",)
    (tmp_path / "pairs.jsonl").write_text("[1]\n")
    for name in ("pairs.jsonl", "nowhere.csv", "1.png"):
        with pytest.raises(DataError, match=name):
            FolderPairs.from_table(tmp_path / name)


def test_groups_by_folder_and_by_expression(tmp_path: Path, write) -> None:
    for name in ("kitchen/a/1", "kitchen/b/1", "attic/a/1"):
        write(f"a/{name}.png", PICTURE)
    dataset = FolderPairs(tmp_path, {"a": "a"}, group="parent")
    assert dataset.group_names == ("attic/a", "kitchen/a", "kitchen/b") and dataset.groups.tolist() == [
        0,
        1,
        2,
    ]
    scenes = FolderPairs(tmp_path, {"a": "a"}, group=r"a/(\w+)/")
    assert scenes.group_names == ("attic", "kitchen") and scenes.groups.tolist() == [0, 1, 1]
    assert FolderPairs(tmp_path, {"a": "a"}).groups is None
    part = scenes.subset([2, 0])
    assert part.names == ["kitchen/b/1", "attic/a/1"] and part.groups.tolist() == [1, 0]
    assert part[0]["index"] == 0 and len(scenes) == 3
    with pytest.raises(DataError, match="3"):
        scenes.subset([3])
    for wrong in ("scene", "(", r"a/(k\w+)/"):
        with pytest.raises(DataError):
            FolderPairs(tmp_path, {"a": "a"}, group=wrong)


def test_a_selection_reads_nothing_else(tmp_path: Path, write) -> None:
    write("rgb/1.png", PICTURE)
    (tmp_path / "label").mkdir()
    (tmp_path / "label/1.png").write_bytes(b"no picture")
    dataset = FolderPairs(tmp_path, {"rgb": "rgb", "label": "label"})
    assert set(dataset.select("rgb")[0]) == {"index", "rgb"}
    with pytest.raises(DataError):
        dataset[0]
    with pytest.raises(DataError, match="depth"):
        dataset.select("depth")


class Grouped:
    def __init__(self, groups: list[int] | None, length: int = 0) -> None:
        self.groups = None if groups is None else np.array(groups)
        self.length = length or len(groups or ())

    def __len__(self) -> int:
        return self.length


def test_a_split_by_group_has_none_on_both_sides() -> None:
    groups = np.repeat(np.arange(20), np.random.default_rng(0).integers(1, 30, 20))
    np.random.default_rng(1).shuffle(groups)
    dataset = Grouped(groups.tolist())
    splits = [split_by_group(dataset, 0.25, seed) for seed in range(10)]
    for train, held in splits:
        assert not set(groups[train]) & set(groups[held])
        assert sorted([*train, *held]) == list(range(len(groups)))
        assert 0.1 < len(held) / len(groups) < 0.4
    assert len({tuple(held) for _, held in splits}) > 5
    again = split_by_group(dataset, 0.25, 3)
    assert np.array_equal(again[1], splits[3][1])
    train, held = split_by_group(Grouped([0, 0, 0, 0, 1]), 0.01, 0)
    assert len(train) and len(held)
    assert len(split_by_group(Grouped(None, 100), 0.3, 0)[1]) == 30
    with pytest.raises(DataError, match="1"):
        split_by_group(Grouped([4, 4]), 0.5, 0)
    for wrong in (0, 1, -0.2):
        with pytest.raises(ValueError):
            split_by_group(dataset, wrong, 0)


def table(path: Path, rows: list[dict[str, str]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    else:
        columns = list(rows[0])
        lines = [",".join(columns), *(",".join(row.get(c, "") for c in columns) for row in rows)]
        path.write_text("\n".join(lines) + "\n")


def test_the_example_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/data.md"
    code = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/data.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "300 K in 4 pairs of 1 drive" and lines[-2].startswith("thermal: scale, times 0.01")
