"""A second machine: a clone, a remote, an empty MLflow store, and a cache that is damaged."""

import json
import sys
from pathlib import Path

import labbooks
import pytest
from projects import Project

pytestmark = pytest.mark.timeout(600)


def headstart(project: Project, *arguments: str, status: int = 0) -> str:
    command = (sys.executable, "-m", "headstart.cli", *arguments)
    return project.run(*command, status=status, PYTHONPATH="src")


@pytest.fixture(scope="module")
def first(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The first machine, with all that it made in a remote folder. Not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    project = Project(recorded.clone_to(folder / "project").root)
    project.run("dvc", "remote", "add", "-q", "-d", "storage", str(folder / "remote"))
    project.commit("Name the remote")
    # A second state, which only the run cache knows afterwards.
    project.set(transfer__strategy="random_frozen")
    assert project.repro("dvc.yaml") == ["transfer", "evaluate"]
    project.run("dvc", "push", "-q", "--run-cache")
    project.run("git", "checkout", "-q", ".")
    project.run("dvc", "checkout", "-q")
    project.run("dvc", "push", "-q")
    return project


@pytest.fixture
def second(first: Project, tmp_path: Path) -> Project:
    """A fresh clone on another machine: what git has, and nothing else."""
    first.run("git", "clone", "-q", str(first.root), str(tmp_path / "clone"))
    return Project(tmp_path / "clone")


def test_clone_pulls_runs_nothing_and_fills_an_empty_store(first: Project, second: Project) -> None:
    second.run("dvc", "pull", "-q")
    assert second.repro("dvc.yaml") == []
    assert not (second.root / "mlflow.db").exists()
    said = headstart(second, "publish")
    assert said.count("written") == 4
    runs = labbooks.content(second.root)
    assert len(runs) == 4
    assert runs == labbooks.content(first.root)
    assert headstart(second, "publish").count("present") == 4
    assert not second.run("git", "status", "--porcelain")


def test_repro_pulls_what_is_missing(second: Project) -> None:
    assert second.repro("--pull", "dvc.yaml") == []
    assert (second.root / "models/transfer.keras").is_file()
    assert not json.loads(second.run("dvc", "status", "--json", "dvc.yaml"))


def test_run_cache_of_another_machine_saves_the_training(second: Project) -> None:
    second.run("dvc", "pull", "-q", "--run-cache")
    second.set(transfer__strategy="random_frozen")
    # DVC pushes no metrics that git keeps, so that evaluate has to make them.
    assert second.repro("--pull", "dvc.yaml") == ["evaluate"]


def test_damaged_file_in_the_remote_is_refused_where_pull_verifies(
    first: Project, second: Project
) -> None:
    second.run("dvc", "remote", "modify", "--local", "storage", "verify", "true")
    remote = second.root.parent / "remote"
    second.run("cp", "-r", str(first.root.parent / "remote"), str(remote))
    second.run("dvc", "remote", "modify", "--local", "storage", "url", str(remote))
    lines = second.read("dvc.lock").splitlines()
    at = next(n for n, line in enumerate(lines) if line.endswith("path: models/baseline.keras"))
    md5 = next(line.split()[-1] for line in lines[at:] if line.strip().startswith("md5:"))
    kept = remote / "files/md5" / md5[:2] / md5[2:]
    kept.chmod(0o644)
    kept.write_bytes(b"damaged")
    said = second.run("dvc", "pull", status=1)
    assert "models/baseline.keras" in said
