# One word for each thing you do here. `make` alone lists them.
# PYTHON=python3.12 picks the interpreter; PIP_ARGS='--index-url ...' goes to pip as it is.
PYTHON ?= python3
PIP_ARGS ?=
# What is installed here is locked (make locks). NEWEST=1 takes the newest versions there are instead, in an environment of its own:
# `make test NEWEST=1` says what they break.
NEWEST ?=
# Test files that run side by side; each process may hold a model of 1 GB.
JOBS ?= 2
VENV := $(if $(NEWEST),.venv-newest,.venv)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPLETE := $(VENV)/.complete
PEERS := $(VENV)/.peers
LOCK := $(if $(NEWEST),constraints-cpu.txt,constraints.txt)
CONSTRAINT = -c $(LOCK)

# Images, see images/README.md. BASE and SLM_BASE replace the bases that the Dockerfiles name; BUILD_FLAGS goes to docker as it is.
DOCKER ?= docker
REGISTRY ?=
DIGESTS ?= digests.yaml
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
NAME = $(REGISTRY:%=%/)pada-agent/$(1):$(TAG)
ROLES := agents analysis slm study
BASE_OF_agents = $(BASE)
BASE_OF_analysis = $(BASE)
BASE_OF_slm = $(or $(SLM_BASE),$(if $(filter cpu,$(SLM)),$(or $(BASE),python:3.11-slim-bookworm)))
BASE_OF_study = $(call NAME,slm)
LOCK_OF_slm = $(if $(filter cpu,$(SLM)),requirements.cpu.lock)
LOCK_OF_study = $(LOCK_OF_slm)
# Of a tree with changes, new files too, the commit alone would say what is not in the image.
REVISION = $(shell git rev-parse HEAD 2>/dev/null)$(if $(shell git status --porcelain 2>/dev/null),-dirty)

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-containers test-cluster lint format benchmark images push lock locks clean $(ROLES:%=image-%)

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

quickstart: $(READY)  ## Run the whole loop on real small models: no account, no key, no GPU
	@$(BIN)/pada doctor --config pipelines/quickstart/config.yaml
	@$(BIN)/pada run --config pipelines/quickstart/config.yaml --run-dir runs/quickstart

# Files in their order: xdist would begin with those of most tests and end with the few that take minutes, on one core.
test: $(COMPLETE)  ## Run all tests but those of the images
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

test-containers: $(COMPLETE)  ## Build the images and run the loop container by container on a Docker engine: about 20 minutes
	@$(BIN)/python -m pytest tests/containers

test-cluster: $(COMPLETE)  ## Run on a real Kubeflow Pipelines, see tests/cluster/README.md: about 45 minutes
	@REGISTRY='$(REGISTRY)' TAG='$(TAG)' $(BIN)/python tests/cluster

lint: $(COMPLETE)  ## Style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@mkdir -p .venv/source/pada_agent && ln -sfn ../../../components ../../../pipelines ../../../python/__init__.py .venv/source/pada_agent/
	@$(BIN)/mypy
	@PYTHONPATH=.venv/source $(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.txt || { cat $(VENV)/lint-imports.txt; exit 1; }
	@tail -n 2 $(VENV)/lint-imports.txt

format: $(COMPLETE)  ## Put all files into the one style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

benchmark: $(PEERS)  ## Speed and memory compared with TRL, lm-eval and an ideal LLM client: about 20 minutes
	@$(BIN)/python tests/benchmarks $(BENCHMARK)

images: $(ROLES:%=image-%)  ## Build the four images; REGISTRY=... TAG=... name them, SLM=cpu does without CUDA

$(ROLES:%=image-%): image-%:
	DOCKER_BUILDKIT=1 $(DOCKER) build -f images/$*/Dockerfile -t $(call NAME,$*) $(BASE_OF_$*:%=--build-arg BASE=%) \
		$(LOCK_OF_$*:%=--build-arg LOCK=%) --build-arg VERSION=$(TAG) --build-arg REVISION=$(REVISION) $(BUILD_FLAGS) .

image-study: image-slm  # its base

push:  ## Push the four images to REGISTRY; their digests go into DIGESTS, for `pada compile --images`
	@test -n '$(REGISTRY)' || { echo "Say where the images go: make push REGISTRY=registry.example/team"; exit 1; }
	@for role in $(ROLES); do $(DOCKER) push $(call NAME,$$role) || exit 1; done
	@printf 'registry: %s\ntag: "%s"\ndigests:\n' '$(REGISTRY)' '$(TAG)' > '$(DIGESTS).part'
	@for role in $(ROLES); do $(DOCKER) image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' $(call NAME,$$role) | \
		sed -n "s|^$(REGISTRY:docker.io/%=%)/pada-agent/$$role@|  $$role: |p" | head -n 1 | grep . >> '$(DIGESTS).part' || \
		{ echo "$(DOCKER) knows no digest of $(call NAME,$$role)"; exit 1; }; done
	@mv '$(DIGESTS).part' '$(DIGESTS)' && echo "$(DIGESTS): what pada compile --images takes"

locks: lock  ## Choose all package versions anew, with uv; CPU_TORCH=... is a page or folder with PyTorch's CPU builds
	$(call lock,agents,agents/requirements.lock)
	$(call lock,analysis,analysis/requirements.lock,--find-links $(CPU_TORCH))
	$(call lock,slm --extra qlora,slm/requirements.lock)
	$(call lock,study --extra qlora,study/requirements.lock,-c images/slm/requirements.lock)
	sed -i 's/^torch==*/torch===/' images/slm/requirements.lock images/study/requirements.lock  # two signs would let a build for CPUs pass for the same version
	$(call lock,slm,slm/requirements.cpu.lock,--find-links $(CPU_TORCH))
	$(call lock,study,study/requirements.cpu.lock,-c images/slm/requirements.cpu.lock --find-links $(CPU_TORCH))
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | uv pip compile - -c images/slm/requirements.lock $(FOR_IMAGES) -o images/build.lock

lock:  ## Choose anew what quickstart and tests install, on Linux, macOS and Windows, for Python 3.11 and newer
	uv pip compile pyproject.toml --extra local --extra kfp --extra vertex --extra storage --extra dev --extra benchmark \
		-c constraints-cpu.txt --universal --python-version 3.11 --upgrade --quiet --no-annotate \
		--custom-compile-command 'make locks' -o constraints.txt

lock = uv pip compile pyproject.toml --extra $(1) --extra storage -c constraints-cpu.txt $(3) $(FOR_IMAGES) -o images/$(2)
FOR_IMAGES = --quiet --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command 'make locks'

clean:  ## Remove the environment and all caches; runs/ and fetched models stay
	rm -rf .venv .venv-newest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Say which: make PYTHON=python3.12"; exit 1; }
	@command -v c++ >/dev/null && command -v cc >/dev/null || \
		{ echo "A C and C++ compiler is needed to build llama.cpp: install gcc and g++ (apt install build-essential)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv module is missing: install it (apt install python3-venv)"; exit 1; }
	@echo "Setting up $(VENV), once: PyTorch first ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINT) torch
	@echo "... then the rest; unless pip has a build of llama.cpp at hand it compiles one: about 5 minutes on 2 cores ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINT) -e '.[local]'
	@touch $@
	@echo "... $(VENV) is ready"

$(COMPLETE): $(READY)
	@echo "Adding what tests and clusters need ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINT) -e '.[local,kfp,vertex,storage,dev]'
	@touch $@

$(PEERS): $(READY)
	@echo "Adding what the benchmark compares with ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINT) -e '.[local,benchmark]'
	@touch $@
