"""Networks as files that other programs run: weights, PyTorch's exported program, ONNX."""

import copy
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..common import atomically
from ..models import Description, Normalized, evaluating, save_weights
from .compare import Difference, ExportError, Runner, compare, run_on
from .loading import load
from .networks import NamedOutputs, bare

Format = Literal["safetensors", "pt2", "onnx"]
OPSET = 18
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}
"""The largest relative difference that an export may have, by its precision."""


def export_network(
    model: nn.Module,
    description: Description,
    path: Path,
    samples: Tensor,
    *,
    format: Format,
    dynamic_batch: bool = True,
    precision: Literal["fp32", "fp16"] = "fp32",
    preprocessing: bool = True,
    tolerance: float | None = None,
) -> tuple[Runner, list[Difference]]:
    """Write a network as a file, and keep it only if the file gives what the network gives.

    The graph's input is `images`, (B, C, H, W) of the samples' height and width, float32; its outputs are
    `logits` (if there are some) and `embedding`, float32. A `.pt2` is read back by a process that never
    imports crdkit, ONNX by onnxruntime.

    Args:
        model: as `load` gives it.
        description: of it.
        path: with the format's ending; a file there is replaced.
        samples: (B, C, H, W) in the modality's units, to compare on; real ones, if there are some.
        dynamic_batch: whether the graph takes any number of images, or one at a time.
        precision: of the weights and of what is computed with them.
        preprocessing: whether the normalization, and the marking of holes, is inside the graph. Without it
            the graph is that of the bare network, for images that are normalized already.
        tolerance: relative; `TOLERANCE` if absent.

    Returns:
        What runs the file, and the differences that were found.

    Raises:
        ExportError: the outputs differ by more, or a package or an operation is missing; no file is left.
    """
    description = replace(description, size=(samples.shape[2], samples.shape[3]))
    network, seen = _as_asked(model, precision, preprocessing), samples.contiguous()
    if not preprocessing and isinstance(model, Normalized):
        with torch.no_grad():
            seen = model.normalize(samples)
    with evaluating(model), torch.no_grad():
        expected = NamedOutputs(model)(samples)
    with atomically(path) as made:
        if format == "safetensors":
            save_weights(network if preprocessing else bare(network), made, description=description)
            run: Runner = _module_runner(NamedOutputs(load(made)[0]))
            found = run_on(run, samples, dynamic_batch=dynamic_batch)
        else:
            program = _program(NamedOutputs(network).eval(), seen, dynamic_batch)
            if format == "pt2":
                with _quiet():
                    torch.export.save(program, made)
                run = program.module()
                found = _in_another_process(made, seen, dynamic_batch)
            else:
                _write_onnx(program, made, dynamic_batch)
                run = onnx_runner(made)
                found = run_on(run, seen, dynamic_batch=dynamic_batch)
        differences = compare(expected, found)
        limit = TOLERANCE[precision] if tolerance is None else tolerance
        worst = max(differences, key=lambda difference: difference.relative)
        if not worst.relative <= limit:
            raise ExportError(
                f"{path.name} is not kept: its {worst.in_words(description.class_names)}, and {limit:g} is "
                "allowed"
            )
    return run, differences


