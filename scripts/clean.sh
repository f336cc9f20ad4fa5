#!/usr/bin/env bash
# Takes away what can be made again; says what it kept.
#
# Only what git ignores is touched, so that a committed file or one of your own is never lost.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
shopt -s nullglob

# By name: the environment and what tools leave behind, and the outputs that `dvc checkout` or
# `dvc repro` brings back. Globs, since the .gitignore beside an output is committed.
paths=(
    .venv .headstart/setup.lock .headstart/features build dist
    .mypy_cache .pytest_cache .ruff_cache .hypothesis
    data/raw/* data/prepared/* models/*.keras models/*.history.csv reports/*
    metrics/mistakes.csv
)
while IFS= read -r -d '' cache; do
    paths+=("$cache")
done < <(find benchmarks scripts src stages tests -name __pycache__ -type d -print0 2>/dev/null)

existing=()
for path in "${paths[@]}"; do
    if [ -e "$path" ] || [ -L "$path" ]; then existing+=("$path"); fi
done
if [ ${#existing[@]} -gt 0 ]; then
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        # -X: ignored files only. -ff: build/ may hold a git repository of its own.
        git clean -ffdXq -- "${existing[@]}"
    else
        rm -rf -- "${existing[@]}"
    fi
fi
printf 'headstart: removed the environment, caches of tools, build/, and the outputs of the stages.\n'
printf 'headstart: kept: .dvc/cache (results of every branch), mlflow.db (the lab book and registry).\n'
