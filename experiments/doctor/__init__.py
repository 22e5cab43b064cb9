"""`crdkit doctor COMMAND …`: what would go wrong, told before anything trains."""
