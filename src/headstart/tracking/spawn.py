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

from headstart.core.errors import UserError
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
        self._process: subprocess.Popen[bytes] | None = None
        self._on = switched_on()
        if not self._on:
            return
        source = str(Path(__file__).resolve().parents[2])
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headstart.tracking"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=root,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                # Ctrl-C and a kill of the whole group leave it alive to write down how it ended.
                start_new_session=True,
            )
        except OSError as error:
            self._trouble = f"no process could be started ({error.strerror})"
            return
        assert self._process.stdin  # noqa: S101 (asked for above)
        os.set_blocking(self._process.stdin.fileno(), False)
        self.send({**first, "root": str(root), "address": self._uri, "pid": os.getpid()})

    def send(self, message: Mapping[str, Any]) -> None:
        self._unsent += json.dumps(message).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        """Writes what the pipe takes at once and keeps the rest for later."""
        if self._process is None or self._trouble:
            self._unsent.clear()
            return
        assert self._process.stdin  # noqa: S101
        try:
            while self._unsent:
                del self._unsent[: os.write(self._process.stdin.fileno(), self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            # It is gone; its last words in the other pipe say why.
            self._unsent.clear()

    def close(self) -> None:
        """Waits for the last answer within the limits, ends the child, warns if it failed."""
        answer = self._answer() if self._process and not self._trouble else {}
        if self._process:
            # After its last word nothing remains to be done but MLflow's slow leaving.
            self._process.kill()
            self._process.wait()
            self._hang_up()
        if self._on and "done" not in answer:
            self._warn(answer.get("error") or self._trouble or "the recorder died")

    def leave(self, *, seconds: float) -> None:
        """Waits for `seconds` at most and lets the child finish its work on its own."""
        self._seconds = self._import_seconds = seconds
        if self._process and not self._trouble:
            self._answer()
            self._hang_up()
            if self._process.poll() is None:
                _left_alone.append(self._process)

    def _hang_up(self) -> None:
        assert self._process  # noqa: S101
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe  # noqa: S101
            with contextlib.suppress(OSError):
                pipe.close()

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
        print(
            f"warning: MLflow at {masked(self._uri)} lacks this run: {reason}.\n"
            "         Nothing is lost: `headstart publish` sends it later.",
            file=sys.stderr,
            flush=True,
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process  # noqa: S101
        assert self._process.stdin  # noqa: S101
        assert self._process.stdout  # noqa: S101
        stdout, stdin = self._process.stdout.fileno(), self._process.stdin.fileno()
        deadline = time.monotonic() + self._import_seconds
        answer: dict[str, Any] = {}
        unread, imported, open_ = b"", False, True
        while (left := deadline - time.monotonic()) > 0:
            self._flush()
            if open_ and not self._unsent:
                self._process.stdin.close()
                open_ = False
            ready, _, _ = select.select([stdout], [stdin] if self._unsent else [], [], left)
            if stdout not in ready:
                continue
            chunk = os.read(stdout, 65536)
            unread += chunk
            *lines, unread = unread.split(b"\n")
            for line in lines:
                answer |= json.loads(line)
                if "imported" in answer and not imported:
                    imported = True
                    deadline = time.monotonic() + self._seconds
            if not chunk or "done" in answer or "error" in answer:
                return answer
        self._trouble = "it did not answer within the time a stage waits"
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


class Recorder:
    """The training run of one stage, from the stage's side."""

    def __init__(self, child: _Child) -> None:
        self._child = child
        self._ended = False

    def epoch(self, numbers: Mapping[str, float]) -> None:
        """Sends one epoch: `epoch` from 1, and loss, accuracy, val_loss, val_accuracy."""
        self._child.send({"do": "epoch", "numbers": {k: float(v) for k, v in numbers.items()}})

    def finish(self) -> None:
        """Says that the stage's outputs are written: the run gets its key from their hashes."""
        self._end("FINISHED")

    def _end(self, status: str) -> None:
        if not self._ended:
            self._ended = True
            self._child.send({"do": "end", "status": status})


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
    try:
        params = (root / "params.yaml").read_text(encoding="utf-8")
    except OSError:
        params = ""  # The stage itself tells what is wrong with it.
    first = {"do": "record", "stage": stage, "params": params}
    child = _Child(first, root=root, seconds=_RECORD_SECONDS)
    run = Recorder(child)
    try:
        yield run
    except KeyboardInterrupt:
        run._end("KILLED")
        child.leave(seconds=_INTERRUPTED_SECONDS)
        raise
    except BaseException:
        run._end("FAILED")
        child.leave(seconds=_FAILED_SECONDS)
        raise
    run._end("FAILED")
    child.close()


class Publisher:
    """A lab book about to be brought up to date."""

    def __init__(self, child: _Child) -> None:
        self._child = child
        self._asked = False

    def publish(self) -> None:
        """Asks for the workspace as it is now to be published."""
        self._asked = True
        self._child.send({"do": "publish"})


@contextlib.contextmanager
def publisher(root: Path) -> Iterator[Publisher]:
    """Yields at once what publishes the workspace at `root` when its `publish` is called.

    MLflow is imported and the store opened meanwhile. Without a call nothing is published, nor
    with HEADSTART_RECORDER=off in the environment.
    """
    child = _Child({"do": "prepare"}, root=root, seconds=_PUBLISH_SECONDS)
    book = Publisher(child)
    try:
        yield book
    except BaseException:
        child.send({"do": "leave"})
        child.leave(seconds=0)
        raise
    if not book._asked:
        child.send({"do": "leave"})
    child.close()
