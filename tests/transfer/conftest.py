"""Small teachers of different widths and modalities."""

from tiny_networks import networks

__all__ = ["networks"]
