PYTHON ?= python

.PHONY: check lint types test docs

check: lint test

lint: types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy --explicit-package-bases $(wildcard docs/*.py benchmarks/*.py)

# mypy must see the checkout as a package called crdkit, whatever its folder is called.
types:
	@mkdir -p .types && ln -sfn .. .types/crdkit

test:
	$(PYTHON) -m pytest

docs:
	$(PYTHON) docs/build.py
