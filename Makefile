# Every target does its own set-up from a fresh clone; all it needs is Python 3.10 or newer, as `python3` or PYTHON=...
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEER := .peer
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
IN := -c constraints/dev.txt
# Tests that `make coverage` runs. Those of shells are left out (sockets, processes, races of threads), as are property tests:
# a branch of a pure module is covered every time or not at all.
SHELL_TESTS := $(addprefix tests/api/test_,executors.py loops.py lookup.py resources.py) \
	$(addprefix tests/checks/test_,local.py odd_callers.py pitfalls.py) \
	$(wildcard tests/datastream/test_dial.py tests/datastream/test_stream*.py tests/datastream/test_chaos.py) \
	$(wildcard tests/events/test_servers*.py) \
	$(addprefix tests/events/test_,cycles.py delivery.py losses.py processes.py races.py sender.py soak.py)
PURE_TESTS := $(addprefix tests/,api binding cache checks datastream events webhooks \
	$(addprefix server/test_,machines.py streams.py)) \
	$(addprefix tests/test_,config.py config_datastream.py errors.py finished.py keys.py timing.py values.py wire.py)
PACKAGES := schematic_core schematic_fastapi schematic_flask schematic_django

.PHONY: help demo test test-servers soak coverage lint bench bench-once wasm wasm-check generate generate-check docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

demo: $(VENV)/.base ## gate, meter and re-open a real FastAPI app against the local server (KEEP=1 leaves both running)
	@$(BIN)/python examples/fastapi_app/demo.py $(if $(KEEP),--keep)

test: $(VENV)/.test $(PEER)/.installed ## run the tests
	$(BIN)/python -m pytest $(ARGS)

test-servers: $(VENV)/.test ## forks and exits of real servers, in every combination (`make test` takes one of each kind)
	SERVERS=all $(BIN)/python -m pytest tests/events/test_servers*.py $(ARGS)

soak: $(VENV)/.test ## lose no event in minutes of trouble, and nothing else in 10,000 clients (SECONDS=180 of storm)
	$(BIN)/python -m tests.events.soak --seconds $(or $(SECONDS),180)
	$(BIN)/python -m tests.events.cycles

coverage: $(VENV)/.test ## prove that tests take every branch of values, wire, machines and flows
	$(BIN)/python -m pytest -q -m 'not hypothesis' --cov --cov-report= $(PURE_TESTS) $(addprefix --ignore=,$(SHELL_TESTS))
	$(BIN)/coverage report --fail-under=100 --include="$$($(BIN)/python -m tests.support.pure)"

lint: $(VENV)/.dev ## formatter, linter, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@rm -rf $(VENV)/public && $(PIP) install --no-deps --target $(VENV)/public .
	cd $(VENV)/public && PYTHONPATH=. ../bin/pyright --pythonpath ../bin/python --verifytypes schematic_core --ignoreexternal
	cd $(VENV)/public && PYTHONPATH=. ../bin/pyright --pythonpath ../bin/python --verifytypes schematic_fastapi --ignoreexternal

bench: $(VENV)/.test $(PEER)/.installed ## measure against the vendor's package; fails below a bar
	$(BIN)/python -m tests.benchmarks

bench-once: $(VENV)/.test $(PEER)/.installed ## run every benchmark once, for its answers only
	$(BIN)/python -m tests.benchmarks --once

wasm: $(VENV)/.dev ## compile the rules engine
	$(BIN)/python tools/build_wasm.py

wasm-check: $(VENV)/.dev ## prove that the compiled engine is what its source gives
	$(BIN)/python tools/build_wasm.py --check

generate: $(VENV)/.test ## write the API models and stubs from the API description
	$(BIN)/python tools/generate_models.py

generate-check: $(VENV)/.test ## prove that models and stubs are what the generator gives
	$(BIN)/python tools/generate_models.py --check

docs: $(VENV)/.test ## run the examples of README and docs, and check their links
	$(BIN)/python -m pytest tests/test_docs.py $(ARGS)

clean: ## remove what the targets made
	rm -rf $(VENV) $(PEER) .mypy_cache .pytest_cache .ruff_cache .coverage .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; say which: make PYTHON=python3.12 ...")'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade pip $(IN)

$(VENV)/.base: pyproject.toml constraints/dev.txt | $(BIN)/python
	@echo "installing the suite"
	@$(PIP) install $(IN) -e '.[server,fastapi]'
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@echo "installing the test tools"
	@$(PIP) install $(IN) --group test
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@echo "installing the development tools"
	@$(PIP) install $(IN) --group dev
	@touch $@

$(PEER)/.installed: constraints/peer.txt | $(BIN)/python
	@echo "installing the vendor's package in $(PEER), as a peer"
	@rm -rf $(PEER) && $(PYTHON) -m venv $(PEER)/venv
	@$(PEER)/venv/bin/python -m pip --disable-pip-version-check -q install -c constraints/peer.txt 'schematichq[datastream]'
	@$(PIP) download --no-deps -d $(PEER)/readme schematichq==1.2.0
	@touch $@
