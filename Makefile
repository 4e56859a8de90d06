# `make train` and `make test` do everything on a fresh machine with Python 3.11 to 3.13; no GPU needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test test-all fast notebooks lint docs clean

train: .venv/installed            ## train the toy segmenter; ARGS="task=classification" changes it
	$(BIN)/python train.py $(ARGS)

test: .venv/installed             ## every test not marked slow, gpu or bench
	$(BIN)/python -m pytest -m "not slow and not gpu and not bench" --durations=20

test-all: .venv/installed         ## the slow ones, too
	$(BIN)/python -m pytest -m "not gpu and not bench" --durations=20

fast: .venv/installed             ## before each commit
	$(BIN)/python -m pytest -m fast

notebooks: .venv/installed        ## execute all of notebooks/ in place, to commit what they show
	$(BIN)/python tools/notebooks.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed             ## the site, into site/ (the variable: mkdocs stays below 2, as pyproject.toml says)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 14), 'Python 3.11 to 3.13 needed: make PYTHON=python3.12'"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv runs site
