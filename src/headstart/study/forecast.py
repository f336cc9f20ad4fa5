"""What a study will take, counted before anything trains."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from headstart.core.parts import Drawn, Part
from headstart.data.raw_data import Raw
from headstart.study import plan, sources, stopwatch
from headstart.study.prepare import Prepared
from headstart.study.stopwatch import Kind, Speed

SOURCE = "source"
# Of two cores, for what nobody has measured.
_OPERATIONS_A_SECOND = 3e10


def data(
    classes: tuple[str, ...],
    aliases: Mapping[str, str],
    labels: Mapping[str, np.ndarray],
    rows: Mapping[str, Drawn],
    shape: tuple[int, ...],
) -> Raw:
    """Returns a dataset as far as a survey tells: the right labels, and images that take no memory.

    `labels` (n,) are by raw part, `rows` those of train, valid and test, `shape` is that of an
    image.
    """
    parts = {}
    for name, drawn in rows.items():
        own = labels[drawn.raw][drawn.rows]
        parts[name] = Part(np.broadcast_to(np.uint8(0), (len(own), *shape)), own)
    return Raw(classes, aliases, parts)


def works(prepared: Prepared) -> Iterator[tuple[str, plan.Work, int]]:
    """Yields all that a study trains from nothing, each with the arm it is for or SOURCE.

    And in how many splits: a search has one.

    Rows at the rates that a search will choose are taken as if they were others than those of no
    search, which most are.
    """
    grid = prepared.grid
    trained: set[object] = set()
    started: dict[plan.SourceGroup, None] = {}
    for row in prepared.groups:
        if _trained(row) in trained:
            continue
        trained.add(_trained(row))
        if row.strategy.from_source:
            started.setdefault(row.source)
        yield row.row.arm, row, grid.splits
        if grid.searched:
            yield row.row.arm, row, grid.splits
            for group in plan.search(row, grid):
                yield row.row.arm, group, 1
    for source in started:
        yield SOURCE, source, grid.splits
        if grid.searched:
            for searched in plan.source_search(source, grid):
                yield SOURCE, searched, 1


def _trained(row: plan.Group) -> object:
    """Returns what rows that train once have in common: those of one network from elsewhere.

    Whatever stands beside it as baseline, and whatever it is called.
    """
    if not isinstance(row, sources.FromElsewhere):
        return row
    origin = row.origin.model_copy(update={"name": None, "sha256": None})
    return origin, row.question, row.strategy.name, row.row.labels, row.budget


def seconds(prepared: Prepared) -> float:
    """Returns about how long a study takes on two cores; a measurement tells it better."""
    asked = [(work, splits) for _, work, splits in works(prepared)]
    passed = sum(
        prepared.grid.splits * images * sources.counted(group).forward
        for group, images in prepared.passes(work for work, _ in asked)
    )
    trained = sum(splits * prepared.effort(work) for work, splits in asked)
    return (trained + passed) / _OPERATIONS_A_SECOND


def by_arm(prepared: Prepared, speeds: Mapping[Kind, Speed]) -> dict[str, float]:
    """Returns the seconds that each arm of a study takes from nothing, and SOURCE where one trains.

    `speeds` were measured on this grid or on one with the same tasks, networks and labels.
    """
    grid = prepared.grid
    # An arm that trains nothing of its own is told too.
    spent = defaultdict(float, {group.row.arm: 0.0 for group in prepared.groups})
    done: set[object] = set()
    for group, images in prepared.passes(work for _, work, _ in works(prepared)):
        # One batch after another, as many at a time as there are threads.
        speed, arm = speeds[stopwatch.kinds(group)[0]], group.row.arm
        spent[arm] += grid.splits * images * speed.features
        adopted = group.question, group.origin, group.untrained
        if adopted not in done:
            drawn = grid.seeds * speed.drawn if group.untrained else 0.0
            spent[arm] += grid.splits * (speed.begun + drawn)
        done.add(adopted)
    for arm, work, splits in works(prepared):
        networks = splits * len(work.seeds)
        if isinstance(work, plan.SourceGroup):
            updates = prepared.source_work(work).updates
            speed = _of_source(work, speeds)
            spent[arm] += networks * (updates * speed.step + speed.network)
            continue
        phases = plan.phases(
            work.strategy,
            work.budget,
            count=work.training_labels,
            batch_size=grid.batch_size,
            frozen_fraction=grid.frozen_fraction,
        )
        kinds = stopwatch.kinds(work)
        if isinstance(work, sources.ByFit):
            answers = prepared.answered(work) * speeds[kinds[-1]].features
            spent[arm] += networks * answers
        for kind, phase in zip(kinds, phases, strict=True):
            speed = speeds[kind]
            spent[arm] += networks * (phase.amount * speed.step + speed.network)
            # One graph is for batches of all sizes where networks train by fit.
            width = 0 if kind.by_fit else min(grid.batch_size, work.training_labels)
            graph = dataclasses.replace(kind, labels=width)
            if graph not in done:
                spent[arm] += speed.first
                done.add(graph)
            # Once for each arm, seed and source, whatever the labels.
            if kind.origin is not None:
                continue
            passed = arm, work.seeds, work.source_learning_rate, kind.question, kind.network
            if passed not in done:
                spent[arm] += networks * speed.features
            done.add(passed)
    return dict(spent)


def features_bytes(prepared: Prepared, speeds: Mapping[Kind, Speed]) -> int:
    """Returns what features of networks from elsewhere take on disk, where none are there yet."""
    asked = prepared.passes(work for _, work, _ in works(prepared))
    each = (images * speeds[stopwatch.kinds(group)[0]].kept for group, images in asked)
    return prepared.grid.splits * sum(each)


def _of_source(group: plan.SourceGroup, speeds: Mapping[Kind, Speed]) -> Speed:
    """Returns the speed on full batches of a network of the same kind."""
    same = [
        kind
        for kind in speeds
        if (kind.question, kind.network, kind.layers) == (group.question, group.network, None)
        and kind.origin is None
    ]
    return speeds[max(same, key=lambda kind: kind.labels)]
