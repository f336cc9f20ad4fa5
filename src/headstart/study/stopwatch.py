"""How long trainings of a study take on this machine: measured, a few updates of each kind.

In a process of its own, since TensorFlow takes its threads and kernels once a process.
"""

import itertools
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from headstart.core import runtime
from headstart.core.parts import Part
from headstart.data import tasks
from headstart.params.networks import Network
from headstart.params.strategies import BASELINE, OF
from headstart.study import gpu, plan, sources
from headstart.study.budget import Budget
from headstart.study.parameters import Grid, Replicas, Source
from headstart.study.prepare import Prepared

if TYPE_CHECKING:
    from headstart.study import by_fit, on_features
    from headstart.study.cells import Bench, Weights

_FromElsewhere = TypeVar("_FromElsewhere", bound=sources.FromElsewhere)

# The control needs no source network, and trains a head like all arms on features.
_ON_FEATURES = "random_frozen"
# A measurement is that long at least, unless the whole training is shorter.
_SECONDS = 0.6
# As features pass.
_BATCH = 64


@dataclass(frozen=True)
class Speed:
    """What a kind of training takes, in seconds of this machine for one network of several.

    Attributes:
        step: An update.
        network: What a network takes besides, its answers to the test images above all.
        first: What comes once, the tracing of its graphs.
        features: What the frozen layers take for the images of a seed; 0 where all train. Of a
            network from elsewhere: for one image.
        begun: Of a network from elsewhere: reading it, and its first batch, which traces a graph.
        drawn: The same: one with new weights, before any image passes it.
        kept: Bytes of an image's features on disk; 0 where there are none, or they are ours.

    The answers of a network from elsewhere that trains itself are no part of `network`.
    """

    step: float
    network: float
    first: float
    features: float
    begun: float = 0.0
    drawn: float = 0.0
    kept: int = 0


@dataclass(frozen=True)
class Kind:
    """What decides how quick an update is; `layers` train, all where it is None.

    `origin` is the network from elsewhere on whose features a head trains, or that trains itself,
    `by_fit`, and of which each seed has an `untrained` one.
    """

    question: plan.Question
    network: Network
    labels: int
    layers: int | None
    origin: Source | None = None
    by_fit: bool = False
    untrained: bool = False


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
    origin = group.origin if isinstance(group, sources.FromElsewhere) else None
    by_fit = isinstance(group, sources.ByFit)
    # Heads are as quick on features of whatever network.
    untrained = isinstance(group, sources.ByFit) and group.untrained
    whose = origin, by_fit, untrained
    return [
        Kind(group.question, group.network, group.row.labels, phase.layers, *whose)
        for phase in phases
    ]


def speeds(prepared: Prepared) -> dict[Kind, Speed]:
    """Returns what every kind of update of a grid takes; some seconds are spent on each."""
    groups: dict[Kind, plan.Group] = {}
    for group in prepared.groups:
        for kind in kinds(group):
            groups.setdefault(kind, group)
            if kind.origin is None:
                # Source networks train whole, on full batches.
                groups.setdefault(replace(kind, layers=None), group)
    labels = {name: part.labels for name, part in prepared.data.parts.items()}
    asked = _Asked(prepared.grid, prepared.replicas, prepared.image_shape, labels, groups)
    found = _apart(asked)
    # What trains on a GPU is measured where one is seen.
    if left := {kind: group for kind, group in groups.items() if kind not in found}:
        found |= _apart(replace(asked, groups=left), on_gpu=True)
    return found


def _apart(asked: _Asked, *, on_gpu: bool = False) -> dict[Kind, Speed]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, asked, on_gpu).result()


