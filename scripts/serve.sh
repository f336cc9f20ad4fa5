#!/usr/bin/env bash
# Serves the registered classifier over HTTP with MLflow, for this machine alone.
#
# PORT=5001   the port
# MODEL=...   what to serve (default: models:/headstart-target@champion)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf 'headstart: %s\n' "$*" >&2; }

store=${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}
port=${PORT:-5001}
model=${MODEL:-models:/headstart-target@champion}
python=.venv/bin/python

if [ "$store" = sqlite:///mlflow.db ] && [ ! -f mlflow.db ]; then
    say 'no lab book yet (mlflow.db). Run the pipeline, then register its model: make run, then' \
        'headstart register'
    exit 1
fi
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    say "port $port is taken; name another: make serve PORT=5002"
    exit 1
fi
export MLFLOW_TRACKING_URI=$store MLFLOW_REGISTRY_URI=$store MLFLOW_DISABLE_TELEMETRY=true
# MLflow starts the server with a `uvicorn` that it looks for on PATH.
export PATH="$PWD/.venv/bin:$PATH"

# MLflow would take ten seconds to say the same in forty lines.
if [ "$store$model" = sqlite:///mlflow.dbmodels:/headstart-target@champion ] &&
    ! "$python" - <<'END' 2>/dev/null
from pathlib import Path
from headstart.tracking import private
book = Path("mlflow.db").resolve()
raise SystemExit(not private.has_alias(book, name="headstart-target", alias="champion"))
END
then
    say 'no model is registered yet. With a committed run: headstart register'
    exit 1
fi

say "$model on http://127.0.0.1:$port/invocations (Ctrl-C ends it)"
# A group of its own, so that MLflow and the server that it starts end together, whoever is told
# to: Ctrl-C reaches this script alone.
set -m
.venv/bin/mlflow models serve --model-uri "$model" --env-manager local \
    --host 127.0.0.1 --port "$port" &
server=$!
set +m
stop() {
    trap '' INT TERM
    kill -TERM -- "-$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
}
trap 'stop; exit 130' INT
trap 'stop; exit 143' TERM HUP
trap stop EXIT
status=0
wait "$server" || status=$?
exit "$status"
