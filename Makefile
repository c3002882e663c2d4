# `make help` lists the targets. Variables: PYTHON (3.11 or newer), VENV (the folder of the virtual
# environment), ARGS.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# The tests start some hundred processes. Without compiled modules each costs two seconds of CPU.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV ?= .venv
JOBS ?= auto
ARGS ?=

BIN := $(VENV)/bin
# The stamps are named after the checksums of the locks, so a change of the locks makes a new
# environment.
RUNTIME := $(VENV)/.runtime-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' -)
DEV := $(VENV)/.dev-$(shell cat requirements.lock requirements-dev.lock pyproject.toml | cksum | tr ' ' -)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE = "$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(RUNTIME) ## run everything with an embedded PostgreSQL and watch deliveries; ARGS="--for 15s" ends by itself
	@exec $(BIN)/jossiedb demo $(ARGS)

.PHONY: test
test: $(DEV) ## run the tests; ARGS chooses: make test ARGS="tests/unit -k canonical"
	@exec $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

.PHONY: chaos
chaos: $(DEV) ## try every fault under load, some of them 50 times, and print the account; takes a quarter of an hour
	@JOSSIEDB_TEST_FAULTS=full exec $(BIN)/python -m pytest -n 0 -q tests/resilience -k fault -m "chaos or not chaos" $(ARGS)

.PHONY: large
large: $(DEV) ## run the tests that need a million items, a million events and two million attempts; takes some minutes
	@JOSSIEDB_TEST_ROOM_GIB=12 exec $(BIN)/python -m pytest -n 0 -q -o faulthandler_timeout=1800 tests/large -m large $(ARGS)

.PHONY: check
check: $(DEV) ## lint, formatting, types, direction of imports, plain English, the compose file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.check_prose
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	bash -n .ci/run

.PHONY: bench
bench: $(RUNTIME) ## measure how fast it is, as ratios; ARGS="--quick", "--only drain,latency", "--against COMMIT", "--json FILE", "--markdown"
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: schema
schema: $(DEV) ## make sql/schema.sql from the migrations
	@$(BIN)/python -m tools.make_schema > sql/schema.sql.draft || { rm -f sql/schema.sql.draft; exit 1; }
	@mv sql/schema.sql.draft sql/schema.sql

.PHONY: documents
documents: $(DEV) ## make docs/openapi.json, asyncapi.json, REFERENCE.md, EVENTS.md and the table in ARCHITECTURE.md from the code
	@$(BIN)/python -m tools.make_documents

.PHONY: lock
lock: ## resolve the newest versions that pyproject.toml allows into requirements*.lock
	@uv=$$(command -v uv || true); \
	if [ -z "$$uv" ]; then \
	  [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); \
	  $(PIP) install uv; uv=$(BIN)/uv; \
	fi; \
	$(COMPILE) --upgrade pyproject.toml --extra embedded --extra build -o requirements.lock; \
	$(COMPILE) --upgrade pyproject.toml --extra embedded --extra build --extra dev -c requirements.lock -o requirements-dev.lock; \
	$(COMPILE) --upgrade pyproject.toml --extra build -c requirements.lock -o requirements-image.lock; \
	$(COMPILE) --upgrade tests/clients/requirements.in -c requirements-dev.lock -o tests/clients/requirements.lock

.PHONY: clean
clean: ## remove what these targets made, except the demo's data
	rm -rf $(VENV) build jossiedb.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Jossiedb needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo 'not there');" \
	       "name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) lacks venv or ensurepip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV)" >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(DEV): $(RUNTIME)
	@echo "adding what tests and checks need to $(VENV)" >&2
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
