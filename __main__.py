"""`python -m crdkit`, the same as the console script `crdkit`."""

from crdkit.experiments.cli import main

if __name__ == "__main__":
    main()
