# Two commands matter: `make demo` breeds a model from the shipped zoo, `make test` passes the tests.
# Both do all set-up themselves, in a virtual environment of their own.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN ?= runs/demo

.PHONY: demo test test-all lint bench zoo clean help

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kingyo needs Python 3.11 or newer: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## breed a model from the shipped zoo, write its report, export it
	$(BIN)/python examples/demo/run.py

test: $(STAMP) ## run the tests (minutes)
	$(BIN)/python -m pytest

test-all: $(STAMP) ## run the slow tests as well
	$(BIN)/python -m pytest -m ''

lint: $(STAMP) ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(STAMP) ## run the benchmarks
	$(BIN)/python benchmarks/candidate.py

zoo: $(STAMP) ## rebuild the zoo (about half an hour)
	$(BIN)/python zoo/build.py --out zoo

clean: ## remove the virtual environment
	rm -rf $(VENV)
