"""What a run's own trainings take on this machine: what is asked, and what comes back."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from headstart.core import code
from headstart.core.errors import UserError
from headstart.learning.calls import Call
from headstart.params.strategies import Phase
from headstart.project import dvc


@dataclass(frozen=True)
class Asked:
    """What is to be measured: the trainings of the project at `root`.

    `shape` is that of an image, `classes` and `images` (for training) are by task, and `first` is
    a file of photographs (n, ...) float32 in [0, 1] for a network from elsewhere. Where `untrained`
    its weights are not there, and its architecture does.
    """

    root: Path
    shape: tuple[int, ...]
    classes: dict[str, int]
    images: dict[str, int]
    first: Path | None = None
    untrained: bool = False


@dataclass(frozen=True)
class PhaseTime:
    """Seconds of a phase: `setup` once (tracing its graph), and a `step` of a whole batch."""

    setup: float
    step: float


@dataclass(frozen=True)
class Measured:
    """One network on this machine, in seconds and bytes.

    Attributes:
        calls: What it computes of an image.
        parameters: Those that train last, and all.
        build: To build it, or about to load or to save it.
        trace: To make its graph of a forward pass.
        forward: Of one image through it, in a batch.
        phases: Of its training; none of a network from elsewhere by itself.
        memory: What its training adds to a process, without images; None where nothing tells.
    """

    calls: tuple[Call, ...]
    parameters: tuple[int, int]
    build: float
    trace: float
    forward: float
    phases: tuple[PhaseTime, ...]
    memory: int | None


@dataclass(frozen=True)
class Found:
    """What was measured: networks by model, and seconds of processor time that a start takes.

    `memory` is that of a process that has TensorFlow and no network, in bytes. `problem` is what
    would stop a run, and then there is nothing else.
    """

    start: float = 0.0
    memory: int | None = None
    networks: dict[str, Measured] = field(default_factory=dict)
    warning: str | None = None
    problem: str | None = None


ASKED, FOUND = TypeAdapter(Asked), TypeAdapter(Found)


def measure(asked: Asked) -> Found:
    """Returns what a process of its own measures: TensorFlow would stay in this one.

    Raises:
        UserError: A network from elsewhere cannot be used as params.yaml asks.
        RuntimeError: The process died; says how.
    """
    library = str(code.LIBRARY.parent)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "headstart.project.measuring"],
        input=ASKED.dump_json(asked),
        env=dvc.environment()
        | {"PYTHONPATH": os.pathsep.join([library, *filter(None, [os.getenv("PYTHONPATH")])])},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        killed = "killed, perhaps for want of memory" if done.returncode == -9 else lines[-1]
        raise RuntimeError(killed[:200] or f"status {done.returncode}")
    found = FOUND.validate_json(done.stdout)
    if found.problem is not None:
        raise UserError(found.problem)
    return found


def frozen_share(calls: tuple[Call, ...], phase: Phase, frozen: int) -> float:
    """Returns which share of a forward pass is of layers that are frozen in `phase`."""
    if any(call.flops is None for call in calls):
        return 0.0 if phase.layers is None else 1.0
    return frozen / max(sum(call.flops or 0 for call in calls), 1)
