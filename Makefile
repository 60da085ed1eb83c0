# Everything sets itself up: a virtual environment in the checkout, and for tests the peers from Debian.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ONLY ?=

.PHONY: help demo test soak check bench clean
.DEFAULT_GOAL := help

help: ## say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

$(BIN)/.node: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(BIN)/.test: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(BIN)/.node

demo: $(BIN)/.node ## let two sites share real DICOM files, through a kill and a cut, and say what happens
	@$(BIN)/konzilium demo

test: $(BIN)/.test ## run the tests; installs the peers from Debian where it may
	@$(BIN)/python -m tests.support.peers
	@$(BIN)/python -m $(if $(ONLY),pytest $(ONLY),tests)

soak: $(BIN)/.test ## kill sites under load, try 1,000 histories of three, simulate 20,000 seeds; KILLS=500 SEEDS=100000 for more
	@KILLS=$(or $(KILLS),100) $(BIN)/python -m pytest tests/e2e/test_federation_kills.py
	@KONZILIUM_HISTORIES=1000 $(BIN)/python -m pytest --timeout=0 tests/federation/test_three_sites.py
	@CHAOS=$(or $(CHAOS),5) $(BIN)/python -m pytest --timeout=0 tests/e2e/test_chaos.py
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),20000) --from $(or $(FROM),100000)

check: $(BIN)/.test ## format, lint, types, arrows
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(BIN)/.test ## measure the node beside Debian's Orthanc and rsync in one run; ONLY=cstore-ct-1 for one figure
	@$(BIN)/python -m bench $(ONLY)

clean: ## remove what was made here
	rm -rf $(VENV) bench/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
