"""What a run is: its key from content.

A training is the hash of its stage, the parameters that act, the data's hashes and the model's
hash; a comparison is the hash of its three trainings, of how it was judged and of its metrics.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """What a training stage reads and writes. Paths as dvc.yaml names them."""

    name: str
    arm: str
    task: str
    reads_source_model: bool = False

    @property
    def model(self) -> str:
        """The file of the trained model."""
        return f"models/{self.arm}.keras"

    @property
    def data(self) -> list[str]:
        """The files the training learns from."""
        arrays = [
            f"data/prepared/{self.task}/{part}_{kind}.npy"
            for part in ("train", "valid")
            for kind in ("images", "labels")
        ]
        return arrays + (["models/source.keras"] if self.reads_source_model else [])


STAGES = {
    stage.name: stage
    for stage in (
        Stage("train_a", arm="source", task="source"),
        Stage("train_b", arm="baseline", task="target"),
        Stage("transfer", arm="transfer", task="target", reads_source_model=True),
    )
}


@dataclass(frozen=True)
class TrainingRun:
    """One training, as its inputs and its result name it."""

    stage: Stage
    acting: Mapping[str, Any]
    data: Mapping[str, str]
    model: str

    @functools.cached_property
    def key(self) -> str:
        """The training's identity."""
        learned = {"stage": self.stage.name, "params": self.acting, "data": self.data}
        return digest({**learned, "model": self.model})


@dataclass(frozen=True)
class State:
    """One state of the pipeline: three trainings and what evaluate made of their models."""

    trainings: Mapping[str, TrainingRun]
    histories: Mapping[str, list[dict[str, float]]]
    metrics: Mapping[str, Any]
    judged_by: Mapping[str, Any]
    params: Mapping[str, Any]
    pictures: Mapping[str, bytes] = field(repr=False)
    report: bytes | None = field(repr=False)

    @functools.cached_property
    def key(self) -> str:
        """The comparison's identity."""
        trainings = [self.trainings[name].key for name in STAGES]
        judged = {"evaluate": self.judged_by, "metrics": self.metrics}
        return digest({"trainings": trainings, **judged})


def digest(value: Any) -> str:
    """Returns 32 hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
