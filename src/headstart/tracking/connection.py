"""A store that is open: its client, its lock, and its errors as one line for people."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator

import filelock
import mlflow
from mlflow.exceptions import MlflowException

from headstart.core.masking import masked
from headstart.core.runtime import quick_imports
from headstart.tracking import private
from headstart.tracking.store import EXPERIMENT, StoreError, artefacts, database, probe

# MLflow's own patience is minutes; a stage's child process has set less before it comes here.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
_REASON_LENGTH = 300
_LOCK_SECONDS = 120
_PROBE_SECONDS = 2.0


class Connection:
    """MLflow's client for one store, which is made where it does not exist."""

    def __init__(self, uri: str) -> None:
        """Opens the store.

        Raises:
            StoreError: It cannot be reached or used.
        """
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._uri = uri
        file = database(uri)
        # Processes that meet on a fresh store break it, and sqlite knows one writer at a time.
        lock = filelock.FileLock(f"{file}-lock", timeout=_LOCK_SECONDS) if file else None
        self._lock = lock or contextlib.nullcontext()
        with self.held():
            probe(uri, seconds=_PROBE_SECONDS)
            with quick_imports():
                if file and not file.exists():
                    private.create_store(file, experiment=EXPERIMENT, artefacts=artefacts(file))
                # Lab book and registry lie in one store, and MLflow opens both with one call.
                self.client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock, and turns what goes wrong in MLflow into one line.

        Raises:
            StoreError: The block failed for a reason that lies in the store or on the way to it.
        """
        where = f"MLflow at {masked(self._uri)}"
        try:
            with self._lock:
                yield
        except filelock.Timeout as error:
            raise StoreError(
                f"{where} is locked by another process ({error.lock_file}) for {_LOCK_SECONDS} s"
            ) from error
        except Exception as error:
            # Slow to import, and MLflow itself loads it for databases alone.
            from sqlalchemy.exc import SQLAlchemyError

            if not isinstance(error, MlflowException | OSError | sqlite3.Error | SQLAlchemyError):
                raise
            line = masked(" ".join(str(error).split()), address=self._uri)
            reason = line if len(line) <= _REASON_LENGTH else f"{line[: _REASON_LENGTH - 3]}..."
            raise StoreError(f"{where} failed ({reason})") from error
