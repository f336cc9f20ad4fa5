"""Which state of the pipeline lies in a workspace or in a commit."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError
from headstart.params import reading, sections
from headstart.tracking import past
from headstart.tracking.identity import STAGES, Stage, State, TrainingRun, flat
from headstart.tracking.revisions import Files, Workspace

_PARAMS = "params.yaml"
_METRICS = "metrics/metrics.json"
_HISTORY = "metrics/history.csv"
_PLOTS = "metrics/plots"
_REPORT = "reports/index.html"

Epochs = dict[str, list[dict[str, float]]]


def live(stage: str, *, root: Path, params_text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns acting parameters and data hashes of a training that begins in `root` now."""
    values = reading.parse(params_text, _PARAMS)
    return sections.acting(stage, values), _hashes(STAGES[stage], Workspace(root))


def read(files: Files, *, finished: bool) -> State:
    """Returns the state that `files` hold.

    Args:
        files: A workspace or a commit.
        finished: Whether evaluate has ended: `dvc.lock` then names its metrics. Not so while
            evaluate itself asks.

    Raises:
        UserError: There is no complete result, or its parts belong to different runs.
    """
    lock = _lock(files)
    if files.held_to_schema:
        reading.parse(_parsed(files, _PARAMS, str), f"{files.name}: {_PARAMS}")
    values = _parsed(files, _PARAMS, _yaml)
    trainings = {}
    used: dict[str, Any] = {}
    by_hand = False
    for stage in STAGES.values():
        entry = lock.get(stage.name, {})
        named = _md5s(entry.get("outs")).get(stage.model)
        lying = files.md5(stage.model)
        if named and lying in (None, named):
            # The parameters of the run itself: params.yaml may have been edited since.
            used_here = _params(entry)
            known = _md5s(entry.get("deps"))
            data = {path: known[path] for path in stage.data if path in known}
            model = named
        elif lying:
            by_hand, used_here, data, model = True, {}, _hashes(stage, files), lying
        else:
            raise UserError(f"{files.name}: no {stage.model} and none in dvc.lock; run `dvc repro`")
        if missing := [path for path in stage.data if path not in data]:
            raise UserError(
                f"{files.name}: dvc.lock names no hash for {missing[0]} under {stage.name}; "
                "run `dvc repro`"
            )
        used |= used_here
        try:
            acting = past.acting(stage.name, _with(values, used_here))
        except UserError as error:
            raise UserError(f"{files.name}: {_PARAMS}: {error}") from error
        trainings[stage.name] = TrainingRun(stage, acting, data, model)
    if finished and not by_hand:
        _belong_together(files, lock, trainings)
        used |= _params(lock["evaluate"])
    values = _with(values, used)
    return State(
        trainings=trainings,
        histories=_histories(files, trainings),
        metrics=_parsed(files, _METRICS, json.loads),
        judged_by=values.get("evaluate", {}),
        params={key: value for key, value in flat(values).items() if value is not None},
        pictures={
            path.rpartition("/")[2]: files.read(path) or b""
            for path in files.names(_PLOTS)
            if path.endswith(".png")
        },
        report=files.read(_REPORT),
    )


def _belong_together(
    files: Files, lock: Mapping[str, Any], trainings: Mapping[str, TrainingRun]
) -> None:
    entry = lock.get("evaluate")
    if entry is None:
        raise UserError(f"{files.name}: dvc.lock knows no evaluate stage; run `dvc repro`")
    judged = _md5s(entry.get("deps"))
    for training in trainings.values():
        path = training.stage.model
        if judged.get(path, training.model) != training.model:
            raise UserError(
                f"{files.name}: {_METRICS} was made from another {path} than dvc.lock names "
                f"under {training.stage.name}; run `dvc repro`"
            )
    content = files.read(_METRICS)
    named = _md5s(entry.get("outs")).get(_METRICS)
    if content is not None and named not in (None, _md5(content)):
        raise UserError(
            f"{files.name}: {_METRICS} is not the one that dvc.lock names; run `dvc repro`"
        )


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _hashes(stage: Stage, files: Files) -> dict[str, str]:
    return {path: md5 for path in stage.data if (md5 := files.md5(path))}


def _md5s(entries: Any) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries or [] if "md5" in entry}


def _params(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters that a stage of dvc.lock ran with, by dotted key."""
    return dict(entry.get("params", {}).get(_PARAMS, {}))


def _parsed(files: Files, path: str, parse: Callable[[str], Any]) -> Any:
    content = files.read(path)
    if content is None:
        raise UserError(f"{files.name}: there is no {path}; run `dvc repro` first")
    import yaml

    try:
        return parse(content.decode())
    except (ValueError, KeyError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{files.name}: {path} cannot be read ({reason})") from error


def _lock(files: Files) -> dict[str, Any]:
    if files.read("dvc.lock") is None:
        return {}
    return dict((_parsed(files, "dvc.lock", _yaml) or {}).get("stages", {}))


def _yaml(text: str) -> Any:
    """Returns YAML as DVC reads it: 1e-05 is a number to DVC and text to PyYAML."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), None
    )
    return yaml.load(text, Loader=Loader)  # noqa: S506 (a SafeLoader)


def _with(values: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters with those put in their place that a stage has used."""
    changed = dict(values)
    for key, value in used.items():
        *sections, last = key.split(".")
        place = changed
        for section in sections:
            place[section] = dict(place.get(section) or {})
            place = place[section]
        place[last] = value
    return changed


def _histories(files: Files, trainings: Mapping[str, TrainingRun]) -> Epochs:
    """Returns the epochs of each arm from the long table arm,epoch,loss,..."""

    def epochs(text: str) -> Epochs:
        rows: Epochs = {}
        for row in csv.DictReader(io.StringIO(text)):
            arm = row.pop("arm")
            rows.setdefault(arm, []).append({k: float(v) for k, v in row.items() if v})
        return rows

    histories: Epochs = _parsed(files, _HISTORY, epochs)
    for training in trainings.values():
        # A source network from elsewhere was not trained here.
        if training.stage.arm not in histories and not training.acting.get("from"):
            raise UserError(
                f"{files.name}: {_HISTORY} has no rows of {training.stage.arm}; run `dvc repro`"
            )
    return histories
