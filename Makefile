# The commands of this project. Each sets up what it needs: Python 3.11+ with venv is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Some tests wait, so three at once keep two cores busy.
WORKERS ?= 3

.PHONY: help demo test lint format tables long bench bench-quick package lock clean
.DEFAULT_GOAL := help

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(STAMP)  ## Show what ecrsweep does, on an embedded AWS
	$(BIN)/ecrsweep demo

test: lint  ## Lint, types, imports and all tests
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(STAMP)  ## Format, lint, types and imports, checked
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

tables: $(STAMP)  ## Make anew what is made of the code: tables of the documents, policies of the templates
	$(BIN)/python docs/tables.py
	$(BIN)/python deploy/policies.py

long: $(STAMP)  ## The property tests over thousands of worlds
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -n $(WORKERS) --timeout 1500 tests/core/test_invariants.py tests/core/test_graph.py tests/stories/test_worlds.py tests/stories/test_machine.py

PEER ?=
bench: $(STAMP)  ## Measure speed and memory, into bench/RESULTS.md; beside another program: PEER='CMD'
	$(BIN)/python -m bench.run $(if $(PEER),--peer '$(PEER)')

bench-quick: $(STAMP)  ## The same in two minutes, with small worlds, into build/bench
	$(BIN)/python -m bench.run --quick $(if $(PEER),--peer '$(PEER)')

ARCH ?= arm64
package: $(STAMP)  ## Build the zip of the Lambda function, dist/ecrsweep-lambda-arm64.zip; for this machine: ARCH=host
	$(BIN)/python deploy/package.py --arch $(ARCH)

clean:  ## Remove what was set up
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis build dist

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python has no venv. On Debian: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

lock: $(STAMP)  ## Renew the locks in requirements/, without index addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--extra demo --group dev pyproject.toml --output-file requirements/dev.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--generate-hashes --constraint requirements/dev.txt --group lambda --output-file requirements/lambda.txt