def _measured(asked: _Asked, on_gpu: bool) -> dict[Kind, Speed]:
    """Returns the speeds of groups, of those alone that see no GPU unless it is `on_gpu`."""
    threads = asked.replicas.threads
    # Before TensorFlow is imported, which takes its instructions then.
    runtime.fix_for_replicas(threads, asked.replicas.instructions)
    if not on_gpu:
        gpu.hide()
    from headstart.study import cells

    draw = np.random.default_rng(0)

    def images(name: str, task: tasks.Task) -> Part:
        _, labels = tasks.positions(asked.labels[name], task)
        return Part(draw.random((len(labels), *asked.shape), dtype=np.float32), labels)

    found: dict[Kind, Speed] = {}
    for heads in _together(asked.groups, sources.OnFeatures):
        began = time.perf_counter()
        of_heads = _bench_of_heads(heads[0][1], asked)
        for kind, head in heads:
            found[kind] = _speed_of_heads(kind, of_heads, head, asked, found, began=began)
    for wholes in _together(asked.groups, sources.ByFit) if on_gpu or not gpu.count() else ():
        of_wholes = _bench_by_fit(wholes[0][1], asked)
        for kind, whole in wholes:
            found[kind] = _speed_by_fit(kind, of_wholes, whole, found)
    bench: Bench | None = None
    own = [kind for kind in asked.groups if kind.origin is None]
    for kind in sorted(own, key=lambda kind: kind.question.name):
        group = asked.groups[kind]
        if bench is None or not bench.serves(group):
            target = kind.question.target
            data = cells.Data(images("train", target), images("test", target))
            bench = cells.Bench(kind.question, kind.network, data, asked.grid, _no_source, threads)
        arm = BASELINE if kind.layers is None else _ON_FEATURES
        trained = replace(group, row=replace(group.row, arm=arm))
        most = plan.steps(
            group.budget, count=group.training_labels, batch_size=asked.grid.batch_size
        )
        found[kind] = _speed(bench, trained, most=max(most, 2), threads=threads)
    return found


def _together(
    groups: Mapping[Kind, plan.Group], which: type[_FromElsewhere]
) -> Iterator[list[tuple[Kind, _FromElsewhere]]]:
    """Yields groups of one class, those together for which a network is read and cut once.

    Whatever their questions are, as long as these have as many classes.
    """

    def read(item: tuple[Kind, _FromElsewhere]) -> tuple[str, int]:
        return item[1].origin.label, len(item[1].question.target.names)

    own = [(kind, group) for kind, group in groups.items() if isinstance(group, which)]
    for _, same in itertools.groupby(sorted(own, key=read), read):
        yield list(same)


def _bench_of_heads(group: sources.OnFeatures, asked: _Asked) -> "on_features.Bench":
    from headstart.study import cells, on_features

    threads, part = asked.replicas.threads, _any_images(group, asked)
    data = cells.Data(part, part)
    with sources.refused(group.origin):
        # Nobody asks again for features of images that are drawn.
        return on_features.Bench(
            group, data, asked.grid, threads=threads, root=Path(), folder=None, most=1
        )


def _bench_by_fit(group: sources.ByFit, asked: _Asked) -> "by_fit.Bench":
    from headstart.study import by_fit, cells

    threads, part = asked.replicas.threads, _any_images(group, asked)
    data = cells.Data(part, part)
    with sources.refused(group.origin):
        return by_fit.Bench(group, data, asked.grid, threads=threads, root=Path(), folder=None)


