"""How long trainings of a study take on this machine: measured, a few updates of each kind.

In a process of its own, since TensorFlow takes its threads and kernels once a process.
"""

import multiprocessing
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headstart.core import runtime
from headstart.core.parts import Part
from headstart.data import tasks
from headstart.params.networks import Network
from headstart.params.strategies import BASELINE
from headstart.study import plan
from headstart.study.budget import Budget
from headstart.study.parameters import Grid, Replicas
from headstart.study.prepare import Prepared

if TYPE_CHECKING:
    from headstart.study.cells import Bench, Weights

# The control needs no source network, and trains a head like all arms on features.
_ON_FEATURES = "random_frozen"
# A measurement is that long at least, unless the whole training is shorter.
_SECONDS = 0.6


@dataclass(frozen=True)
class Speed:
    """What a kind of training takes, in seconds of this machine for one network of several.

    Attributes:
        step: An update.
        network: What a network takes besides, its answers to the test images above all.
        first: What comes once, the tracing of its graphs.
        features: What the frozen layers take for the images of a seed; 0 where all train.
    """

    step: float
    network: float
    first: float
    features: float


@dataclass(frozen=True)
class Kind:
    """What decides how quick an update is; `layers` train, all where it is None."""

    question: plan.Question
    network: Network
    labels: int
    layers: int | None


@dataclass(frozen=True)
class _Asked:
    """What the other process needs: no image, they are drawn there."""

    grid: Grid
    replicas: Replicas
    shape: tuple[int, ...]
    labels: Mapping[str, np.ndarray]
    groups: Mapping[Kind, plan.Group]


def kinds(group: plan.Group) -> list[Kind]:
    """Returns the kinds of updates of a group, one a phase."""
    phases = group.strategy.phases(max(group.budget.amount, 2), frozen_fraction=0.5)
    return [Kind(group.question, group.network, group.row.labels, phase.layers) for phase in phases]


def speeds(prepared: Prepared) -> dict[Kind, Speed]:
    """Returns what every kind of update of a grid takes; some seconds are spent on each."""
    groups: dict[Kind, plan.Group] = {}
    for group in prepared.groups:
        for kind in kinds(group):
            groups.setdefault(kind, group)
            # Source networks train whole, on full batches.
            groups.setdefault(replace(kind, layers=None), group)
    labels = {name: part.labels for name, part in prepared.data.parts.items()}
    asked = _Asked(prepared.grid, prepared.replicas, prepared.image_shape, labels, groups)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, asked).result()


def _measured(asked: _Asked) -> dict[Kind, Speed]:
    threads = asked.replicas.threads
    # Before TensorFlow is imported, which takes its instructions then.
    runtime.fix_for_replicas(threads, asked.replicas.instructions)
    from headstart.study import cells

    draw = np.random.default_rng(0)

    def part(name: str, task: tasks.Task) -> Part:
        _, labels = tasks.positions(asked.labels[name], task)
        return Part(draw.random((len(labels), *asked.shape), dtype=np.float32), labels)

    found: dict[Kind, Speed] = {}
    bench: Bench | None = None
    for kind in sorted(asked.groups, key=lambda kind: kind.question.name):
        group = asked.groups[kind]
        if bench is None or not bench.serves(group):
            target = kind.question.target
            data = cells.Data(part("train", target), part("test", target))
            bench = cells.Bench(kind.question, kind.network, data, asked.grid, _no_source, threads)
        arm = BASELINE if kind.layers is None else _ON_FEATURES
        trained = replace(group, row=replace(group.row, arm=arm))
        most = plan.steps(
            group.budget, count=group.training_labels, batch_size=asked.grid.batch_size
        )
        found[kind] = _speed(bench, trained, most=max(most, 2), threads=threads)
    return found


def _no_source(group: plan.SourceGroup) -> "Weights":
    raise AssertionError(f"{group.name}: no measured arm starts from a source")


def _speed(bench: "Bench", group: plan.Group, *, most: int, threads: int) -> Speed:
    """Returns a speed from what trainings of `threads` networks of a group take."""
    from headstart.study import cells

    def spent(steps: int, first_seed: int = 0) -> float:
        seeds = range(first_seed, first_seed + threads)
        own = replace(group, budget=Budget(steps=steps)).of(seeds)
        began = time.perf_counter()
        cells.train(bench, own)
        return time.perf_counter() - began

    first = spent(1)
    alone = min(spent(1), spent(1))
    steps, whole = 1, alone
    while whole - alone < _SECONDS and steps < most:
        steps = min(8 * steps, most)
        whole = spent(steps)
    # What other seeds take more than the same again: their weights, and features.
    anew = max(spent(1, threads) - alone, 0.0)
    return Speed(
        step=max(whole - alone, 0.0) / (steps - 1) / threads,
        network=alone / threads,
        first=max(first - alone - anew, 0.0),
        features=anew / threads,
    )
