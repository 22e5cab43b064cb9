"""The folder that a user takes home: weights, what they are, and a model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..common import write_json, write_text
from ..models import Description, measure, save_weights
from .loading import DESCRIPTION, MODEL
from .preprocess import units_of


@dataclass(frozen=True)
class Card:
    """What a model card tells beside the network itself."""

    method: str
    """How it was taught."""
    seed: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Of the run; those that are no numbers are left out."""
    task: str = ""
    """Of the run: `compression`, `crossmodal`, …"""
    data: str = ""
    """What it was trained on, in words."""
    teachers: Sequence[str] = ()
    """In words."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """As results.json has it."""


def save(network: nn.Module, folder: Path, description: Description, card: Card) -> None:
    """Write `model.safetensors`, `model.json` and `README.md`, the layout of a repository of the Hugging Face
    hub: `huggingface_hub.upload_folder(folder_path=…, repo_id=…)` publishes it. Files that are there are
    replaced, but for a README.md whose license was filled in.

    Args:
        network: as it was judged.
        folder: made if it is missing.
        description: of it, see `describe`.
        card: the rest of the README.
    """
    outputs = measure(network, (description.channels, *description.size))
    save_weights(network, folder / MODEL, description=description)
    shapes: dict[str, Any] = {"embedding": ["batch", outputs.embedding]}
    if outputs.logits is not None:
        shapes["logits"] = ["batch", *outputs.logits]
    told = {
        "crdkit": card.environment.get("packages", {}).get("crdkit"),
        "task": description.task,
        "units": units_of(description),
        "outputs": shapes,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    write_json(folder / DESCRIPTION, {**told, **description.as_dict()})
    readme = folder / "README.md"
    if not (readme.exists() and "license: other" not in readme.read_text(encoding="utf-8")):
        write_text(readme, model_card(description, card, told))


TAGS = {
    "classification": "image-classification",
    "segmentation": "image-segmentation",
    "representation": "image-feature-extraction",
}
"""The hub's names of the tasks."""


def model_card(description: Description, card: Card, told: Mapping[str, Any]) -> str:
    """The README.md of a deployed network, in the format of the hub."""
    who = description.architecture or "a network of one's own"
    height, width = description.size
    numbers = {n: v for n, v in card.metrics.items() if isinstance(v, int | float)}
    front = [
        "---",
        "library_name: crdkit",
        f"pipeline_tag: {TAGS[description.task]}",
        "license: other  # fill in: the license of the weights, which depends on data and teacher",
        "tags:",
        "- crdkit",
        "- knowledge-distillation",
        f"- {description.modality}",
        *([f"- {description.architecture.rpartition('/')[2]}"] if description.architecture else []),
        "---",
    ]
    lines = [
        f"# {who}, taught by {card.method}" if card.method != "none" else f"# {who}, without a teacher",
        "",
        f"A network for {description.task} from {description.modality} ({units_of(description)}), "
        f"{told['parameters']:,} parameters, trained and judged at {height} × {width} pixels with "
        f"crdkit {told['crdkit']}.",
        "",
        "```python",
        "import crdkit",
        "",
        'model, preprocess = crdkit.load("path/to/this/folder")',
        'outputs = model(preprocess("image.png")[None])  # '
        + (".logits and .embedding" if description.class_names else ".embedding"),
        "```",
        "",
        _in_other_programs(description),
        "",
        "## Figures",
        "",
        f"Of the last epoch on the test split, method `{card.method}`, seed {card.seed}; `best_…` was chosen "
        "by the test split.",
        "",
        "| metric | value |",
        "|---|---:|",
        *(f"| `{name}` | {value:.6g} |" for name, value in numbers.items()),
        "",
        "## How it was made",
        "",
        f"- Run: {card.task}, method `{card.method}`, seed {card.seed}",
        f"- Data: {card.data or 'not told'}",
        *(f"- Teacher: {teacher}" for teacher in card.teachers),
        *([] if card.teachers else ["- Teacher: none"]),
        *([f"- Classes: {_few(description.class_names)}"] if description.class_names else []),
        *_surroundings(card.environment),
        "- License: to be filled in above, by the terms of the data and of the teacher's weights",
        "",
    ]
    return "\n".join([*front, "", *lines])


def _in_other_programs(description: Description) -> str:
    name = description.architecture or ""
    timm = name.startswith("timm/") and not description.head
    if description.mean is None or description.std is None:
        return "The weights are those of a network of one's own, which normalizes by itself."
    mean, std = (", ".join(f"{v:.6g}" for v in values) for values in (description.mean, description.std))
    said = (
        f"The weights are those of the bare network; its input is normalized by mean {mean} and deviation "
        f"{std}."
    )
    if timm:
        classes = len(description.class_names)
        bare = name.removeprefix("timm/")
        more = "" if description.channels == 3 else f", in_chans={description.channels}"
        said += (
            f' Without crdkit: `timm.create_model("{bare}", num_classes={classes}{more})` and its '
            "`load_state_dict` of `model.safetensors`."
        )
    return said


def _few(names: Sequence[str], limit: int = 20) -> str:
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _surroundings(environment: Mapping[str, Any]) -> list[str]:
    lines = []
    if commit := environment.get("commit"):
        lines.append(f"- Commit of crdkit: {commit}{', with changes' if environment.get('dirty') else ''}")
    packages = environment.get("packages", {})
    if packages.get("torch"):
        processor = environment.get("hardware", {}).get("cpu", "")
        lines.append(f"- torch {packages['torch']}, {processor}".rstrip(", "))
    return lines
