"""Pairs as sensors record them: found on disk, read in their units, aligned, checked."""
