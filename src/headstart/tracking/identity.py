"""What a run is: its key from content, read from a workspace or from any commit of git.

A training is the hash of its stage, the parameters that act, the data's hashes and the model's
hash; a comparison is the hash of its three trainings, of how it was judged and of its metrics.
"""

import contextlib
import csv
import functools
import hashlib
import io
import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.params import reading, sections

_METRICS = "metrics/metrics.json"
_HISTORY = "metrics/history.csv"
_PLOTS = "metrics/plots"
_REPORT = "reports/index.html"


@dataclass(frozen=True)
class Stage:
    """What a training stage reads and writes. Paths as dvc.yaml names them."""

    name: str
    arm: str
    task: str
    reads_source_model: bool = False

    @property
    def model(self) -> str:
        """The file of the trained model."""
        return f"models/{self.arm}.keras"

    @property
    def history(self) -> str:
        """The file of the training's history."""
        return f"models/{self.arm}.history.csv"

    @property
    def data(self) -> list[str]:
        """The files the training learns from."""
        arrays = [
            f"data/prepared/{self.task}/{part}_{kind}.npy"
            for part in ("train", "valid")
            for kind in ("images", "labels")
        ]
        return arrays + (["models/source.keras"] if self.reads_source_model else [])


STAGES = {
    stage.name: stage
    for stage in (
        Stage("train_a", arm="source", task="source"),
        Stage("train_b", arm="baseline", task="target"),
        Stage("transfer", arm="transfer", task="target", reads_source_model=True),
    )
}


@dataclass(frozen=True)
class Training:
    """One training, as its inputs and its result name it."""

    stage: Stage
    acting: Mapping[str, Any]
    data: Mapping[str, str]
    model: str

    @functools.cached_property
    def key(self) -> str:
        """The training's identity."""
        return digest(
            {
                "stage": self.stage.name,
                "params": self.acting,
                "data": self.data,
                "model": self.model,
            }
        )


@dataclass(frozen=True)
class State:
    """One state of the pipeline: three trainings and what evaluate made of their models."""

    trainings: Mapping[str, Training]
    histories: Mapping[str, list[dict[str, float]]]
    metrics: Mapping[str, Any]
    judged_by: Mapping[str, Any]
    params: Mapping[str, Any]
    pictures: Mapping[str, bytes] = field(repr=False)
    report: bytes | None = field(repr=False)

    @functools.cached_property
    def key(self) -> str:
        """The comparison's identity."""
        return digest(
            {
                "trainings": [self.trainings[name].key for name in STAGES],
                "evaluate": self.judged_by,
                "metrics": self.metrics,
            }
        )


def digest(value: Any) -> str:
    """Returns 32 hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested sections as dotted keys; an empty section stays as {}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


class Files(Protocol):
    """The files of one state of the project."""

    name: str

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file, None where there is none."""

    def md5(self, path: str) -> str | None:
        """Returns the hash of a file that lies there, None where there is none."""

    def names(self, folder: str) -> list[str]:
        """Returns the paths of the files right in `folder`, sorted."""


class Workspace:
    """The files as they lie on disk under `root`."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file, None where there is none."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def md5(self, path: str) -> str | None:
        """Returns the hash of a file, None where there is none."""
        try:
            return artefacts.md5(self._root / path)
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Returns the paths of the files right in `folder`, sorted."""
        found = (self._root / folder).glob("[!.]*")
        return sorted(f"{folder}/{path.name}" for path in found if path.is_file())


