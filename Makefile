# make demo   distils a small network on real photographs, on any machine
# make test   runs the checks of style, layers and types, and the tests
# make env    makes the virtual environment that both use

VENV := .venv
OURS := basicsr benchmarks datasets demo mipkd_arch mipkd_model tests install.py setup.py
BIN := $(VENV)/bin
# Another Python is chosen by: make PYTHON=/path/to/python3.12 demo
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	if $$p -c '$(SUITABLE)' 2>/dev/null; then echo $$p; break; fi; done)

.PHONY: env demo test clean

env: $(VENV)/.made

$(VENV)/.made: install.py setup.py pyproject.toml Makefile
	@$(or $(PYTHON),false) -c '$(SUITABLE)' 2>/dev/null || { echo "error: $(or $(PYTHON),no python3) is not Python 3.10 or later with its venv module; install one or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version); torch is large, this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python install.py --quiet --editable --extra demo --extra test
	@touch $@

demo: env
	$(BIN)/python demo/run.py

test: env
	$(BIN)/ruff check $(OURS)
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 2

clean:
	rm -rf $(VENV) build *.egg-info results/demo experiments/demo_*
