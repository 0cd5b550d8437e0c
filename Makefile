# hugefs: one door to everything. `make` alone lists the commands.
#
# The environment lives in .venv and is made when it is first needed, with Python's own venv and pip. It is made again
# when pyproject.toml changed or the folder was moved: .venv/.installed-* hold what they were made from.
#
#   make test PYTHON=/opt/python3.12/bin/python3     another Python
#   make test VENV=/tmp/hugefs-venv                  another place for the environment

SHELL := /bin/sh
PYTHON ?=
VENV ?= .venv
BIN = $(VENV)/bin
PYTEST = $(BIN)/python -m pytest
export PIP_DISABLE_PIP_VERSION_CHECK = 1

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
	@$(PYTEST) -q -m "not slow" --ignore=tests/house

clean:
	@rm -rf $(VENV) build dist htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
	@find src tests -name __pycache__ -prune -exec rm -rf {} +

env-run: WANTED = run
env-dev: WANTED = dev
env-run env-dev:
	@set -eu; \
	say() { printf '%s\n' "$$*" >&2; }; \
	if [ "$$(uname -s)" != Linux ]; then \
	    say "hugefs needs Linux: memfd, huge pages and SCM_RIGHTS are the kernel's. This is $$(uname -s)."; exit 1; \
	fi; \
	now="$$(pwd; cat pyproject.toml)"; \
	made_from() { [ -f "$(VENV)/.installed-$$1" ] && [ "$$(cat "$(VENV)/.installed-$$1")" = "$$now" ]; }; \
	runs() { "$(BIN)/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	if runs && { made_from dev || { [ $(WANTED) = run ] && made_from run; }; }; then exit 0; fi; \
	if [ -e "$(VENV)" ] && [ ! -w "$(VENV)" ] || [ ! -e "$(VENV)" ] && [ ! -w "$$(dirname "$(VENV)")" ]; then \
	    say "$(VENV) cannot be written by you. Another place for it: make $(MAKECMDGOALS) VENV=/tmp/hugefs-venv"; exit 1; \
	fi; \
	python=; without_venv=; \
	candidates="python3 python3.14 python3.13 python3.12 python3.11 /usr/local/bin/python3 /usr/bin/python3"; \
	for candidate in $${PYTHON:-$$candidates}; do \
	    "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	    if "$$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	    without_venv=$$candidate; \
	done; \
	if [ -z "$$python" ] && [ -n "$$without_venv" ]; then \
	    say "$$without_venv has no venv or no ensurepip module; your distribution packs them apart."; \
	    say "Debian, Ubuntu: apt install python3-venv. Or name another Python: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; \
	    exit 1; \
	fi; \
	if [ -z "$$python" ]; then \
	    say "hugefs needs Python 3.11 or newer; not found as: $${PYTHON:-$$candidates}."; \
	    say "Install one, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; \
	fi; \
	where="$$(pwd)"; \
	if ! runs || { [ "$$(head -n 1 "$(VENV)/.installed-run" 2>/dev/null)" != "$$where" ] \
	               && [ "$$(head -n 1 "$(VENV)/.installed-dev" 2>/dev/null)" != "$$where" ]; }; then \
	    say "setting up $(VENV) with $$("$$python" --version 2>&1) ..."; \
	    "$$python" -m venv --clear "$(VENV)"; \
	fi; \
	rm -f "$(VENV)/.installed-$(WANTED)"; \
	if [ $(WANTED) = dev ]; then what='.[dev]'; also=' and what the tests need'; else what=.; also=; fi; \
	say "installing hugefs$$also (half a minute, once) ..."; \
	"$(BIN)/python" -m pip install -qq -e "$$what"; \
	printf '%s\n' "$$now" >"$(VENV)/.installed-$(WANTED)"; \
	say "ready."
