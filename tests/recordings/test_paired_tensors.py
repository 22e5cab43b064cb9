"""Views in memory, statistics and normalization."""

from pathlib import Path

import pytest
import torch

from crdkit.data import DataError, Normalize, PairedTensors, Statistics, collate
from crdkit.recordings import FolderPairs, PackedPairs


@pytest.fixture
def memory(packed_path: Path) -> PairedTensors:
    return PairedTensors.from_dataset(PackedPairs(packed_path, classes=13))


def test_serves_what_the_files_hold(packed_path: Path, memory: PairedTensors) -> None:
    files = PackedPairs(packed_path, classes=13)
    rows = [3, 0, 3, 4]
    batch, expected = memory.__getitems__(rows), collate([files[row] for row in rows])
    assert batch.keys() == expected.keys()
    for name, value in expected.items():
        assert batch[name].dtype == value.dtype
        assert torch.equal(batch[name], value), name
    assert (memory.num_classes, len(memory), memory[4]["index"].item()) == (13, 5, 4)
    assert memory.tensors["rgb"].dtype == memory.tensors["label"].dtype == torch.uint8


def test_reading_leaves_the_global_generator_alone(packed_path: Path) -> None:
    torch.manual_seed(0)
    PairedTensors.from_dataset(PackedPairs(packed_path))
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(3))


def test_a_subset_is_renumbered_and_a_selection_shares_memory(memory: PairedTensors) -> None:
    part = memory.subset([4, 1])
    assert part.__getitems__([0, 1])["index"].tolist() == [0, 1]
    assert torch.equal(part[0]["rgb"], memory[4]["rgb"])
    modalities = memory.select("rgb", "depth")
    assert set(modalities[0]) == {"index", "rgb", "depth"}
    assert modalities.tensors["rgb"].data_ptr() == memory.tensors["rgb"].data_ptr()
    assert part.num_classes == modalities.num_classes == 13
    with pytest.raises(DataError, match=r"1.*5.*5"):
        memory.subset([1, 5])
    with pytest.raises(DataError, match="'thermal'"):
        memory.select("thermal")


def test_it_serves_labeled_images_on_a_device() -> None:
    rgb = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
    images = PairedTensors(rgb=rgb, label=torch.tensor([300, 1, 0, 2, 7]))
    images.num_classes, images.class_names = 400, ("a",)
    assert images.device == torch.device("cpu")
    assert images.labels.tolist() == [300, 1, 0, 2, 7]
    batch = images.to("cpu").__getitems__([4, 0])
    assert torch.equal(batch["rgb"], rgb[[4, 0]] / 255) and batch["label"].tolist() == [7, 300]
    elsewhere = images.to("meta")
    assert (elsewhere.num_classes, elsewhere.class_names) == (400, ("a",))
    assert {value.device.type for value in elsewhere.__getitems__([4, 0]).values()} == {"meta"}
    assert elsewhere.subset([1, 2]).labels.device == elsewhere.device == torch.device("meta")
    with pytest.raises(DataError, match=r"\(2, 4, 4\)"):
        _ = PairedTensors(label=torch.zeros(2, 4, 4, dtype=torch.uint8)).labels


def test_views_must_agree() -> None:
    rgb = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"\{'rgb': 3, 'depth': 2\}"):
        PairedTensors(rgb=rgb, depth=torch.ones(2, 1, 4, 4))
    assert PairedTensors(rgb=rgb, depth=torch.ones(3, 1, 2, 5))[1]["depth"].shape == (1, 2, 5)
    with pytest.raises(DataError, match=r"0.*1.*depth"):
        a = {"index": torch.tensor(0), "rgb": rgb[0]}
        collate([a, {"index": torch.tensor(1), "rgb": rgb[1], "depth": torch.ones(1, 4, 4)}])


def test_statistics_are_those_of_all_valid_pixels(memory: PairedTensors, packed_path: Path) -> None:
    whole = memory.__getitems__(range(5))
    rgb = whole["rgb"].double().permute(1, 0, 2, 3).reshape(3, -1)
    readings = whole["depth"][whole["depth"] > 0].double()
    for dataset in (memory, PackedPairs(packed_path)):
        measured = Statistics.measure(dataset, batch_size=2)
        assert measured.mean["rgb"] == pytest.approx(rgb.mean(1).tolist(), rel=1e-6)
        assert measured.std["rgb"] == pytest.approx(rgb.std(1, correction=0).tolist(), rel=1e-6)
        assert measured.mean["depth"] == pytest.approx([readings.mean().item()], rel=1e-6)
        assert measured.std["depth"] == pytest.approx([readings.std(correction=0).item()], rel=1e-6)


def test_statistics_survive_a_file(memory: PairedTensors, tmp_path: Path) -> None:
    measured = Statistics.measure(memory)
    measured.save(tmp_path / "statistics.json")
    assert Statistics.load(tmp_path / "statistics.json") == measured
    (tmp_path / "statistics.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="statistics"):
        Statistics.load(tmp_path / "statistics.json")
    with pytest.raises(DataError, match="reading"):
        Statistics.measure(PairedTensors(depth=torch.zeros(2, 1, 4, 4)))


def test_normalize_keeps_holes_at_the_mean_and_travels_with_the_model(memory: PairedTensors) -> None:
    statistics = Statistics.measure(memory)
    depth = memory.__getitems__(range(5))["depth"]
    layer = Normalize(statistics, "depth")
    result = layer(depth)
    readings = result[depth > 0]
    assert readings.mean().abs() < 1e-5
    assert (readings.std(correction=0) - 1).abs() < 1e-5
    assert (result[depth == 0] == 0).all() and (depth == 0).any()
    other = Normalize(Statistics({"depth": (0.0,)}, {"depth": (1.0,)}), "depth")
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(depth), result)
    with pytest.raises(DataError, match="'thermal'"):
        Normalize(statistics, "thermal")
    with pytest.raises(DataError, match="deviation"):
        Normalize(Statistics({"rgb": (0.0,)}, {"rgb": (0.0,)}), "rgb")


@pytest.mark.parametrize("wrong", [299, 256, -1])
def test_label_maps_never_wrap(wrong: int) -> None:
    class Maps:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"rgb": torch.zeros(3, 2, 2), "label": torch.tensor([[0, 1], [wrong, 255]])}

    with pytest.raises(DataError, match=str(wrong)):
        PairedTensors.from_dataset(Maps())


def test_more_classes_than_a_label_map_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="300"):
        FolderPairs(tmp_path, {"rgb": "rgb"}, num_classes=300)
