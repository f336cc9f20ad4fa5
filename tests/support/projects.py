"""Whole projects in temporary folders, for the tests to run and change."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.params import yaml_text

ROOT = Path(__file__).resolve().parents[2]
# The real images of both tasks, few of them and a small network: seconds instead of a minute.
SMALL = {
    "dataset.train_size": "3000",
    "dataset.valid_size": "600",
    "dataset.test_size": "1200",
    "network.units": "[32, 16]",
    "source_training.epochs": "2",
    "target_training.epochs": "2",
    "source_training.learning_rate": "0.01",
    "target_training.learning_rate": "0.01",
}


@dataclass(frozen=True)
class Project:
    """A checkout of its own, with its own git, DVC cache and MLflow store.

    Its stages write to the store where `recorded` is True.
    """

    root: Path
    recorded: bool = False

    def run(self, *command: str, status: int = 0, **environment: str) -> str:
        """Runs a command as a user would, checks its exit status and returns all it printed."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=clean_environment(recorded=self.recorded) | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=800,
        )
        assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def repro(self, *arguments: str, status: int = 0, **environment: str) -> list[str]:
        """Runs `dvc repro` and returns the stages that were executed (not taken from a cache)."""
        said = self.run("dvc", "repro", *arguments, status=status, **environment)
        return re.findall(r"^Running stage '(?:.*:)?(\w+)'", said, re.MULTILINE)

    def changed(self) -> set[str]:
        """Returns the stages that `dvc status` would run for a change of their own."""
        status: dict[str, Any] = json.loads(self.run("dvc", "status", "--json", "dvc.yaml"))
        return set(status)

    def set(self, **values: str) -> None:
        """Edits params.yaml by dotted keys with __ for dots: set(train_b__overrides="{}")."""
        edit_params(self.root / "params.yaml", {k.replace("__", "."): v for k, v in values.items()})

    def read(self, path: str) -> str:
        """Returns a file's text."""
        return (self.root / path).read_text()

    @property
    def record(self) -> dict[str, Any]:
        """What metrics/metrics.json holds."""
        found: dict[str, Any] = json.loads(self.read("metrics/metrics.json"))
        return found

    def commit(self, message: str = "Change") -> None:
        """Commits everything that git does not ignore."""
        self.run("git", "add", "-A")
        # A run that gives the committed bytes changes nothing.
        self.run("git", "commit", "-q", "--no-verify", "--allow-empty", "-m", message)

    def clone_to(self, folder: Path) -> "Project":
        """Returns a copy of the whole folder: cache, store and git history included."""
        shutil.copytree(self.root, folder, symlinks=True)
        return dataclasses.replace(self, root=folder)


AUTHOR = {
    "GIT_AUTHOR_NAME": "A Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.com",
    "GIT_COMMITTER_NAME": "A Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.com",
}
"""Who commits: a machine need not know anybody."""


def clean_environment(*, recorded: bool = False) -> dict[str, str]:
    """The environment of a user who has activated this Python's environment and nothing else."""
    dropped = ("HEADSTART_", "MLFLOW_", "DVC_", "GIT_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HEADSTART_MIRROR": os.environ.get("HEADSTART_TEST_RAW", ""),
        # Where the lab book is not the subject; a test that is about it asks for it.
        "HEADSTART_RECORDER": "on" if recorded else "off",
        **AUTHOR,
    }


def kept_in_git(project: Project) -> dict[str, bytes]:
    """Returns the bytes that every clean run has to give, by path; the lock holds the others."""
    return {
        str(path.relative_to(project.root)): path.read_bytes()
        for folder in ("metrics", "data", "models")
        for path in sorted((project.root / folder).rglob("*"))
        if path.is_file() and path.suffix not in (".npy", ".keras") and "raw/" not in str(path)
    } | {"dvc.lock": (project.root / "dvc.lock").read_bytes()}


def edit_params(path: Path, values: dict[str, str]) -> None:
    """Replaces values in a params.yaml by dotted key, and leaves all else as it is."""
    path.write_text(yaml_text.edited(path.read_text(), values))


def new_checkout(folder: Path, *, git: bool = True) -> Project:
    """Returns a fresh checkout of the working tree: what git tracks, without what it ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    project = Project(folder)
    if git:
        project.run("git", "init", "-q", "-b", "main")
        project.commit("Begin")
    else:
        project.run("dvc", "config", "--local", "core.no_scm", "true")
    return project
