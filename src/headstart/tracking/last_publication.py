"""Whether anything changed since the last publication, told without importing MLflow."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from headstart.core.errors import UserError
from headstart.params import yaml_text
from headstart.tracking import private
from headstart.tracking.identity import STAGES
from headstart.tracking.store import address, database

# Raise it when keys or contents of runs change, so that stores are brought up to date.
_FORMAT = 1
_STATE = ".headstart/published.json"
_SECONDS = 2.0


def remember(root: Path, run_ids: Sequence[str]) -> None:
    """Notes that the workspace at `root` is in its store as `run_ids`."""
    note = {"workspace": _fingerprint(root), "run_ids": list(run_ids)}
    # Not being able to note it costs the next publication its short cut, nothing else.
    with contextlib.suppress(OSError):
        (root / _STATE).parent.mkdir(exist_ok=True)
        (root / _STATE).write_text(json.dumps(note), encoding="utf-8")


def published(root: Path) -> bool:
    """Tells whether the workspace is as it was published, and its runs still are in the store."""
    try:
        note = json.loads((root / _STATE).read_text(encoding="utf-8"))
        same = note["workspace"] == _fingerprint(root)
        return same and bool(note["run_ids"]) and _hold(address(root), note["run_ids"])
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return False


def _fingerprint(root: Path) -> str:
    """Returns a hash of the store's address and of all files that a publication reads.

    Of dvc.lock only what it says of the trainings: evaluate publishes before DVC writes down
    evaluate itself.
    """
    total = hashlib.sha256(f"{_FORMAT} {address(root)}".encode())
    with contextlib.suppress(FileNotFoundError):
        lock = (root / "dvc.lock").read_text(encoding="utf-8")
        stages = (yaml_text.written_by_dvc(lock, "dvc.lock") or {}).get("stages", {})
        known = {name: stages.get(name) for name in STAGES}
        total.update(json.dumps(known, sort_keys=True, default=str).encode())
    files = [root / "params.yaml", *(root / "metrics").rglob("*"), root / "reports/index.html"]
    for path in sorted(files):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(root)} {content}\n".encode())
    return total.hexdigest()


def _hold(uri: str, run_ids: Sequence[str]) -> bool:
    """Asks the store itself, since it may have been deleted and begun anew."""
    if file := database(uri):
        return private.holds_runs(file, run_ids)
    if not uri.startswith(("http://", "https://")):
        return False
    import requests

    where = f"{uri.rstrip('/')}/api/2.0/mlflow/runs/get"
    runs = (requests.get(where, {"run_id": run_id}, timeout=_SECONDS).json() for run_id in run_ids)
    return all(run["run"]["info"]["lifecycle_stage"] == "active" for run in runs)
