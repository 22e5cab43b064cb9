"""with_index: any map-style data set with the row of each sample."""

import inspect
import pickle
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from crdkit.data import PairedTensors, with_index


class Point(NamedTuple):
    image: Tensor
    label: int


class Numbers:
    """Samples of any form; torch knows nothing of this class."""

    def __init__(self, form: Any) -> None:
        self.form = form

    def __len__(self) -> int:
        return 10

    def __getitem__(self, row: int) -> Any:
        return self.form(row)


def as_point(row: int) -> Point:
    return Point(torch.tensor(float(row)), row)


def as_mapping(row: int) -> dict[str, int]:
    return {"x": 10 * row}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (lambda row: (10 * row, "a"), (30, "a", 3)),
        (lambda row: [10 * row, "a"], (30, "a", 3)),
        (as_point, (torch.tensor(3.0), 3, 3)),
        (as_mapping, {"x": 30, "index": 3}),
        (lambda row: {"x": row, "index": 99}, {"x": 3, "index": 3}),
        (lambda row: 10 * row, (30, 3)),
        (lambda row: "text", ("text", 3)),
        (lambda row: None, (None, 3)),
    ],
)
def test_every_form_of_sample_gets_its_row(form: Any, expected: Any) -> None:
    indexed = with_index(Numbers(form))
    assert len(indexed) == 10
    assert indexed[3] == expected and type(indexed[3]) is type(expected)
    assert indexed[-7] == expected and indexed[torch.tensor(3)] == expected
    assert indexed.__getitems__([3, -7]) == [expected, expected]


@pytest.mark.parametrize("row", [10, -11])
def test_rows_end_where_the_data_set_ends(row: int) -> None:
    with pytest.raises(IndexError, match=f"row {row} of a data set of 10"):
        with_index(Numbers(as_mapping))[row]


def test_parts_keep_the_rows_of_the_whole_and_wrapped_parts_have_their_own() -> None:
    images = torch.arange(10)
    data = TensorDataset(images, 2 * images)
    indexed = with_index(data)
    assert [int(index) for _, _, index in indexed[2:9:3]] == [2, 5, 8]
    assert [index for *_, index in Subset(indexed, [7, 1])] == [7, 1]
    assert [(int(x), index) for x, _, index in with_index(Subset(data, [7, 1]))] == [(7, 0), (1, 1)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_shuffles_pairs_of_sample_and_row_together(workers: int) -> None:
    data = pickle.loads(pickle.dumps(with_index(TensorDataset(torch.arange(10) * 3))))
    loader = DataLoader(data, batch_size=4, shuffle=True, num_workers=workers)
    batches = list(loader)
    index = torch.cat([rows for _, rows in batches])
    assert index.dtype == torch.int64 and sorted(index.tolist()) == list(range(10))
    assert torch.equal(torch.cat([values for values, _ in batches]), 3 * index)


def test_a_data_set_that_makes_batches_makes_them_here_too() -> None:
    part = PairedTensors(rgb=torch.zeros(6, 3, 2, 2, dtype=torch.uint8), label=torch.arange(6)).subset([4, 5])
    batch = with_index(part).__getitems__([1, 0])
    assert batch["index"].tolist() == [1, 0] and batch["label"].tolist() == [5, 4]


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


@pytest.mark.parametrize(
    ("given", "message"),
    [(Stream(), "Stream is an iterable data set: its samples have no row"), (iter([1]), "__len__ and __get")],
)
def test_what_has_no_rows_is_refused(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        with_index(given)


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x).relu()
        return features, self.head(features)


def test_the_loop_of_the_docstring_is_that_of_the_readme_and_trains() -> None:
    text = textwrap.dedent(inspect.getdoc(with_index) or "")
    loop = text[text.index("    from torch") : text.index("A sample `(image")].rstrip()
    loop = textwrap.dedent(loop)
    assert loop in (Path(__file__).parents[2] / "README.md").read_text()
    student, teacher = Student(), nn.Linear(8, 256)
    before = student.body.weight.detach().clone()
    dataset = TensorDataset(torch.randn(100, 8), torch.arange(100) % 3)
    space = {"torch": torch, "F": F, "dataset": dataset, "student": student, "teacher": teacher}
    exec(loop, space)
    assert space["index"].shape == (36,)  # type: ignore[attr-defined]
    assert torch.isfinite(space["loss"]) and not torch.equal(before, student.body.weight)  # type: ignore[arg-type]
