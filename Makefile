# Every target sets up what it needs; on a fresh Debian machine start with `make run`.
SHELL := /bin/sh
BIN := .venv/bin
PYTHON ?= python3
PYTEST := $(BIN)/python -m pytest
# What `make check` leaves to `make test`: everything that starts a program or takes long.
SLOW := browser or nats or containerd or crictl or kubernetes or system or deep
SOURCES := common coordinator agent sandbox tests bench

.DEFAULT_GOAL := help

.PHONY: help
help: ## List all targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.ready ## Make .venv and get everything that running and testing needs
	@scripts/fetch-containerds
	@scripts/fetch-browser

.venv/.ready: pyproject.toml constraints.txt scripts/make-venv $(wildcard client/python/pyproject.toml)
	@PYTHON=$(PYTHON) scripts/make-venv

.PHONY: run
run: .venv/.ready ## Try it: three local nodes, a registry, a first task, then serve (ARGS=--once: end after it)
	@$(BIN)/python -m sandbox $(ARGS)

.PHONY: test
test: setup ## Run all tests, on real parts
	@$(PYTEST) -q $(ARGS)

.PHONY: check
check: .venv/.ready ## The fast gate: format, lint, types, import contracts, fast tests
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(PYTEST) -q -m "not ($(SLOW))" $(ARGS)

.PHONY: bench
bench: setup ## Measure speed and memory; prints ratios and CPU time
	@$(BIN)/python -m bench $(ARGS)

.PHONY: fmt
fmt: .venv/.ready ## Format the code and mend what ruff can mend by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: lint
lint: .venv/.ready ## Lint, types and import contracts only
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: proto
proto: ## Generate the runtime's protobuf messages anew (after a change of a .proto)
	@scripts/generate-proto

.PHONY: build
build: .venv/.ready ## Build the distributions into dist/
	@$(BIN)/python -m build --outdir dist .

.PHONY: clean
clean: ## Remove everything that was made here
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
