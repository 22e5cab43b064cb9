"""Exported networks give what the network gives, in torch alone and in onnxruntime, or are not kept."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
import torch
from kinds import KINDS, NAMES, answers, make
from torch import Tensor

import crdkit
from crdkit.deploy import (
    Card,
    Difference,
    ExportError,
    NamedOutputs,
    compare,
    export_network,
    latency,
    onnx_runner,
    predict,
    quantize_onnx,
    run_on,
    save,
)

EXPORTED = [kind for kind in KINDS if kind not in ("cifar-mobile", "depth-encoder")]


@pytest.mark.parametrize("kind", EXPORTED)
def test_eager_pt2_and_onnx_agree(kind: str, tmp_path: Path) -> None:
    network, described, samples = make(kind)
    expected = {k: v for k, v in answers(network, samples).items() if k != "maps" and v is not None}
    for form in ("pt2", "onnx"):
        path = tmp_path / f"model.{form}"
        run, differences = export_network(network, described, path, samples, format=form)  # type: ignore[arg-type]
        assert {difference.output for difference in differences} == expected.keys()
        assert max(difference.relative for difference in differences) <= 1e-4
        # By one's own measure, on another number of other images than it was traced with.
        fresh = samples.flip(0)[:5]
        found = run(fresh)
        for name, wanted in expected.items():
            gap = (found[name] - wanted.flip(0)[:5]).abs().max() / wanted.abs().max()
            assert gap <= 1e-4, (form, name)
    graph = onnx.load(tmp_path / "model.onnx").graph
    (image,) = graph.input
    first, *rest = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert image.name == "images" and isinstance(first, str) and rest == list(samples.shape[1:])
    assert [output.name for output in graph.output] == [n for n in ("logits", "embedding") if n in expected]


def test_weights_as_a_format_load_as_the_network(tmp_path: Path) -> None:
    network, described, samples = make("depth-cnn")
    save(network, tmp_path / "a", described, Card("kd", 0))
    model, _ = crdkit.load(tmp_path / "a")
    export_network(model, described, tmp_path / "model.safetensors", samples, format="safetensors")
    loaded, _ = crdkit.load(tmp_path / "model.safetensors")
    torch.testing.assert_close(answers(loaded, samples), answers(network, samples), rtol=0, atol=0)


def test_holes_are_marked_inside_the_graph(tmp_path: Path) -> None:
    network, described, samples = make("torchvision-segmenter")
    assert samples.isnan().any()
    run, _ = export_network(network, described, tmp_path / "a.onnx", samples, format="onnx")
    assert run(samples)["logits"].isfinite().all()


def test_without_preprocessing_the_graph_takes_normalized_images(tmp_path: Path) -> None:
    network, described, samples = make("cifar")
    path = tmp_path / "bare.onnx"
    export_network(network, described, path, samples, format="onnx", preprocessing=False)
    normalized = network.normalize(samples)  # type: ignore[operator]
    found = onnx_runner(path)(normalized)["logits"]
    torch.testing.assert_close(found, answers(network, samples)["logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_half_precision(form: str, tmp_path: Path) -> None:
    network, described, samples = make("cifar")
    path = tmp_path / f"half.{form}"
    run, differences = export_network(
        network,
        described,
        path,
        samples,
        format=form,
        precision="fp16",  # type: ignore[arg-type]
    )
    assert 1e-6 < max(difference.relative for difference in differences) <= 2e-2
    assert run(samples)["logits"].dtype == torch.float32
    assert next(network.parameters()).dtype == torch.float32  # a copy was made


def test_one_image_at_a_time(tmp_path: Path) -> None:
    network, described, samples = make("cifar")
    path = tmp_path / "one.onnx"
    run, _ = export_network(network, described, path, samples, format="onnx", dynamic_batch=False)
    found = run_on(run, samples, dynamic_batch=False)
    torch.testing.assert_close(found["logits"], answers(network, samples)["logits"], rtol=1e-4, atol=1e-4)
    with pytest.raises(Exception, match=r"[Dd]imension"):
        run(samples[:2])


def test_another_size_of_image(tmp_path: Path) -> None:
    network, described, _ = make("depth-cnn")
    larger = torch.rand(3, 1, 48, 64) + 1
    run, _ = export_network(network, described, tmp_path / "large.onnx", larger, format="onnx")
    assert run(larger)["logits"].shape == (3, len(NAMES), 48, 64)


@pytest.mark.parametrize("form", ["safetensors", "pt2", "onnx"])
def test_what_differs_is_not_kept(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, described, samples = make("cifar")
    path = tmp_path / f"model.{form}"

    def shifted(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[Difference]:
        logits = found["logits"].clone()
        logits[3, NAMES.index("dog")] += 0.5 * logits.abs().max()
        return compare(wanted, {**found, "logits": logits})

    monkeypatch.setattr("crdkit.deploy.export.compare", shifted)
    with pytest.raises(ExportError, match=r"sample 3, class dog"):
        export_network(network, described, path, samples, format=form)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_eight_bits(tmp_path: Path) -> None:
    network, described, samples = make("cifar")
    export_network(network, described, tmp_path / "a.onnx", samples, format="onnx")
    small = quantize_onnx(tmp_path / "a.onnx", tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").stat().st_size < 0.5 * (tmp_path / "a.onnx").stat().st_size
    found, wanted = small(samples)["logits"], answers(network, samples)["logits"]
    assert 0 < (found - wanted).abs().max() < 0.3 * wanted.abs().max()


def test_differences_are_found_and_placed() -> None:
    wanted = {"logits": torch.zeros(2, 3, 4, 5), "embedding": torch.ones(2, 6)}
    found = {name: value.clone() for name, value in wanted.items()}
    found["logits"][1, 2, 3, 4] = 0.5
    found["embedding"][0, 5] = torch.nan
    logits, embedding = compare(wanted, found)
    assert logits.place == (1, 2, 3, 4) and logits.largest == 0.5
    assert "sample 1, class c, row 3, column 4" in logits.in_words("abc")
    assert embedding.place == (0, 5) and embedding.relative == float("inf")
    with pytest.raises(ExportError):
        compare(wanted, {"logits": found["logits"]})
    with pytest.raises(ExportError):
        compare(wanted, found | {"logits": torch.zeros(2, 3)})


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    network, described, samples = make("cifar")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match="onnxruntime is not installed"):
        export_network(network, described, tmp_path / "a.onnx", samples, format="onnx")
    (tmp_path / "b.onnx").write_bytes(b"no graph")
    monkeypatch.undo()
    with pytest.raises(ExportError):
        onnx_runner(tmp_path / "b.onnx")


def test_latency_is_taken_in_turn() -> None:
    calls = []
    times = latency(
        {"a": lambda x: calls.append("a"), "b": lambda x: calls.append("b")}, torch.zeros(1), repeats=3
    )
    assert calls == ["a", "b"] * 5 and times.keys() == {"a", "b"}


def test_predictions_of_a_batch() -> None:
    network, _, samples = make("depth-cnn")
    network.train()
    found = predict(network, samples)
    assert network.training
    network.eval()
    torch.testing.assert_close(found.logits, answers(network, samples)["logits"], rtol=0, atol=0)
    assert found.probabilities.sum(1) == pytest.approx(torch.ones(6, 32, 48).numpy(), abs=1e-5)
    assert found.class_map(2).shape == (32, 48) and found.class_map(2, (64, 96)).shape == (64, 96)
    assert NamedOutputs(network)(samples).keys() == {"logits", "embedding"}
    encoder, _, depth = make("depth-encoder")
    none = predict(encoder, depth)
    assert none.logits is None and NamedOutputs(encoder)(depth).keys() == {"embedding"}
    for ask in (lambda: none.probabilities, lambda: none.class_map(0)):
        with pytest.raises(ValueError):
            ask()