def onnx_runner(path: Path) -> Runner:
    """Runs an ONNX file with onnxruntime on the CPU, in as many threads as torch has.

    Raises:
        ExportError: onnxruntime is not installed, or refuses the file.
    """
    runtime = _import("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's kinds have no common base
        raise ExportError(f"onnxruntime refuses {path.name}: {error}") from error
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, Tensor]:
        found = session.run(names, {"images": images.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    return run


def quantize_onnx(path: Path, target: Path) -> Runner:
    """Write an ONNX file with weights in 8 bits, whose activations are scaled as they come, and return what
    runs it. Raises `ExportError` if onnxruntime cannot."""
    _import("onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with atomically(target) as made, _quiet():
        try:
            # onnxruntime's convolutions of 8 bits take unsigned weights alone.
            quantize_dynamic(path, made, weight_type=QuantType.QUInt8)
        except Exception as error:
            raise ExportError(f"onnxruntime cannot quantize {path.name}: {error}") from error
    return onnx_runner(target)


class _ToHalf(nn.Module):
    """To fp16, behind what is computed in fp32: millimeters would overflow."""

    def __init__(self, before: nn.Module) -> None:
        super().__init__()
        self.before = before

    def forward(self, images: Tensor) -> Tensor:
        return self.before(images).half()


def _as_asked(model: nn.Module, precision: str, preprocessing: bool) -> nn.Module:
    """A copy of the network with the normalization or without, in a precision."""
    model = copy.deepcopy(model).cpu().requires_grad_(False).eval()
    network, before = bare(model), nn.Identity()
    if preprocessing and isinstance(model, Normalized):
        before = model.normalize  # type: ignore[assignment]
    if precision == "fp16":
        return Normalized(_ToHalf(before), network.half())
    return Normalized(before, network)


def _program(graph: nn.Module, images: Tensor, dynamic_batch: bool) -> Any:
    """PyTorch's exported program of a graph, with an input called `images`."""
    example = images[:1]
    shapes = None
    if dynamic_batch:
        example = images[:2] if len(images) > 1 else images[:1].repeat(2, 1, 1, 1)
        shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
    with _quiet():
        try:
            return torch.export.export(graph, (example,), dynamic_shapes=shapes)
        except Exception as error:  # torch's kinds have no common base
            raise ExportError(f"torch.export cannot trace the network: {error}") from error


def _write_onnx(program: Any, path: Path, dynamic_batch: bool) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _import(package)
    names = [spec.arg.name for spec in program.graph_signature.output_specs]
    outputs = ["logits", "embedding"][-len(names) :]
    with _quiet():
        try:
            torch.onnx.export(
                program,
                (),
                str(path),
                input_names=["images"],
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:
            raise ExportError(f"torch.onnx cannot write the network: {error}") from error
    import onnx

    onnx.checker.check_model(str(path))


_RELOAD = """
import sys
import torch
from safetensors.torch import load_file, save_file
program, images, outputs = sys.argv[1:4]
run = torch.export.load(program).module()
with torch.inference_mode():
    parts = [run(part) for part in load_file(images)["images"].split([int(n) for n in sys.argv[4:]])]
assert not any(name.partition(".")[0] == "crdkit" for name in sys.modules)
save_file({name: torch.cat([part[name] for part in parts]).contiguous() for name in parts[0]}, outputs)
"""


def _in_another_process(path: Path, samples: Tensor, dynamic_batch: bool) -> dict[str, Tensor]:
    """The outputs of a `.pt2`, read by a process that never imports crdkit."""
    sizes = [1, len(samples) - 1] if dynamic_batch and len(samples) > 1 else [1] * len(samples)
    with tempfile.TemporaryDirectory() as place:
        images, outputs = Path(place, "images.safetensors"), Path(place, "outputs.safetensors")
        save_file({"images": samples.contiguous()}, images)
        command = [
            sys.executable,
            "-c",
            _RELOAD,
            str(path.resolve()),
            str(images),
            str(outputs),
            *map(str, sizes),
        ]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ExportError(f"{path.name} does not run by itself: {done.stderr.strip().splitlines()[-1]}")
        found: dict[str, Tensor] = load_file(outputs)
        return found


def _module_runner(module: nn.Module) -> Runner:
    def run(images: Tensor) -> Mapping[str, Tensor]:
        with torch.no_grad():
            found: Mapping[str, Tensor] = module(images)
        return found

    return run


def _import(package: str) -> Any:
    try:
        return __import__(package)
    except ModuleNotFoundError as error:
        raise ExportError(f"{package} is not installed: python -m pip install 'crdkit[export]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' notes on what they do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
