"""How MLflow's runs page opens: comparison runs first, few columns, both arms on one chart.

The view, in view.json, is a tag of the experiment, as MLflow's own button "Share" writes it, so
that an address can name it. Without `isAccordionReordered` MLflow would sort its own sections, one
a metric's prefix, before it. Speaks plain HTTP to a server that runs, without importing MLflow.
"""

import itertools
import json
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

import requests

from headstart.tracking.store import EXPERIMENT

VIEW = "headstart"
# Okabe and Ito's, which people with any colour vision can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WAIT_SECONDS = 120
_CALL_SECONDS = 10


def address(server: str) -> str:
    """Puts the view into the store behind `server` and returns the address that opens it.

    Args:
        server: Such as http://127.0.0.1:5000; it may still be starting.

    Raises:
        TimeoutError: It did not answer in two minutes.
    """
    state = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    deadline = time.monotonic() + _WAIT_SECONDS
    query = urllib.parse.urlencode({"experiment_name": EXPERIMENT})
    while True:
        try:
            answer = _call("GET", server, f"experiments/get-by-name?{query}")
            break
        except requests.HTTPError as error:
            if error.response is not None and error.response.status_code == 404:
                return server
            raise
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{server} does not answer") from None
            time.sleep(0.2)
    number = answer["experiment"]["experiment_id"]
    tag = {"key": f"mlflow.sharedViewState.{VIEW}", "value": json.dumps(state)}
    _call("POST", server, "experiments/set-experiment-tag", {"experiment_id": number, **tag})
    # MLflow draws colours by chance, often one for two.
    runs = {"experiment_ids": [number], "filter": state["searchFilter"], "max_results": 200}
    runs |= {"order_by": ["attributes.start_time ASC"]}
    answer = _call("POST", server, "runs/search", runs)
    for run, colour in zip(answer.get("runs", []), itertools.cycle(_COLOURS), strict=False):
        if "mlflow.runColor" not in {tag["key"] for tag in run["data"].get("tags", [])}:
            tag = {"key": "mlflow.runColor", "value": colour}
            _call("POST", server, "runs/set-tag", {"run_id": run["info"]["run_id"], **tag})
    query = urllib.parse.urlencode({"workflowType": "machine_learning", "viewStateShareKey": VIEW})
    return f"{server}/#/experiments/{number}/runs?{query}"


def _call(method: str, server: str, what: str, body: Any = None) -> Any:
    where = f"{server}/api/2.0/mlflow/{what}"
    answer = requests.request(method, where, json=body, timeout=_CALL_SECONDS)
    answer.raise_for_status()
    return answer.json()


if __name__ == "__main__":
    print(address(sys.argv[1]))
