"""Which state of the pipeline lies in a workspace or in a commit."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.core import artefacts
from headstart.core.artefacts import flat
from headstart.core.errors import UserError
from headstart.params import reading, sections, yaml_text
from headstart.tracking import past
from headstart.tracking.identity import STAGES, Stage, State, TrainingRun
from headstart.tracking.revisions import Files, Workspace

_PARAMS = "params.yaml"
_METRICS = "metrics/metrics.json"
_HISTORY = "metrics/history.csv"
_PLOTS = "metrics/plots"
_REPORT = "reports/index.html"


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
    lock, values = _lock(files), _values(files)
    trainings, used, by_hand = _trainings(files, lock, values)
    if finished and not by_hand:
        _belong_together(files, lock, trainings)
        used |= _params(lock["evaluate"])
    values = _with(values, used)
    return State(
        trainings=trainings,
        histories=_histories(files, trainings),
        metrics=_metrics(files),
        judged_by=values.get("evaluate", {}),
        params={key: value for key, value in flat(values).items() if value is not None},
        pictures={
            path.rpartition("/")[2]: files.read(path) or b""
            for path in files.names(_PLOTS)
            if path.endswith(".png")
        },
        report=files.read(_REPORT),
    )


def trained(root: Path) -> tuple[dict[str, TrainingRun], dict[str, list[dict[str, float]]]]:
    """Returns the trainings that lie in a workspace, by stage, and their epochs, by arm.

    All that evaluate has when it begins.

    Raises:
        UserError: One is missing.
    """
    files = Workspace(root)
    trainings, _, _ = _trainings(files, _lock(files), _values(files))
    arms = [training.stage.arm for training in trainings.values()]
    return trainings, {
        arm: artefacts.read_history(root / f"models/{arm}.history.csv") for arm in arms
    }


def _lock(files: Files) -> dict[str, Any]:
    """Returns the stages of dvc.lock, by name; none where there is no such file."""
    return dict(_yaml(files, "dvc.lock").get("stages", {})) if files.read("dvc.lock") else {}


def _values(files: Files) -> dict[str, Any]:
    if files.held_to_schema:
        reading.parse(_text(files, _PARAMS), f"{files.name}: {_PARAMS}")
    return _yaml(files, _PARAMS)


def _trainings(
    files: Files, lock: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, TrainingRun], dict[str, Any], bool]:
    """Returns the trainings by stage, the parameters that they used, and whether by hand."""
    trainings: dict[str, TrainingRun] = {}
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
            raise _incomplete(files, f"no {stage.model} and none in dvc.lock")
        if missing := [path for path in stage.data if path not in data]:
            raise _incomplete(files, f"dvc.lock names no hash for {missing[0]} under {stage.name}")
        used |= used_here
        try:
            # What the source network was made with names the transfer, too.
            acting = past.acting(stage.name, _with(values, used))
        except UserError as error:
            raise UserError(f"{files.name}: {_PARAMS}: {error}") from error
        trainings[stage.name] = TrainingRun(stage, acting, data, model)
    return trainings, used, by_hand


def _belong_together(
    files: Files, lock: Mapping[str, Any], trainings: Mapping[str, TrainingRun]
) -> None:
    entry = lock.get("evaluate")
    if entry is None:
        raise _incomplete(files, "dvc.lock knows no evaluate stage")
    judged = _md5s(entry.get("deps"))
    for training in trainings.values():
        path = training.stage.model
        if judged.get(path, training.model) != training.model:
            made = f"{_METRICS} was made from another {path} than dvc.lock names under"
            raise _incomplete(files, f"{made} {training.stage.name}")
    content = files.read(_METRICS)
    named = _md5s(entry.get("outs")).get(_METRICS)
    if content and named not in (None, hashlib.md5(content, usedforsecurity=False).hexdigest()):
        raise _incomplete(files, f"{_METRICS} is not the one that dvc.lock names")


def _incomplete(files: Files, what: str) -> UserError:
    return UserError(f"{files.name}: {what}; run `dvc repro`")


def _hashes(stage: Stage, files: Files) -> dict[str, str]:
    return {path: md5 for path in stage.data if (md5 := files.md5(path))}


def _md5s(entries: Any) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries or [] if "md5" in entry}


def _params(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters that a stage of dvc.lock ran with, by dotted key."""
    return dict(entry.get("params", {}).get(_PARAMS, {}))


def _text(files: Files, path: str) -> str:
    content = files.read(path)
    if content is None:
        raise UserError(f"{files.name}: there is no {path}; run `dvc repro` first")
    return content.decode(errors="replace")


def _yaml(files: Files, path: str) -> dict[str, Any]:
    values = yaml_text.written_by_dvc(_text(files, path), f"{files.name}: {path}")
    return values if isinstance(values, dict) else {}


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


def _metrics(files: Files) -> dict[str, Any]:
    try:
        return dict(json.loads(_text(files, _METRICS)))
    except (TypeError, ValueError) as error:
        raise _incomplete(files, f"{_METRICS}: {error}") from error


def _histories(
    files: Files, trainings: Mapping[str, TrainingRun]
) -> dict[str, list[dict[str, float]]]:
    """Returns the epochs of each arm from the long table arm,epoch,loss,..."""
    histories: dict[str, list[dict[str, float]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(_text(files, _HISTORY))):
            numbers = {k: float(v) for k, v in row.items() if v and k != "arm"}
            histories.setdefault(row["arm"], []).append(numbers)
    except (KeyError, TypeError, ValueError) as error:
        raise _incomplete(files, f"{_HISTORY}: {error}") from error
    for training in trainings.values():
        # A source network from elsewhere was not trained here.
        if training.stage.arm not in histories and not training.acting.get("from"):
            raise _incomplete(files, f"{_HISTORY} has no rows of {training.stage.arm}")
    return histories
