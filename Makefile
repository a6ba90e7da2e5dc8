# `make run` shows the page, `make test` checks everything. Both make their own environment in .venv.
# The first Python that runs. Up to 3.12 TensorFlow is the version that TensorFlow Serving has GPU images of.
PYTHON ?= $(shell for name in python3.12 python3.11 python3.13; do $$name -c "import ensurepip" 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin

# Settings of `make run`; the environment or the command line may set them.
export NST_MODEL_DIR ?= models/style_transfer
WEIGHTS ?= imagenet

# Settings of `make evaluate`: pictures or folders of them, long side, where the tables go, and FLAGS.
CONTENTS ?= ui/samples/dusk_lake.jpg ui/samples/lighthouse.jpg
STYLES ?= ui/samples/eddies.jpg ui/samples/waves.jpg
SIZE ?= 384
OUT ?= artifacts/evaluation

.PHONY: help setup lock run model evaluate bench test lint types unit soak test-serving small-model verify-deployment clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## make .venv and install the pinned requirements

# uv needs no Python and installs in a tenth of the time. Without uv, pip installs it; where uv fails, as with an index that
# only pip is configured for, pip installs everything.
UV := $(shell command -v uv || echo $(BIN)/uv)
UV_PIN := $(shell grep -o '^uv==[0-9.]*' requirements-dev.txt)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
install = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python $(1) || $(PIP_INSTALL) $(1)

$(VENV)/.made:
	@if command -v uv > /dev/null; then uv venv --quiet --seed $(if $(PYTHON),--python $(PYTHON)) $(VENV); \
	elif [ -n "$(PYTHON)" ]; then $(PYTHON) -m venv $(VENV) && { $(PIP_INSTALL) $(UV_PIN) || true; }; \
	else echo "Install uv, or Python 3.11, 3.12 or 3.13 with its module venv." >&2; exit 1; fi
	@touch $@

$(VENV)/.installed: requirements.txt | $(VENV)/.made
	$(call install,-r requirements.txt)
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(call install,-r requirements.txt -r requirements-dev.txt)
	touch $@

LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-emit-index-url \
  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
lock: $(VENV)/.installed-dev  ## resolve pyproject.toml anew: all Pythons, every hash; UPGRADE=1 takes the newest versions
	$(LOCK) --universal pyproject.toml --extra server --extra page --output-file requirements.txt
	$(LOCK) --universal --group dev --constraints requirements.txt --output-file requirements-dev.txt
	$(LOCK) $(IMAGE) pyproject.toml --extra page --constraints requirements.txt --output-file docker/requirements-ui.txt
	$(LOCK) $(IMAGE) --group export --constraints requirements.txt --output-file docker/requirements-export.txt
# The Python of docker/*.Dockerfile.
IMAGE := --python-version 3.11 --python-platform x86_64-manylinux_2_28

run: setup  ## export the model if there is none, start server and page, stop both on Ctrl-C
	@exec $(BIN)/python -m ui.launch

model: setup  ## export a new version of the model: make model WEIGHTS=imagenet|random|PATH
	$(BIN)/python -m model.export --weights $(WEIGHTS) --output $(NST_MODEL_DIR)

evaluate: setup  ## compare recipes: make evaluate CONTENTS=DIR STYLES=DIR WEIGHTS=PATH SIZE=384 OUT=DIR FLAGS='--presets quick'
	$(BIN)/python -m tests.benchmarks.evaluate --contents $(CONTENTS) --styles $(STYLES) --weights $(WEIGHTS) \
	  --size $(SIZE) --output $(OUT) $(FLAGS)

bench: $(VENV)/.installed-dev  ## measure speed and memory beside their targets: make bench WEIGHTS=PATH, BENCH=full for large sizes
	$(BIN)/python -m tests.benchmarks.bench --weights $(WEIGHTS) $(if $(filter full,$(BENCH)),--full)

test: lint types unit  ## lint, types and all tests

lint: $(VENV)/.installed-dev  ## ruff, and oxlint for JavaScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings ui/components

types: $(VENV)/.installed-dev  ## mypy
	$(BIN)/mypy

unit: $(VENV)/.installed-dev  ## pytest
	$(BIN)/pip check
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

soak: $(VENV)/.installed-dev  ## long tests under load: made-up requests, 64 clients at once (minutes; NST_SOAK_S=seconds)
	$(BIN)/python -m pytest -m soak -s -o timeout=0 -o faulthandler_timeout=0

# The tests that any model server should pass; those that kill servers need the embedded one.
SERVING_TESTS := $(addprefix tests/serving/test_,client.py transports.py command_line.py batch.py faults.py)

test-serving: $(VENV)/.installed-dev  ## the client's tests against a server: SERVER=grpc://HOST:PORT[,http://HOST:PORT]
	@test -n "$(SERVER)" || { echo "usage: make test-serving SERVER=grpc://HOST:PORT[,http://HOST:PORT]"; exit 2; }
	NST_TEST_SERVER="$(SERVER)" $(BIN)/python -m pytest $(SERVING_TESTS)

small-model: $(VENV)/.installed-dev  ## export the tests' small network, for a server that test-serving calls
	$(BIN)/python -m tests.small_model models/small/style_transfer

verify-deployment: $(VENV)/.installed-dev  ## start docker/ on a GPU and run the client's tests against it: GPU=0 for the CPU, REPLICAS=N
	@docker/verify.sh

clean:  ## remove the environment, the exported models and all caches
	rm -rf $(VENV) models artifacts .mypy_cache .pytest_cache .ruff_cache
