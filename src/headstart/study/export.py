"""One cell with everything that it takes to train it again with other code."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts, digits
from headstart.core.errors import UserError
from headstart.data import tasks
from headstart.reporting.study_tables import CellRow
from headstart.study import plan, run, sources, splits
from headstart.study.parameters import Grid
from headstart.study.prepare import Prepared


def export(
    runner: run.Runner,
    name: str,
    path: Path,
    *,
    trained: Sequence[CellRow] = (),
    learning_rate: float | None = None,
    split: int = 0,
) -> float:
    """Writes a cell's initial weights, subset and order as `.npz`; trains its source if need be.

    Returns the cell's learning rate.

    Arrays: `weight_00`, ... in the order of Keras' `get_weights`, kernel and bias by layer,
    head last; `subset`, the positions of the labels that train; `order`, the positions of every
    batch, filled up with -1; `train_images`, `train_labels`, `test_images`, `test_labels` (uint8);
    `answers`, what we got on the test images, where the cell is trained already; `about`, JSON
    with network, optimiser, learning rate, white and `phases`, how many updates train how many
    layers from the head down (null: all).

    Of a network from elsewhere that trains: all its weights, head last, in place of those by layer,
    and blocks in place of layers.

    Of a head on a network from elsewhere: the head's weights, `features` of the labels in the
    order in which they are spent, (labels, width), in which `order` gives places, and
    `test_features`, both scaled as they were for training; `about` says how the network was cut
    and fitted, and whether it is untrained.

    Args:
        runner: That of split 0.
        name: task[/shift=S]/network/training/labels=N/arm/seed=S.
        path: The file to write.
        trained: The rows of cells.csv, where there are any: where learning rates were searched the
            cell is the one that they rest on. Else it is that at the rates of no search.
        learning_rate: The same cell at another rate.
        split: The same cell in another split.

    Raises:
        UserError: The grid has no such cell.
    """
    group, seed = find(runner.prepared, name)
    group = _at_rates(group, runner.prepared.grid, _rows(trained, group, split), learning_rate)
    runner = splits.of_split(runner, split)
    runner.start()
    bench: Any = runner.bench(group)
    about = {
        "cell": name,
        "split": split,
        "classes": group.question.target.names,
        "white": runner.prepared.data.white,
        "optimizer": runner.prepared.grid.optimizer,
        "learning_rate": group.learning_rate,
    }
    parts = {}
    for which in ("train", "test"):
        cut = plan.shifted(
            tasks.cut(runner.prepared.data.parts[which], group.question.target),
            shift=group.question.shift,
            task=group.question.name,
            name=which,
        )
        parts[f"{which}_images"] = cut.images
        parts[f"{which}_labels"] = cut.labels.astype(np.uint8)
    if isinstance(group, sources.OnFeatures):
        about |= {"network": group.origin.model_dump(by_alias=True), "untrained": group.untrained}
        weights = bench.initial(seed)
        arrays: dict[str, Any] = {
            "subset": bench.spent(group, seed)[: group.training_labels],
            "order": bench.order(group, seed),
            "features": bench.on_labels(group, seed) / bench.scale(group, seed),
            "test_features": bench.on_test(group).reshape(-1, bench.seen.width)
            / bench.scale(group, seed),
        }
    elif isinstance(group, sources.ByFit):
        bench.start(group, seed)
        about |= {
            "network": group.origin.model_dump(by_alias=True),
            "untrained": group.untrained,
            "phases": [(phase.amount, phase.layers) for phase in bench.phases(group)],
        }
        weights = bench.model.get_weights()
        arrays = {"subset": bench.chosen(group, seed), "order": bench.order(group, seed)}
    else:
        about |= {
            "network": group.network.model_dump(),
            "phases": [(phase.amount, phase.layers) for phase in bench.phases(group)],
        }
        weights = [weight[0] for weight in bench.weights(group)]
        arrays = {
            "subset": bench.subset(seed)[: group.training_labels],
            "order": bench.order(group, seed),
        }
    arrays |= {f"weight_{number:02}": weight for number, weight in enumerate(weights)} | parts
    kept = runner.store.read(*runner.keys(group))
    if kept is not None:
        arrays["answers"] = kept["answers"]
    arrays["about"] = np.array(json.dumps(about))
    with artefacts.replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return group.learning_rate


def _rows(trained: Sequence[CellRow], group: plan.Group, split: int) -> list[CellRow]:
    """Returns the rows of a cell, at most two: at the rates of no search, and at those chosen."""
    names = [field.name for field in dataclasses.fields(plan.Row)]
    (seed,) = group.seeds
    return [
        row
        for row in trained
        if (row.seed, row.split) == (seed, split)
        and all(getattr(row, name) == getattr(group.row, name) for name in names)
    ]


def _at_rates(
    group: plan.Group, grid: Grid, rows: Sequence[CellRow], learning_rate: float | None
) -> plan.Group:
    """Returns a cell at the rates chosen, by its `rows`, or at `learning_rate`."""
    if learning_rate is not None and learning_rate not in grid.learning_rates:
        allowed = ", ".join(f"{rate:g}" for rate in grid.learning_rates)
        raise UserError(f"--learning-rate {learning_rate:g}: the grid has {allowed}")
    if not grid.searched:
        return group

    def exact(rounded: float) -> float:
        """Returns the rate that stands in a table to six digits."""
        asked = (*grid.learning_rates, grid.source_training.learning_rate)
        for rate in asked:
            if digits.rounded(rate) == rounded:
                return rate
        raise UserError(
            f"the study's tables have {group.row.name} at a learning rate of {rounded:g}, which "
            "study/params.yaml has not; `headstart study run` makes them anew"
        )

    asked = [row for row in rows if learning_rate in (None, exact(row.learning_rate))]
    for row in sorted(asked, key=lambda row: row.chosen)[-1:]:
        group = dataclasses.replace(group, learning_rate=exact(row.learning_rate))
        if not math.isnan(row.source_learning_rate):
            rate = exact(row.source_learning_rate)
            group = dataclasses.replace(group, source_learning_rate=rate)
    if learning_rate is not None:
        group = dataclasses.replace(group, learning_rate=learning_rate)
    return group


def find(prepared: Prepared, name: str) -> tuple[plan.Group, int]:
    """Returns the cell of this name as a group of one, at the rates of no search, and its seed.

    Raises:
        UserError: The grid has no such cell.
    """
    for group in prepared.groups:
        for seed in group.seeds:
            if name == f"{group.row.name}/seed={seed}":
                return group.of([seed]), seed
    example = prepared.groups[0].row.name
    raise UserError(
        f"{name}: the grid has no such cell; cells are named like {example}/seed=0, "
        f"with seeds from 0 to {prepared.grid.seeds - 1}"
    )
