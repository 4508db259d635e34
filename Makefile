# `make demo` and `make test` set up everything by themselves: .venv in the checkout, from PyPI.
# It is made anew when pyproject.toml changes.

PYTHON := .venv/bin/python
# Arguments for pytest, for example: make test TESTS="tests/context -x"
TESTS ?=

.PHONY: help demo models test lint format benchmarks wheel-test clean
.DEFAULT_GOAL := help

help:
	@echo "make demo        classify the example set and write tables and a picture"
	@echo "make models      fit the shipped models anew: make models DATA=folder-of-the-labelled-surveys"
	@echo "make test        all tests (those on real data where BAYESCLASS_DATA or ../shared/data has it)"
	@echo "make lint        ruff: rules and format"
	@echo "make format      put the code into ruff's format"
	@echo "make benchmarks  the scripts in benchmarks/, one after the other"
	@echo "make wheel-test  the tests on the built wheel, installed outside the checkout"
	@echo "make clean       remove .venv and what tools left behind"

.venv/.ready: pyproject.toml .ci/venv
	@sh .ci/venv

demo: .venv/.ready
	@$(PYTHON) -m bayesclass.demo

models: .venv/.ready
	@test -n "$(DATA)" || { echo "Name the folder of the labelled survey data: make models DATA=..." >&2; exit 2; }
	@$(PYTHON) scripts/fit_models.py $(DATA)

# Tests of one file stay together, because they share fitted models. Two processes of one thread each for the
# linear algebra: more would compete for the cores.
test: .venv/.ready
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 --dist loadfile $(TESTS)

lint: .venv/.ready
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

format: .venv/.ready
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

benchmarks: .venv/.ready
	@set -e; for name in network_inference structure_functions likelihood_honesty forecasts upper_limits ingredients modes \
	    cross_match host_association context_alone network_structure \
	    cross_validation; do \
	    echo "== $$name"; $(PYTHON) benchmarks/$$name.py; done

wheel-test: .venv/.ready
	@OMP_NUM_THREADS=1 .ci/wheel-test $(TESTS)

clean:
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
