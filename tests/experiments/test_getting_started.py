"""docs/getting-started.md, line by line: from a folder of pairs to an ONNX file that runs without crdkit."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "getting-started.md"
COUNTS = '"train": 80, "unlabeled": 240, "test": 40'
FEW = '"train": 16, "unlabeled": 8, "test": 16'
SMALL = ["--epochs", "1", "--cpu"]
"""More of the commands that train."""


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_page_from_pairs_to_an_onnx_file(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert COUNTS in page
    said = {}
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", page.replace(COUNTS, FEW), re.DOTALL):
        if language == "python":
            guard = "import sys; sys.modules['torch'] = sys.modules['crdkit'] = None\n"  # neither is there
            code = guard + block if "onnxruntime" in block else block
            said[block] = run(tmp_path, sys.executable, "-c", code)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "crdkit":
                small = SMALL if "crossmodal" in arguments else []
                said[line] = run(tmp_path, sys.executable, "-m", "crdkit", *arguments, *small)
    assert len(list((tmp_path / "predicted" / "labels").glob("*.png"))) == 16
    assert (tmp_path / "runs/mine/report.html").is_file()
    *_, loaded, onnx = (text for block, text in said.items() if "import" in block)
    assert loaded.strip() == "torch.Size([1, 48, 64])"
    assert "'logits': (1, 12, 48, 64)" in onnx
