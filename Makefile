# Hallwatch: `make help` lists the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.hallwatch-setup

# without compiled modules every command of the suite, and every start, takes three times as long
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage fuzz check lint types contracts format lock wheel clean

help: ## what each command does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## a virtual environment in .venv with everything pinned in requirements-dev.txt

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Hallwatch needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "Could not make a virtual environment. On Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements-dev.txt)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## the simulated factory and the whole service on it (DEMO="--racks 8 --for 60")
	$(BIN)/hallwatch demo $(DEMO)

test: setup ## every test; installs the Debian servers it needs when it may
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/run.sh

coverage: setup ## every test, and the lines that none reached (twice the time)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/run.sh --cov --cov-report=term-missing:skip-covered

fuzz: setup ## coverage-guided fuzzing of every parser (FUZZ="--seconds 300 dsx")
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group fuzz
	$(BIN)/python -m tests.fuzz.run $(FUZZ)

check: lint types contracts ## lint, types, import contracts

lint: setup ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(BIN)/mypy

contracts: setup ## floors of the architecture
	$(BIN)/lint-imports

format: setup ## reformat the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## resolve the pinned requirements again from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --no-emit-index-url --no-header -q -o requirements.txt
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-emit-index-url --no-header -q -o requirements-dev.txt

wheel: setup ## build the wheel into dist/
	$(BIN)/uv build --quiet --wheel --out-dir dist .

clean: ## remove what was built, not the data
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
