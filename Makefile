# Needs make and Python 3.10 or newer; everything else goes into .venv.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/zsaudio tag examples/audio --labels-file examples/labels.txt --top-k 3

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# torch goes first: pip then takes the pinned build for everything that needs it.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
