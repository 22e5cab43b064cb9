"""What is done to a whole batch on its device: augmentation, geometry, color, channels."""
