"""Going through the plan: what is kept already is read, the rest trained and kept."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from headstart.core import runtime
from headstart.core.errors import UserError, warn
from headstart.data import tasks
from headstart.params.strategies import Strategy
from headstart.study import gpu, plan, prepare, rates, sources, store
from headstart.study.cells_table import Cells
from headstart.study.time_left import Say, TimeLeft

if TYPE_CHECKING:
    from headstart.study.benches import Bench
    from headstart.study.cells import Weights
    from headstart.study.interim import Progress
    from headstart.study.parameters import Source

Arrays = dict[str, np.ndarray]
_Work = TypeVar("_Work", plan.Group, plan.SourceGroup, plan.Work)
# Trains groups in any order and gives each with its arrays, a place on the first axis for every
# seed, or with why it failed, as it ends. Source networks come first, and are kept by then.
Engine = Callable[["Runner", Sequence[plan.Work]], Iterator[tuple[plan.Work, Arrays | Exception]]]


def local(
    runner: "Runner", works: Sequence[plan.Work]
) -> Iterator[tuple[plan.Work, Arrays | Exception]]:
    """The engine of this machine: one group after another."""
    if not works:
        return
    runner.start()
    with gpu.trainer(runner.prepared, runner.root, runner.train, runner.say) as train:
        for work in works:
            try:
                yield work, train(work)
            except Exception as error:
                yield work, error


@dataclasses.dataclass
class Runner:
    """Trains the networks of a prepared grid, where `engine` does, and keeps each on its own."""

    prepared: prepare.Prepared
    store: store.Store
    say: Say
    engine: Engine
    root: Path = Path()
    progress: "Progress | None" = None
    split: int = 0
    # The effort of what other runners train after this one, for the time left.
    afterwards: float = 0.0
    _bench: "Bench | None" = None
    _failed_sources: dict[str, Exception] = dataclasses.field(default_factory=dict)
    _last_sources: "tuple[list[str], Weights] | None" = None

    def rows(self) -> tuple[plan.Group, ...]:
        """Returns the rows of the grid at their learning rates; searches for those if asked.

        Raises:
            UserError: As `run`; or a network from elsewhere cannot be used, or has fewer blocks
                than an arm trains: the key, `sources` or `arms`, is one of the section.
        """
        self._check_sources()
        return self._chosen() if self.prepared.grid.searched else self.prepared.groups

    def run(self, rows: Sequence[plan.Group] | None = None) -> list[Cells]:
        """Trains what is not there yet; returns the rows of the grid, at the rates chosen.

        `rows` are those of `rows()`, where they are known.

        Raises:
            UserError: Some groups failed; the others are done and kept.
        """
        rows = self.rows() if rows is None else rows
        # At the rates of no search too, beside which the chosen ones are told.
        kept = self._finished(list(dict.fromkeys((*rows, *self.prepared.groups))), shown=rows)
        return [self._cells(group, kept) for group in rows]

    def unsearched(self) -> list[Cells]:
        """Returns the rows of the grid at the rates that are taken where nothing is searched."""
        kept = self._finished(self.prepared.groups, shown=())
        return [self._cells(group, kept) for group in self.prepared.groups]

    def _check_sources(self) -> None:
        """Refuses networks from elsewhere that cannot be used, before anything trains."""
        elsewhere = [g for g in self.prepared.groups if isinstance(g, sources.FromElsewhere)]
        asked: dict[Source, set[Strategy]] = {}
        for group in elsewhere:
            # What is there has been trained on it.
            if not all(map(self.store.holds, self.keys(group))):
                asked.setdefault(group.origin, set()).add(group.strategy)
        if not asked:
            return
        self.start()
        from headstart.study import adopt

        for source, strategies in asked.items():
            amiss = adopt.check(source, strategies, root=self.root, data=self.prepared.data)
            # Other splits have images of the same kind.
            if amiss and not self.split:
                warn(f"sources: {source.label}: {amiss}")

    def _chosen(self) -> tuple[plan.Group, ...]:
        """Returns the rows of the grid at the learning rates that a search chooses."""
        grid, rows = self.prepared.grid, self.prepared.groups
        # About what follows a search, for the time left: every row at the rate chosen, and at that
        # of no search.
        last = 2 * sum(map(self.prepared.effort, rows))
        searches = sum(
            self.prepared.effort(group) for row in rows for group in plan.search(row, grid)
        )
        sources = {
            row: tuple(plan.source_search(row.source, grid))
            for row in rows
            if row.strategy.from_source
        }
        asked = list(dict.fromkeys(itertools.chain(*sources.values())))
        losses = self._finished(asked, shown=rows, later=searches + last)
        rows = tuple(
            dataclasses.replace(row, source_learning_rate=self._best(sources[row], losses))
            if row in sources
            else row
            for row in rows
        )
        asked_of = {row: tuple(plan.search(row, grid)) for row in rows}
        losses = self._finished(list(itertools.chain(*asked_of.values())), shown=rows, later=last)
        return tuple(
            dataclasses.replace(row, learning_rate=self._best(groups, losses))
            for row, groups in asked_of.items()
        )

    def _best(self, groups: Sequence[plan.Work], kept: Mapping[str, Arrays]) -> float:
        """Returns the best learning rate by the losses of a search, all folds of a seed in one."""
        by_rate: dict[float, dict[int, list[float]]] = {}
        for group in groups:
            by_seed = by_rate.setdefault(group.learning_rate, {})
            for seed, key in zip(group.seeds, self.keys(group), strict=True):
                by_seed.setdefault(seed, []).extend(kept[key][plan.LOSSES].tolist())
        return rates.best({rate: list(own.values()) for rate, own in by_rate.items()})

    def _finished(
        self, groups: Sequence[plan.Work], *, shown: Sequence[plan.Group], later: float = 0.0
    ) -> dict[str, Arrays]:
        """Returns all networks of groups, by key; trains and keeps what is not there yet.

        `shown` are the rows of the grid that progress is shown of, `later` is the effort of what
        follows, for the time left.

        Raises:
            UserError: Some groups failed; the others are done and kept.
        """
        kept, missing = self._kept(groups)
        rows = [group for group in missing if isinstance(group, plan.Group)]
        size = self.prepared.replicas.group_size
        works: list[plan.Work] = [
            *self._missing_sources(rows),
            *(
                p
                for group in missing
                if not isinstance(group, plan.Group)
                for p in group.split(size)
            ),
            *sources.packed(rows, size),
        ]
        count, left = (sum(len(group.seeds) for group in some) for some in (groups, missing))
        self.say(
            f"{'search of learning rates: ' if later else ''}{count} trainings, "
            f"{count - left} done already, {left} to do in {len(works)} groups"
        )
        # By the work and not by its name, which does not tell the rate of its source network.
        failures: dict[plan.Work, Exception] = {}
        rows_shown = {group.of(()): group for group in shown}
        self._show(shown, kept)
        efforts = {work: self.prepared.effort(work) for work in works}
        for group, images in self.prepared.passes(works):
            efforts[group] += images * sources.counted(group).forward
        progress = TimeLeft(self.say, efforts, later + self.afterwards)
        for work, outcome in self.engine(self, works):
            if isinstance(outcome, Exception):
                # Told at once when it is new; all are listed at the end.
                if str(outcome) not in map(str, failures.values()):
                    self.say(f"failed: {work.name}: {_in_a_line(outcome)}")
                failures[work] = outcome
                if isinstance(work, plan.SourceGroup):
                    self._failed_sources |= dict.fromkeys(self.keys(work), outcome)
            else:
                kept |= self.keep(work, outcome)
            seconds_left = progress.advance(work)
            row = rows_shown.get(work.of(())) if isinstance(work, plan.Group) else None
            self._show([row] if row else [], kept, seconds_left)
        if failures:
            listed = [f"{work.name}: {_in_a_line(error)}" for work, error in failures.items()]
            raise UserError(
                f"{len(failures)} of {len(works)} groups are missing, the others are done and "
                "kept; mend the cause and run the command again:\n  " + "\n  ".join(listed)
            )
        return kept

    def start(self) -> None:
        """Makes TensorFlow ready; comes before the first training in this process."""
        runtime.fix_for_replicas(self._threads, self.prepared.replicas.instructions)
        gpu.hide()

    def train(self, work: plan.Work) -> Arrays:
        """Trains one group, and source networks that it starts from and are not there yet."""
        from headstart.study import benches, cells

        if isinstance(work, plan.Group):
            return benches.train(self.bench(work), work)
        return cells.train_sources(work, self.prepared.data, self.prepared.grid, self._threads)

    def bench(self, group: plan.Group) -> "Bench":
        """Returns what groups of one question and network share; only the last one is held."""
        from headstart.study import benches

        held = self._bench
        if held is None or not benches.serves(held, group):
            # Before the next one is made: each holds images and features.
            self._bench = held = None
            self._bench = held = benches.bench(group, self.prepared, self.sources, self.root)
        return held

    def sources(self, group: plan.SourceGroup) -> "Weights":
        """Returns the stacked weights of source networks, trained once and kept."""
        from headstart.study import cells

        keys = self.keys(group)
        if self._last_sources is None or self._last_sources[0] != keys:
            for key in keys:
                if key in self._failed_sources:
                    raise self._failed_sources[key]
            kept, missing = self._kept([group])
            for work in missing:
                kept |= self.keep(work, self.train(work))
            each = [cells.weights_of(kept[key]) for key in keys]
            self._last_sources = keys, [np.stack(same) for same in zip(*each, strict=True)]
        return list(self._last_sources[1])

    def keep(self, work: plan.Work, arrays: Arrays) -> dict[str, Arrays]:
        """Keeps every network of a trained group; returns them by their keys."""
        if isinstance(work, plan.SourceGroup) and work.validated:
            weights = {name: array for name, array in arrays.items() if name != plan.LOSSES}
            self.keep(dataclasses.replace(work, validated=False), weights)
            arrays = {plan.LOSSES: arrays[plan.LOSSES]}
        kept = {
            key: {name: stacked[place] for name, stacked in arrays.items()}
            for place, key in enumerate(self.keys(work))
        }
        for key, own in kept.items():
            self.store.keep(key, own)
        return kept

    def _kept(self, groups: Sequence[_Work]) -> tuple[dict[str, Arrays], list[_Work]]:
        """Returns the networks of groups that are there, by key, and the groups without them.

        What several groups share, as source networks of one task and two shifts, is missing once.
        """
        kept, missing, claimed = {}, [], set[str]()
        for group in groups:
            lacking = []
            for seed, key in zip(group.seeds, self.keys(group), strict=True):
                arrays = self.store.read(key)
                if arrays is not None:
                    kept[key] = arrays
                elif key not in claimed:
                    claimed.add(key)
                    lacking.append(seed)
            if lacking:
                missing.append(group.of(lacking))
        return kept, missing

    def _missing_sources(self, groups: Sequence[plan.Group]) -> Iterator[plan.SourceGroup]:
        """Yields the source networks that groups start from and that are not there yet."""
        wanted: dict[str, plan.SourceGroup] = {}
        for group in groups:
            if group.strategy.from_source:
                for one in group.source.split(1):
                    wanted.setdefault(self.keys(one)[0], one)
        seeds: dict[plan.SourceGroup, list[int]] = {}
        for one in self._kept(list(wanted.values()))[1]:
            seeds.setdefault(one.of(()), []).extend(one.seeds)
        for group_of_none, missing in seeds.items():
            yield from group_of_none.of(missing).split(self.prepared.replicas.group_size)

    @property
    def _threads(self) -> int:
        return self.prepared.replicas.threads

    def keys(self, work: plan.Work) -> list[str]:
        """Returns the key of every network of a group: all that acts on its bytes, and no more.

        Losses of validated source networks have keys of their own: no target network hangs on the
        images that validate.
        """
        if isinstance(work, plan.Group):
            return [self._key(work, seed) for seed in work.seeds]
        keys = [self._source_key(work, seed) for seed in work.seeds]
        if not work.validated:
            return keys
        return [self.store.key({"source": key, "valid": self._valid}) for key in keys]

    @functools.cached_property
    def _valid(self) -> str:
        return store.digest(self.prepared.data.parts["valid"])

    def _key(self, group: plan.Group, seed: int) -> str:
        grid, source = self.prepared.grid, group.source
        network: dict[str, Any] = {"kind": "cell", "network": group.network}
        if isinstance(group, sources.FromElsewhere):
            by_fit = isinstance(group, sources.ByFit)
            about = sources.about(group.origin, self.root, by_fit=by_fit)
            network = {"kind": "whole" if by_fit else "head", "origin": about}
        return self.store.key(
            {
                **network,
                "task": [group.question.target.names, group.question.target.numbers],
                "shift": group.question.shift,
                "arm": group.strategy.name,
                "labels": group.row.labels,
                "validates": group.validates,
                "training": str(group.budget),
                "learning_rate": group.learning_rate,
                "optimizer": grid.optimizer,
                "batch_size": grid.batch_size,
                "phases": group.strategy.phases(
                    group.budget.amount, frozen_fraction=grid.frozen_fraction
                ),
                "seed": seed,
                "source": self._source_key(source, seed) if group.strategy.from_source else None,
            }
        )

    def _source_key(self, group: plan.SourceGroup, seed: int) -> str:
        """Returns the key of a source network. The target's shift has no part in it."""
        training = self.prepared.grid.source_training
        return self.store.key(
            {
                "kind": "source",
                "target": group.question.name,
                "task": [group.question.source.names, group.question.source.numbers],
                "network": group.network,
                "training": training.model_copy(update={"learning_rate": group.learning_rate}),
                "seed": seed,
            }
        )

    def _cells(self, group: plan.Group, kept: Mapping[str, Arrays]) -> Cells:
        """Returns a row of the grid from finished networks, by their keys."""
        own = [kept[key] for key in self.keys(group)]
        labels = self.prepared.data.parts["test"].labels
        grid, transferred = self.prepared.grid, group.strategy.from_source
        return Cells(
            row=group.row,
            answers=np.stack([arrays["answers"] for arrays in own]),
            actual=tasks.positions(labels, group.question.target)[1],
            finite=np.stack([arrays["finite"] for arrays in own]),
            learning_rate=group.learning_rate,
            source_learning_rate=group.source_learning_rate if transferred else math.nan,
            rate_at_edge=rates.at_edge(grid, group.learning_rate),
            cost=self.prepared.cost(group, own[0]),
            source_rate_at_edge=transferred and rates.at_edge(grid, group.source_learning_rate),
        )

    def _show(
        self,
        groups: Iterable[plan.Group],
        kept: Mapping[str, Arrays],
        seconds_left: float | None = None,
    ) -> None:
        """Leaves for the page which seeds of rows are there."""
        if self.progress is None:
            return
        for group in groups:
            there = group.of(
                seed for seed, key in zip(group.seeds, self.keys(group), strict=True) if key in kept
            )
            accuracies = np.empty(0)
            if there.seeds:
                accuracies = self._cells(there, kept).accuracies
            self.progress.add(group.row, accuracies, split=self.split)
        self.progress.write(seconds_left)


def _in_a_line(error: Exception) -> str:
    """Returns the kind of error and its first line; the last where TensorFlow only opens there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    line = lines[-1] if lines[0].endswith(":") else lines[0]
    return f"{type(error).__name__}: {line[:200]}"
