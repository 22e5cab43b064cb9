"""Checks and estimates before a run: memory, disk, one trial step of every training, the plan."""
