"""Going through the plan: what is kept already is read, the rest trained and kept."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.core import runtime
from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.data import splits, tasks
from headstart.data.catalogue import Dataset
from headstart.study import costs, plan, store
from headstart.study.cells_table import Cells
from headstart.study.parameters import Grid, Replicas, Study
from headstart.transfer.strategies import TRANSFERRED

if TYPE_CHECKING:
    from headstart.study.cells import Bench, Weights

Say = Callable[[str], None]
Arrays = dict[str, np.ndarray]
# Trains groups in any order and gives each with its arrays, or with why it failed, as it ends.
Engine = Callable[["Runner", Sequence[plan.Group]], Iterator[tuple[plan.Group, Arrays | Exception]]]

# How often progress is told, in seconds.
_PROGRESS_SECONDS = 5.0
# TensorFlow, Keras and what they compile, whatever the grid.
_LIBRARY_BYTES = 1_200_000_000
# Every draw of the study has a name of its own; this seeds what should draw nothing.
_UNUSED_SEED = 0


def start(threads: int) -> None:
    """Imports TensorFlow with everything fixed that acts on the bytes."""
    # Replicas share the cores network by network: one thread inside an operation.
    runtime.fix(_UNUSED_SEED, intra_op_threads=1, inter_op_threads=threads)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A grid that has passed all checks: its data and all its groups.

    `parts` are raw (uint8): train and test. `available` are training images by target task.
    """

    grid: Grid
    replicas: Replicas
    parts: Mapping[str, Part]
    questions: tuple[plan.Question, ...]
    groups: tuple[plan.Group, ...]

    @property
    def cells(self) -> int:
        """The number of trainings that were asked for."""
        rows = {group.row for group in self.groups}
        return len(rows) * self.grid.seeds * len(self.grid.learning_rates)


def prepare(
    study: Study,
    grid: Grid,
    dataset: Dataset,
    published: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> Prepared:
    """Returns the grid with its data and groups; refuses all nonsense before anything trains.

    Raises:
        UserError: A class does not exist, a budget is above the data, a class has no image, or
            the trainings need more memory than there is.
    """
    asked = plan.questions(grid, dataset)
    sizes = study.dataset
    splits.check_sizes(
        train_size=sizes.train_size,
        valid_size=sizes.valid_size,
        test_size=sizes.test_size,
        published_train=len(published[0]),
        published_test=len(published[2]),
    )
    parts = splits.split(
        published,
        train_size=sizes.train_size,
        valid_size=sizes.valid_size,
        test_size=sizes.test_size,
    )
    available = {}
    for question in asked:
        for name in ("train", "test"):
            for task in (question.source, question.target):
                part = tasks.cut(Part(parts[name].labels, parts[name].labels), task)
                tasks.check_classes(part, task, where=f"{question.name} {name}")
                if task is question.target and name == "train":
                    available[question.name] = len(part.labels)
    groups = tuple(
        plan.groups(grid, asked, available=available, group_size=study.replicas.group_size)
    )
    chosen = {name: parts[name] for name in ("train", "test")}
    prepared = Prepared(grid, study.replicas, chosen, asked, groups)
    check_memory(prepared)
    return prepared


def check_memory(prepared: Prepared) -> None:
    """Refuses a study that does not fit into the memory that is free.

    Raises:
        UserError: Says how much it takes, how much there is, and what to make smaller.
    """
    import psutil

    needed, free = memory(prepared), psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"the study needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are "
            "free; make replicas.group_size or the networks smaller"
        )


def memory(prepared: Prepared) -> int:
    """Returns about how many bytes the study takes at its peak: the largest group, and its data."""
    images = prepared.parts["train"].images
    pixels = int(np.prod(images.shape[1:]))
    total = len(images) + len(prepared.parts["test"].images)
    peak = 0
    for group in {(one.network, one.question.name): one for one in prepared.groups}.values():
        form = costs.shape(group.network, images.shape[1:], units=len(group.question.target.names))
        weights = 4 * (form.backbone_parameters + form.head_parameters)
        # Weights, gradients, Adam's two moments, and one copy on the way out.
        own = 5 * weights
        orders = max(
            4
            * prepared.grid.batch_size
            * plan.steps(one.budget, count=one.training_labels, batch_size=prepared.grid.batch_size)
            for one in prepared.groups
            if one.network == group.network
        )
        peak = max(peak, prepared.replicas.group_size * (own + 3 * orders))
    return _LIBRARY_BYTES + 6 * total * pixels + peak


