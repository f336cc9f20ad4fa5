"""Runs in MLflow: trainings as they happen, and whatever else a state of the project calls for."""

import contextlib
import itertools
import json
import logging
import math
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import mlflow
import requests
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from headstart.core.masking import masked
from headstart.core.runtime import quick_imports
from headstart.tracking import identity, notes
from headstart.tracking.identity import STAGES, State, TrainingRun
from headstart.tracking.provenance import alive, machine, process
from headstart.tracking.store import EXPERIMENT, StoreError, database, probe

# Read by MLflow when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
# MLflow's own patience is minutes; a stage's child process has set less before it comes here.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


# One log_batch call takes 1000 in all, and 100 parameters or tags.
_METRICS_A_CALL = 800
_OTHERS_A_CALL = 90
_PARAM_LENGTH = 6000
_REASON_LENGTH = 300
_LOCK_SECONDS = 120
_PROBE_SECONDS = 2.0


@dataclass
class Summary:
    """What a publication wrote, and what it found already there. Names of runs."""

    written: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """What to tell on the terminal."""
        told = (("killed", self.killed), ("written", self.written), ("present", self.present))
        return [f"{what:8} {name}" for what, names in told for name in names]


class LabBook:
    """The experiment `headstart` in one store."""

    def __init__(self, uri: str) -> None:
        """Opens the store, and makes it and the experiment where they do not exist.

        Raises:
            StoreError: The store cannot be reached or used.
        """
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self._uri = uri
        file = database(uri)
        self._lock: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if file:
            # Processes that meet on a fresh store break it, and sqlite knows one writer at a time.
            self._lock = filelock.FileLock(f"{file}-lock", timeout=_LOCK_SECONDS)
        with self._reached():
            probe(uri, seconds=_PROBE_SECONDS)
            if file and not file.exists():
                with quick_imports():
                    _create(file)
            # The registry is no business of ours here, but MLflow opens it with the same call.
            with quick_imports():
                self._client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            self._experiment = self._find_experiment()

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            file = database(self._uri)
            place = _artefacts(file) if file else None
            try:
                return str(self._client.create_experiment(EXPERIMENT, artifact_location=place))
            except MlflowException:
                # Somebody else made it between the two calls.
                found = self._client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            self._client.restore_experiment(found.experiment_id)
        if file := database(self._uri):
            _follow(file, old=found.artifact_location)
        return str(found.experiment_id)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Holds the lock, and turns what goes wrong in MLflow into one line for people."""
        where = f"MLflow at {masked(self._uri)}"
        try:
            with self._lock:
                yield
        except filelock.Timeout as error:
            raise StoreError(
                f"{where} is locked by another process ({error.lock_file}) for {_LOCK_SECONDS} s"
            ) from error
        except (MlflowException, requests.RequestException) as error:
            raise StoreError(f"{where} failed ({self._said(error)})") from error
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{where} failed ({error})") from error
        except Exception as error:
            # Of a library that only database stores load.
            if type(error).__module__.partition(".")[0] != "sqlalchemy":
                raise
            raise StoreError(f"{where} failed ({self._said(error)})") from error

    def _said(self, error: Exception) -> str:
        line = " ".join(str(error).split()).replace(self._uri, masked(self._uri))
        userinfo = self._uri.partition("://")[2].rpartition("@")[0]
        if userinfo:
            line = line.replace(userinfo, "***")
        return line if len(line) <= _REASON_LENGTH else f"{line[: _REASON_LENGTH - 3]}..."

    # Trainings as they happen.

    def begin(
        self,
        stage: identity.Stage,
        acting: Mapping[str, Any],
        data: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> str:
        """Returns the id of a new run of `stage` that shows itself as running."""
        with self._reached():
            about = {
                "headstart.kind": "training",
                "headstart.stage": stage.name,
                "mlflow.note.content": notes.unfinished(stage, data),
            }
            run_id = self._create_run(notes.training_name(stage, acting), {**about, **tags})
            self._log_inputs(run_id, stage, data)
            self._log(run_id, params=acting)
            return run_id

    def points(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Adds points to the curves of a run."""
        with self._reached():
            self._log(run_id, metrics=metrics)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a run."""
        with self._reached():
            self._log(run_id, tags=tags)

    def end(self, run_id: str, status: str) -> None:
        """Ends a run with FINISHED, FAILED or KILLED."""
        with self._reached():
            self._client.set_terminated(run_id, status)

    def complete(self, run_id: str, training: TrainingRun) -> str:
        """Gives a live run its identity; where the store knows it already, the live run goes.

        Returns the id of the run that stands for the training.
        """
        with self._reached():
            known = self._find(training.key)
            if known:
                self._client.set_terminated(run_id, "FINISHED")
                self._client.delete_run(run_id)
                return known
            self._log(run_id, tags=_training_tags(training))
            self._client.set_terminated(run_id, "FINISHED")
            return run_id

    # What a state of the project calls for.

    def publish(self, state: State, tags: Mapping[str, str]) -> Summary:
        """Writes the trainings and the comparison of `state` that the store does not hold yet."""
        summary = Summary()
        with self._reached():
            summary.killed = self._mark_killed()
            runs: dict[str, str] = {}
            for name, training in state.trainings.items():
                title = notes.training_name(training.stage, training.acting)
                known = self._find(training.key)
                (summary.present if known else summary.written).append(title)
                runs[name] = known or self._restore(training, state, tags)
            title = notes.comparison_name(state)
            known = self._find(state.key)
            (summary.present if known else summary.written).append(title)
            if known:
                self._refresh(known, state, runs)
            else:
                known = self._compare(state, runs, tags)
            summary.run_ids = [*runs.values(), known]
        return summary

    def _restore(self, training: TrainingRun, state: State, tags: Mapping[str, str]) -> str:
        stage = training.stage
        epochs = state.histories.get(stage.arm, [])
        begun = {**tags, **process(os.getpid()), "provenance.source": "restored"}
        about = {"headstart.kind": "training", "headstart.stage": stage.name}
        run_id = self._create_run(notes.training_name(stage, training.acting), about | begun)
        self._log_inputs(run_id, stage, training.data)
        self._log(run_id, params=training.acting, metrics=points(epochs, stamp=now()))
        # The key comes last: a run that has it is whole.
        self._log(run_id, tags=_training_tags(training))
        self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def _compare(self, state: State, runs: Mapping[str, str], tags: Mapping[str, str]) -> str:
        begun = {**tags, **process(os.getpid()), "provenance.source": "published"}
        about = {"headstart.kind": "comparison"}
        run_id = self._create_run(notes.comparison_name(state), about | begun)
        stamp = now()
        curves = [
            point
            for arm in ("baseline", "transfer")
            for point in points(
                # The final numbers on the test data are called baseline/loss, baseline/accuracy.
                [
                    {k if k[:4] in ("epoc", "val_") else f"train_{k}": v for k, v in row.items()}
                    for row in state.histories.get(arm, [])
                ],
                stamp=stamp,
                prefix=f"{arm}/",
            )
        ]
        final = [Metric(k, v, stamp, 0) for k, v in _final_metrics(state.metrics).items()]
        verdict = state.metrics.get("comparison", {})
        told = {
            **{f"headstart.{name}": state.trainings[name].key for name in STAGES},
            **_link_tags(runs),
            "headstart.verdict": str(verdict.get("verdict")),
            "headstart.fair": json.dumps(verdict.get("fair")),
            "mlflow.note.content": notes.comparison(state, runs, self._experiment),
        }
        self._log(run_id, params=state.params, metrics=final + curves, tags=told)
        self._add_files(run_id, state)
        self._log(run_id, tags={"headstart.key": state.key})
        self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def _refresh(self, run_id: str, state: State, runs: Mapping[str, str]) -> None:
        """Mends links to runs that were deleted since, and adds a report that was not there."""
        tags = self._client.get_run(run_id).data.tags
        links = _link_tags(runs)
        if not links.items() <= tags.items():
            note = notes.comparison(state, runs, self._experiment)
            self._log(run_id, tags=links | {"mlflow.note.content": note})
        if state.report is not None and not self._client.list_artifacts(run_id, "report"):
            self._add_files(run_id, state, pictures=False)

    def _add_files(self, run_id: str, state: State, *, pictures: bool = True) -> None:
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            shown = {f"plots/{name}": content for name, content in state.pictures.items()}
            if not pictures:
                shown = {}
            if state.report is not None:
                shown["report/index.html"] = state.report
            for name, content in shown.items():
                path = Path(folder) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            if shown:
                self._client.log_artifacts(run_id, folder)

    def _mark_killed(self) -> list[str]:
        """Ends the runs of this machine whose process is gone; returns their names.

        Nothing is known of other machines' processes, so their runs are left alone.
        """
        marked = []
        mine = f"tags.`provenance.host` = '{socket.gethostname()}'"
        for run in self._search(f"{mine} and attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if tags.get("provenance.machine") != machine() or alive(tags):
                continue
            if "headstart.key" in tags:
                # Whole but for its last word.
                self._client.set_terminated(run.info.run_id, "FINISHED")
                continue
            if tags.get("provenance.source") != "live":
                # The half of a copy; it is written anew where it is missing.
                self._client.delete_run(run.info.run_id)
                continue
            self._client.set_terminated(run.info.run_id, "KILLED")
            marked.append(run.info.run_name)
        return marked

    def _find(self, key: str) -> str | None:
        """Returns the run that stands for `key`: the first, should a server hold several."""
        found = self._search(f"tags.`headstart.key` = '{key}'")
        runs = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        return str(runs[0].info.run_id) if runs else None

    def _search(self, text: str) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], text, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _create_run(self, name: str, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self._experiment, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def _log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        parts: Iterable[tuple[Any, Any, Any]] = itertools.zip_longest(
            _chunks(list(metrics), _METRICS_A_CALL),
            _chunks([Param(k, _shown(v)) for k, v in (params or {}).items()], _OTHERS_A_CALL),
            _chunks([RunTag(k, v) for k, v in (tags or {}).items()], _OTHERS_A_CALL),
            fillvalue=[],
        )
        for points, settings, labels in parts:
            self._client.log_batch(run_id, points, settings, labels)

    def _log_inputs(self, run_id: str, stage: identity.Stage, data: Mapping[str, str]) -> None:
        """Names what the run learned from; the digest is the hash by which DVC knows the file."""
        used = [
            DatasetInput(
                Dataset(path, md5, source_type="dvc", source=json.dumps({"path": path})),
                [InputTag("mlflow.data.context", _context(path))],
            )
            for path, md5 in data.items()
        ]
        if used:
            self._client.log_inputs(run_id, datasets=used)


def _context(path: str) -> str:
    name = path.rpartition("/")[2]
    if name.endswith(".keras"):
        return "source model"
    return "validation" if name.startswith("valid") else "training"


def _create(file: Path) -> None:
    """Makes a sqlite store beside `file` and moves it into place.

    A process that dies half-way would else leave tables that MLflow can never mend.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in file.parent.glob(f"{file.name}-new-*"):
        left.unlink()
    # A name of its own each time, since SQLAlchemy keeps connections by name.
    part = file.with_name(f"{file.name}-new-{os.getpid()}-{time.monotonic_ns()}")
    store = SqlAlchemyStore(f"sqlite:///{part}", _artefacts(file))
    store.create_experiment(EXPERIMENT, artifact_location=_artefacts(file))
    store.engine.dispose()
    part.replace(file)


