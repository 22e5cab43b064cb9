"""Sources of samples, a file each."""
