"""`crdkit predict` and `crdkit export` on saved networks: files in, files out."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from kinds import NAMES, answers, make
from PIL import Image

import crdkit
from crdkit.deploy import SAMPLES, Card, predict, save
from crdkit.experiments import cli

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `crdkit …` in a folder that has deploy/seg (a depth segmenter), deploy/cls (an RGB classifier) and
    deploy/enc (a depth encoder): (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name, kind in (("seg", "depth-cnn"), ("cls", "cifar"), ("enc", "depth-encoder")):
        network, described, _ = make(kind)
        save(network, tmp_path / "deploy" / name, described, Card("kd", 0))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run


def write_depth(folder: Path, count: int = 3) -> list[np.ndarray]:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    maps = [generator.integers(500, 5000, (64, 96), dtype=np.uint16) for _ in range(count)]
    for number, depth in enumerate(maps):
        cv2.imwrite(str(folder / f"{number}.png"), depth)
    return maps


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_maps_of_classes_and_embeddings(command: Command, tmp_path: Path) -> None:
    maps = write_depth(tmp_path / "new/depth")
    given = ["deploy/seg", "new/depth", "--encoding", "depth.unit=mm", "--output", "out"]
    code, said, _ = command("predict", *given, "--embeddings", "all.npy", "--batch-size", "2")
    assert code == 0 and "3 predictions" in said
    model, preprocess = crdkit.load("deploy/seg")
    images = preprocess.with_settings(["depth.unit=mm"], None).batch(maps)
    found = predict(model, images)
    embeddings = np.load("all.npy")
    np.testing.assert_allclose(embeddings, found.embedding, rtol=1e-4, atol=1e-5)
    rows = table(tmp_path / "out")
    assert [row["input"] for row in rows] == ["0", "1", "2"]
    for number, row in enumerate(rows):
        labels = np.asarray(Image.open(f"out/labels/{number}.png"))
        assert labels.shape == (64, 96) and labels.dtype == np.uint8
        same = (labels == found.class_map(number, (64, 96)).numpy()).mean()
        assert same > 0.999
        shares = [float(row[f"share of {name}"]) for name in NAMES]
        np.testing.assert_allclose(shares, [(labels == c).mean() for c in range(5)], atol=1e-4)
        assert cv2.imread(f"out/overlays/{number}.png").shape == (256, 384, 3)
    assert Path("out/legend.png").is_file()
    code, _, error = command("predict", *given)
    assert code == 1 and "holds something already" in error  # nothing is written over


def test_classes_of_images_in_any_form(command: Command, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    (tmp_path / "in/deep").mkdir(parents=True)
    for number, image in enumerate(images[:2]):
        Image.fromarray(image).save(tmp_path / f"in/deep/{number}.png")
    np.save("many.npy", images[2:])
    np.save("one.npy", images[0])
    given = ["deploy/cls", "in", "many.npy", "one.npy", "in/deep/1.png", "--output", "out"]
    code, _, _ = command("predict", *given, "--top", "2", "--no-overlays")
    assert code == 0 and not Path("out/overlays").exists()
    rows = table(tmp_path / "out")
    names = [row["input"] for row in rows]
    assert names == ["deep/0", "deep/1", "many/000000", "many/000001", "one", "1"]
    model, preprocess = crdkit.load("deploy/cls")
    found = predict(model, preprocess.batch(list(images)))
    best = [NAMES[int(c)] for c in found.probabilities.argmax(1)]
    assert [row["class_1"] for row in rows] == [*best, best[0], best[1]]
    assert "class_3" not in rows[0]
    assert float(rows[0]["probability_1"]) == pytest.approx(float(found.probabilities[0].max()), abs=1e-4)


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, frames[0].shape[1::-1])
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()


def test_videos_of_color_and_of_depth(command: Command, tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    coarse = [generator.integers(0, 256, (4, 6, 3), dtype=np.uint8) for _ in range(5)]
    frames = [cv2.resize(c, (96, 64), interpolation=cv2.INTER_NEAREST) for c in coarse]
    write_video(tmp_path / "drive.avi", frames)
    code, said, _ = command("predict", "deploy/cls", "drive.avi", "--output", "out", "--frames", "4")
    assert code == 0 and "4 predictions" in said
    assert [row["input"] for row in table(tmp_path / "out")] == [f"drive/{n:06}" for n in range(4)]
    drawn = cv2.VideoCapture("out/overlays/drive.mp4")
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 4 and drawn.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    gray = [np.repeat(frame[..., :1], 3, axis=2) for frame in frames]
    write_video(tmp_path / "scan.avi", gray)
    scale = ["--encoding", "depth.unit=scale", "depth.scale=0.04"]
    code, _, _ = command("predict", "deploy/seg", "scan.avi", *scale, "--output", "maps")
    assert code == 0 and len(list(Path("maps/labels/scan").glob("*.png"))) == 5
    code, _, error = command("predict", "deploy/seg", "drive.avi", *scale, "--output", "odd")
    assert code == 1 and "channels" in error  # a video with color is no depth


def test_an_encoder_gives_embeddings_alone(command: Command, tmp_path: Path) -> None:
    write_depth(tmp_path / "depth", 2)
    scale = ["--encoding", "depth.unit=mm"]
    code, _, _ = command("predict", "deploy/enc", "depth", *scale, "--output", "out", "--embeddings", "e.npy")
    assert code == 0 and np.load("e.npy").shape[0] == 2
    assert table(tmp_path / "out") == [{"input": "0"}, {"input": "1"}]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["deploy/nothing", "x.png"], 1, "deploy/nothing does not exist"),
        (["deploy/cls", "x.png"], 1, "x.png does not exist"),
        (["deploy", "depth"], 1, "several networks"),
        (["deploy/cls", "empty"], 1, "no files of these endings"),
        (["deploy/cls", "notes.txt"], 1, "not read"),
        (["deploy/seg", "depth", "--encoding", "rgb.unit=color"], 1, "sees depth"),
        (["deploy/seg", "depth", "--encoding", "depth.unit=ells"], 2, "ells"),
        (["deploy/cls", "depth", "--embeddings", "e.txt"], 2, ".npy"),
        (["deploy/cls", "camera:front"], 1, "camera:0"),
    ],
)
def test_what_cannot_be_predicted(
    command: Command, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    write_depth(tmp_path / "depth", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    found, _, error = command("predict", *arguments, "--output", "out")
    assert (found, message in error) == (code, True), error
    assert not Path("out").exists()


def test_files_are_written_compared_and_timed(command: Command, tmp_path: Path) -> None:
    code, said, _ = command(
        "export", "deploy/cls", "--format", "safetensors", "pt2", "onnx", "--int8", "--repeats", "2"
    )
    assert code == 0 and "8 drawn images" in said
    folder = tmp_path / "deploy/cls/export"
    names = {"model.safetensors", "model.pt2", "model.onnx", "model-int8.onnx"}
    assert {path.name for path in folder.iterdir()} == names
    for row in ("eager", "pt2", "onnx", "onnx, int8"):
        assert f"│ {row} " in said
    assert "ms per image" in said and "same class" in said


def test_the_run_s_samples_or_one_s_own_are_compared_on(command: Command, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    network, _, samples = make("depth-cnn")
    save_file({"images": samples}, tmp_path / "deploy" / SAMPLES)
    given = ["export", "deploy/seg", "--format", "pt2", "--repeats", "0"]
    code, said, _ = command(*given, "--output", "a")
    assert code == 0 and "drawn images" not in said and Path("a/model.pt2").is_file()
    run = torch.export.load("a/model.pt2").module()
    torch.testing.assert_close(
        run(samples)["logits"], answers(network, samples)["logits"], rtol=1e-4, atol=1e-4
    )
    write_depth(tmp_path / "depth")
    code, _, _ = command(
        *given, "--output", "b", "--samples", "depth", "--encoding", "depth.unit=mm", "--size", "48", "64"
    )
    assert code == 0
    run = torch.export.load("b/model.pt2").module()
    assert run(torch.rand(2, 1, 48, 64))["logits"].shape == (2, len(NAMES), 48, 64)
    code, _, error = command(*given, "--output", "c", "--tolerance", "-1")
    assert code == 1 and "is not kept: its" in error and not Path("c/model.pt2").exists()


def test_accuracy_on_folders_named_like_classes(command: Command, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    for name in ("ant", "bee"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            image = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "images" / name / f"{number}.png")
    code, said, _ = command(
        "export", "deploy/cls", "--format", "pt2", "--samples", "images", "--repeats", "0", "--output", "a"
    )
    assert code == 0 and "accuracy" in said