def _follow(file: Path, *, old: str) -> None:
    """Points the runs of a store that was moved or copied to the files that came along.

    MLflow keeps absolute addresses and has no call to change them.
    """
    new = _artefacts(file)
    # Any other place was chosen by somebody.
    if old == new or not (old.startswith("file://") and old.endswith("/mlartifacts")):
        return
    with contextlib.closing(sqlite3.connect(file)) as opened, opened:
        opened.execute(
            "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (new, old)
        )
        opened.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
            "WHERE substr(artifact_uri, 1, ?) = ?",
            (new, len(old) + 1, len(old) + 1, f"{old}/"),
        )


def _artefacts(file: Path) -> str:
    return (file.parent / "mlartifacts").as_uri()


def _training_tags(training: TrainingRun) -> dict[str, str]:
    return {
        "headstart.key": training.key,
        "headstart.model": training.model,
        "mlflow.note.content": notes.training(training),
    }


def _link_tags(runs: Mapping[str, str]) -> dict[str, str]:
    return {f"provenance.run.{name}": run_id for name, run_id in runs.items()}


def _final_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns metrics.json with slashes, without `comparison/` and what is no number."""
    found: dict[str, float] = {}
    for section, values in metrics.items():
        prefix = "" if section == "comparison" else f"{section}."
        values = identity.flat(values, prefix) if isinstance(values, Mapping) else {section: values}
        found |= {k.replace(".", "/"): float(v) for k, v in values.items() if _finite(v)}
    return found


def _finite(value: Any) -> bool:
    """Tells whether `value` is a number that a chart can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def points(epochs: Iterable[Mapping[str, float]], *, stamp: int, prefix: str = "") -> list[Metric]:
    """Returns the curves at steps from 1; a millisecond apart, for charts over time."""
    return [
        Metric(f"{prefix}{name}", value, stamp + int(row["epoch"]), int(row["epoch"]))
        for row in epochs
        for name, value in row.items()
        if name != "epoch"
    ]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _PARAM_LENGTH else f"{text[: _PARAM_LENGTH - 3]}..."


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def now() -> int:
    """Returns the time as MLflow counts it: milliseconds since 1970."""
    return int(time.time() * 1000)
