"""When a training shows itself live, and what one that was too short for it leaves."""

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labbooks
import psutil
import pytest
from labbooks import EPOCHS, eventually, rows, states
from projects import ROOT

from headstart import tracking
from headstart.tracking import revisions


@pytest.fixture
def checkout(tmp_path: Path, fresh_store: Path) -> Path:
    return labbooks.new_checkout(tmp_path / "checkout", store=fresh_store)


def points(root: Path) -> list[tuple[int, int]]:
    """Step and time of the losses in the store."""
    return rows(root, "SELECT step, timestamp FROM metrics WHERE key = 'loss' ORDER BY step")


def test_training_shows_itself_once_its_epochs_say_that_it_will_last(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_RECORDER", "60")
    before = set(psutil.Process().children())
    with tracking.recorder(stage="train_b", root=checkout, epochs=10_000) as run:
        began = time.time()
        run.epoch(EPOCHS[0])
        assert set(psutil.Process().children()) == before, "the first epoch alone tells too much"
        time.sleep(0.1)
        run.epoch(EPOCHS[1])
        seen = time.time()
        eventually(lambda: len(points(checkout)) == 2)
        assert states(checkout) == [("RUNNING", "active")]
        (_, first), (_, second) = points(checkout)
        assert began - 0.01 <= first / 1000 <= second / 1000 - 0.1 <= seen - 0.1
        assert abs(rows(checkout, "SELECT start_time FROM runs")[0][0] / 1000 - began) < 1
        run.epoch(EPOCHS[2])
        eventually(lambda: len(points(checkout)) == 3)
        run.finish()
    assert states(checkout) == [("FINISHED", "active")]


def test_training_shows_itself_within_its_first_epoch_where_that_lasts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_RECORDER", "0.2")
    with tracking.recorder(stage="train_b", root=checkout, epochs=1) as run:
        eventually(lambda: states(checkout) == [("RUNNING", "active")])
        run.epoch(EPOCHS[0])
        run.finish()
    assert [step for step, _ in points(checkout)] == [1]


def sheets(root: Path) -> list[Path]:
    return sorted((root / ".headstart/trainings").glob("*"))


@pytest.mark.parametrize("by", ["evaluate", "headstart publish"])
def test_short_training_starts_nothing_and_its_run_tells_later_when_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("HEADSTART_RECORDER", "on")
    before = set(psutil.Process().children())
    began = time.time()
    with tracking.recorder(stage="train_b", root=checkout, epochs=3) as run:
        for numbers in EPOCHS:
            time.sleep(0.05)
            run.epoch(numbers)
        run.finish()
    ended = time.time()
    assert set(psutil.Process().children()) == before
    assert states(checkout) == []
    if by == "evaluate":
        with tracking.publisher(checkout) as book:
            book.publish()
    else:
        tracking.publish(checkout)
    ((run_id, start, end),) = rows(
        checkout, "SELECT run_uuid, start_time, end_time FROM runs WHERE name LIKE 'train_b%'"
    )
    question = "SELECT timestamp FROM metrics WHERE run_uuid = ? AND key = 'val_accuracy'"
    times = [start, *sorted(stamp for (stamp,) in rows(checkout, question, run_id)), end]
    assert began - 0.01 <= times[0] / 1000
    assert times[-1] / 1000 <= ended
    assert all(later - earlier >= 49 for earlier, later in itertools.pairwise(times[:-1]))
    tags = labbooks.tags_of(checkout, run_id)
    assert tags["provenance.source"] == "timesheet"
    assert tags["provenance.pid"] == str(os.getpid())
    assert tags["provenance.host"] == socket.gethostname()
    assert 0.1 < float(tags["provenance.seconds"]) <= ended - began + 0.1
    # The other two left none.
    sources = "SELECT value FROM tags WHERE key = 'provenance.source' ORDER BY value"
    assert [value for (value,) in rows(checkout, sources)] == [
        "published", "restored", "restored", "timesheet",
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["fails", "is killed"])
def test_training_that_ends_badly_before_it_shows_itself_leaves_nothing(
    checkout: Path, end: str
) -> None:
    code = f"""
import os
from pathlib import Path
from headstart import tracking
with tracking.recorder(stage="train_b", root=Path({str(checkout)!r}), epochs=3) as run:
    run.epoch({EPOCHS[0]})
    {"1 / 0" if end == "fails" else "os.kill(os.getpid(), 9)"}
"""
    switch = {"HEADSTART_RECORDER": "on", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | switch, check=False)
    assert done.returncode in (1, -9)
    tracking.publish(checkout)
    assert states(checkout) == [("FINISHED", "active")] * 4
    assert sheets(checkout) == []


def _edited(**changed: Any) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps(json.loads(content) | changed).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda _: b"\xff\xfe",
        lambda _: b"[]",
        _edited(began=-1.0),
        _edited(began=1e300),
        _edited(ended=1.0),
        _edited(epochs=[]),
        _edited(epochs="many"),
        _edited(stage="train_a"),
        _edited(model="0" * 32),
        _edited(tags={"headstart.key": "0" * 32}),
    ],
    ids=["cut off", "no text", "no record", "before 1970", "after all time", "ends before it began",
         "other epochs", "no times", "other stage", "other model", "an identity"],
)  # fmt: skip
def test_timesheet_that_is_damaged_or_foreign_is_as_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    from headstart.tracking import identity, timesheets

    timesheets.leave(checkout, "train_b", began=time.time(), epochs=[time.time()] * 3)
    (file,) = sheets(checkout)
    model = revisions.Workspace(checkout).md5("models/baseline.keras")
    training = identity.TrainingRun(identity.STAGES["train_b"], {}, {}, str(model))
    assert timesheets.read(checkout, training, epochs=3)
    file.write_bytes(damage(file.read_bytes()))
    assert timesheets.read(checkout, training, epochs=3) is None


def test_timesheet_lies_in_the_main_checkout_and_old_ones_go(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.tracking import timesheets

    monkeypatch.setenv("DVC_ROOT", str(checkout / "main"))
    monkeypatch.setattr(timesheets, "_KEPT", 2)
    for number in range(3):
        (checkout / "models/baseline.keras").write_text(str(number))
        timesheets.leave(checkout, "train_b", began=time.time(), epochs=[])
        last = f"train_b-{revisions.Workspace(checkout).md5('models/baseline.keras')}.json"
        os.utime(checkout / "main/.headstart/trainings" / last, (number, number))
    kept = [file.stat().st_mtime for file in sheets(checkout / "main")]
    assert sorted(kept) == [1, 2]
    assert sheets(checkout) == []
