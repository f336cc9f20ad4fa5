"""The lab book from the stage's side: live runs, stores, servers that fail, processes that die."""

import contextlib
import http.server
import os
import queue
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import labbooks
import psutil
import pytest
from labbooks import EPOCHS, eventually, rows, states
from projects import ROOT, edit_params

from headstart import tracking
from headstart.core.errors import UserError
from headstart.tracking import revisions, spawn, store
from headstart.tracking.identity import STAGES


@pytest.fixture
def checkout(tmp_path: Path, fresh_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Trainings show themselves at once, unless the test is about when they do.
    monkeypatch.setenv("HEADSTART_RECORDER", "0")
    return labbooks.new_checkout(tmp_path / "a checkout", store=fresh_store)


def record(root: Path, *messages: dict[str, Any]) -> None:
    """Does in this process what the child does for a stage."""
    from headstart.tracking import publication

    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    first = {
        "do": "record",
        "stage": "train_b",
        "params": (root / "params.yaml").read_text(),
        "root": str(root),
        "address": tracking.address(root),
        "pid": os.getpid(),
        "began": time.time(),
    }
    for message in (first, *messages):
        waiting.put(message)
    publication.serve(waiting)


SENT = [{"do": "epoch", "numbers": numbers, "at": 1e9} for numbers in EPOCHS]


def test_training_shows_itself_epoch_by_epoch_and_ends_with_its_identity(checkout: Path) -> None:
    with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
        run.epoch(EPOCHS[0])
        eventually(lambda: rows(checkout, "SELECT * FROM metrics"))
        assert states(checkout) == [("RUNNING", "active")]
        note = dict(rows(checkout, "SELECT key, value FROM tags"))["mlflow.note.content"]
        assert "has not finished" in note
        run.epoch(EPOCHS[1])
        run.epoch(EPOCHS[2])
        run.finish()
    assert states(checkout) == [("FINISHED", "active")]
    points = rows(checkout, "SELECT key, step, value FROM metrics")
    assert sorted(points) == sorted(
        (name, int(row["epoch"]), row[name]) for row in EPOCHS for name in row if name != "epoch"
    )
    params = dict(rows(checkout, "SELECT key, value FROM params"))
    assert params["learning_rate"] == "0.001"
    assert params["output_activation"] == "sigmoid"
    tags = dict(rows(checkout, "SELECT key, value FROM tags"))
    assert tags["headstart.stage"] == "train_b"
    assert tags["headstart.model"] == revisions.Workspace(checkout).md5("models/baseline.keras")
    assert tags["headstart.model"] in tags["mlflow.note.content"]
    assert tags["provenance.source"] == "live"
    assert tags["provenance.pid"] == str(os.getpid())
    digests = dict(rows(checkout, "SELECT name, digest FROM datasets"))
    images = "data/prepared/target/train_images.npy"
    assert digests[images] == revisions.Workspace(checkout).md5(images)
    name = rows(checkout, "SELECT name FROM runs")[0][0]
    assert name == "train_b · sigmoid · sgd 0.001 · 5 epochs · seed 42"


def test_learning_rates_that_were_chosen_name_the_run(checkout: Path) -> None:
    edits = {
        "target_training.learning_rate": "[0.001, 0.01]",
        "transfer.strategy": "gradual",
        "transfer.unfrozen_learning_rate": "[0.0001, 0.1]",
    }
    edit_params(checkout / "params.yaml", edits)
    chosen = (0.01, 0.01, 0.0001)
    with tracking.recorder(stage="transfer", root=checkout, epochs=3) as run:
        for row, rate in zip(EPOCHS, chosen, strict=True):
            run.epoch({**row, "learning_rate": rate})
        eventually(lambda: rows(checkout, "SELECT * FROM metrics"))
        begun = "transfer · gradual · sgd [0.001, 0.01], then [0.0001, 0.1] · 5 epochs · seed 42"
        assert rows(checkout, "SELECT name FROM runs") == [(begun,)]
        run.finish()
    assert rows(checkout, "SELECT name FROM runs") == [
        ("transfer · gradual · sgd 0.01, then 0.0001 · 5 epochs · seed 42",)
    ]
    # What was asked for is the identity.
    params = dict(rows(checkout, "SELECT key, value FROM params"))
    assert params["learning_rate"] == "[0.001, 0.01]"
    tags = dict(rows(checkout, "SELECT key, value FROM tags"))
    assert tags["headstart.chosen.learning_rate"] == "0.01"
    assert tags["headstart.chosen.unfrozen_learning_rate"] == "0.0001"
    curve = rows(checkout, "SELECT value FROM metrics WHERE key = 'learning_rate' ORDER BY step")
    assert curve == [(rate,) for rate in chosen]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("last:2", "a new head and the 2 blocks nearest to it"),
        ("random_frozen", "the control: "),
        ("one of long ago", "The transfer model: one of long ago."),
    ],
)
def test_note_says_how_a_transfer_learned_and_on_which_network(strategy: str, words: str) -> None:
    from headstart.tracking import entries

    acting = {"seed": 1, "strategy": strategy, "source.from": "keras:ResNet50"}
    begun = entries.unfinished(STAGES["transfer"], acting, {})
    assert words in begun.kind[entries.NOTE]
    assert (
        "Its layers are those of keras:ResNet50, whole, 224 x 224 pixels."
        in begun.kind[entries.NOTE]
    )
    assert begun.name.startswith(f"transfer · {strategy} · keras:ResNet50 · whole · 224 x 224")


