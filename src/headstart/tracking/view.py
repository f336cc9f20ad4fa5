"""How MLflow's runs page opens: comparison runs first, few columns, both arms on one chart.

The view is a tag of the experiment, as MLflow's own button "Share" writes it, so that an address
can name it. Speaks plain HTTP to a server that runs; MLflow itself need not be imported.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from headstart.tracking.store import EXPERIMENT

VIEW = "headstart"
# What turns all runs into comparison runs in MLflow's search field.
COMPARISONS = "tags.`headstart.kind` = 'comparison'"

_COLUMNS = (
    "tags.`headstart.verdict`",
    "metrics.`accuracy_gain`",
    "metrics.`baseline/accuracy`",
    "metrics.`transfer/accuracy`",
    "metrics.`mcnemar_p`",
    "tags.`headstart.fair`",
    "params.`transfer.strategy`",
    "params.`seed`",
    "tags.`provenance.branch`",
)
_CHARTS = (
    ("LINE", ["baseline/val_accuracy", "transfer/val_accuracy"]),
    ("LINE", ["baseline/val_loss", "transfer/val_loss"]),
    ("BAR", ["baseline/accuracy"]),
    ("BAR", ["transfer/accuracy"]),
    ("BAR", ["accuracy_gain"]),
)
# Okabe and Ito's, which people with any colour vision can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WAIT_SECONDS = 120
_CALL_SECONDS = 10


def state() -> dict[str, Any]:
    """Returns the view as MLflow 3 keeps it."""
    return {
        "searchFilter": COMPARISONS,
        "selectedColumns": list(_COLUMNS),
        "runsHiddenMode": "FIRST_20_RUNS",
        # Else MLflow sorts its own sections, one a metric's prefix, before this one.
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": VIEW, "name": "Comparison", "display": True, "isReordered": False}
        ],
        "compareRunCharts": [_chart(*what) for what in _CHARTS],
    }


def _chart(kind: str, metrics: list[str]) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"{VIEW}-{metrics[0]}",
        "metricKey": metrics[0],
        "selectedMetricKeys": metrics,
        "metricSectionId": VIEW,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 20,
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "useGlobalXaxisKey": False,
    }


def address(server: str) -> str:
    """Puts the view into the store behind `server` and returns the address that opens it.

    Args:
        server: Such as http://127.0.0.1:5000; it may still be starting.

    Raises:
        TimeoutError: It did not answer in two minutes.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            query = urllib.parse.urlencode({"experiment_name": EXPERIMENT})
            answer = _call(server, f"experiments/get-by-name?{query}")
            break
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return server
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{server} does not answer") from None
            time.sleep(0.2)
    experiment = answer["experiment"]["experiment_id"]
    tag = {"key": f"mlflow.sharedViewState.{VIEW}", "value": json.dumps(state())}
    _call(server, "experiments/set-experiment-tag", {"experiment_id": experiment, **tag})
    _colour(server, experiment)
    query = urllib.parse.urlencode({"workflowType": "machine_learning", "viewStateShareKey": VIEW})
    return f"{server}/#/experiments/{experiment}/runs?{query}"


def _colour(server: str, experiment: str) -> None:
    """Gives comparison runs different colours: MLflow draws them by chance, often one for two."""
    asked = {"experiment_ids": [experiment], "filter": COMPARISONS, "max_results": 200}
    answer = _call(server, "runs/search", asked | {"order_by": ["attributes.start_time ASC"]})
    for number, run in enumerate(answer.get("runs", [])):
        colour = _COLOURS[number % len(_COLOURS)]
        tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
        if "mlflow.runColor" not in tags:
            tag = {"key": "mlflow.runColor", "value": colour}
            _call(server, "runs/set-tag", {"run_id": run["info"]["run_id"], **tag})


def _call(server: str, what: str, body: Any = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 (an address of http, made by our caller)
        f"{server}/api/2.0/mlflow/{what}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:  # noqa: S310
        return json.load(answer)


if __name__ == "__main__":
    print(address(sys.argv[1]))