def _speed_of_heads(
    kind: Kind,
    bench: "on_features.Bench",
    group: sources.OnFeatures,
    asked: _Asked,
    found: Mapping[Kind, Speed],
    *,
    began: float,
) -> Speed:
    """Returns the speed of heads on a network from elsewhere, and of its forward pass.

    `began` is when the network began to be read.
    """
    from headstart.learning import features

    def classes(own: Kind) -> int:
        return len(own.question.target.names)

    # Other tasks train as quickly, and trace graphs anew that this bench has by now.
    for other, speed in found.items():
        alike = replace(kind, question=other.question, network=other.network)
        if other == alike and classes(other) == classes(kind):
            return speed
    threads, draw = asked.replicas.threads, np.random.default_rng(0)
    images = bench.data.target_train.images
    # Of one image, whatever the task and the labels.
    same = [speed for kind, speed in found.items() if kind.origin == group.origin]
    if same:
        image, begun, drawn = same[0].features, same[0].begun, same[0].drawn
    else:
        features.features(bench.network, images[:_BATCH], None)
        begun = time.perf_counter() - began
        image = _image(bench)
        arm = f"{_ON_FEATURES}{OF}{group.origin.label}"
        control = replace(group, row=replace(group.row, arm=arm))
        bench.on_labels(control, 0)
        began = time.perf_counter()
        bench.on_labels(control, 1)
        drawn = max(time.perf_counter() - began - len(images) * image, 0.0)
    count, batch = group.row.labels, min(asked.grid.batch_size, group.row.labels)
    seen = draw.random((threads, count, bench.seen.width), dtype=np.float32)
    labels = draw.integers(0, len(group.question.target.names), (threads, count))
    tested = draw.random((len(asked.labels["test"]), bench.seen.width), dtype=np.float32)
    weights = [np.stack([weight] * threads) for weight in bench.initial(0)]
    rates = np.full(threads, 0.001, dtype=np.float32)

    def spent(steps: int) -> float:
        orders = draw.integers(0, count, (threads, steps, batch)).astype(np.int32)
        began = time.perf_counter()
        trained = bench.trainer.train(weights, seen, labels, orders, learning_rates=rates)
        bench.trainer.predict(trained, tested)
        return time.perf_counter() - began

    first, alone = spent(1), min(spent(1), spent(1))
    steps = plan.steps(group.budget, count=count, batch_size=batch)
    whole = spent(steps + 1)
    return Speed(
        step=max(whole - alone, 0.0) / steps / threads,
        network=alone / threads,
        first=max(first - alone, 0.0),
        features=image,
        begun=begun,
        drawn=drawn,
        kept=np.dtype(np.float32).itemsize * bench.seen.width,
    )


def _any_images(group: sources.FromElsewhere, asked: _Asked) -> Part:
    """Returns images of no matter what: a batch a thread, and one that traces the graph before."""
    draw, count = np.random.default_rng(0), _BATCH * (1 + asked.replicas.threads)
    images = draw.random((count, *asked.shape), dtype=np.float32)
    return Part(images, draw.integers(0, len(group.question.target.names), count))


def _image(bench: "on_features.Bench | by_fit.Bench") -> float:
    """Returns how long an image takes through a network, whose graph is there."""
    from headstart.learning import features

    began = time.perf_counter()
    images = bench.data.target_train.images
    others = len(images) - _BATCH
    features.features(bench.network, images, None, threads=others // _BATCH)
    whole = time.perf_counter() - began
    # The first batch passes alone, and is as long as each of the others at a time.
    return whole / 2 / others


def _speed_by_fit(
    kind: Kind, bench: "by_fit.Bench", group: sources.ByFit, found: Mapping[Kind, Speed]
) -> Speed:
    """Returns the speed of a network from elsewhere that trains, or of its last blocks."""
    from headstart.learning import features

    def batch(own: Kind) -> int:
        return min(own.labels, bench.grid.batch_size)

    # Other tasks, and more labels than a batch has, train as quickly.
    for other, speed in found.items():
        alike = replace(kind, question=other.question, network=other.network, labels=other.labels)
        if other == alike and batch(other) == batch(kind):
            return speed
    bench.check(group.strategy)
    images, layers = bench.data.target_train.images, bench.layers(kind.layers)
    same = [speed for other, speed in found.items() if other.origin == kind.origin]
    if not same:
        features.features(bench.network, images[:_BATCH], None)
    image, begun = (same[0].features, same[0].begun) if same else (_image(bench), 0.0)
    bench.start(group, 0)
    began = time.perf_counter()
    bench.start(group, 1)
    anew = time.perf_counter() - began
    # Before anything is timed that asks for them.
    seen = bench.seen(layers, "target_train")
    kept = seen.nbytes // len(seen) if layers is not None else 0
    draw = np.random.default_rng(0)

    def spent(steps: int) -> float:
        chosen = draw.integers(0, len(images), steps * batch(kind))
        began = time.perf_counter()
        learner = bench.learner(layers, inference=not kind.untrained)
        learner.update(chosen, batch(kind), lambda _: None)
        return time.perf_counter() - began

    first, alone = spent(1), min(spent(1), spent(1))
    steps = max(round(_SECONDS / alone), 1)
    step = min(spent(steps), spent(steps)) / steps
    first = max(first - alone, 0.0)
    return Speed(step=step, network=anew, first=first, features=image, begun=begun, kept=kept)


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
