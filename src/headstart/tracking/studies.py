"""One run in MLflow a study: parameters, curves over the labels, tables and pictures."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from headstart.core.errors import UserError
from headstart.core.nested import flat
from headstart.params import reading, yaml_text
from headstart.tracking import entries, identity
from headstart.tracking.labbook import LabBook
from headstart.tracking.provenance import provenance
from headstart.tracking.revisions import Workspace
from headstart.tracking.store import address

_PARAMETERS = "study/params.yaml"
_TABLES = ("cells.csv", "summary.csv", "verdicts.csv", "derived.csv", "study.json")
_FOLDERS = {".csv": "tables", ".json": "tables", ".png": "plots"}
# By the names that summary.csv gives them; one point a label budget.
_CURVES = ("mean", "gain", "degenerate")


def publish(root: Path, section: str) -> tuple[str, bool]:
    """Writes the study of a section to MLflow; returns its run's id, and whether it is new.

    The run's key is the hash of its parameters and tables: publishing twice changes nothing.

    Raises:
        UserError: There is no study yet, or the store cannot be reached.
    """
    entry = _entry(root, section)
    return LabBook(address(root)).write(entry, provenance(root, Workspace(root)))


def _entry(root: Path, section: str) -> entries.Entry:
    folder = root / "metrics/study" / section
    missing = [name for name in _TABLES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {', '.join(missing)} is not there; `dvc repro study/dvc.yaml` makes it"
        )
    path = root / _PARAMETERS
    values = yaml_text.parameters(path.read_text(encoding="utf-8"), str(path))
    chosen = {key: values[key] for key in ("replicas", "statistics", section)}
    # How the images got there changes nothing that was trained on them.
    dataset = reading.load(root / "params.yaml").dataset
    chosen["dataset"] = dataset.model_dump(exclude={"path", "sources", "image_size"})
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in _FOLDERS}
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in _TABLES}
    answer = "\n".join(f"- {sentence}" for sentence in json.loads(files["study.json"])["answer"])
    return entries.Entry(
        key=identity.digest({"parameters": chosen, "files": hashes}),
        name=f"study {section}",
        kind={"headstart.kind": "study", "headstart.stage": section},
        params=flat(chosen),
        metrics=_curves(folder / "summary.csv"),
        tags={entries.NOTE: f"**The study's answer**\n\n{answer}"},
        files={f"{_FOLDERS[Path(name).suffix]}/{name}": files[name] for name in files},
    )


def _curves(path: Path) -> list[Metric]:
    """Returns means, gains and counts as metrics whose step is the number of labels."""
    stamp = entries.now()
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
