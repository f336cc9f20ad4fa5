"""Runs DVC, that of this Python, and git, as the user would in the project's folder."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from headstart.core.errors import UserError

# What a git hook, or a stage of DVC, around this command would lead git and DVC astray with.
_SURROUNDINGS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_")


def environment() -> dict[str, str]:
    """Returns the environment of a user who has activated the environment of this Python.

    DVC starts the stages with the first `python` on PATH.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_SURROUNDINGS)}
    path = [str(Path(sys.executable).parent), *filter(None, [kept.get("PATH")])]
    return kept | {"PATH": os.pathsep.join(path)}


def run(root: Path, *arguments: str) -> str:
    """Runs `dvc ARGUMENTS` in the folder `root` and returns what it printed.

    Raises:
        UserError: It failed: what DVC said, in one line.
    """
    return _printed(root, (sys.executable, "-m", "dvc"), arguments).decode()


def git(root: Path, *arguments: str) -> bytes:
    """Runs `git ARGUMENTS` in the folder `root` and returns what it printed.

    Raises:
        UserError: It failed: what git said, in one line.
    """
    return _printed(root, ("git",), arguments)


def _printed(root: Path, program: Sequence[str], arguments: Sequence[str]) -> bytes:
    command = [*program, *arguments]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, check=False)
    if done.returncode:
        text = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
        lines = text.splitlines() or ["it did not say why"]
        errors = [line for line in lines if line.startswith("ERROR: ")]
        reason = (errors or lines)[-1].removeprefix("ERROR: ")
        raise UserError(f"`{program[-1]} {' '.join(arguments[:2])}` failed: {reason}")
    return done.stdout


def run_shown(root: Path, *arguments: str, **variables: str) -> int:
    """Runs `dvc ARGUMENTS` in `root` in the user's terminal and returns its exit status.

    `variables` are what the environment has in addition.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    with subprocess.Popen(command, cwd=root, env=environment() | variables) as process:
        while True:
            # Ctrl-C reaches DVC as well, which ends its stages in its own order.
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()
