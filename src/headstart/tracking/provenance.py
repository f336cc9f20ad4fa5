"""Where a run came from, told as it was."""

import contextlib
import getpass
import os
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil

from headstart.tracking import identity, revisions

# The start time of one process, read twice, differs by clock ticks.
_SAME_START_SECONDS = 2.0


def provenance(root: Path, files: revisions.Files) -> dict[str, str]:
    """Returns the tags that tell who wrote a run, where, and from which commit."""
    if isinstance(files, revisions.Revision):
        commit, branch = files.commit, files.branch
    else:
        questions = (["rev-parse", "--verify"], ["symbolic-ref", "--short", "-q"])
        answers = [revisions.git(root, *question, "HEAD") or b"" for question in questions]
        commit, branch = (answer.decode().strip() for answer in answers)
    user = ""
    with contextlib.suppress(KeyError, OSError):
        user = getpass.getuser()
    tags = {
        "provenance.commit": commit,
        "provenance.branch": branch,
        "provenance.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "provenance.host": socket.gethostname(),
        "provenance.machine": machine(),
        "mlflow.user": user,
        "mlflow.source.git.commit": commit,
    }
    return {key: value for key, value in tags.items() if value}


def process(pid: int) -> dict[str, str]:
    """Returns the tags that tell later whether the process behind a run still lives."""
    return {"provenance.pid": str(pid), "provenance.process_start": _start(pid)}


def recorder() -> dict[str, str]:
    """Returns the same of this process, which writes the run."""
    me = os.getpid()
    return {"provenance.recorder_pid": str(me), "provenance.recorder_start": _start(me)}


def _start(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{psutil.Process(pid).create_time():.2f}"
    return "0"


def alive(tags: Mapping[str, str]) -> bool:
    """Tells whether a process that a run's tags name still lives on this machine."""
    for pid, start in (("pid", "process_start"), ("recorder_pid", "recorder_start")):
        now = float(_start(int(tags.get(f"provenance.{pid}", "0"))))
        then = float(tags.get(f"provenance.{start}", "0"))
        if now and abs(now - then) <= _SAME_START_SECONDS:
            return True
    return False


def machine() -> str:
    """Returns what tells apart two machines of one name."""
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            return identity.digest(Path(place).read_text().strip())[:12]
    return identity.digest(uuid.getnode())[:12]
