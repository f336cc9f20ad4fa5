"""The stage's side of the lab book: a child process writes to MLflow while the stage works.

Importing MLflow takes seconds, a fresh store more, a dead server minutes. A stage pays for none
of it: it starts the child before anything heavy, writes lines into its pipe without ever
blocking, and waits at the end only as long as the store deserves.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError, warn
from headstart.core.masking import masked
from headstart.tracking.store import address, database

# `off` in the environment keeps stages from starting a child at all.
SWITCH = "HEADSTART_RECORDER"

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
        UserError: The environment's HEADSTART_RECORDER is neither on nor off.
    """
    value = os.environ.get(SWITCH) or "on"
    if value not in ("on", "off"):
        raise UserError(f"{SWITCH}: {value!r} is neither on nor off (in the environment)")
    return value == "on"


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
        if not switched_on():
            return
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headstart.tracking"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=root,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
                # Ctrl-C and a kill of the whole group leave it alive to write down how it ended.
                start_new_session=True,
            )
        except OSError as error:
            self._trouble = f"no process could be started ({error.strerror})"
            return
        os.set_blocking(self._process.stdin.fileno(), False)
        self.send(**first, root=str(root), address=self._uri, pid=os.getpid())

    def send(self, **message: Any) -> None:
        """Sends a message as far as the pipe takes it at once."""
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
        note = Path(os.environ.get("DVC_ROOT") or self._root) / ".headstart/warned"
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

    def epoch(self, numbers: Mapping[str, float]) -> None:
        """Sends one epoch: `epoch` from 1, and loss, accuracy, val_loss, val_accuracy."""
        self.send(do="epoch", numbers={name: float(value) for name, value in numbers.items()})

    def finish(self) -> None:
        """Says that the stage's outputs are written: the run gets its key from their hashes."""
        self.send(do="end", status="FINISHED")


@contextlib.contextmanager
def recorder(*, stage: str, root: Path) -> Iterator[Recorder]:
    """Yields at once what shows the training of `stage` in MLflow, epoch by epoch.

    Enter it before TensorFlow is imported, so that both imports run side by side. A block left
    by an exception, or without `finish`, makes a failed run. Trouble with MLflow is one warning.
    With HEADSTART_RECORDER=off in the environment nothing is started, and nothing is written.

    Args:
        stage: train_a, train_b or transfer.
        root: The checkout in which the stage runs.
    """
    params = ""
    with contextlib.suppress(OSError):  # The stage itself tells what is wrong with it.
        params = (root / "params.yaml").read_text(encoding="utf-8")
    first = {"do": "record", "stage": stage, "params": params}
    run = Recorder(first, root=root, seconds=_RECORD_SECONDS)
    try:
        yield run
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        run.send(do="end", status="KILLED" if interrupted else "FAILED")
        run.leave(seconds=_INTERRUPTED_SECONDS if interrupted else _FAILED_SECONDS)
        raise
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

    MLflow is imported and the store opened meanwhile. Without a call nothing is published, nor
    with HEADSTART_RECORDER=off in the environment.
    """
    book = Publisher({"do": "prepare"}, root=root, seconds=_PUBLISH_SECONDS)
    try:
        yield book
    except BaseException:
        book.leave(seconds=0)
        raise
    book.close()
