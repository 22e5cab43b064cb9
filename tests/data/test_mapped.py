"""Arrays that are mapped from a file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crdkit.data import DataError, read_manifest, read_mapped, write_mapped

A = np.arange(30, dtype=np.float32).reshape(10, 3)
B = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)


def blocks(size: int = 4) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, 10, size):
        yield {"a": A[start : start + size], "b": B[start : start + size]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "arrays.h5"
    write_mapped(path, {"of": "a test"}, 10, blocks())
    return path


def test_what_is_written_is_mapped(path: Path) -> None:
    found = read_mapped(path)
    assert isinstance(found["a"], np.memmap) and sorted(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], A)
    np.testing.assert_array_equal(found["b"][[7, 0]], B[[7, 0]])
    assert read_manifest(path) == {"of": "a test"}
    assert [p.name for p in path.parent.iterdir()] == ["arrays.h5"]


@pytest.mark.parametrize(
    ("length", "message"), [(11, "end after 10 of 11"), (9, "rows 8 … 10 of 9 do not fit")]
)
def test_rows_that_do_not_fit_leave_nothing(tmp_path: Path, length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_mapped(tmp_path / "x.h5", {}, length, blocks())
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_old_file(path: Path) -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield next(blocks())
        raise RuntimeError("the network fell over")

    with pytest.raises(RuntimeError, match="fell over"):
        write_mapped(path, {}, 10, broken())
    np.testing.assert_array_equal(read_mapped(path)["a"], A)
    assert [p.name for p in path.parent.iterdir()] == ["arrays.h5"]


def test_one_changed_byte_is_found_and_named(path: Path) -> None:
    place = path.read_bytes().index(A.tobytes()) + 50
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(DataError, match=r"arrays\.h5: a is damaged"):
        read_mapped(path)
    assert read_mapped(path, verify=False)["b"].shape == (10, 2, 2)


def test_a_cut_or_foreign_file_is_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cut short"):
        read_mapped(path)
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = A
    with pytest.raises(DataError, match="no manifest"):
        read_mapped(tmp_path / "other.h5")
