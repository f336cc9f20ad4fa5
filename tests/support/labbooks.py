"""What the tests of the lab book share: a checkout as after a run, the store read raw."""

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from projects import ROOT

from headstart.tracking.identity import STAGES

EPOCHS = [
    {
        "epoch": epoch,
        "loss": 1 / epoch,
        "accuracy": 1 - 0.1 / epoch,
        "val_loss": 1.1 / epoch,
        "val_accuracy": 0.9 - 0.1 / epoch,
    }
    for epoch in (1, 2, 3)
]
METRICS = {
    "comparison": {
        "accuracy_gain": -0.25,
        "accuracy_gain_low": -0.5,
        "accuracy_gain_high": -0.125,
        "mcnemar_p": 0.01,
        "verdict": "baseline better",
        "fair": True,
    },
    "baseline": {"accuracy": 0.75, "loss": 0.5, "auc": None},
    "transfer": {"accuracy": 0.5, "loss": 1.0, "auc": 0.5},
    "source": {"accuracy": 0.75},
    "cost": {"transfer": {"flops": 123}},
}


def new_store(file: Path) -> Path:
    """An empty store; making one takes seconds, so tests copy one."""
    from headstart.tracking import labbook

    labbook.LabBook(f"sqlite:///{file}")
    return file


def new_checkout(root: Path, *, store: Path) -> Path:
    """A checkout as after a run whose stages were started by hand, and an empty store."""
    texts = {path: path for stage in STAGES.values() for path in (*stage.data, stage.model)}
    lines = ["arm,epoch,loss,accuracy,val_loss,val_accuracy"]
    for stage in STAGES.values():
        lines += [",".join([stage.arm, *map(str, row.values())]) for row in EPOCHS]
    texts |= {
        "dvc.yaml": "stages: {}\n",
        "params.yaml": (ROOT / "params.yaml").read_text(),
        "metrics/history.csv": "\n".join(lines) + "\n",
        "metrics/metrics.json": json.dumps(METRICS),
        "metrics/plots/roc.png": "a picture",
        "reports/index.html": "<title>a report</title>",
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    shutil.copy(store, root / "mlflow.db")
    return root


def rows(root: Path, question: str, *values: str) -> list[Any]:
    """What the store at `root` answers."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as opened:
        return opened.execute(question, values).fetchall()


def states(root: Path) -> list[tuple[str, str]]:
    """Status and lifecycle of all runs, in the order in which they began."""
    return rows(root, "SELECT status, lifecycle_stage FROM runs ORDER BY start_time")


def tags_of(root: Path, run_id: str) -> dict[str, str]:
    """All tags of a run."""
    return dict(rows(root, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))


def content(root: Path) -> dict[str, Any]:
    """What is a function of content in all active runs, by key."""
    found = {}
    active = "SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'"
    for run_id, name, status in rows(root, active):
        tags = tags_of(root, run_id)
        metrics = "SELECT key, step, value FROM metrics WHERE run_uuid = ?"
        inputs = (
            "SELECT name, digest FROM datasets JOIN inputs ON source_id = dataset_uuid "
            "WHERE destination_id = ?"
        )
        found[tags.get("headstart.key", run_id)] = {
            "name": name,
            "status": status,
            "params": rows(root, "SELECT key, value FROM params WHERE run_uuid = ?", run_id),
            "metrics": sorted(rows(root, metrics, run_id)),
            "inputs": sorted(rows(root, inputs, run_id)),
            "tags": {key: value for key, value in tags.items() if key.startswith("headstart.")},
        }
    return found


def eventually(what: Callable[[], Any], *, seconds: float = 60) -> None:
    """Waits until `what` is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
