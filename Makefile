# Needs make and Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= python3
BIN = .venv/bin
# Python compiles a module when it is first imported; pip would compile tens of thousands that never are.
INSTALL = python -m pip install --quiet --disable-pip-version-check --no-compile

# Without compiled modules each of the many processes that tests start would compile all it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-torchaudio torture lint docs wheel clean

demo: .venv/installed
	$(BIN)/zsaudio tag examples/audio --labels-file examples/labels.txt --top-k 3

# Files of tests side by side, one a core, each with one thread.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# A share of the campaign of mistreatment; docs/reliability.md has the whole.
torture: .venv/installed-dev
	$(BIN)/python benchmarks/torture.py --share 0.01

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The pages of docs/ and the reference as a site, in site/.
docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Build the distributions, install the wheel elsewhere and use it.
wheel: .venv/installed-dev
	$(BIN)/python .ci/check_wheel.py

# Only what zsaudio itself needs. torch goes first: pip then takes the pinned build for everything that needs it.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) -c constraints.txt torch
	$(BIN)/$(INSTALL) -c constraints.txt -e .
	touch $@

# What tests, lint and docs need as well.
.venv/installed-dev: .venv/installed
	$(BIN)/$(INSTALL) -c constraints.txt -e ".[dev]"
	touch $@

# With torchaudio, which brings a torch of its own: 5 GB, so in an environment of its own. Its extra pins the torch that
# torchaudio's wheel fits; the constraints pin the rest.
test-torchaudio: .venv-torchaudio/installed
	.venv-torchaudio/bin/python -m pytest

.venv-torchaudio/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-torchaudio
	grep -v '^torch==' constraints.txt > .venv-torchaudio/constraints.txt
	.venv-torchaudio/bin/$(INSTALL) -c .venv-torchaudio/constraints.txt -e ".[dev,torchaudio]"
	touch $@

clean:
	rm -rf .venv .venv-torchaudio build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
