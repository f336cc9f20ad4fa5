"""The stage's side of the lab book: a child process writes to MLflow while the stage works.

Importing MLflow takes seconds, a fresh store more, a dead server minutes. A training starts the
child once it is known to last, and a short one never: its timesheet tells the next publication.
Lines go into the child's pipe without ever blocking, and the stage waits at the end only as long as
the store deserves.
"""

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError, warn
from headstart.core.masking import masked
from headstart.tracking.store import address, database, home

# `off` in the environment keeps stages from starting a child at all; a number stands in place of
# the seconds after which a training shows itself.
SWITCH = "HEADSTART_RECORDER"
_LONG_SECONDS = 10.0

# A file on this machine may be slow but always comes back.
_LOCAL_SECONDS = 60.0
# The three trainings and evaluate together stay below 20 s with a server that hangs, and each
# below 10 s even where MLflow is still being imported when a short training ends.
_IMPORT_SECONDS = 6.0
_RECORD_SECONDS = 3.0
_PUBLISH_SECONDS = 8.0
# A stage that failed has something to say; the child writes down the end of it alone.
_FAILED_SECONDS = 3.0
_INTERRUPTED_SECONDS = 0.5

# Python warns of a running child that it forgets.
_left_alone: list[subprocess.Popen[bytes]] = []


def switched_on() -> bool:
    """Tells whether stages write to MLflow by themselves.

    Raises:
        UserError: The environment's HEADSTART_RECORDER cannot be understood.
    """
    return _long_seconds() < math.inf


def _long_seconds() -> float:
    """Returns the seconds from which on a training is long; inf where stages write nothing."""
    value = os.environ.get(SWITCH) or "on"
    if value in ("on", "off"):
        return _LONG_SECONDS if value == "on" else math.inf
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(value)) < math.inf:
            return seconds
    raise UserError(f"{SWITCH}: {value!r} is neither on nor off nor seconds (in the environment)")


