# Every target sets up what it needs by itself: .venv from the pinned, hashed lock.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
# More arguments for tunesmith or pytest: make up ARGS="--port 9000"
ARGS ?=
# Tests of the whole platform run one after the other, all others beside them (tests/conftest.py).
BESIDE ?= -n 2 --no-loadscope-reorder
# Where make demo writes its figures as JSON
REPORT ?=

.PHONY: help demo up doctor environment test-environment test test-quick chaos lint format bench-train bench-report bench-gateway bench-scale fuzz chart images sbom lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: environment ## Fine-tune a small model on this machine and compare it with its base (REPORT=FILE)
	@$(BIN)/tunesmith demo $(if $(REPORT),--report "$(REPORT)") $(ARGS)

up: environment ## Start the platform and leave it running until Ctrl-C (ARGS="--base DIR --port N")
	@$(BIN)/tunesmith up $(ARGS)

doctor: environment ## Say what is installed, what device there is, and what would fail
	@$(BIN)/tunesmith doctor $(ARGS)

environment: ## Make .venv from the lock; the other targets do this by themselves
	@python=$$(scripts/python) && "$$python" scripts/environment.py

test-environment: ## The same with what checks the chart (Helm, Kubernetes' schemas, ...), half a gigabyte
	@python=$$(scripts/python) && "$$python" scripts/environment.py charts

test: lint ## Check style, types and layers, then run the test suite, all but make chaos (ARGS="-k NAME")
	@echo "== pytest"
	@$(BIN)/python -m pytest $(BESIDE) $(ARGS)

test-quick: lint ## The same without the end-to-end tests
	@echo "== pytest, without end-to-end"
	@$(BIN)/python -m pytest --ignore=tests/end_to_end --ignore-glob='tests/stack/test_*' $(BESIDE) $(ARGS)

chaos: test-environment ## All on whole platforms, harmed one part after the other (root, nftables)
	@TUNESMITH_CHAOS=1 $(BIN)/python -m pytest tests/stack tests/end_to_end $(ARGS)

lint: test-environment ## ruff, mypy --strict and the import contracts
	@echo "== ruff check" && $(BIN)/ruff check .
	@echo "== ruff format --check" && $(BIN)/ruff format --check .
	@echo "== mypy --strict (a minute the first time)" && $(BIN)/mypy
	@echo "== lint-imports" && $(BIN)/lint-imports --no-cache

format: environment ## Format, and fix what ruff can fix
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench-train: environment ## Measure the cohort trainer beside TRL, 25 minutes (ARGS="--only 2 --repeats 3")
	@$(BIN)/python -m tests.benchmarks.train $(ARGS)

bench-report: environment ## Measure the data report on 100,000 examples with planted defects (ARGS="--rows 20000")
	@$(BIN)/python -m tests.benchmarks.data_report $(ARGS)

bench-gateway: environment ## Measure the gateway beside LiteLLM and nginx (ARGS="--only 1 --repeats 3")
	@$(BIN)/python -m tests.benchmarks.gateway $(ARGS)

bench-scale: environment ## Measure what the database and a cohort carry, and plan by size (ARGS="--only 2 --plots")
	@$(BIN)/python -m tests.benchmarks.scale $(ARGS)

fuzz: environment ## Send made-up requests to every route, others each time, 10 minutes (ARGS="--each 50 --seed N")
	@$(BIN)/python -m tests.gateway.conformance.fuzz $(ARGS)

chart: test-environment ## Generate the chart's README and schema, lint it, render all ready-made values
	@$(BIN)/python scripts/chart.py generate
	@$(BIN)/python scripts/chart.py check

images: ## Build the images with docker, podman or buildah (REGISTRY=, VERSION=, WORKERS=cpu|gpu, GCS=1)
	@scripts/images

sbom: environment ## Write a CycloneDX SBOM of each image's Python packages to build/sbom
	@scripts/sbom

lock: environment ## Make requirements/lock.txt from pyproject.toml (UPGRADE=1, or UPGRADE=name)
	@scripts/lock

clean: ## Remove .venv, build/ and caches; the platform's data stays
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
