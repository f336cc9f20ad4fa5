"""What a study will take, counted before anything trains."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from headstart.core.parts import Drawn, Part
from headstart.data.raw_data import Raw
from headstart.study import plan, prepare, stopwatch
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


def works(prepared: Prepared) -> Iterator[tuple[str, plan.Work]]:
    """Yields all that a study trains from nothing, each with the arm it is for or SOURCE.

    Rows at the rates that a search will choose are taken as if they were others than those of no
    search, which most are.
    """
    grid = prepared.grid
    sources: dict[plan.SourceGroup, None] = {}
    for row in prepared.groups:
        if row.strategy.from_source:
            sources.setdefault(row.source)
        yield row.row.arm, row
        if grid.searched:
            yield row.row.arm, row
            for group in plan.search(row, grid):
                yield row.row.arm, group
    for source in sources:
        yield SOURCE, source
        if grid.searched:
            for searched in plan.source_search(source, grid):
                yield SOURCE, searched


def effort(prepared: Prepared, work: plan.Work) -> float:
    """Returns how long the networks of a group take, in operations, overheads counted."""
    own = (
        prepared.work(work, in_span=True)
        if isinstance(work, plan.Group)
        else prepared.source_work(work)
    )
    return len(work.seeds) * prepare.effort(own)


def seconds(prepared: Prepared) -> float:
    """Returns about how long a study takes on two cores; a measurement tells it better."""
    return sum(effort(prepared, work) for _, work in works(prepared)) / _OPERATIONS_A_SECOND


def by_arm(prepared: Prepared, speeds: Mapping[Kind, Speed]) -> dict[str, float]:
    """Returns the seconds that each arm of a study takes from nothing, and SOURCE where one trains.

    `speeds` were measured on this grid or on one with the same tasks, networks and labels.
    """
    grid = prepared.grid
    spent: dict[str, float] = defaultdict(float)
    done: set[object] = set()
    for arm, work in works(prepared):
        if isinstance(work, plan.SourceGroup):
            updates = prepared.source_work(work).updates
            speed = _of_source(work, speeds)
            spent[arm] += len(work.seeds) * (updates * speed.step + speed.network)
            continue
        phases = plan.phases(
            work.strategy,
            work.budget,
            count=work.training_labels,
            batch_size=grid.batch_size,
            frozen_fraction=grid.frozen_fraction,
        )
        for kind, phase in zip(stopwatch.kinds(work), phases, strict=True):
            speed = speeds[kind]
            spent[arm] += len(work.seeds) * (phase.amount * speed.step + speed.network)
            width = min(grid.batch_size, work.training_labels)
            graph = kind.question, kind.network, kind.layers, width
            if graph not in done:
                spent[arm] += speed.first
            # Once for each arm, seed and source, whatever the labels.
            passed = arm, work.seeds, work.source_learning_rate, kind.question, kind.network
            if passed not in done:
                spent[arm] += len(work.seeds) * speed.features
            done |= {graph, passed}
    return dict(spent)


def _of_source(group: plan.SourceGroup, speeds: Mapping[Kind, Speed]) -> Speed:
    """Returns the speed on full batches of a network of the same kind."""
    same = [
        kind
        for kind in speeds
        if (kind.question, kind.network, kind.layers) == (group.question, group.network, None)
    ]
    return speeds[max(same, key=lambda kind: kind.labels)]
