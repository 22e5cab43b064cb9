"""Names that code of users imports from `crdkit.data`, where they were."""

import pytest

import crdkit.data
import crdkit.recordings


@pytest.mark.parametrize(
    "name", ["FolderPairs", "NYUDepth", "PackedPairs", "StoredPairs", "resolve", "survey"]
)
def test_a_moved_name_loads_from_data(name: str) -> None:
    assert getattr(crdkit.data, name) is getattr(crdkit.recordings, name)
    assert name not in crdkit.data.__all__