class Revision:
    """The files of one commit, read from git without checking anything out."""

    def __init__(self, root: Path, rev: str) -> None:
        """Finds the commit.

        Raises:
            UserError: `rev` names no commit, or `root` is in no git repository.
        """
        self._root = root
        commit = git(root, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}")
        if commit is None:
            raise UserError(
                f"{rev}: names no commit of the git repository at {root}; "
                "`git branch --all` and `git tag` list what there is"
            )
        self.name = rev
        self.commit = commit.decode().strip()
        heads = (f"refs/heads/{rev}", f"refs/remotes/{rev}")
        known = any(
            git(root, "show-ref", "--verify", "--quiet", head) is not None for head in heads
        )
        self.branch = rev if known else ""

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file, None where there is none."""
        return git(self._root, "show", f"{self.commit}:./{path}")

    def md5(self, path: str) -> str | None:
        """Returns None: what DVC keeps is in git by name only."""
        return None

    def names(self, folder: str) -> list[str]:
        """Returns the paths of the files right in `folder`, sorted."""
        listed = git(self._root, "ls-tree", "-z", "--name-only", self.commit, f"{folder}/")
        return sorted(name for name in (listed or b"").decode().split("\0") if name)


def revisions(root: Path) -> list[Revision]:
    """Returns every branch, here and on remotes, and every tag; of several at one commit the first.

    Raises:
        UserError: `root` is in no git repository.
    """
    places = ("refs/heads", "refs/remotes", "refs/tags")
    listed = git(root, "for-each-ref", "--format=%(refname:short) %(symref)", *places)
    if listed is None:
        raise UserError(f"{root}: is in no git repository; publish the workspace without --all")
    found: dict[str, Revision] = {}
    # A symbolic name such as origin/HEAD stands for another in the list.
    for name, _, symbolic in (line.partition(" ") for line in listed.decode().splitlines()):
        if not symbolic:
            with contextlib.suppress(UserError):  # A tag may name a file.
                revision = Revision(root, name)
                found.setdefault(revision.commit, revision)
    return list(found.values())


def git(root: Path, *arguments: str) -> bytes | None:
    """Returns what a git command prints, None where it fails or git is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def live(stage: str, *, root: Path, params_text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns acting parameters and data hashes of a training that begins in `root` now."""
    values = reading.parse(params_text, "params.yaml")
    hashes = _hashes(STAGES[stage], Workspace(root))
    return sections.acting(stage, values), hashes


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
    text = _text(files, "params.yaml")
    trainings = {}
    stages_params: dict[str, Any] = {}
    by_hand = False
    for stage in STAGES.values():
        entry = lock.get(stage.name, {})
        named = _md5s(entry.get("outs")).get(stage.model)
        lying = files.md5(stage.model)
        if named and lying in (None, named):
            # The parameters of the run itself: params.yaml may have been edited since.
            used = entry.get("params", {}).get("params.yaml", {})
            known = _md5s(entry.get("deps"))
            data = {path: known[path] for path in stage.data if path in known}
            model = named
        elif lying:
            by_hand, used, data, model = True, {}, _hashes(stage, files), lying
        else:
            raise UserError(f"{files.name}: no {stage.model} and none in dvc.lock; run `dvc repro`")
        if missing := [path for path in stage.data if path not in data]:
            raise UserError(
                f"{files.name}: dvc.lock names no hash for {missing[0]} under {stage.name}; "
                "run `dvc repro`"
            )
        stages_params |= used
        acting = sections.acting(stage.name, _with(text, used, name=f"{files.name}: params.yaml"))
        trainings[stage.name] = Training(stage, acting, data, model)
    if finished and not by_hand:
        _belong_together(files, lock, trainings)
    metrics = json.loads(_text(files, _METRICS))
    evaluated = lock.get("evaluate", {}) if finished and not by_hand else {}
    stages_params |= evaluated.get("params", {}).get("params.yaml", {})
    judged = _with(text, stages_params, name=f"{files.name}: params.yaml")
    return State(
        trainings=trainings,
        histories=_histories(_text(files, _HISTORY)),
        metrics=metrics,
        judged_by=judged.evaluate.model_dump(),
        params=flat(judged.model_dump(exclude_none=True)),
        pictures={
            path.rpartition("/")[2]: files.read(path) or b""
            for path in files.names(_PLOTS)
            if path.endswith(".png")
        },
        report=files.read(_REPORT),
    )


def _belong_together(
    files: Files, lock: Mapping[str, Any], trainings: Mapping[str, Training]
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


def _text(files: Files, path: str) -> str:
    content = files.read(path)
    if content is None:
        raise UserError(f"{files.name}: there is no {path}; run `dvc repro` first")
    return content.decode()


def _lock(files: Files) -> dict[str, Any]:
    content = files.read("dvc.lock")
    if content is None:
        return {}
    return dict((_yaml(content.decode()) or {}).get("stages", {}))


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


def _with(text: str, used: Mapping[str, Any], *, name: str) -> sections.Params:
    """Returns the parameters of `text` with those put in their place that a stage has used."""
    if not used:
        return reading.parse(text, name)
    import yaml

    values = _yaml(text)
    for key, value in used.items():
        *sections, last = key.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return reading.parse(yaml.safe_dump(values), name)


def _histories(text: str) -> dict[str, list[dict[str, float]]]:
    """Returns the epochs of each arm from the long table arm,epoch,loss,..."""
    found: dict[str, list[dict[str, float]]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        arm = row.pop("arm")
        numbers = {key: float(value) for key, value in row.items() if value}
        found.setdefault(arm, []).append(numbers)
    return found


def finite(value: Any) -> bool:
    """Tells whether `value` is a number that a chart can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
