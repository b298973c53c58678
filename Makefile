# make demo   distils a small network on real photographs, on any machine
# make test   runs the checks and tests
# make env    makes the virtual environment that both use

VENV := .venv
BIN := $(VENV)/bin
# BasicSR 1.4.2 cannot be built on Python 3.13 and later; another Python is chosen by: make PYTHON=/path/to/python demo
SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	if $$p -c '$(SUITABLE)' 2>/dev/null; then echo $$p; break; fi; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: env demo test clean

env: $(VENV)/.made

$(VENV)/.made: setup.py pyproject.toml Makefile
	@$(or $(PYTHON),false) -c '$(SUITABLE)' 2>/dev/null || { echo "error: $(or $(PYTHON),no python3) is not Python 3.10, 3.11 or 3.12 with its venv module; install one or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version); torch is large, this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch torchvision setuptools wheel
	# Without build isolation: BasicSR asks for torch to be built, and would fetch it a second time.
	$(PIP) --no-build-isolation basicsr==1.4.2
	$(PIP) --no-build-isolation --editable '.[demo,test]'
	@touch $@

demo: env
	$(BIN)/python demo/run.py

test: env
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --numprocesses 2

clean:
	rm -rf $(VENV) build *.egg-info results/demo experiments/demo_*
