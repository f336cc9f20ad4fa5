"""Publishing: the store follows the workspace, or any commit, and nothing is there twice."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import labbooks
import pytest
import yaml
from labbooks import EPOCHS, content, edit, git, lock, rows, states, tags_of
from projects import ROOT

from headstart import tracking
from headstart.core.errors import UserError
from headstart.tracking.identity import STAGES

FINISHED = ("FINISHED", "active")


@pytest.fixture
def checkout(tmp_path: Path, fresh_store: Path) -> Path:
    return labbooks.new_checkout(tmp_path / "checkout", store=fresh_store)


@pytest.fixture
def repository(checkout: Path) -> Path:
    return labbooks.commit_two_branches(checkout)


def test_workspace_becomes_three_trainings_and_a_comparison(checkout: Path) -> None:
    summary = tracking.publish(checkout)
    assert len(summary.written) == 4
    assert states(checkout) == [FINISHED] * 4
    *trainings, comparison = summary.run_ids
    tags = tags_of(checkout, comparison)
    assert tags["headstart.kind"] == "comparison"
    assert tags["headstart.verdict"] == "baseline better"
    assert tags["headstart.fair"] == "true"
    note = tags["mlflow.note.content"]
    assert "baseline better" in note
    assert "transfer's log loss is lower by 0.125 (0.0625 to 0.25)" in note
    assert "dvc exp run" in note
    for stage, run_id in zip(STAGES, trainings, strict=True):
        of_training = tags_of(checkout, run_id)
        assert tags[f"headstart.{stage}"] == of_training["headstart.key"]
        assert tags[f"provenance.run.{stage}"] == run_id
        assert f"/runs/{run_id})" in note
        assert of_training["headstart.model"] in note
        assert of_training["headstart.model"] in of_training["mlflow.note.content"]
        assert of_training["provenance.source"] == "restored"
        assert "mlflow.parentRunId" not in of_training
    metrics = content(checkout)[tags["headstart.key"]]["metrics"]
    for name, value in (("accuracy_gain", -0.25), ("baseline/accuracy", 0.75)):
        assert (name, 0, value) in metrics
    for arm in ("baseline", "transfer"):
        curve = [(step, value) for key, step, value in metrics if key == f"{arm}/val_accuracy"]
        assert curve == [(row["epoch"], row["val_accuracy"]) for row in EPOCHS]
    assert [value for key, _, value in metrics if key == "baseline/accuracy"] == [0.75]
    assert {("log_loss_gain", 0, -0.125), ("transfer/brier", 0, 0.25)} <= set(metrics)
    assert not [key for key, *_ in metrics if key == "baseline/auc"], "null is no number"
    params = dict(content(checkout)[tags["headstart.key"]]["params"])
    assert params["target_training.epochs"] == "5"
    assert params["tasks.target_classes"] == '["sandal", "shirt"]'
    kept = checkout / "mlartifacts" / comparison / "artifacts"
    assert (kept / "plots/roc.png").read_text() == "a picture"
    assert (kept / "report/index.html").read_text() == "<title>a report</title>"


def test_publishing_twice_changes_nothing(checkout: Path) -> None:
    def dump() -> list[str]:
        with contextlib.closing(sqlite3.connect(checkout / "mlflow.db")) as opened:
            return list(opened.iterdump())

    tracking.publish(checkout)
    before = dump()
    summary = tracking.publish(checkout)
    assert not summary.written
    assert len(summary.present) == 4
    assert dump() == before


def test_deleted_store_comes_back_with_the_same_content_live_or_restored(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_RECORDER", "0")
    with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
        for numbers in EPOCHS:
            run.epoch(numbers)
        run.finish()
    assert states(checkout) == [FINISHED]
    with tracking.publisher(checkout) as book:
        book.publish()
    before = content(checkout)
    assert len(before) == 4
    assert tracking.published(checkout)
    (checkout / "mlflow.db").unlink()
    assert not tracking.published(checkout)
    # In a process of its own, as everybody does: MLflow keeps files open that are gone.
    headstart(checkout, "publish")
    assert content(checkout) == before


def test_publisher_writes_the_trainings_while_evaluate_works_and_the_rest_when_asked(
    checkout: Path,
) -> None:
    (checkout / "metrics/metrics.json").rename(checkout / "metrics.json")
    with tracking.publisher(checkout) as book:
        labbooks.eventually(lambda: states(checkout) == [FINISHED] * 3)
        (checkout / "metrics.json").rename(checkout / "metrics/metrics.json")
        book.publish()
    assert states(checkout) == [FINISHED] * 4
    assert tracking.published(checkout)


def test_publisher_that_was_not_asked_writes_no_comparison(checkout: Path) -> None:
    with tracking.publisher(checkout):
        pass
    assert not rows(checkout, "SELECT 1 FROM tags WHERE value = 'comparison'")


def test_training_deleted_by_hand_is_written_again_and_linked(checkout: Path) -> None:
    first, *_, comparison = tracking.publish(checkout).run_ids
    with contextlib.closing(sqlite3.connect(checkout / "mlflow.db")) as opened, opened:
        opened.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", [first])
    summary = tracking.publish(checkout)
    assert len(summary.written) == 1
    assert summary.run_ids[0] != first
    assert summary.run_ids[-1] == comparison
    tags = tags_of(checkout, comparison)
    assert tags["provenance.run.train_a"] == summary.run_ids[0]
    assert summary.run_ids[0] in tags["mlflow.note.content"]


def test_edited_metrics_or_judgement_are_another_comparison_of_the_same_trainings(
    checkout: Path,
) -> None:
    tracking.publish(checkout)
    edit(checkout, "alpha: 0.05", "alpha: 0.01")
    assert len(tracking.publish(checkout).written) == 1
    gained = json.dumps(labbooks.METRICS).replace("-0.25", "-0.375")
    (checkout / "metrics/metrics.json").write_text(gained)
    assert len(tracking.publish(checkout).written) == 1
    assert len(states(checkout)) == 6


def test_moved_project_takes_its_files_along(checkout: Path) -> None:
    *_, comparison = tracking.publish(checkout).run_ids
    moved = checkout.rename(checkout.with_name("moved"))
    (moved / "mlartifacts" / comparison / "artifacts/report/index.html").unlink()
    headstart(moved, "publish")
    assert not checkout.exists()
    assert (moved / "mlartifacts" / comparison / "artifacts/report/index.html").exists()
    assert len(states(moved)) == 4


# What dvc.lock says.


def test_parameters_are_those_of_the_run_and_not_edited_ones(checkout: Path) -> None:
    lock(checkout)
    tracking.publish(checkout)
    edit(checkout, "seed: 42", "seed: 7")
    assert not tracking.publish(checkout).written


def test_numbers_that_dvc_writes_with_an_exponent_are_numbers(checkout: Path) -> None:
    edit(checkout, "learning_rate: 0.001", "learning_rate: 0.00001")
    tracking.publish(checkout)
    lock(checkout)
    text = (checkout / "dvc.lock").read_text()
    assert "1.0e-05" in text
    (checkout / "dvc.lock").write_text(text.replace("1.0e-05", "1e-05"))
    assert not tracking.publish(checkout).written


def test_metrics_of_another_model_are_refused(checkout: Path) -> None:
    lock(checkout)
    values = yaml.safe_load((checkout / "dvc.lock").read_text())["stages"]["evaluate"]
    values["deps"][1]["md5"] = "0" * 32
    lock(checkout, evaluate=values)
    with pytest.raises(UserError, match=r"another models/baseline.keras .* run `dvc repro`"):
        tracking.publish(checkout)


def test_metrics_that_dvc_does_not_know_are_refused(checkout: Path) -> None:
    lock(checkout)
    (checkout / "metrics/metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"not the one that dvc.lock names"):
        tracking.publish(checkout)


@pytest.mark.parametrize("path", ["metrics/metrics.json", "models/transfer.keras", "params.yaml"])
def test_incomplete_result_is_one_message_and_no_run(checkout: Path, path: str) -> None:
    (checkout / path).unlink()
    with pytest.raises(UserError, match=f"no {path}"):
        tracking.publish(checkout)
    assert states(checkout) == []


# Other commits.


def test_clone_without_data_publishes_what_the_workspace_would_have(
    checkout: Path, repository: Path
) -> None:
    tracking.publish(checkout)
    from_workspace = content(checkout)
    (checkout / "mlflow.db").unlink()
    headstart(checkout, "publish", "--rev", "main")
    assert content(checkout) == from_workspace


def test_other_branch_is_published_without_checking_it_out(repository: Path) -> None:
    before = subprocess.check_output(["git", "-C", str(repository), "status", "--porcelain"])
    summary = tracking.publish(repository, rev="other")
    assert len(summary.written) == 4
    tags = tags_of(repository, summary.run_ids[-1])
    assert tags["provenance.branch"] == "other"
    metrics = content(repository)[tags["headstart.key"]]["metrics"]
    assert ("accuracy_gain", 0, -0.375) in metrics
    params = dict(content(repository)[tags["headstart.key"]]["params"])
    assert params["seed"] == "7"
    after = subprocess.check_output(["git", "-C", str(repository), "status", "--porcelain"])
    assert after == before


def test_all_branches_and_tags_are_published_once(repository: Path) -> None:
    git(repository, "switch", "-q", "--orphan", "empty")
    git(repository, "commit", "-q", "--allow-empty", "-m", "Nothing")
    done = tracking.publish_all(repository)
    assert set(done) == {"main", "other", "empty"}, "v1 is the same commit as main"
    assert isinstance(done["empty"], str)
    assert states(repository) == [FINISHED] * 8


def test_unknown_revision_is_one_message(repository: Path) -> None:
    with pytest.raises(UserError, match=r"no-such: names no commit"):
        tracking.publish(repository, rev="no-such")


# Runs whose process died.


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def running(root: Path, pid: int, **changed: str) -> str:
    """Begins a training as if `pid` were its stage and its recorder."""
    from headstart.tracking import entries, labbook, provenance, revisions

    tags = provenance.provenance(root, revisions.Workspace(root)) | provenance.process(pid)
    tags |= {
        "provenance.source": "live",
        "provenance.recorder_pid": tags["provenance.pid"],
        "provenance.recorder_start": tags["provenance.process_start"],
    }
    tags |= {f"provenance.{key}": value for key, value in changed.items()}
    book = labbook.LabBook(tracking.address(root))
    return book.begin(entries.unfinished(STAGES["train_a"], {"seed": 1}, {}), tags)


def status(root: Path, run_id: str) -> str:
    found = rows(root, "SELECT status FROM runs WHERE run_uuid = ?", run_id)
    return str(found[0][0])


def test_runs_are_marked_killed_only_when_their_process_on_this_host_is_gone(
    checkout: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    dead = running(checkout, sleeper.pid)
    elsewhere = running(checkout, sleeper.pid, host="another-host")
    namesake = running(checkout, sleeper.pid, machine="another machine of this name")
    alive = running(checkout, os.getpid())
    pid_used_again = running(checkout, os.getpid(), process_start="1.0", recorder_start="1.0")
    tracking.publish(checkout)
    assert status(checkout, dead) == "RUNNING", "its process lives still"
    sleeper.send_signal(signal.SIGKILL)
    sleeper.wait()
    summary = tracking.publish(checkout)
    assert len(summary.killed) == 1
    assert status(checkout, dead) == "KILLED"
    assert status(checkout, pid_used_again) == "KILLED"
    for other in (elsewhere, namesake, alive):
        assert status(checkout, other) == "RUNNING"


# The command.


def headstart(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headstart.cli", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_works_from_a_folder_inside_and_leaves_mlflow_alone_when_nothing_changed(
    checkout: Path,
) -> None:
    done = headstart(checkout / "metrics", "publish", "--if-changed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written") == 4
    assert f"sqlite:///{checkout}/mlflow.db" in done.stdout
    # Python then lists each module that it imports; MLflow's import alone would take seconds.
    done = headstart(checkout, "publish", "--if-changed", PYTHONPROFILEIMPORTTIME="1")
    assert "nothing changed" in done.stdout
    assert "headstart.tracking" in done.stderr
    assert " mlflow\n" not in done.stderr


@pytest.mark.parametrize("what", ["metrics/metrics.json", "mlflow.db", "a run", "the address"])
def test_short_cut_is_not_taken_when_something_changed(
    checkout: Path, fresh_store: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    first, *_ = tracking.publish(checkout).run_ids
    assert tracking.published(checkout)
    if what == "a run":
        with contextlib.closing(sqlite3.connect(checkout / "mlflow.db")) as opened, opened:
            deleted = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?"
            opened.execute(deleted, [first])
    elif what == "the address":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{fresh_store}")
    elif what == "mlflow.db":
        (checkout / what).write_bytes(fresh_store.read_bytes())
    else:
        (checkout / what).write_text("{}")
    assert not tracking.published(checkout)


def test_command_says_in_one_message_that_the_store_cannot_be_reached(checkout: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"http://me:secret@127.0.0.1:{taken.getsockname()[1]}"
        done = headstart(checkout, "publish", MLFLOW_TRACKING_URI=where)
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow at http://***@127.0.0.1")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stdout + done.stderr


def test_real_server_gets_later_what_it_missed_while_it_was_down(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with pytest.raises(UserError, match="cannot be reached"):
        tracking.publish(checkout)
    options = f"--port {port} --workers 1 --serve-artifacts --artifacts-destination served"
    store = ["--backend-store-uri", f"sqlite:///{checkout}/mlflow.db"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, *options.split()],
        cwd=checkout,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        labbooks.eventually(lambda: _listens(port), seconds=120)
        assert len(tracking.publish(checkout).written) == 4
        assert tracking.published(checkout)
        assert not tracking.publish(checkout).written
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert states(checkout) == [FINISHED] * 4


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
