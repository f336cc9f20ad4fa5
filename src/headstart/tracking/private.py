"""What MLflow has no public call for: its database and its private names, all in this file.

Read from MLflow 3.17.2 (`READ_FROM`); a test names what another version no longer has. The page
that `view` describes is MLflow's own, too, and a test opens it in a browser.
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

READ_FROM = "3.17.2"


def create_store(file: Path, *, experiment: str, artefacts: str) -> None:
    """Makes a sqlite store beside `file` and moves it into place.

    A process that dies half-way would else leave tables that MLflow can never mend. Its client
    would make the store in place, and keep the database open.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    import sqlalchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in file.parent.glob(f"{file.name}-new-*"):
        left.unlink()
    # A name of its own each time, since SQLAlchemy keeps connections by name.
    part = file.with_name(f"{file.name}-new-{os.getpid()}-{time.monotonic_ns()}")
    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _unsafely)
    try:
        store = SqlAlchemyStore(f"sqlite:///{part}", artefacts)
        store.create_experiment(experiment, artifact_location=artefacts)
        store.engine.dispose()
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", _unsafely)
    with part.open("rb+") as made:
        os.fsync(made.fileno())
    part.replace(file)


def _unsafely(connection: Any, _: Any) -> None:
    """Lets sqlite not wait for the disk: hundreds of times for a store that is nobody's yet."""
    connection.execute("PRAGMA synchronous=OFF")


def move_artefacts(file: Path, *, old: str, new: str) -> None:
    """Points the runs of a sqlite store from the folder `old` to `new`; both are file:// addresses.

    MLflow keeps absolute addresses and has no call to change them.
    """
    if old == new:
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


def holds_runs(file: Path, run_ids: Sequence[str]) -> bool:
    """Tells whether a sqlite store has all these runs, in milliseconds: MLflow takes seconds."""
    question = (
        "SELECT COUNT(*) FROM runs WHERE lifecycle_stage = 'active' "
        "AND run_uuid IN (SELECT value FROM json_each(?))"
    )
    return _asked(file, question, json.dumps(list(run_ids))) == len(set(run_ids))


def has_alias(file: Path, *, name: str, alias: str) -> bool:
    """Tells whether a sqlite store's registry has a model of this name under the alias."""
    question = "SELECT COUNT(*) FROM registered_model_aliases WHERE name = ? AND alias = ?"
    return bool(_asked(file, question, name, alias))


def _asked(file: Path, question: str, *values: str) -> int:
    try:
        opened = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
        with contextlib.closing(opened) as store:
            return int(store.execute(question, values).fetchone()[0])
    except sqlite3.Error:
        return 0


def take_input_as_it_comes(signature: Any) -> None:
    """Keeps MLflow from casting what a served model reads.

    It would cast to uint8 before the model sees it, so that 0.5 becomes 0 unnoticed, and would
    refuse a single image. A model whose signature comes from type hints gets its input as it came
    and checks it itself (mlflow/pyfunc/scoring_server).
    """
    signature._is_signature_from_type_hint = True