class _Child:
    """A process that takes JSON lines and answers with JSON lines; its death harms nobody."""

    def __init__(self, first: Mapping[str, Any], *, root: Path, seconds: float) -> None:
        self._root = root
        self._uri = address(root)
        local = database(self._uri) is not None
        self._seconds = _LOCAL_SECONDS if local else seconds
        self._import_seconds = _LOCAL_SECONDS if local else _IMPORT_SECONDS
        self._unsent = bytearray()
        self._trouble: str | None = None
        self._process: Any = None
        # A training's own thread may start it, and a timer's.
        self._lock = threading.RLock()
        self.send(**first, root=str(root), address=self._uri, pid=os.getpid())

    def start(self) -> None:
        """Starts the process, which then gets what was sent before."""
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
        with self._lock:
            if self._process or self._trouble:
                return
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "headstart.tracking"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd=self._root,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
                    # Ctrl-C and a kill of the whole group leave it alive to write how it ended.
                    start_new_session=True,
                )
            except OSError as error:
                self._trouble = f"no process could be started ({error.strerror})"
                return
            os.set_blocking(self._process.stdin.fileno(), False)
            self._flush()

    def send(self, **message: Any) -> None:
        """Sends a message as far as the pipe takes it at once."""
        with self._lock:
            self._unsent += json.dumps(message).encode() + b"\n"
            self._flush()

    def _flush(self) -> None:
        """Writes what the pipe takes at once and keeps the rest for later."""
        try:
            while self._unsent and self._process:
                del self._unsent[: os.write(self._process.stdin.fileno(), self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            # It is gone; its last words in the other pipe say why.
            self._unsent.clear()

    def close(self) -> None:
        """Waits for the last answer within the limits, ends the child, warns if it failed."""
        answer: dict[str, Any] = {}
        if self._process:
            answer = self._answer()
            # After its last word nothing remains to be done but MLflow's slow leaving.
            self._process.kill()
            self._process.wait()
        if (self._process or self._trouble) and "done" not in answer:
            self._warn(answer.get("error") or self._trouble or "the recorder died")

    def leave(self, *, seconds: float) -> None:
        """Waits for `seconds` at most and lets the child finish its work on its own."""
        self._seconds = self._import_seconds = seconds
        if self._process:
            self._answer()
            if self._process.poll() is None:
                _left_alone.append(self._process)

    def _warn(self, reason: str) -> None:
        """Tells what is missing in MLflow, once for all stages of one `dvc` command."""
        note = home(self._root) / ".headstart/warned"
        command = _dvc_command()
        with contextlib.suppress(OSError):
            warned = f"{command} {masked(self._uri)}"
            if command and note.is_file() and note.read_text("utf-8", "surrogateescape") == warned:
                return
            note.parent.mkdir(exist_ok=True)
            note.write_text(warned, "utf-8", "surrogateescape")
        warn(
            f"MLflow at {masked(self._uri)} lacks this run: {reason}.\n"
            "         Nothing is lost: `headstart publish` sends it later."
        )

    def _answer(self) -> dict[str, Any]:
        """Waits for the child's last word, and hangs up."""
        stdin, stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        deadline = time.monotonic() + self._import_seconds
        answer: dict[str, Any] = {}
        unread = b""
        while (left := deadline - time.monotonic()) > 0:
            self._flush()
            if not self._unsent:
                self._process.stdin.close()
            ready, _, _ = select.select([stdout], [stdin] if self._unsent else [], [], left)
            if stdout not in ready:
                continue
            chunk = os.read(stdout, 65536)
            *lines, unread = (unread + chunk).split(b"\n")
            for line in lines:
                message = json.loads(line)
                answer |= message
                if "imported" in message:
                    deadline = time.monotonic() + self._seconds
            if not chunk or "done" in answer or "error" in answer:
                break
        else:
            self._trouble = "it did not answer within the time a stage waits"
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        return answer


def _dvc_command() -> str:
    """Returns what names the running `dvc` command that this stage belongs to, or nothing."""
    if "DVC_STAGE" not in os.environ:
        return ""
    import psutil

    for process in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            if any(Path(word).name == "dvc" for word in process.cmdline()[:3]):
                return f"{process.pid} {process.create_time():.0f}"
    return ""


class Recorder(_Child):
    """The training run of one stage, from the stage's side."""

    def __init__(self, stage: str, *, root: Path, epochs: int) -> None:
        params = ""
        with contextlib.suppress(OSError):  # The stage itself tells what is wrong with it.
            params = (root / "params.yaml").read_text(encoding="utf-8")
        self._stage, self._epochs = stage, epochs
        self._began, self._ends = time.time(), list[float]()
        first = {"do": "record", "stage": stage, "params": params, "began": self._began}
        super().__init__(first, root=root, seconds=_RECORD_SECONDS)
        self._long = _long_seconds()
        # Epochs that end tell earlier; without one, or with long ones, the time tells.
        self._timer = threading.Timer(min(self._long, threading.TIMEOUT_MAX), self.start)
        self._timer.daemon = True
        if self._long == 0:
            self.start()
        elif self._long < math.inf:
            self._timer.start()

    def epoch(self, numbers: Mapping[str, float]) -> None:
        """Sends one epoch: `epoch` from 1, and loss, accuracy, val_loss, val_accuracy."""
        self._ends.append(time.time())
        values = {name: float(value) for name, value in numbers.items()}
        self.send(do="epoch", numbers=values, at=self._ends[-1])
        # The first epoch has the tracing of graphs in it and tells too much.
        if len(self._ends) > 1:
            left = (self._epochs - len(self._ends)) * (self._ends[-1] - self._ends[-2])
            if left > self._long:
                self.start()

    def finish(self) -> None:
        """Says that the stage's outputs are written: the run gets its key from their hashes."""
        self.stay()
        if self._long < math.inf:
            from headstart.tracking import timesheets

            timesheets.leave(self._root, self._stage, began=self._began, epochs=self._ends)
        self.send(do="end", status="FINISHED")

    def stay(self) -> None:
        """Lets the process start no more."""
        self._timer.cancel()
        if self._timer.is_alive():
            self._timer.join()


@contextlib.contextmanager
def recorder(*, stage: str, root: Path, epochs: int) -> Iterator[Recorder]:
    """Yields at once what shows the training of `stage` in MLflow, epoch by epoch.

    It shows itself once it has lasted ten seconds, or sooner where its last epoch's time says that
    ten more are to come; what was sent before comes with its own times. A training that ends
    before leaves a timesheet alone, and one that fails or is killed before leaves nothing. Later, a
    block left by an exception, or without `finish`, makes a failed run. Trouble with MLflow is one
    warning. HEADSTART_RECORDER in the environment may have other seconds, or `off`: nothing is
    started then, and nothing written.

    Args:
        stage: train_a, train_b or transfer.
        root: The checkout in which the stage runs.
        epochs: How many epochs there will be.
    """
    run = Recorder(stage, root=root, epochs=epochs)
    try:
        yield run
    except BaseException as error:
        run.stay()
        interrupted = isinstance(error, KeyboardInterrupt)
        run.send(do="end", status="KILLED" if interrupted else "FAILED")
        run.leave(seconds=_INTERRUPTED_SECONDS if interrupted else _FAILED_SECONDS)
        raise
    run.stay()
    # The first end counts: this one where the stage never said `finish`.
    run.send(do="end", status="FAILED")
    run.close()


class Publisher(_Child):
    """A lab book about to be brought up to date."""

    def publish(self) -> None:
        """Asks for the workspace as it is now to be published."""
        self.send(do="publish")


@contextlib.contextmanager
def publisher(root: Path) -> Iterator[Publisher]:
    """Yields at once what publishes the workspace at `root` when its `publish` is called.

    MLflow is imported meanwhile, the store opened, and the trainings are written. Without a call
    the comparison is not published, and nothing at all with HEADSTART_RECORDER=off in the
    environment.
    """
    book = Publisher({"do": "prepare"}, root=root, seconds=_PUBLISH_SECONDS)
    if switched_on():
        book.start()
    try:
        yield book
    except BaseException:
        book.leave(seconds=0)
        raise
    book.close()
