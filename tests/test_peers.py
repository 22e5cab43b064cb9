"""`benchmarks/peers.py` beside stand-ins for the other repositories: their names and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parent.parent / "benchmarks" / "peers.py"

FILES = {
    "models/__init__.py": """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)

    def forward(self, x, is_feat=False, preact=False):
        maps = self.layer(x)
        embedding = maps.mean((2, 3))
        return [maps, embedding], self.head(embedding)

model_dict = {"resnet8": Tiny}
""",
    "crd/__init__.py": "",
    "crd/memory.py": """
class AliasMethod:
    def cuda(self):
        raise RuntimeError("there is no GPU")
""",
    "crd/criterion.py": """
from torch import nn
from .memory import AliasMethod

class CRDLoss(nn.Module):
    def __init__(self, opt):
        super().__init__()
        AliasMethod().cuda()
        assert (opt.s_dim, opt.t_dim, opt.n_data, opt.nce_k) == (4, 4, 50_000, 16_384)
        self.embed_s, self.embed_t = nn.Linear(4, opt.feat_dim), nn.Linear(4, opt.feat_dim)

    def forward(self, student, teacher, index, columns):
        assert columns.shape == (len(index), 16_385) and (columns[:, 0] == index).all()
        assert not (columns[:, 1:] % 100 == index[:, None] % 100).any()  # of other classes
        return (self.embed_s(student) - self.embed_t(teacher)).square().mean(0)
""",
    "distiller_zoo/__init__.py": """
from torch import nn

class DistillKL(nn.Module):
    def __init__(self, T):
        super().__init__()

    def forward(self, student, teacher):
        return (student - teacher).square().mean()
""",
    "helper/__init__.py": "",
    "helper/util.py": "def accuracy(logits, target, topk):\n    return [0.0 for _ in topk]\n",
}

OTHER_FILES = {
    "mdistiller/__init__.py": "",
    "mdistiller/models/__init__.py": """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)

    def forward(self, x):
        embedding = self.layer(x).mean((2, 3))
        return self.head(embedding), {"pooled_feat": embedding}

cifar_model_dict = {"resnet8": (Tiny, "/nowhere/weights.pth")}
""",
    "mdistiller/distillers/__init__.py": """
from torch import nn
from .CRD import CRD

class Plain(nn.Module):
    def __init__(self, student):
        super().__init__()
        self.student = student

    def get_learnable_parameters(self):
        return list(self.student.parameters())

    def forward(self, image, target, **other):
        logits, _ = self.student(image)
        return logits, {"ce": nn.functional.cross_entropy(logits, target)}

class KD(Plain):
    def __init__(self, student, teacher, cfg):
        super().__init__(student)
        assert (cfg.KD.TEMPERATURE, cfg.KD.LOSS.CE_WEIGHT, cfg.KD.LOSS.KD_WEIGHT) == (4, 0.1, 0.9)

distiller_dict = {"NONE": Plain, "KD": KD, "CRD": CRD}
""",
    "mdistiller/distillers/CRD.py": """
from torch import nn

class AliasMethod:
    def cuda(self):
        raise RuntimeError("there is no GPU")

class CRD(nn.Module):
    def __init__(self, student, teacher, cfg, num_data):
        super().__init__()
        AliasMethod().cuda()
        assert (cfg.CRD.FEAT.STUDENT_DIM, cfg.CRD.NCE.K, num_data) == (4, 16_384, 50_000)
        self.student = student

    def get_learnable_parameters(self):
        return list(self.student.parameters())

    def forward(self, image, target, index, contrastive_index, **other):
        assert contrastive_index.shape == (len(index), 16_385) and self.training
        logits, _ = self.student(image)
        return logits, {"ce": nn.functional.cross_entropy(logits, target)}
""",
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    small = ["--teacher", "resnet8", "--student", "resnet8", "--batch-size", "4", "--rounds", "1"]
    command = [sys.executable, str(BENCHMARK), *small, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_steps_of_all_are_timed_in_turns(tmp_path: Path) -> None:
    for clone, files in (("clone", FILES), ("other", OTHER_FILES)):
        for name, text in files.items():
            (tmp_path / clone / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / clone / name).write_text(text)
    clones = "--repdistiller", "clone", "--mdistiller", "other"
    done = run(tmp_path, *clones, "--before", str(BENCHMARK.parent.parent), "--output", "out.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    peers = ("RepDistiller", "RepDistiller channels_last", "mdistiller", "mdistiller channels_last")
    sides = ("crdkit before", "crdkit", "crdkit bf16", *peers)
    assert list(found["steps"]) == [f"{m}: {side}" for m in ("none", "kd", "crd") for side in sides]
    assert all(row["seconds"] > 0 for row in found["steps"].values())


@pytest.mark.parametrize("option", ["--repdistiller", "--mdistiller"])
def test_a_folder_that_is_no_clone_is_refused(option: str, tmp_path: Path) -> None:
    done = run(tmp_path, option, ".")
    assert done.returncode == 2 and "no clone" in done.stderr
