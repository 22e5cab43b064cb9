from .config import CompressionConfig, TeacherConfig
from .presets import PAIRS, PRESETS
from .protocol import Protocol, RunResult

__all__ = ["PAIRS", "PRESETS", "CompressionConfig", "Protocol", "RunResult", "TeacherConfig"]
