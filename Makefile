PYTHON ?= python

.PHONY: check lint types test docs results

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

# The site, into site/; whatever mkdocs warns of is an error.
docs: types
	$(PYTHON) -m mkdocs build --strict

# The tables and pictures of the pages, from benchmarks/results/.
results:
	$(PYTHON) docs/build.py
