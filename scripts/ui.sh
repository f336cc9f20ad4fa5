#!/usr/bin/env bash
# Opens MLflow's pages on the project's lab book, for this machine alone. PORT=5000 by default.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf 'headstart: %s\n' "$*" >&2; }

store=${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}
port=${PORT:-5000}
case $store in
sqlite:*) ;;
http://* | https://*)
    # Without what may stand before @: it can hold a password.
    address=${store#*://}
    say "MLFLOW_TRACKING_URI names a server: open ${store%%://*}://${address##*@} in a browser"
    exit 1
    ;;
*)
    say 'MLFLOW_TRACKING_URI is neither sqlite: nor http(s): nothing is shown. Unset it to see the' \
        "project's own lab book, mlflow.db."
    exit 1
    ;;
esac
if [ "$store" = sqlite:///mlflow.db ] && [ ! -f mlflow.db ]; then
    say 'no lab book yet (mlflow.db). It is written by: make run'
    exit 1
fi

say "MLflow on $store: http://127.0.0.1:$port (Ctrl-C ends it)"
# Job execution alone starts ten processes that nothing here needs.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
exec .venv/bin/mlflow ui --backend-store-uri "$store" --host 127.0.0.1 --port "$port" --workers 1
