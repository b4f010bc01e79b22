# Everything runs in .venv, which is made on first use from the exact versions in requirements/constraints.txt.
# Each target works on its own, on a fresh clone; `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STUBS := $(VENV)/.stubs
BOARDS := esp32 rp2
FUZZ_S := 60
PACKAGES := $(wildcard protocol/evergrow_*/__init__.py firmware/evergrow_*/__init__.py host_sim/evergrow_*/__init__.py)
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.PHONY: help demo test lint spec generate asyncapi types budgets bench fuzz clean venv broker

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## A simulated washer gets new features over the air, end to end
	@$(BIN)/evergrow demo

test: $(READY) broker ## All tests; portable code on CPython and on MicroPython
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: spec ## Style and likely mistakes (ruff), and what `make spec` checks
	@$(BIN)/ruff check --output-format concise .

spec: $(READY) ## Every sentence of protocol/SPEC.md with an id has a test, no id is used twice
	@$(BIN)/evergrow spec check
	@$(BIN)/evergrow registry check

generate: $(READY) ## All that is made from tables: registry, test vectors, grammar, asyncapi.yaml
	@$(BIN)/evergrow registry write
	@$(BIN)/python -m evergrow_tools.vector_gen
	@$(BIN)/python -m evergrow_tools.grammar_gen

asyncapi: $(READY) ## protocol/asyncapi.yaml is current, and the reference parser (Node.js, installed here) finds nothing
	@$(BIN)/python -m evergrow_tools.grammar_gen --check
	@requirements/asyncapi.sh $(VENV)
	@$(BIN)/node $(VENV)/asyncapi/validate.mjs protocol/asyncapi.yaml

types: $(READY) $(STUBS) ## Type check: host code, and portable code against each board's MicroPython stubs
	@echo "types: host code, CPython's standard library"
	@$(BIN)/mypy
	@modules=$$($(BIN)/python -c "from evergrow_tools.mpy import modules; print(*('-m ' + module.name for module in modules()))") && \
	for board in $(BOARDS); do \
		echo "types: portable code, MicroPython's standard library on $$board"; \
		MYPYPATH=$(VENV)/stubs/$$board $(BIN)/mypy --config-file requirements/mypy-micropython.ini \
			--cache-dir .mypy_cache/$$board --custom-typeshed-dir $(VENV)/stubs/$$board $$modules || exit 1; \
	done

fuzz: $(READY) ## Fuzz every parser of hostile bytes, FUZZ_S seconds each (60)
	@$(BIN)/python tests/fuzz/run.py all build/fuzz -max_total_time=$(FUZZ_S) -rss_limit_mb=1024

budgets: $(READY) ## Measure sizes and compare them with budgets.toml
	@$(BIN)/evergrow budgets

bench: $(READY) ## Measure speed and memory
	@$(PIP) install -c requirements/constraints.txt --no-build-isolation --editable '.[bench]'
	@$(BIN)/evergrow bench --write docs/benchmarks.md

clean: ## Remove everything that was made, .venv too
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv: $(READY) ## Only make .venv

broker:
	@requirements/mosquitto.sh

$(READY): pyproject.toml requirements/constraints.txt $(PACKAGES)
	@requirements/venv.sh $(VENV)
	@echo "venv: installing the versions of requirements/constraints.txt (a minute the first time)"
	@$(PIP) install -c requirements/constraints.txt setuptools && \
		$(PIP) install -c requirements/constraints.txt --no-build-isolation --editable '.[dev]' \
		|| { echo "venv: pip failed: see its message above. It needs a network; then run make again." >&2; exit 1; }
	@touch $@

$(STUBS): requirements/stubs.txt $(READY)
	@echo "venv: installing the MicroPython stubs of $(BOARDS)"
	@for board in $(BOARDS); do \
		rm -rf $(VENV)/stubs/$$board; \
		$(PIP) install --no-deps --target $(VENV)/stubs/$$board $$(grep -E "^micropython-($$board|stdlib)-stubs==" requirements/stubs.txt) \
			|| { echo "venv: pip failed: see its message above. It needs a network; then run make again." >&2; exit 1; }; \
	done
	@touch $@
