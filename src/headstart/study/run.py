"""Going through the plan: what is kept already is read, the rest trained and kept."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.core import runtime
from headstart.core.errors import UserError
from headstart.data import tasks
from headstart.study import plan, prepare, store
from headstart.study.cells_table import Cells

if TYPE_CHECKING:
    from headstart.study.cells import Bench, Weights

# How often progress is told, in seconds.
_SECONDS_BETWEEN = 5.0

Say = Callable[[str], None]
Arrays = dict[str, np.ndarray]
# Trains groups in any order and gives each with its arrays, or with why it failed, as it ends.
Engine = Callable[["Runner", Sequence[plan.Group]], Iterator[tuple[plan.Group, Arrays | Exception]]]


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
    """Trains the groups of a prepared grid, where `engine` does, and keeps what is finished."""

    prepared: prepare.Prepared
    store: store.Store
    say: Say
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
        kept = {
            group.name: arrays
            for group in groups
            if (arrays := self.store.read(self.key(group))) is not None
        }
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

    def start(self) -> None:
        """Makes TensorFlow ready; comes before the first training in this process."""
        runtime.fix_for_replicas(self._threads)

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
                group, self.prepared.data, self.prepared.grid, self.sources, self._threads
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
                    group, self.prepared.data, self.prepared.grid, self._threads
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
                "frozen_fraction": grid.frozen_fraction if group.strategy.two_phases else None,
                "seeds": group.seeds,
                "source": self.source_key(group.source) if group.strategy.from_source else None,
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
            effort = prepare.effort(self.prepared.work(group, in_span=True))
            key = self.source_key(group.source)
            if group.strategy.from_source and key not in paid and not self.store.holds(key):
                paid.add(key)
                effort += prepare.effort(self.prepared.source_work(group))
            efforts[group.name] = len(group.seeds) * effort
        return efforts


def collect(prepared: prepare.Prepared, kept: Mapping[str, Arrays]) -> list[Cells]:
    """Returns the rows of the grid from finished groups, by their names.

    Where learning rates were searched, a seed has the one with the most right answers on the
    labels that validate, the first of equals.
    """
    rows: dict[plan.Row, list[plan.Group]] = {}
    for group in prepared.groups:
        rows.setdefault(group.row, []).append(group)
    rates, seeds = prepared.grid.learning_rates, np.arange(prepared.grid.seeds)

    def by_rate(groups: Sequence[plan.Group], name: str) -> np.ndarray:
        each = ([group for group in groups if group.learning_rate == rate] for rate in rates)
        return np.stack([np.concatenate([kept[group.name][name] for group in own]) for own in each])

    cells = []
    for row, groups in rows.items():
        _, actual = tasks.positions(prepared.data.parts["test"].labels, groups[0].question.target)
        best = by_rate(groups, "validation_right")[:, seeds].argmax(axis=0)
        cells.append(
            Cells(
                row=row,
                answers=by_rate(groups, "answers")[best, seeds],
                actual=actual,
                finite=by_rate(groups, "finite")[best, seeds],
                learning_rates=tuple(rates[place] for place in best),
                validation_labels=groups[0].validation_labels,
                cost=prepared.cost(groups[0]),
            )
        )
    return cells


class _Progress:
    """Tells how much is done, and the time left by the work that is left."""

    def __init__(self, say: Say, efforts: Mapping[str, float]) -> None:
        self._say = say
        self._left = dict(efforts)
        self._groups, self._effort = len(efforts), sum(efforts.values())
        self._began = self._last_line = time.monotonic()

    def advance(self, name: str) -> None:
        """Counts the group `name` as done."""
        del self._left[name]
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN and self._left:
            return
        self._last_line = now
        left = sum(self._left.values())
        seconds = (now - self._began) * left / (self._effort - left)
        self._say(
            f"{self._groups - len(self._left)} of {self._groups} groups, "
            f"{_clock(now - self._began)} gone, {_clock(seconds)} left; {name}"
        )


def _in_a_line(error: Exception) -> str:
    """Returns the kind of error and its first line; the last where TensorFlow only opens there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    line = lines[-1] if lines[0].endswith(":") else lines[0]
    return f"{type(error).__name__}: {line[:200]}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
