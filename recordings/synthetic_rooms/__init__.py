"""Rendered RGB-D rooms with exact labels."""
