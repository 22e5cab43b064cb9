"""The report of pairs of one's own, RGB and thermal with labels, and the pictures in TensorBoard."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "crossmodal.py"
STAGES = ("teacher", "transfer", "segment")
BRIEF = [
    word
    for stage in STAGES
    for name, value in (("epochs", "1"), ("warmup-epochs", "0"), ("batch-size", "4"))
    for word in (f"--{stage}.train.{name}", value)
]


def write_pairs(root: Path) -> None:
    """A warm square on a cold ground, where it is also red."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        for name in ("rgb", "thermal", "label"):
            (root / part / name).mkdir(parents=True)
        for number in range(count):
            label = np.zeros((32, 32), np.uint8)
            top, left = rng.integers(0, 16, 2)
            label[top : top + 16, left : left + 16] = 1
            rgb = rng.integers(0, 80, (32, 32, 3)).astype(np.uint8)
            rgb[..., 2] += 150 * label
            thermal = (27_000 + 3_000 * label.astype(int) + rng.integers(0, 300, (32, 32))).astype(np.uint16)
            for name, image in (("rgb", rgb), ("thermal", thermal), ("label", label)):
                assert cv2.imwrite(str(root / part / name / f"{number:03}.png"), image)


def test_predictions_of_thermal_are_in_the_report_and_in_tensorboard(tmp_path: Path) -> None:
    write_pairs(tmp_path / "night drives")
    command = [
        *("pairs", "--cpu", "--data.root", str(tmp_path / "night drives"), "--data.size", "32", "32"),
        *("--data.classes", "2", "--student-modality", "thermal", "--method", "none", "kd", *BRIEF),
        *("--teacher.labels", "--teacher.architecture", "resnet18", "--teacher.width", "8"),
        *("--teacher.weights", "none", "--trackers", "tensorboard", "--output", "out"),
    ]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *command], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    page = json.loads((tmp_path / "out" / "report.json").read_text())
    assert page["title"] == "RGB to thermal: night drives"
    (part,) = [part for part in page["parts"] if part["kind"] == "predictions"]
    assert part["inputs"] == ["rgb", "thermal"] and part["methods"] == ["none", "kd"]
    assert len(part["samples"]) == 4 and "thermal" in part["note"]
    for file in part["samples"][3].values():
        assert cv2.imread(str(tmp_path / "out" / "pictures" / file)).shape == (32, 32, 3)
    kinds = {part["kind"] for part in page["parts"]}
    assert {"confusion", "charts", "table"} <= kinds
    (cost,) = [part for part in page["parts"] if part["heading"] == "Cost"]
    assert len(cost["columns"]) == 5 and [row[0] for row in cost["rows"]][-2:] == ["none", "kd"]
    assert all(value > 0 for row in cost["rows"] for value in row[1:])
    html = (tmp_path / "out" / "report.html").read_text()
    assert str(tmp_path) not in html and "--data.root &#39;night drives&#39;" in html

    (folder,) = {path.parent for path in (tmp_path / "out").rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["predictions"]
    (image,) = events.Images("predictions")
    logged = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(logged, cv2.imread(str(tmp_path / "out" / "pictures" / "predictions.png")))
    assert any(name.endswith("segment/mean_iou") for name in events.Tags()["scalars"])
