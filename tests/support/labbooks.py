"""What the tests of the lab book share: a checkout as after a run, the store read raw."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
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
        "mcnemar_mid_p": 0.005,
        "log_loss_gain": -0.125,
        "log_loss_gain_low": -0.25,
        "log_loss_gain_high": -0.0625,
        "verdict": "baseline better",
        "fair": True,
    },
    "baseline": {"accuracy": 0.75, "loss": 0.5, "auc": None},
    "transfer": {"accuracy": 0.5, "loss": 1.0, "auc": 0.5, "brier": 0.25},
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
    header = "epoch,loss,accuracy,val_loss,val_accuracy"
    history = [",".join(map(str, row.values())) for row in EPOCHS]
    lines = [f"arm,{header}"]
    for stage in STAGES.values():
        lines += [f"{stage.arm},{line}" for line in history]
        texts[f"models/{stage.arm}.history.csv"] = "\n".join([header, *history]) + "\n"
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


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def lock(root: Path, **changed: Any) -> None:
    """Writes dvc.lock as DVC would after the run that made what lies in `root`."""

    def hashes(*paths: str) -> list[dict[str, str]]:
        return [{"path": path, "hash": "md5", "md5": md5(root / path)} for path in paths]

    values = yaml.safe_load((root / "params.yaml").read_text())
    read = {
        "train_a": ("seed", "network", "source_training"),
        "train_b": ("seed", "network", "target_training", "train_b"),
        "transfer": ("seed", "network", "target_training", "transfer"),
        "evaluate": ("seed", "evaluate"),
    }
    models = [stage.model for stage in STAGES.values()]
    stages = {
        name: {
            "cmd": f"python stages/{name}.py",
            "deps": hashes(*(STAGES[name].data if name in STAGES else models)),
            "params": {"params.yaml": {key: values[key] for key in keys}},
            "outs": hashes(STAGES[name].model if name in STAGES else "metrics/metrics.json"),
        }
        for name, keys in read.items()
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages | changed}))


def edit(root: Path, old: str, new: str) -> None:
    text = (root / "params.yaml").read_text()
    assert old in text
    (root / "params.yaml").write_text(text.replace(old, new))


def git(root: Path, *arguments: str) -> None:
    named = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *named, *arguments], check=True, capture_output=True)


def commit_two_branches(checkout: Path) -> Path:
    """Makes the checkout two branches: main, and `other` with another seed, models and gain."""
    ignored = ("/mlflow.db*", "/mlartifacts/", "/.headstart/", "/data/", "/models/", "/reports/")
    (checkout / ".gitignore").write_text("\n".join(ignored) + "\n")
    git(checkout, "init", "-q", "-b", "main")
    for branch, seed in (("main", 42), ("other", 7)):
        if branch == "other":
            git(checkout, "switch", "-q", "-c", branch)
            edit(checkout, "seed: 42", f"seed: {seed}")
            for stage in STAGES.values():
                (checkout / stage.model).write_text(f"{stage.model} {seed}")
            gained = json.dumps(METRICS).replace("-0.25", "-0.375")
            (checkout / "metrics/metrics.json").write_text(gained)
        lock(checkout)
        git(checkout, "add", "-A")
        git(checkout, "commit", "-q", "-m", branch)
    git(checkout, "tag", "-a", "v1", "-m", "v1", "main")
    git(checkout, "switch", "-q", "main")
    # As in a fresh clone: what DVC keeps is not there.
    for stage in STAGES.values():
        for path in (*stage.data, stage.model):
            (checkout / path).unlink(missing_ok=True)
    return checkout


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
