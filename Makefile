# Every command a developer or an operator of one machine needs. `make help` lists them.
PYTHON ?= python3
PORT ?= 8000
FUZZ_SECONDS ?= 600
DATA_DIR ?= ./data
VENV := .venv
BIN := $(VENV)/bin
# What a lock names is installed as it is, whatever the machine's pip is set to.
INSTALL := $(BIN)/python requirements/install.py

.DEFAULT_GOAL := help
.PHONY: help setup run test coverage check fuzz bench docs screenshots lock clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(VENV)/run.stamp ## Install what serving needs and serve on http://127.0.0.1:8000 (PORT=, DATA_DIR=)
	@exec $(BIN)/vacpack serve --port $(PORT) --data-dir $(DATA_DIR)

setup: $(VENV)/dev.stamp ## Install everything development needs into .venv

test: setup ## Run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile

coverage: setup ## Run the tests and tell which lines and branches they reach; every process is slower for it
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term

check: setup ## Formatting, lint, types, import rules: what CI checks before the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup ## Give every reader of what clients send input by chance for ten minutes (FUZZ_SECONDS=)
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

bench: setup ## Measure against the tutorial's way in one run; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

docs: setup ## Rewrite the parts of the documents that are made from the code
	$(BIN)/python -m tests.write_docs

screenshots: setup ## Take the README's pictures of the pages again (needs Chromium and a Chinese font)
	$(BIN)/python -m tests.browser.take_screenshots

lock: ## Resolve the newest releases into requirements/*.lock (needs uv)
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml --group build -o requirements/run.lock
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml --group dev -c requirements/run.lock -o requirements/dev.lock

clean: ## Remove .venv and caches; never the data folder
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*

# A failed attempt leaves nothing that the next would take for an environment.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vacpack needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@echo 'Making $(VENV) …'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/run.stamp: requirements/run.lock pyproject.toml | $(VENV)/bin/python
	@$(INSTALL) requirements/run.lock .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock pyproject.toml | $(VENV)/bin/python
	@$(INSTALL) requirements/dev.lock .
	@touch $@ $(VENV)/run.stamp
