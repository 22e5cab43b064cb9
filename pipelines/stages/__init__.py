"""Stages of a run that need more than one call of the training loop."""
