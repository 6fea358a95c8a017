# Two commands: `make demo` (install, then the main job) and `make test` (install, then the tests).
# `make help` lists the rest. The environment is made once, in $(VENV), and reused until its inputs change.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types bench-cpu clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(VENV)/.runtime  ## install, then forecast the shipped weather table and write a report
	@echo "==> running the demo: forecasting the weather of New York 48 hours ahead"
	@$(BIN)/xlstm-apps demo

test: $(VENV)/.dev lint  ## install, check the code, then run the tests
	@echo "==> running the tests in $(WORKERS) processes"
	@$(BIN)/python -m pytest -n $(WORKERS) -q

lint: $(VENV)/.dev  ## style, spelling, types and import direction
	@echo "==> checking style, spelling, types and import direction"
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/codespell
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --level error
	@$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## rewrite the code in the project's style
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench-cpu: $(VENV)/.dev  ## time the CPU operations beside torch's own
	@$(BIN)/python benchmarks/cpu_ops.py

clean:  ## remove the environment and the caches
	rm -rf $(VENV) .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "xlstm-apps needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "==> making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: $(BIN)/python pyproject.toml constraints.txt
	@echo "==> installing xlstm-apps and what it needs (a few minutes the first time)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "==> installing the tools for the tests"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@
