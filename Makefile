# `make train` and `make test` need only Python 3.11 to 3.13; they create .venv and install everything. No GPU needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test test-all fast notebooks lint licences docs clean

train: .venv/installed            ## train a segmenter on drawn images; ARGS="task=classification" adds arguments
	$(BIN)/python train.py $(ARGS)

test: .venv/installed             ## run every test that is not marked slow, gpu or bench
	$(BIN)/python -m pytest -m "not slow and not gpu and not bench" --durations=20

test-all: .venv/installed         ## run the slow tests as well
	$(BIN)/python -m pytest -m "not gpu and not bench" --durations=20

fast: .venv/installed             ## run the fast tests, before each commit
	$(BIN)/python -m pytest -m fast

notebooks: .venv/installed        ## execute all notebooks in place, to commit their outputs
	$(BIN)/python tools/notebooks.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

licences: .venv/installed         ## list all dependencies with their versions and licences
	$(BIN)/python tools/licences.py

docs: .venv/installed             ## build the site into site/ (the variable hides a notice: pyproject.toml requires mkdocs < 2)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 14), 'Python 3.11 to 3.13 needed: make PYTHON=python3.12'"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv runs site
