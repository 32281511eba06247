# Two commands matter: `make demo` breeds a model from the shipped zoo, `make test` passes the tests.
# Both do all set-up themselves, in a virtual environment of their own.

.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MERGEKIT := .mergekit-venv
SD_MECHA := .sd-mecha-venv
USER_STAMP := $(VENV)/.installed-user
DEV_STAMP := $(VENV)/.installed-dev
RUN ?= runs/demo
CONFIG ?= examples/demo/run.yaml
SIGHT_RUN ?= runs/sight
PICTURES_RUN ?= runs/pictures
POOL_RUN ?= runs/pool
# Tiny models are fastest on one thread each, so the tests run side by side instead.
PYTEST := --numprocesses auto --dist worksteal
test test-all: export OMP_NUM_THREADS = 1
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo pool sight pictures test test-all mergekit-venv sd-mecha-venv lint bench zoo clean help

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("kingyo needs Python 3.11 or newer: make PYTHON=python3.x" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(USER_STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing kingyo and what it needs, torch among it, into $(VENV): some minutes, most of them for the download"
	@$(PIP) --editable '.[language,report]'
	@touch $@

$(VENV)/.installed-vision: $(USER_STAMP)
	@$(PIP) --editable '.[language,report,vision]'
	@touch $@

$(VENV)/.installed-draw: $(USER_STAMP)
	@$(PIP) --editable '.[language,report,draw]'
	@touch $@ $(VENV)/.installed-vision

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing kingyo and the tools of its developers into $(VENV): some minutes"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(USER_STAMP) $(VENV)/.installed-vision $(VENV)/.installed-draw

demo: $(USER_STAMP) ## breed a model from the shipped zoo, write its report, export it
	@if [ -d $(RUN) ]; then $(BIN)/kingyo resume $(RUN); \
	else $(BIN)/kingyo evolve $(CONFIG) --run $(RUN); fi
	@$(BIN)/kingyo report $(RUN)
	@[ -d $(RUN)/model ] || $(BIN)/kingyo export $(RUN) $(RUN)/model
	@echo "The command kingyo is in $(BIN): activate it with '. $(BIN)/activate'."

pool: $(USER_STAMP) ## choose among 24 models what one task needs, and breed a model from it (some minutes)
	@$(MAKE) --no-print-directory demo RUN=$(POOL_RUN) CONFIG=examples/pool/run.yaml

sight: $(VENV)/.installed-vision ## breed a model that sees, from the second zoo (some minutes)
	@$(MAKE) --no-print-directory demo RUN=$(SIGHT_RUN) CONFIG=examples/sight/run.yaml

pictures: $(VENV)/.installed-draw ## breed a model that draws, from the third zoo (some minutes)
	@$(MAKE) --no-print-directory demo RUN=$(PICTURES_RUN) CONFIG=examples/pictures/run.yaml

test: $(DEV_STAMP) ## run the tests (minutes)
	$(BIN)/python -m pytest $(PYTEST)

test-all: $(DEV_STAMP) ## run the slow tests as well, and those against mergekit and sd-mecha where they are installed
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest $(PYTEST) -m ''

# mergekit is what the oracle tests and the benchmark compare with, in a virtual environment of its own.
mergekit-venv: $(MERGEKIT)/.installed ## install mergekit 0.1.5 beside us, for test-all and bench

$(MERGEKIT)/.installed:
	$(PYTHON) -m venv $(MERGEKIT)
	echo '*' > $(MERGEKIT)/.gitignore
	$(MERGEKIT)/bin/python -m pip install --quiet --disable-pip-version-check 'mergekit==0.1.5'
	@touch $@

# sd-mecha is what an oracle test of merge block weights compares with, also in its own.
sd-mecha-venv: $(SD_MECHA)/.installed ## install sd-mecha 1.1.8 beside us, for test-all

$(SD_MECHA)/.installed:
	$(PYTHON) -m venv $(SD_MECHA)
	echo '*' > $(SD_MECHA)/.gitignore
	$(SD_MECHA)/bin/python -m pip install --quiet --disable-pip-version-check 'sd-mecha==1.1.8'
	@touch $@

lint: $(DEV_STAMP) ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(DEV_STAMP) ## run the benchmarks
	$(BIN)/python benchmarks/candidate.py
	$(BIN)/python benchmarks/merge.py
	$(BIN)/python benchmarks/knapsack.py
	@rm -f $(VENV)/dataflow.jsonl
	$(BIN)/python benchmarks/dataflow.py --parts mechanics --out $(VENV)/dataflow.jsonl

zoo: $(USER_STAMP) ## rebuild the zoo (about half an hour)
	$(BIN)/python zoo/build.py --out zoo

clean: ## remove the virtual environments
	rm -rf $(VENV) $(MERGEKIT) $(SD_MECHA)