def local(
    runner: "Runner", groups: Sequence[plan.Group]
) -> Iterator[tuple[plan.Group, Arrays | Exception]]:
    """The engine of this process: one group after another."""
    if groups:
        runner.start()
    for group in groups:
        try:
            yield group, runner.train(group)
        except Exception as error:
            yield group, error


@dataclasses.dataclass
class Runner:
    """Trains the groups of a prepared grid and keeps what is finished.

    Attributes:
        prepared: The grid.
        store: Where finished groups lie.
        say: Tells a line of progress.
        start: Makes TensorFlow ready; called before the first training in this process.
        engine: Where groups are trained.
    """

    prepared: Prepared
    store: store.Store
    say: Say
    start: Callable[[], None]
    engine: Engine
    _bench: "Bench | None" = None
    _failed_sources: dict[str, Exception] = dataclasses.field(default_factory=dict)
    _last_sources: "tuple[str, Weights] | None" = None

    def run(self) -> list[Cells]:
        """Trains what is not there yet and returns all cells.

        Raises:
            UserError: Some groups failed; the others are done and kept.
        """
        groups = self.prepared.groups
        kept: dict[str, Arrays] = {}
        for group in groups:
            arrays = self.store.read(self.key(group))
            if arrays is not None:
                kept[group.name] = arrays
        missing = [group for group in groups if group.name not in kept]
        self.say(
            f"{self.prepared.cells} trainings in {len(groups)} groups, {len(kept)} done already"
        )
        failures: dict[str, Exception] = {}
        progress = _Progress(self.say, self._efforts(missing))
        for group, outcome in self.engine(self, missing):
            if isinstance(outcome, Exception):
                # Told at once when it is new; all are listed at the end.
                if str(outcome) not in map(str, failures.values()):
                    self.say(f"failed: {group.name}: {_in_a_line(outcome)}")
                failures[group.name] = outcome
            else:
                self.store.keep(self.key(group), outcome)
                kept[group.name] = outcome
            progress.advance(group.name)
        if failures:
            listed = [f"{name}: {_in_a_line(error)}" for name, error in failures.items()]
            raise UserError(
                f"{len(failures)} of {len(groups)} groups are missing, the others are done and "
                "kept; mend the cause and run the command again:\n  " + "\n  ".join(listed)
            )
        return collect(self.prepared, kept)

    def train(self, group: plan.Group) -> Arrays:
        """Trains one group, and its source networks where they are not there yet."""
        from headstart.study import cells

        return cells.train(self.bench(group), group)

    def bench(self, group: plan.Group) -> "Bench":
        """Returns what groups of one question and network share; only the last one is held."""
        from headstart.study import cells

        if self._bench is None or not self._bench.serves(group):
            self._bench = None
            self._bench = cells.bench(
                group, self.prepared.parts, self.prepared.grid, self.sources, self._threads
            )
        return self._bench

    def sources(self, group: plan.SourceGroup) -> "Weights":
        """Returns the stacked weights of source networks, trained once and kept."""
        from headstart.study import cells

        key = self.source_key(group)
        if self._last_sources is not None and self._last_sources[0] == key:
            return list(self._last_sources[1])
        if key in self._failed_sources:
            raise self._failed_sources[key]
        kept = self.store.read(key)
        if kept is None:
            began = time.monotonic()
            try:
                kept = cells.train_sources(
                    group, self.prepared.parts, self.prepared.grid, self._threads
                )
            except Exception as error:
                self._failed_sources[key] = error
                raise
            self.say(f"{group.name}: trained in {time.monotonic() - began:.1f} s")
            self.store.keep(key, kept)
        self._last_sources = key, cells.weights_of(kept)
        return list(self._last_sources[1])

    @property
    def _threads(self) -> int:
        return self.prepared.replicas.threads

    def key(self, group: plan.Group) -> str:
        """Returns the key under which a group is kept: everything that acts on its bytes."""
        grid = self.prepared.grid
        transferred = group.row.arm in TRANSFERRED
        return self.store.key(
            {
                "kind": "cells",
                "task": [group.question.target.names, group.question.target.numbers],
                "shift": group.question.shift,
                "network": group.network,
                "arm": group.row.arm,
                "labels": [group.row.labels, group.validation_labels],
                "training": str(group.budget),
                "learning_rate": group.learning_rate,
                "optimizer": grid.optimizer,
                "batch_size": grid.batch_size,
                "frozen_fraction": grid.frozen_fraction if group.row.arm == "gradual" else None,
                "seeds": group.seeds,
                "source": self.source_key(group.source) if transferred else None,
            }
        )

    def source_key(self, group: plan.SourceGroup) -> str:
        """Returns the key under which source networks are kept. The target's shift has no part."""
        return self.store.key(
            {
                "kind": "sources",
                "target": group.question.name,
                "task": [group.question.source.names, group.question.source.numbers],
                "network": group.network,
                "training": self.prepared.grid.source_training,
                "seeds": group.seeds,
            }
        )

    def _efforts(self, groups: Sequence[plan.Group]) -> dict[str, float]:
        """Returns how long groups take, relatively; the first that needs a source pays for it."""
        efforts: dict[str, float] = {}
        paid = set()
        for group in groups:
            cost = training_cost(self.prepared, group)
            effort = costs.effort(cost.updates, self._computed_flops(group))
            key = self.source_key(group.source)
            if cost.source_flops and key not in paid and not self.store.holds(key):
                paid.add(key)
                effort += costs.effort(cost.source_updates, cost.source_flops)
            efforts[group.name] = len(group.seeds) * effort
        return efforts

    def _computed_flops(self, group: plan.Group) -> int:
        """Returns what a training takes here, where few images train in their span."""
        size = self.prepared.parts["train"].images.shape[1:]
        count, pixels = group.training_labels, math.prod(size)
        optimizer = self.prepared.grid.optimizer
        if plan.trains_in_span(group.network, optimizer, images=count, pixels=pixels):
            size = (count,)
        return training_cost(self.prepared, group, size).flops


