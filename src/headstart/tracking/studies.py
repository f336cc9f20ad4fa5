"""One run in MLflow a study: parameters, curves over the labels, tables and pictures."""

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mlflow.entities import Metric

from headstart.core.errors import UserError
from headstart.params import reading
from headstart.tracking import identity, revisions
from headstart.tracking.labbook import LabBook
from headstart.tracking.labbook import now as _now
from headstart.tracking.provenance import process, provenance
from headstart.tracking.store import address

_PARAMETERS = "study/params.yaml"
_TABLES = ("cells.csv", "summary.csv", "verdicts.csv", "derived.csv", "study.json")
# By the names that summary.csv gives them; one point a label budget.
_CURVES = ("mean", "gain", "degenerate")


def publish(root: Path, section: str) -> tuple[str, bool]:
    """Writes the study of a section to MLflow; returns its run's id, and whether it is new.

    The run's key is the hash of its parameters and tables: publishing twice changes nothing.

    Raises:
        UserError: There is no study yet, or the store cannot be reached.
    """
    folder = root / "metrics/study" / section
    missing = [name for name in _TABLES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {', '.join(missing)} is not there; `dvc repro study/dvc.yaml` makes it"
        )
    values = yaml.safe_load((root / _PARAMETERS).read_text(encoding="utf-8"))
    dataset = reading.load(root / "params.yaml").dataset
    chosen = {key: values[key] for key in ("replicas", "statistics", section)}
    # How the images got there changes nothing that was trained on them.
    chosen["dataset"] = dataset.model_dump(exclude={"path", "sources", "image_size"})
    key = identity.digest(
        {
            "parameters": chosen,
            "files": {
                name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _TABLES
            },
        }
    )
    book = LabBook(address(root))
    with book._reached():
        known = book._find(key)
        if known:
            return known, False
        tags = provenance(root, revisions.Workspace(root)) | process(os.getpid())
        record = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        about = {"headstart.kind": "study", "headstart.stage": section}
        run_id = book._create_run(f"study {section}", {**tags, **about})
        book._log(
            run_id,
            params=identity.flat(chosen),
            metrics=_curves(folder / "summary.csv"),
            tags={"mlflow.note.content": _note(record["answer"])},
        )
        for file in sorted(folder.iterdir()):
            if file.suffix in (".csv", ".json", ".png"):
                place = "plots" if file.suffix == ".png" else "tables"
                book._client.log_artifact(run_id, str(file), place)
        # The key comes last: a run that has it is whole.
        book._log(run_id, tags={"headstart.key": key})
        book._client.set_terminated(run_id, "FINISHED")
        return run_id, True


def _curves(path: Path) -> list[Metric]:
    """Returns means, gains and counts as metrics whose step is the number of labels."""
    stamp = _now()
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Metric(f"{_name(row)}/{column}", float(row[column]), stamp, int(row["labels"]))
            for row in csv.DictReader(file)
            for column in _CURVES
            if row[column]
        ]


def _name(row: Mapping[str, Any]) -> str:
    """Returns a metric's name: MLflow takes no equals sign."""
    shift = f"/shift {row['shift']}" if row["shift"] != "0" else ""
    training = str(row["training"]).replace("=", " ")
    return f"{row['task']}{shift}/{row['network']}/{training}/{row['arm']}"


def _note(answer: Sequence[str]) -> str:
    lines = [f"- {sentence}" for sentence in answer]
    return "\n".join(["**The study's answer**", "", *lines])
