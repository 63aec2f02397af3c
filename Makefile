# evenskin. `make` or `make help` lists the targets; each one sets up .venv with what it needs first.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# The newest Python that is named by its version; 3.11 is the oldest that will do.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
# Runs the tests of the pages' JavaScript; 20.19 is the oldest that takes the pages' modules as they are.
NODE ?= node
# An index with other builds of PyTorch (CPU or GPU) than the default one's.
TORCH_INDEX_URL ?=
# Parallel test processes.
WORKERS ?= 2
# Random moments of `make faults`: each service is killed so often, each time at another one.
ROUNDS ?= 10
# A folder of labelled pictures for `make reproduce`, as `evenskin import` reads them; without it, faces are drawn.
DATA ?=
# Extra arguments of `make demo`, `make reproduce`, `make test`, `make faults`, `make bench`, `make mutants`, `make up` and `make down`.
ARGS ?=
# Docker compose: `docker compose`, or the older `docker-compose`.
COMPOSE ?= docker compose
export COMPOSE

VENV := .venv
INTEROP := .venv-interop
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --constraint requirements.lock $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL))
# The slowest first, so that no worker is left alone with them.
SUITES = $(wildcard tests/faults tests/e2e tests/browser tests/integration tests/contract tests/unit)

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/installed-all ## run the whole loop in one process: dataset, training, rebalance, better model, prediction
	$(BIN)/evenskin demo $(ARGS)

.PHONY: clean-demo
clean-demo: ## forget what `make demo` made
	rm -rf var/demo

.PHONY: reproduce
reproduce: $(VENV)/installed-all ## measure what balancing does to a model, with controls, on drawn faces or on DATA=DIR; an hour
	$(BIN)/evenskin reproduce $(if $(DATA),--data '$(DATA)') $(ARGS)

.PHONY: test
test: lint test-js ## lint, then run unit, contract, integration, browser, end-to-end and fault tests
	$(BIN)/python -m tests.servers prepare
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(SUITES) $(ARGS)

.PHONY: test-js
test-js: ## run the unit tests of the pages' JavaScript
	@$(NODE) --eval 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
		|| { echo 'The JavaScript tests need Node.js 20.19 or newer. Install it (Debian 13: apt-get install nodejs;' \
		'macOS: brew install node), or name one with NODE=…'; exit 1; }
	$(NODE) --test --test-reporter=spec tests/unit/javascript/*.test.mjs

.PHONY: faults
faults: $(VENV)/installed-test ## inject faults at many random moments; `make test` has one round of it
	$(BIN)/python -m tests.servers prepare
	EVENSKIN_TEST_FAULT_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal tests/faults $(ARGS)

.PHONY: interop
interop: $(VENV)/installed-test $(INTEROP)/installed ## have pycocotools, datumaro and a Label Studio read our exports, Triton's client ask our server
	$(BIN)/python -m tests.interop.check $(INTEROP)/bin/python

$(INTEROP)/installed: tests/interop/requirements.txt
	$(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip --disable-pip-version-check install --requirement tests/interop/requirements.txt
	@touch $@

.PHONY: up
up: .env ## start RabbitMQ, PostgreSQL, the store and the five services in containers
	$(COMPOSE) up --detach --build $(ARGS)
	@echo 'Review and campaigns: http://127.0.0.1:'$$(sed -n 's/^LABELER_PORT=//p' .env)
	@echo 'Try a selfie:         http://127.0.0.1:'$$(sed -n 's/^MODEL_SERVER_PORT=//p' .env)

.PHONY: down
down: .env ## stop them; what they keep stays (ARGS=--volumes removes it)
	$(COMPOSE) --profile observability down --remove-orphans $(ARGS)

.PHONY: smoke
smoke: $(VENV)/installed-test ## run the loop through docker compose, with replicas, kills and restarts, and check its end
	$(BIN)/python -m tests.smoke

.PHONY: lint
lint: $(VENV)/installed-test ## check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.imports

.PHONY: bench
bench: $(VENV)/installed-test ## measure speed; ratios from one run
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: mutants
mutants: $(VENV)/installed-mutants ## set small faults into the pure modules: their unit tests must notice 90% of each one's
	$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: docs
docs: $(VENV)/installed-test ## write the reference pages and schemas in docs/ from the code
	$(BIN)/python -m docs.generate

.PHONY: lock
lock: $(VENV)/installed-lock ## pin anew every package that any part needs, in requirements.lock
	$(BIN)/pip-compile --quiet --upgrade --all-extras --strip-extras --annotation-style line --unsafe-package evenskin --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml
	$(BIN)/python -m tests.lock requirements.lock

.PHONY: clean
clean: ## remove .venv and caches
	rm -rf $(VENV) $(INTEROP) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info

.env:
	$(PYTHON) deploy/new_env.py

# One environment for all; a part's packages and models are installed again when they or their pins change.
$(VENV)/installed-%: pyproject.toml requirements.lock shared/models.toml | $(BIN)/python
	$(INSTALL) --editable '.[$*]'
	$(BIN)/python deploy/install_models.py shared/models.toml '$*'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'evenskin needs Python 3.11 or newer; name one with PYTHON=…'; exit 1; }
	$(PYTHON) -m venv $(VENV)
