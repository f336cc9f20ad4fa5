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

# Two servers on one port, and the page below would belong to the other.
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    say "port $port is taken; name another: make ui PORT=5010"
    exit 1
fi

say "MLflow on $store: http://127.0.0.1:$port (Ctrl-C ends it)"
# The page worth opening can be named once the server answers. A desktop opens it.
(
    page=$(PYTHONPATH=src .venv/bin/python -m headstart.tracking.view "http://127.0.0.1:$port" \
        2>/dev/null) || exit 0
    say "comparison runs, few columns: $page"
    say "their curves and accuracies on one page: $page&compareRunsMode=CHART"
    if [ -t 2 ] && [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}${TERM_PROGRAM:-}" ]; then
        .venv/bin/python -m webbrowser "$page" >/dev/null 2>&1 || true
    fi
) &
# Job execution alone starts ten processes that nothing here needs.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
exec .venv/bin/mlflow ui --backend-store-uri "$store" --host 127.0.0.1 --port "$port" --workers 1
