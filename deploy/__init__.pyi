from .compare import Difference, ExportError, compare, run_on
from .export import TOLERANCE, export_network, onnx_runner, quantize_onnx
from .folder import Card, save
from .latency import latency
from .loading import SAMPLES, find_network, load
from .networks import NamedOutputs, bare, build, describe
from .predict import Prediction, predict
from .preprocess import Preprocess, describe_encoding, encoding_of, units_of

__all__ = [
    "SAMPLES",
    "TOLERANCE",
    "Card",
    "Difference",
    "ExportError",
    "NamedOutputs",
    "Prediction",
    "Preprocess",
    "bare",
    "build",
    "compare",
    "describe",
    "describe_encoding",
    "encoding_of",
    "export_network",
    "find_network",
    "latency",
    "load",
    "onnx_runner",
    "predict",
    "quantize_onnx",
    "run_on",
    "save",
    "units_of",
]
