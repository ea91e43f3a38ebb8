# One word for each thing you do here. `make` alone lists them.
# PYTHON=python3.12 picks the interpreter; PIP_ARGS='--index-url ...' goes to pip as it is.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
COMPLETE := .venv/.complete
# With an NVIDIA GPU pip takes PyTorch's CUDA build; without one it is held to the version that also comes as a CPU build.
CONSTRAINT = $(if $(shell command -v nvidia-smi 2>/dev/null),,-c constraints-cpu.txt)

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint format benchmark clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

quickstart: $(READY)  ## Run the whole loop on real small models: no account, no key, no GPU
	@$(BIN)/pada doctor --config pipelines/quickstart/config.yaml
	@$(BIN)/pada run --config pipelines/quickstart/config.yaml --run-dir runs/quickstart

test: $(COMPLETE)  ## Run all tests
	@$(BIN)/python -m pytest $(TESTS)

lint: $(COMPLETE)  ## Style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > .venv/lint-imports.txt || { cat .venv/lint-imports.txt; exit 1; }
	@tail -n 2 .venv/lint-imports.txt

format: $(COMPLETE)  ## Put all files into the one style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

benchmark: $(COMPLETE)  ## Measure training and generation speed of the quickstart model on this machine
	@$(BIN)/python tests/benchmarks/slm_speed.py

clean:  ## Remove the environment and all caches; runs/ and fetched models stay
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Say which: make PYTHON=python3.12"; exit 1; }
	@command -v c++ >/dev/null && command -v cc >/dev/null || \
		{ echo "A C and C++ compiler is needed to build llama.cpp: install gcc and g++ (apt install build-essential)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "Python's venv module is missing: install it (apt install python3-venv)"; exit 1; }
	@echo "Setting up .venv, once: PyTorch first ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINT) torch
	@echo "... then the rest; unless pip has a build of llama.cpp at hand it compiles one: about 5 minutes on 2 cores ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINT) -e '.[local]'
	@touch $@
	@echo "... .venv is ready"

$(COMPLETE): $(READY)
	@echo "Adding what tests and clusters need ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINT) -e '.[local,kfp,vertex,storage,dev]'
	@touch $@
