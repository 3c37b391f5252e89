# `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Modules that are imported uncompiled are compiled once, also where the environment says otherwise:
# without it, each of the processes that tests start would compile torch again.
export PYTHONDONTWRITEBYTECODE =

# Tests run in this many processes, one thread each.
WORKERS ?= 2
PYTEST  := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test soak lowest fuzz fuzz-coverage audit lint docs format clean

demo: $(VENV)/demo
	$(BIN)/dropkit compare digits

# Everything that proves behaviour: minutes on two cores.
test: $(VENV)/dev
	$(PYTEST)

# What takes longer: many kills, memory limits, large archives, thousands of cases, every
# reproduction of the paper at its quick budget, a Ray cluster of two nodes.
soak: $(VENV)/dev
	$(PYTEST) -m soak
	DROPKIT_FUZZ=1000 $(PYTEST) tests/study/test_fuzzing.py

# Tests with the lowest versions that pyproject.toml allows, in an environment of its own. torch is the
# pinned version; `make lowest TORCH=2.12.0` takes another. Tests that only need torch are left out.
TORCH  ?=
LOWEST := tests/cli tests/adapters tests/test_package.py tests/study/data tests/study/judging \
          tests/study/record tests/study/report tests/study/tuning
lowest: $(VENV)/dev
	$(PYTHON) -m venv $(VENV)-lowest
	$(BIN)/python tests/lowest_versions.py $(TORCH) > $(VENV)-lowest/requirements.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	  --requirement $(VENV)-lowest/requirements.txt --editable .
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -n $(WORKERS) --dist worksteal $(LOWEST)

# Ten thousand cases of bad input for each of the ways in.
fuzz: $(VENV)/dev
	DROPKIT_FUZZ=10000 $(PYTEST) tests/study/test_fuzzing.py

# The same ways in and more, towards lines that no case has reached; atheris has wheels for few
# systems, so that it comes with this target alone.
fuzz-coverage: $(VENV)/dev
	$(PIP) atheris
	$(BIN)/python tests/fuzzing/cover.py

# Known vulnerabilities of everything installed but dropkit itself, which no index has. Strict: one
# that cannot be looked up, for example without a network, is a failure and not a pass. A version's
# local label, as in 2.13.0+cpu, names a build; advisories are about the release.
audit: $(VENV)/dev
	$(PIP) pip-audit
	$(BIN)/python -m pip list --format freeze --exclude-editable > $(VENV)/installed
	sed 's/+.*//' $(VENV)/installed > $(VENV)/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)/installed.txt

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Fails on a broken link, on a warning, and on a public name without a page.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist site src/*.egg-info .mypy_cache .ruff_cache .pytest_cache

# One call each, with torch pinned in constraints.txt: no requirement can choose another build of it.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Most modules of torch and scipy are never imported here, so that compiling all takes longer than
# compiling those that are, when they are.
$(VENV)/demo: constraints.txt pyproject.toml | $(BIN)/python
	$(PIP) --no-compile --editable '.[demo]'
	touch $@

$(VENV)/dev: constraints.txt pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[study,adapters,ray,dev]'
	touch $@

$(VENV)/docs: constraints.txt pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[study,adapters,ray,docs]'
	touch $@
