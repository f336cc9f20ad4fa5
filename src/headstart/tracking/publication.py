"""Making the store match the project: a workspace, a commit, every branch and tag."""

import contextlib
import queue
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError
from headstart.tracking import entries, last_publication, revisions, states, timesheets
from headstart.tracking.identity import STAGES, TrainingRun
from headstart.tracking.labbook import LabBook, Summary
from headstart.tracking.provenance import process, provenance, recorder
from headstart.tracking.store import address

Messages = queue.Queue[dict[str, Any]]


def publish(root: Path, *, rev: str | None = None) -> Summary:
    """Makes the store match the workspace at `root`, or the commit `rev`."""
    files = revisions.Workspace(root) if rev is None else revisions.Revision(root, rev)
    state = states.read(files, finished=True)
    sheets = _sheets(root, state.trainings, state.histories)
    summary = LabBook(address(root)).publish(state, provenance(root, files), sheets)
    if rev is None:
        last_publication.remember(root, summary.run_ids)
    return summary


def publish_all(root: Path) -> dict[str, Summary | str]:
    """Publishes every branch and tag; the reason stands in place of a summary where one cannot."""
    commits = revisions.revisions(root)
    book = LabBook(address(root))
    done: dict[str, Summary | str] = {}
    for files in commits:
        try:
            state = states.read(files, finished=True)
        except UserError as error:
            done[files.name] = str(error)
        else:
            sheets = _sheets(root, state.trainings, state.histories)
            done[files.name] = book.publish(state, provenance(root, files), sheets)
    return done


def publish_study(root: Path, section: str) -> tuple[str, bool]:
    """Writes the study of a section to MLflow; returns its run's id, and whether it is new.

    Raises:
        UserError: There is no study yet, or the store cannot be reached.
    """
    tags = provenance(root, revisions.Workspace(root))
    return LabBook(address(root)).write(entries.study(root, section), tags)


def serve(messages: Messages) -> dict[str, Any]:
    """Does what a stage asks for through its pipe; returns what to tell it at the end."""
    first = messages.get()
    book, root = LabBook(first["address"]), Path(first["root"])
    if first["do"] == "record":
        return _record(book, first, messages)
    files = revisions.Workspace(root)
    tags = provenance(root, files)
    # What evaluate has at its start is written while it scores and draws. Where something is
    # missing, evaluate tells it.
    try:
        trainings, histories = states.trained(root)
    except UserError:
        trainings, histories = {}, {}
    book.publish_trainings(trainings, histories, tags, _sheets(root, trainings, histories))
    if messages.get()["do"] != "publish":
        return {}
    state = states.read(files, finished=False)
    summary = book.publish(state, tags, _sheets(root, state.trainings, state.histories))
    last_publication.remember(root, summary.run_ids)
    return {"written": summary.written, "run_ids": summary.run_ids}


def _sheets(
    root: Path, trainings: Mapping[str, TrainingRun], histories: Mapping[str, Sequence[Any]]
) -> dict[str, timesheets.Timesheet]:
    """Returns the timesheets of trainings, by stage, where there are such."""
    found = {
        name: timesheets.read(root, run, epochs=len(histories.get(run.stage.arm, ())))
        for name, run in trainings.items()
    }
    return {name: sheet for name, sheet in found.items() if sheet}


def _record(book: LabBook, first: dict[str, Any], messages: Messages) -> dict[str, Any]:
    began = first["began"]
    stage, root = STAGES[first["stage"]], Path(first["root"])
    acting, data = states.live(stage.name, root=root, params_text=first["params"])
    tags = provenance(root, revisions.Workspace(root)) | process(first["pid"]) | recorder()
    tags["provenance.source"] = "live"
    run_id = book.begin(entries.unfinished(stage, acting, data), tags, began=began)
    history: list[dict[str, float]] = []
    while True:
        batch = [messages.get()]
        with contextlib.suppress(queue.Empty):
            while True:
                batch.append(messages.get_nowait())
        epochs = [message for message in batch if message["do"] == "epoch"]
        numbers, ends = ([message[key] for message in epochs] for key in ("numbers", "at"))
        history += numbers
        book.log(run_id, metrics=entries.curves(numbers, ends=ends))
        ends = [message["status"] for message in batch if message["do"] == "end"]
        if not ends:
            continue
        book.log(run_id, tags={"provenance.seconds": f"{time.time() - began:.1f}"})
        model = revisions.Workspace(root).md5(stage.model) if ends[0] == "FINISHED" else None
        if model is None:
            book.end(run_id, ends[0] if ends[0] != "FINISHED" else "FAILED")
            return {"run_id": run_id}
        return {"run_id": book.complete(run_id, TrainingRun(stage, acting, data, model), history)}