def training_cost(
    prepared: Prepared, group: plan.Group, size: tuple[int, ...] | None = None
) -> costs.Cost:
    """Returns the cost of one training of `group`, on images of `size`, else on the data's."""
    question, train = group.question, prepared.parts["train"]
    size = size or train.images.shape[1:]
    source_images = int(np.isin(train.labels, question.source.numbers).sum())
    target, source = (
        costs.shape(group.network, size, units=1 if len(task.names) == 2 else len(task.names))
        for task in (question.target, question.source)
    )
    return costs.cost(group, prepared.grid, target, source_form=source, source_images=source_images)


def collect(prepared: Prepared, kept: Mapping[str, Arrays]) -> list[Cells]:
    """Returns the rows of the grid from finished groups, by their names.

    Where learning rates were searched, a seed has the one with the most right answers on the
    labels that validate, the first of equals.
    """
    rows: dict[plan.Row, list[plan.Group]] = {}
    for group in prepared.groups:
        rows.setdefault(group.row, []).append(group)
    rates = prepared.grid.learning_rates
    found = []
    for row, groups in rows.items():
        actual = tasks.cut(
            Part(prepared.parts["test"].labels, prepared.parts["test"].labels),
            groups[0].question.target,
        ).labels
        by_rate = [
            {
                name: np.concatenate(
                    [kept[group.name][name] for group in groups if group.learning_rate == rate]
                )[: prepared.grid.seeds]
                for name in ("answers", "finite", "validation_right")
            }
            for rate in rates
        ]
        best = np.stack([one["validation_right"] for one in by_rate]).argmax(axis=0)
        seeds = np.arange(prepared.grid.seeds)
        answers = np.stack([one["answers"] for one in by_rate])[best, seeds]
        found.append(
            Cells(
                row=row,
                answers=answers,
                right=answers == actual,
                finite=np.stack([one["finite"] for one in by_rate])[best, seeds],
                learning_rates=tuple(rates[place] for place in best),
                validation_labels=groups[0].validation_labels,
                cost=training_cost(prepared, groups[0]),
            )
        )
    return found


class _Progress:
    """Tells how far the study is and how long it takes, by the work that is left."""

    def __init__(self, say: Say, efforts: Mapping[str, float]) -> None:
        self._say = say
        self._left = dict(efforts)
        self._groups, self._effort = len(efforts), sum(efforts.values())
        self._began = self._told = time.monotonic()

    def advance(self, name: str) -> None:
        del self._left[name]
        now = time.monotonic()
        if now - self._told < _PROGRESS_SECONDS and self._left:
            return
        self._told = now
        left = sum(self._left.values())
        seconds = (now - self._began) * left / (self._effort - left)
        self._say(
            f"{self._groups - len(self._left)} of {self._groups} groups, "
            f"{_clock(now - self._began)} gone, {_clock(seconds)} left; {name}"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _in_a_line(error: Exception) -> str:
    """Returns the kind of error and its first line; the last where TensorFlow only opens there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    line = lines[-1] if lines[0].endswith(":") else lines[0]
    return f"{type(error).__name__}: {line[:200]}"
