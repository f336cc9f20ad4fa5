"""One cell with everything that it takes to train it again with other code."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.data import tasks
from headstart.study import plan, run
from headstart.study.prepare import Prepared


def export(runner: run.Runner, name: str, path: Path) -> None:
    """Writes a cell's initial weights, subset and order as `.npz`; trains its source if need be.

    Arrays: `weight_00`, ... in the order of Keras' `get_weights`, kernel and bias by layer,
    head last; `subset`, the positions of the labels that train; `order`, the positions of every
    batch, filled up with -1; `train_images`, `train_labels`, `test_images`, `test_labels` (uint8);
    `answers`, what we got on the test images, where the cell is trained already; `about`, JSON
    with network, optimiser, learning rate, white and `phases`, how many updates train how many
    layers from the head down (null: all).

    `name` is task[/shift=S]/network/training/labels=N/arm/seed=S.

    Raises:
        UserError: The grid has no such cell.
    """
    group, seed = find(runner.prepared, name)
    runner.start()
    bench = runner.bench(group)
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
    about = {
        "cell": name,
        "classes": group.question.target.names,
        "white": runner.prepared.data.white,
        "network": group.network.model_dump(),
        "optimizer": runner.prepared.grid.optimizer,
        "learning_rate": group.learning_rate,
        "phases": [(phase.amount, phase.layers) for phase in bench.phases(group)],
    }
    weights = enumerate(bench.weights(group))
    arrays: dict[str, Any] = {
        **{f"weight_{number:02}": weight[0] for number, weight in weights},
        "subset": bench.subset(seed)[: group.training_labels],
        "order": bench.order(group, seed),
        **parts,
    }
    kept = runner.store.read(*runner.keys(group))
    if kept is not None:
        arrays["answers"] = kept["answers"]
    arrays["about"] = np.array(json.dumps(about))
    with artefacts.replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def find(prepared: Prepared, name: str) -> tuple[plan.Group, int]:
    """Returns the cell of this name as a group of one, and its seed.

    Where learning rates are searched, the one at the rates that are taken unsearched.

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