def test_same_training_again_leaves_one_run(checkout: Path) -> None:
    for _ in range(2):
        record(checkout, *SENT, {"do": "end", "status": "FINISHED"})
    assert states(checkout) == [("FINISHED", "active"), ("FINISHED", "deleted")]


@pytest.mark.parametrize(
    "changed", ["models/baseline.keras", "data/prepared/target/valid_labels.npy", "params.yaml"]
)
def test_another_model_or_data_or_parameter_is_another_run(checkout: Path, changed: str) -> None:
    record(checkout, *SENT, {"do": "end", "status": "FINISHED"})
    text = (checkout / changed).read_text()
    (checkout / changed).write_text(text.replace("seed: 42", "seed: 7") + "\n")
    record(checkout, *SENT, {"do": "end", "status": "FINISHED"})
    assert states(checkout) == [("FINISHED", "active")] * 2


def test_parameter_that_does_not_act_is_the_same_run(checkout: Path) -> None:
    record(checkout, *SENT, {"do": "end", "status": "FINISHED"})
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text.replace("strategy: frozen", "strategy: finetune"))
    record(checkout, *SENT, {"do": "end", "status": "FINISHED"})
    assert states(checkout) == [("FINISHED", "active"), ("FINISHED", "deleted")]


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_training_that_ends_badly_has_no_identity(checkout: Path, status: str) -> None:
    record(checkout, *SENT[:1], {"do": "end", "status": status})
    assert states(checkout) == [(status, "active")]
    assert not rows(checkout, "SELECT * FROM tags WHERE key = 'headstart.key'")


def test_stage_that_raises_leaves_a_failed_run(checkout: Path) -> None:
    def stage() -> None:
        with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
            run.epoch(EPOCHS[0])
            raise RuntimeError("the stage is broken")

    with pytest.raises(RuntimeError, match="the stage is broken"):
        stage()
    # The stage does not wait for it: the recorder writes it down alone.
    eventually(lambda: states(checkout) == [("FAILED", "active")])


