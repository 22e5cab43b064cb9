"""`crdkit.load`: a saved network with its preprocessing."""

import json
import os
from pathlib import Path

from torch import nn

from ..common import UserError
from ..models import Description, load_state, read_description, read_weights
from .networks import bare, build
from .preprocess import Preprocess

MODEL, DESCRIPTION, FOLDER = "model.safetensors", "model.json", "deploy"
SAMPLES = "samples.safetensors"
"""Test samples beside the networks of a run, (B, C, H, W) `images` in the modality's units."""


def load(path: str | os.PathLike[str], *, network: nn.Module | None = None) -> tuple[nn.Module, Preprocess]:
    """A network that a run left, as it was judged, and what turns files into its inputs.

        model, preprocess = crdkit.load("runs/mine/deploy/crd-local")
        outputs = model(preprocess("depth/0001.png")[None])  # Outputs(logits, maps, embedding, …)

    Args:
        path: a folder of `RUN/deploy`, or a copy of it; a run folder, if one network is deployed in it; a
            folder of `experiments/teacher.py`; or a `.safetensors` file of a run.
        network: for weights of one's own network, that network with any weights, which are replaced.

    Returns:
        The module, on the CPU in eval mode: the modality in its units (B, C, H, W) to `Outputs`. And
        `Preprocess`: a file or array to (C, H, W); its `description` says what the network is.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: several networks are there (they are named), a file that no description belongs to, or
            weights that do not fit their description.
    """
    file, described = find_network(path)
    model = build(described, network)
    load_state(bare(model), read_weights(file), source=str(file))
    return model, Preprocess(described)


def find_network(path: str | os.PathLike[str]) -> tuple[Path, Description]:
    """The weights' file that `load` reads for a path, and its description; see there for the errors."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a folder of RUN/deploy, or a run folder")
    file = _find_file(path) if path.is_dir() else path
    beside = file.parent / DESCRIPTION
    if file.name == MODEL and beside.is_file():
        try:
            content = json.loads(beside.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{beside} is damaged: {error}") from error
        return file, Description.from_dict(content, str(beside))
    described = read_description(file)
    if described is None:
        raise UserError(
            f"{file} does not say what network its weights are of: those of RUN/deploy do. "
            "crdkit.models.create(NAME, weights=…) loads weights of a known architecture"
        )
    return file, described


def _find_file(folder: Path) -> Path:
    for name in (MODEL, "deployed.safetensors", "student.safetensors"):
        if (folder / name).is_file():
            return folder / name
    deployed = sorted(file.parent for file in folder.glob(f"{FOLDER}/*/{MODEL}"))
    deployed = deployed or sorted(file.parent for file in folder.glob(f"*/{MODEL}"))
    if len(deployed) > 1:
        names = ", ".join(str(place.relative_to(folder)) for place in deployed)
        raise UserError(f"{folder} holds several networks, give one of them: {names}")
    if not deployed:
        raise FileNotFoundError(f"{folder} holds no deployed network: no {FOLDER}/METHOD/{MODEL}")
    return deployed[0] / MODEL
