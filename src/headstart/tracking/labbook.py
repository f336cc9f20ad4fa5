"""Runs in MLflow: trainings as they happen, and whatever else a state of the project calls for."""

import json
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from headstart.tracking import entries, private
from headstart.tracking.connection import Connection
from headstart.tracking.entries import NOTE, Entry
from headstart.tracking.identity import State, TrainingRun
from headstart.tracking.provenance import alive, machine, process, recorder
from headstart.tracking.store import EXPERIMENT, artefacts, database
from headstart.tracking.timesheets import Timesheet

_PARAM_LENGTH = 6000
# What MLflow puts on one page at most.
_MOST_RUNS = 50_000


@dataclass
class Summary:
    """What a publication wrote, and what it found already there. Names of runs."""

    written: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)

    def add(self, name: str, run_id: str, *, new: bool) -> None:
        """Adds a run that is in the store now."""
        (self.written if new else self.present).append(name)
        self.run_ids.append(run_id)

    @property
    def lines(self) -> list[str]:
        """What to tell on the terminal."""
        names = {"killed": self.killed, "written": self.written, "present": self.present}
        return [f"{what:8} {name}" for what in names for name in names[what]]


class LabBook:
    """The experiment `headstart` in one store."""

    def __init__(self, uri: str) -> None:
        """Opens the store, and makes it and the experiment where they do not exist.

        Raises:
            StoreError: The store cannot be reached or used. So do all other methods.
        """
        self._store = Connection(uri)
        self._client = self._store.client
        with self._store.held():
            self._experiment = self._find_experiment(database(uri))

    def _find_experiment(self, file: Path | None) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            place = artefacts(file) if file else None
            try:
                return str(self._client.create_experiment(EXPERIMENT, artifact_location=place))
            except MlflowException:
                # Somebody else made it between the two calls.
                experiment = self._client.get_experiment_by_name(EXPERIMENT)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            self._client.restore_experiment(experiment.experiment_id)
        old = experiment.artifact_location
        # A project that was moved or copied; any other place was chosen by somebody.
        if file and old.startswith("file://") and old.endswith("/mlartifacts"):
            private.move_artefacts(file, old=old, new=artefacts(file))
        return str(experiment.experiment_id)

    def begin(self, entry: Entry, tags: Mapping[str, str], *, began: float | None = None) -> str:
        """Returns the id of a new run that shows itself as running, since `began` or now."""
        with self._store.held():
            about = {**entry.kind, **tags}
            start = entries.milliseconds(began) if began else None
            run = self._client.create_run(self._experiment, start, about, entry.name)
            params = [Param(key, _shown(value)) for key, value in entry.params.items()]
            self._client.log_batch(run.info.run_id, params=params)
            # What the run learned from; the digest is the hash by which DVC knows the file.
            inputs = [
                DatasetInput(
                    Dataset(path, md5, source_type="dvc", source=json.dumps({"path": path})),
                    [InputTag("mlflow.data.context", _context(path))],
                )
                for path, md5 in entry.data.items()
            ]
            if inputs:
                self._client.log_inputs(run.info.run_id, datasets=inputs)
            return str(run.info.run_id)

    def log(
        self, run_id: str, *, metrics: Sequence[Metric] = (), tags: Mapping[str, str] | None = None
    ) -> None:
        """Adds points to the curves of a run, and sets tags."""
        with self._store.held():
            labels = [RunTag(key, value) for key, value in (tags or {}).items()]
            self._client.log_batch(run_id, metrics, tags=labels)

    def end(self, run_id: str, status: str) -> None:
        """Ends a run with FINISHED, FAILED or KILLED."""
        with self._store.held():
            self._client.set_terminated(run_id, status)

    def complete(
        self, run_id: str, training: TrainingRun, epochs: Sequence[Mapping[str, float]]
    ) -> str:
        """Gives a live run its identity; where the store knows it already, the live run goes.

        `epochs` are the rows of its history. Returns the id of the run that stands for the
        training.
        """
        with self._store.held():
            known = self._find(training.key)
            if not known:
                entry = entries.training(training, epochs)
                # Which learning rate was chosen is known now.
                self._client.update_run(run_id, name=entry.name)
                self.log(run_id, tags={**entry.tags, "headstart.key": entry.key})
            self._client.set_terminated(run_id, "FINISHED")
            if known:
                self._client.delete_run(run_id)
            return known or run_id

    def publish(
        self, state: State, tags: Mapping[str, str], sheets: Mapping[str, Timesheet]
    ) -> Summary:
        """Writes the trainings and the comparison of `state` that the store does not hold yet.

        `sheets` are the timesheets of trainings, by stage, where there are such.
        """
        with self._store.held():
            summary = self.publish_trainings(state.trainings, state.histories, tags, sheets)
            runs = dict(zip(state.trainings, summary.run_ids, strict=True))
            comparison = entries.comparison(state, runs=runs, experiment=self._experiment)
            run_id, new = self.write(comparison, {**tags, "provenance.source": "published"})
            summary.add(comparison.name, run_id, new=new)
            if not new:
                self._refresh(run_id, comparison)
        return summary

    def publish_trainings(
        self,
        trainings: Mapping[str, TrainingRun],
        histories: Mapping[str, Sequence[Mapping[str, float]]],
        tags: Mapping[str, str],
        sheets: Mapping[str, Timesheet],
    ) -> Summary:
        """Writes the trainings that the store does not hold yet, and marks killed ones."""
        with self._store.held():
            summary = Summary(killed=self._mark_killed())
            for name, run in trainings.items():
                sheet = sheets.get(name)
                epochs = histories.get(run.stage.arm, ())
                entry = entries.training(run, epochs, ends=sheet.epochs if sheet else ())
                source = {"provenance.source": "timesheet" if sheet else "restored"}
                run_id, new = self.write(entry, {**tags, **source}, sheet)
                summary.add(entry.name, run_id, new=new)
        return summary

    def write(
        self, entry: Entry, tags: Mapping[str, str], sheet: Timesheet | None = None
    ) -> tuple[str, bool]:
        """Writes a whole run unless the store has it; returns its id, and whether it is new.

        What `sheet` says of when and where it ran stands above what `tags` say of this process.
        """
        with self._store.held():
            if known := self._find(entry.key):
                return known, False
            about = {**tags, **process(os.getpid()), **(sheet.tags if sheet else {}), **recorder()}
            run_id = self.begin(entry, about, began=sheet.began if sheet else None)
            self.log(run_id, metrics=entry.metrics)
            self._add_files(run_id, entry.files)
            # The key comes last: a run that has it is whole.
            self.log(run_id, tags={**entry.tags, "headstart.key": entry.key})
            end = entries.milliseconds(sheet.ended) if sheet else None
            self._client.set_terminated(run_id, "FINISHED", end)
            return run_id, True

    def _refresh(self, run_id: str, entry: Entry) -> None:
        """Mends links to runs that were deleted since, and adds a report that was not there."""
        tags = self._client.get_run(run_id).data.tags
        links = {k: v for k, v in entry.tags.items() if k.startswith("provenance.run.")}
        if not links.items() <= tags.items():
            self.log(run_id, tags=links | {NOTE: entry.tags[NOTE]})
        report = {path: entry.files[path] for path in entry.files if path.startswith("report/")}
        if report and not self._client.list_artifacts(run_id, "report"):
            self._add_files(run_id, report)

    def _add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            if files:
                self._client.log_artifacts(run_id, folder)

    def _mark_killed(self) -> list[str]:
        """Ends the runs of this machine whose process is gone; returns their names.

        Nothing is known of other machines' processes, so their runs are left alone.
        """
        marked = []
        mine = f"tags.`provenance.host` = '{socket.gethostname()}'"
        running = f"{mine} and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([self._experiment], running, max_results=_MOST_RUNS):
            tags = run.data.tags
            if tags.get("provenance.machine") != machine() or alive(tags):
                continue
            if "headstart.key" in tags:
                # Whole but for its last word.
                self._client.set_terminated(run.info.run_id, "FINISHED")
            elif tags.get("provenance.source") != "live":
                # The half of a copy; it is written anew where it is missing.
                self._client.delete_run(run.info.run_id)
            else:
                self._client.set_terminated(run.info.run_id, "KILLED")
                marked.append(run.info.run_name)
        return marked

    def _find(self, key: str) -> str | None:
        """Returns the run that stands for `key`: the first, should a server hold several."""
        holding = f"tags.`headstart.key` = '{key}'"
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        runs = self._client.search_runs([self._experiment], holding, order_by=order, max_results=1)
        return str(runs[0].info.run_id) if runs else None


def _context(path: str) -> str:
    name = path.rpartition("/")[2]
    if name.endswith(".keras"):
        return "source model"
    return "validation" if name.startswith("valid") else "training"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _PARAM_LENGTH else f"{text[: _PARAM_LENGTH - 3]}..."
