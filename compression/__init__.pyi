from .config import CompressionConfig, TeacherConfig
from .presets import PAIRS, PRESETS
from .protocol import MethodRun, Protocol

__all__ = ["PAIRS", "PRESETS", "CompressionConfig", "MethodRun", "Protocol", "TeacherConfig"]
