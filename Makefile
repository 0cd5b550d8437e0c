# hugefs: one door to everything. `make` alone lists the commands.
#
#   make test PYTHON=/opt/python3.12/bin/python3     another Python than the first good one
#   make test VENV=/tmp/hugefs-venv                  another place for the environment than .venv

SHELL := /bin/sh
PYTHON ?=
VENV ?= .venv
export PYTHON VENV
BIN = $(VENV)/bin
PYTEST = $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check fast bench clean env-run env-dev

help:
	@echo "make demo     the main job of hugefs, with the counters after every step"
	@echo "make test     every test that can run here"
	@echo "make check    lint, types, house rules and the fast tests: before every commit"
	@echo "make fast     the fast tests alone"
	@echo "make bench    measured side by side with what you would use instead"
	@echo "make clean    remove the environment and everything that was generated"

demo: env-run
	@$(BIN)/hugefs demo

bench: env-run
	@$(BIN)/hugefs bench

test: env-dev
	@$(PYTEST)

fast: env-dev
	@$(PYTEST) -q -m "not slow"

check: env-dev
	@$(BIN)/ruff check src tests
	@$(BIN)/ruff format --check src tests
	@$(BIN)/mypy
	@$(PYTEST) -q tests/house
	@$(PYTEST) -q -m "not slow" $(addprefix --ignore=tests/,house client cli models stories)

env-run:
	@tools/environment run

env-dev:
	@tools/environment dev

clean:
	@rm -rf "$(VENV)" build dist htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
	@find src tests -name __pycache__ -prune -exec rm -rf {} +
