# Every target makes .venv itself, from hash-locked requirements. `make` alone lists the targets.
PYTHON ?= python3
TRADINGD_ARGS ?=
BENCH_ARGS ?=
SIM_ARGS ?= --seeds 20 --seed 1 --candles 30
PYTEST_ARGS ?= -n 2 --dist loadfile
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test conformance check simulate bench faults lock clean

help:
	@echo "make run     trade on the built-in venue (TRADINGD_ARGS=... are handed on)"
	@echo "make test    run the tests (PYTEST_ARGS=...)"
	@echo "make conformance  one suite over every implementation of the venue port, with counts"
	@echo "make check   ruff, mypy --strict, import-linter"
	@echo "make bench   measure what docs and README claim (BENCH_ARGS='kill --count 5' for one figure)"
	@echo "make faults  which faults are played by which tests, and why the others are not"
	@echo "make simulate  the daemon in virtual time under seeded faults (SIM_ARGS='--crashes 4' kills it at boundaries)"
	@echo "make lock    resolve requirements.lock and requirements-dev.lock anew"
	@echo "make clean   remove .venv, caches and build products; journals in var/ stay"

run: $(VENV)/.installed
	$(BIN)/tradingd run $(TRADINGD_ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

conformance: $(VENV)/.dev
	$(BIN)/python -m pytest tests/conformance -n 0 -q $(CONFORMANCE_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

simulate: $(VENV)/.dev
	$(BIN)/python -m tradingd.simulation $(SIM_ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

faults: $(VENV)/.dev
	@$(BIN)/python -m tests.faults.table

# One resolution that holds for every supported Python; the dev lock may only add to the runtime lock.
LOCK = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-config
lock: $(VENV)/.dev
	$(LOCK) --group build --output-file requirements.lock
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -path ./var -prune -o -name __pycache__ -type d -exec rm -rf {} +

# Bytecode is compiled here, in parallel: without it the first import of ccxt takes ten seconds instead of one.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile
COMPILE = $(BIN)/python -m compileall -q -j 2 "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit("tradingd needs Python 3.11 to 3.13, this is %d.%d: say make PYTHON=python3.x" % v)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.locked: requirements.lock | $(VENV)/bin/python
	$(INSTALL) --require-hashes -r requirements.lock
	$(COMPILE)
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	$(INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(COMPILE)
	@touch $@
