"""Cells of a study that are made up: nothing is trained."""

from typing import Any

import numpy as np

from headstart.study import cells_table
from headstart.study.plan import Row
from headstart.study.prepare import Cost

SEEDS = 12
# Share of right answers by arm and label budget.
SHARES = {
    "baseline": {10: 0.6, 100: 0.8, 1000: 0.95},
    "frozen": {10: 0.8, 100: 0.85, 1000: 0.86},
    "finetune": {10: 0.8, 100: 0.9, 1000: 0.95},
}


def made(
    task: str = "sandal_shirt",
    network: str = "mlp",
    training: str = "epochs=5",
    shift: int = 0,
    shares: Any = SHARES,
    seeds: int = SEEDS,
) -> list[cells_table.Cells]:
    """Cells whose answers are right with the given shares, drawn anew for each seed."""
    cells = []
    for arm, by_labels in shares.items():
        for labels, share in by_labels.items():
            draws = np.random.default_rng(labels)
            actual = np.arange(200) % 2
            right = draws.random((seeds, 200)) < share
            cost = Cost(100, labels, 1000 * labels, 5000 * labels, 0 if arm == "baseline" else 9)
            cells.append(
                cells_table.Cells(
                    row=Row(task, shift, network, training, labels, arm),
                    answers=np.where(right, actual, 1 - actual),
                    actual=actual,
                    finite=np.ones(seeds, dtype=bool),
                    learning_rate=0.001,
                    source_learning_rate=0.001,
                    rate_at_edge=False,
                    cost=cost,
                )
            )
    return cells
