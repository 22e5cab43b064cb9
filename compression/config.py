"""What a person can set for a compression run; imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path

from ..data import ImagesConfig
from ..transfer import PipelineConfig


@dataclass(frozen=True)
class CompressionConfig(PipelineConfig):
    """Distil a teacher, or several, into a small student, with one method or several beside each other."""

    data: ImagesConfig = field(default_factory=ImagesConfig)
    """The images."""
    probe: tuple[Path, ...] = ()
    """Packed HDF5 files of other images, on which a linear probe judges every frozen student."""
    tsne: bool = False
    """Draw up to 2000 test embeddings of every student with t-SNE in the report, instead of 600."""