def test_stage_killed_in_the_middle_leaves_a_killed_run(checkout: Path) -> None:
    code = f"""
import time
from pathlib import Path
from headstart import tracking
with tracking.recorder(stage="train_b", root=Path({str(checkout)!r}), epochs=3) as run:
    run.epoch({EPOCHS[0]})
    time.sleep(300)
"""
    stage = subprocess.Popen([sys.executable, "-c", code], env=environment())
    eventually(lambda: states(checkout) == [("RUNNING", "active")])
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    eventually(lambda: states(checkout) == [("KILLED", "active")])


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "src")}


def youngest_child() -> psutil.Process:
    """The recorder that a stage in this process has started last."""
    return max(psutil.Process().children(), key=lambda child: child.create_time())


def test_death_of_the_recorder_is_one_warning(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
        recorder = youngest_child()
        recorder.kill()
        recorder.wait()
        for numbers in EPOCHS:
            run.epoch(numbers)
        run.finish()
    warned = capfd.readouterr().err
    assert warned.count("warning:") == 1
    assert "headstart publish" in warned


def test_recorder_that_stands_still_never_blocks_a_training(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spawn, "_LOCAL_SECONDS", 1.0)
    with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
        youngest_child().suspend()
        started = time.monotonic()
        for epoch in range(1, 5001):
            run.epoch(EPOCHS[0] | {"epoch": epoch})
        run.finish()
        assert time.monotonic() - started < 30
        started = time.monotonic()
    assert time.monotonic() - started < 30
    assert capfd.readouterr().err.count("warning:") == 1


def test_many_epochs_all_arrive(checkout: Path) -> None:
    with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
        # More than the pipe takes before the recorder listens.
        for epoch in range(1, 1501):
            run.epoch(EPOCHS[0] | {"epoch": epoch})
        run.finish()
    assert rows(checkout, "SELECT COUNT(*), MAX(step) FROM metrics") == [(4 * 1500, 1500)]


def test_recorder_that_is_switched_off_starts_nothing_and_makes_no_store(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "mlflow.db").unlink()
    before = set(psutil.Process().children())
    monkeypatch.setenv("HEADSTART_RECORDER", "off")
    with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
        run.epoch(EPOCHS[0])
        run.finish()
        assert set(psutil.Process().children()) == before
    with tracking.publisher(checkout) as book:
        book.publish()
        assert set(psutil.Process().children()) == before
    assert not (checkout / "mlflow.db").exists()
    assert not (checkout / ".headstart").exists()


@pytest.mark.parametrize("value", ["no", "-1", "nan", "inf"])
def test_switch_of_the_recorder_is_on_or_off_or_seconds(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HEADSTART_RECORDER", value)
    with (
        pytest.raises(UserError, match=f"HEADSTART_RECORDER: '{value}' is neither on nor off"),
        tracking.recorder(stage="train_b", root=checkout, epochs=3),
    ):
        pass


def test_importing_tracking_imports_nothing_heavy() -> None:
    code = "import sys, headstart.tracking; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"mlflow", "numpy", "pandas", "sqlalchemy", "pydantic", "psutil"} & set(loaded)


# Servers.


class _Failing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(500)

    do_POST = do_GET  # noqa: N815 (the name is the library's)

    def log_message(self, *_: Any) -> None:
        pass


class _Hanging(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        # Until the client gives up.
        while self.request.recv(65536):
            pass


@contextlib.contextmanager
def served(handler: type[socketserver.BaseRequestHandler]) -> Any:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def refused() -> Any:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound but not listening: connections are refused.
        yield taken.getsockname()[1]


def test_stages_of_one_dvc_command_warn_once(checkout: Path) -> None:
    with refused() as port:
        stage = f"""
from pathlib import Path
from headstart import tracking
with tracking.recorder(stage="train_b", root=Path({str(checkout)!r}), epochs=3) as run:
    run.finish()
"""
        (checkout / "stage.py").write_text(stage)
        # What counts is the name of the process above the stages.
        dvc = checkout / "dvc"
        dvc.write_text(f"#!/bin/sh\n{sys.executable} stage.py\n{sys.executable} stage.py\n")
        dvc.chmod(0o755)
        within = {"DVC_STAGE": "train_b", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        for _ in range(2):
            said = subprocess.run(
                [dvc], cwd=checkout, env=environment() | within, capture_output=True, text=True,
                check=True,
            ).stderr  # fmt: skip
            assert said.count("warning:") == 1, "each command says it anew"


@pytest.mark.parametrize(
    "server", [refused, lambda: served(_Hanging), lambda: served(_Failing)],
    ids=["down", "hanging", "answering 500"],
)  # fmt: skip
@pytest.mark.parametrize("work", ["recorder", "publisher"])
def test_server_in_trouble_costs_seconds_and_one_warning(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    server: Any,
    work: str,
) -> None:
    with server() as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        started = time.monotonic()
        if work == "recorder":
            with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
                run.epoch(EPOCHS[0])
                run.finish()
        else:
            with tracking.publisher(checkout) as book:
                book.publish()
        took = time.monotonic() - started
    said = capfd.readouterr().err
    assert took < 30, "the stage did nothing, so this is what it waited, and slow starts"
    assert said.count("warning:") == 1
    assert f"http://***@127.0.0.1:{port}" in said
    assert "secret" not in said
    assert "`headstart publish` sends it later" in said


@pytest.mark.parametrize(
    "server", [refused, lambda: served(_Hanging), lambda: served(_Failing)],
    ids=["down", "hanging", "answering 500"],
)  # fmt: skip
def test_store_that_cannot_be_reached_is_one_message(
    monkeypatch: pytest.MonkeyPatch, server: Any
) -> None:
    from headstart.tracking import labbook

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with server() as port, pytest.raises(store.StoreError) as raised:
        labbook.LabBook(f"http://me:secret@127.0.0.1:{port}")
    assert f"MLflow at http://***@127.0.0.1:{port}" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


# Where the store is.


def test_store_lies_in_the_project_also_for_experiments_in_temporary_folders(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking.address(checkout) == f"sqlite:///{checkout}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(checkout))
    elsewhere = checkout / ".dvc/tmp/exps/one"
    assert tracking.address(elsewhere) == f"sqlite:///{checkout}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///books/b.db")
    assert tracking.address(elsewhere) == f"sqlite:///{checkout}/books/b.db"


@pytest.mark.parametrize("uri", ["sqlite:////srv/b.db", "http://u:p@server:5000", "postgresql://x"])
def test_absolute_addresses_stay_as_they_are(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking.address(checkout) == uri


def test_project_is_found_from_a_folder_inside(checkout: Path) -> None:
    assert tracking.project_root(checkout / "data/prepared") == checkout


def test_processes_that_start_together_on_a_fresh_store_all_succeed(tmp_path: Path) -> None:
    code = f"""
from headstart.core.runtime import quick_imports
with quick_imports():
    from headstart.tracking import entries, identity, labbook
book = labbook.LabBook("sqlite:///{tmp_path}/mlflow.db")
entry = entries.unfinished(identity.STAGES["train_a"], {{"seed": 1}}, {{}})
book.end(book.begin(entry, {{}}), "FINISHED")
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment(), stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    assert states(tmp_path) == [("FINISHED", "active")] * 4
    named = rows(
        tmp_path, "SELECT name, artifact_location FROM experiments WHERE name != 'Default'"
    )
    assert named == [("headstart", f"file://{tmp_path}/mlartifacts")]


def test_store_half_made_by_a_process_that_died_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    from headstart.tracking import labbook

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with monkeypatch.context() as patched:
        patched.setattr(SqlAlchemyStore, "create_experiment", dies)
        with pytest.raises(KeyboardInterrupt):
            labbook.LabBook(uri)
    assert not (tmp_path / "mlflow.db").exists()
    labbook.LabBook(uri)
    assert not list(tmp_path.glob("*-new-*"))
    assert rows(tmp_path, "SELECT name FROM experiments WHERE name = 'headstart'")
