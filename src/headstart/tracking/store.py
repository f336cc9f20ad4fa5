"""Where the lab book lies. Knows MLflow's addresses, imports nothing of it."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from headstart.core.errors import UserError
from headstart.core.masking import masked

EXPERIMENT = "headstart"
_SQLITE = "sqlite:///"


class StoreError(UserError):
    """The store could not be reached or refused."""


def project_root(start: Path) -> Path:
    """Returns the folder that holds `dvc.yaml`, at `start` or above.

    Raises:
        UserError: There is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"{start}: no dvc.yaml here or above; run the command inside the project")


def home(root: Path) -> Path:
    """Returns the main checkout of the project checked out at `root`.

    DVC names it in `DVC_ROOT`, also where an experiment runs in a temporary folder.
    """
    return Path(os.environ.get("DVC_ROOT") or root).resolve()


def address(root: Path) -> str:
    """Returns the address of the store for the project checked out at `root`.

    `MLFLOW_TRACKING_URI` if it is set, else `mlflow.db` in the main checkout. Relative sqlite
    paths start there, too: one project has one store.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    if uri.startswith(_SQLITE) and not uri.startswith(f"{_SQLITE}/"):
        return f"{_SQLITE}{home(root) / uri.removeprefix(_SQLITE)}"
    return uri


def database(uri: str) -> Path | None:
    """Returns the file of a sqlite address, None for any other."""
    if not uri.startswith(f"{_SQLITE}/"):
        return None
    return Path(uri.removeprefix(_SQLITE).partition("?")[0])


def artefacts(file: Path) -> str:
    """Returns the address of the folder for the files of runs, beside a sqlite store."""
    return (file.parent / "mlartifacts").as_uri()


def probe(uri: str, *, seconds: float) -> None:
    """Checks that something listens at a web address; other addresses pass.

    MLflow's own retries wait for minutes on a refused port.

    Raises:
        StoreError: Nothing accepted a connection within `seconds`.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=seconds).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"MLflow at {masked(uri)} cannot be reached ({reason})") from error
