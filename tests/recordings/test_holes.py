"""Modalities in units of their own mark holes with NaN: nothing averages, counts or learns them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crdkit.data import (
    CHANNELS,
    AugmentConfig,
    Encoding,
    Normalize,
    PairedAugment,
    PairedTensors,
    Statistics,
    readings,
)
from crdkit.data.encodings import WITHOUT_HOLES
from crdkit.recordings import FolderPairs

MOVING = replace(AugmentConfig.none(), crop_scale=(0.3, 0.9), crop_ratio=(0.7, 1.4), flip=0.5)


def test_who_has_readings_where() -> None:
    assert set(CHANNELS) == WITHOUT_HOLES
    values = torch.tensor([[0.0, 1.0], [torch.nan, -2.0]]).reshape(1, 2, 1, 2)
    assert readings("rgb", values) is None
    assert readings("depth", values[:, :1]).flatten().tolist() == [False, True]
    assert readings("thermal", values).tolist() == [[[[False, True]]]], "a hole in one channel is one in all"


def test_resizing_averages_readings_only(tmp_path: Path, write) -> None:
    stored = np.full((8, 8), 20.0, "f4")
    stored[:, 4:] = 30
    stored[0, 0] = stored[:4, 4:6] = stored[5, 7] = -1
    write("thermal/a.npy", stored)
    encodings = {"thermal": Encoding("raw", invalid=(-1,))}
    got = FolderPairs(tmp_path, {"thermal": "thermal"}, size=(4, 4), encodings=encodings)[0]["thermal"][0]
    expected = torch.tensor([[20.0, 20, torch.nan, 30]] * 2 + [[20, 20, 30, 30]] * 2)
    torch.testing.assert_close(got, expected, equal_nan=True)
    grown = FolderPairs(tmp_path, {"thermal": "thermal"}, size=(16, 16), encodings=encodings)[0]["thermal"]
    known = grown[~grown.isnan()]
    assert known.min() >= 20 - 1e-4 and known.max() <= 30 + 1e-4 and grown[0, 2, 10].isnan()


def test_without_holes_no_bit_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    thermal = torch.rand(6, 2, 24, 32, generator=generator)
    outcomes = []
    for name in ("thermal", "ab"):  # of which one is looked at for holes and the other is not
        torch.manual_seed(1)
        outcomes.append(PairedAugment(MOVING)({name: thermal})[name])
    assert torch.equal(*outcomes)


def test_the_warp_leaks_no_hole_into_a_reading() -> None:
    generator = torch.Generator().manual_seed(0)
    thermal = 290 + 20 * torch.rand(6, 1, 24, 32, generator=generator)
    hole = torch.rand(thermal.shape, generator=generator) < 0.2
    batch = {
        "thermal": thermal.masked_fill(hole, torch.nan),
        "depth": (thermal / 100).masked_fill(hole, 0),
        "label": hole[:, 0].long(),
    }
    torch.manual_seed(0)
    result = PairedAugment(MOVING)(batch)
    assert torch.equal(result["thermal"][:, 0].isnan(), result["label"] == 1)
    known = result["thermal"][~result["thermal"].isnan()]
    assert known.min() >= 290 - 1e-3 and known.max() <= 310 + 1e-3
    torch.testing.assert_close(known / 100, result["depth"][result["depth"] > 0], rtol=1e-5, atol=0)


def test_statistics_and_normalization_mask_holes() -> None:
    generator = torch.Generator().manual_seed(0)
    thermal = 300 + 5 * torch.randn(10, 1, 6, 8, generator=generator)
    thermal[:, :, :2, 3:] = torch.nan
    known = thermal[~thermal.isnan()].double()
    memory = PairedTensors(thermal=thermal)
    measured = Statistics.measure(memory, batch_size=3)
    assert measured.mean["thermal"] == pytest.approx([known.mean().item()], rel=1e-9)
    assert measured.std["thermal"] == pytest.approx([known.std(correction=0).item()], rel=1e-6)
    normalized = Normalize(measured, "thermal")(thermal)
    assert (normalized[thermal.isnan()] == 0).all() and normalized.isfinite().all()
    assert normalized[~thermal.isnan()].std(correction=0).item() == pytest.approx(1, rel=1e-4)


def test_holes_travel_from_files_to_batches(tmp_path: Path, write) -> None:
    for name in "ab":
        stored = np.full((4, 6), 20.0, "f4")
        stored[1, 2] = np.nan
        write(f"thermal/{name}.npy", stored)
    memory = PairedTensors.from_dataset(FolderPairs(tmp_path, {"thermal": "thermal"}))
    batch = memory.__getitems__([1, 0])
    assert batch["thermal"].isnan().nonzero()[:, 2:].tolist() == [[1, 2], [1, 2]]
    assert Statistics.measure(memory).mean["thermal"] == (20.0,)
