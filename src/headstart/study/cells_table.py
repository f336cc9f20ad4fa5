"""From finished cells to the study's tables, verdicts and sentences. Plain values, no files."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import digits, seeds
from headstart.study import statistics
from headstart.study.costs import Cost
from headstart.study.parameters import Statistics
from headstart.study.plan import Row
from headstart.transfer.strategies import BASELINE

# No seed of the grid: bootstraps are keyed by what they are about.
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Cells:
    """One row of the grid with all its seeds.

    Attributes:
        row: Which one.
        answers: Classes from 0, (seeds, test images).
        right: The same, whether right.
        finite: Whether the training stayed among numbers, (seeds,).
        learning_rates: What each seed trained with, (seeds,).
        validation_labels: How many labels of the budget validated.
        cost: Of one training.
    """

    row: Row
    answers: np.ndarray
    right: np.ndarray
    finite: np.ndarray
    learning_rates: tuple[float, ...]
    validation_labels: int
    cost: Cost

    @property
    def accuracies(self) -> np.ndarray:
        """Accuracies on the test images, float64 (seeds,)."""
        shares: np.ndarray = self.right.sum(axis=1) / self.right.shape[1]
        return shares

    @property
    def degenerate(self) -> np.ndarray:
        """Whether a seed answers one class for everything, or diverged, bool (seeds,)."""
        constant: np.ndarray = (self.answers == self.answers[:, :1]).all(axis=1)
        return constant | ~self.finite


@dataclass(frozen=True)
class Curve:
    """One arm over the label budgets, ascending, of one task, shift, network and training."""

    rows: tuple[Cells, ...]

    @property
    def labels(self) -> np.ndarray:
        """The budgets, (b,)."""
        return np.array([cells.row.labels for cells in self.rows])

    @property
    def accuracies(self) -> np.ndarray:
        """(b, seeds)."""
        return np.stack([cells.accuracies for cells in self.rows])


# Task, shift, network, training.
Setting = tuple[str, int, str, str]


Curves = dict[Setting, dict[str, Curve]]


def curves(cells: Sequence[Cells]) -> Curves:
    """Returns the cells sorted into curves, settings and arms in the order they come."""
    found: dict[Setting, dict[str, list[Cells]]] = {}
    for one in cells:
        setting = (one.row.task, one.row.shift, one.row.network, one.row.training)
        found.setdefault(setting, {}).setdefault(one.row.arm, []).append(one)
    return {
        setting: {
            arm: Curve(tuple(sorted(rows, key=lambda one: one.row.labels)))
            for arm, rows in arms.items()
        }
        for setting, arms in found.items()
    }


def cell_rows(cells: Sequence[Cells]) -> list[dict[str, Any]]:
    """Returns the rows of cells.csv, one a training, without seconds."""
    return [
        {
            **_named(one.row),
            "seed": seed,
            "accuracy": number(one.accuracies[seed]),
            "right": int(one.right[seed].sum()),
            "test_images": one.right.shape[1],
            "degenerate": int(one.degenerate[seed]),
            "diverged": int(not one.finite[seed]),
            "learning_rate": one.learning_rates[seed],
            "validation_labels": one.validation_labels,
            "shift": one.row.shift,
        }
        for one in cells
        for seed in range(len(one.right))
    ]


def summary_rows(found: Curves, settings: Statistics) -> list[dict[str, Any]]:
    """Returns the rows of summary.csv, one an arm and label budget; what is undefined is empty."""
    rows = []
    for arms in found.values():
        made = [
            _summary(one, base, settings)
            for arm, curve in arms.items()
            for one, base in zip(curve.rows, arms[BASELINE].rows, strict=True)
        ]
        # One family: the arms and budgets of one task and training budget.
        family = [row for row in made if row["arm"] != BASELINE]
        adjusted = statistics.holm([row["p"] for row in family])
        for row, p in zip(family, adjusted, strict=True):
            row["p_adjusted"] = p
        rows += made
    return [{key: number(value) for key, value in row.items()} for row in rows]


def _summary(one: Cells, base: Cells, settings: Statistics) -> dict[str, Any]:
    row, accuracies = one.row, one.accuracies
    count = len(accuracies)
    itself = row.arm == BASELINE
    gains = accuracies - base.accuracies
    confidence = settings.confidence
    low, high = statistics.t_interval(accuracies, confidence=confidence)
    gain_low, gain_high = statistics.t_interval(gains, confidence=confidence)
    drawn: dict[str, Any] = {"confidence": confidence, "samples": settings.bootstrap_samples}
    median = statistics.bootstrap(
        accuracies,
        lambda values: np.median(values, axis=1),
        generator=generator(row, "median"),
        **drawn,
    )
    middle = statistics.bootstrap(
        accuracies, statistics.interquartile_mean, generator=generator(row, "iqm"), **drawn
    )
    weights = _weights(row.task, *one.right.shape, settings.bootstrap_samples)
    both = statistics.two_way_interval(one.right, weights, confidence=confidence)
    gain_both = statistics.two_way_interval(
        one.right.astype(np.int8) - base.right.astype(np.int8), weights, confidence=confidence
    )
    return {
        **_named(row),
        "seeds": count,
        "mean": accuracies.mean(),
        "std": accuracies.std(ddof=1) if count > 1 else math.nan,
        "low": low,
        "high": high,
        "gain": gains.mean(),
        "gain_low": 0.0 if itself else gain_low,
        "gain_high": 0.0 if itself else gain_high,
        "wins": statistics.wins(accuracies, base.accuracies),
        "degenerate": int(one.degenerate.sum()),
        "median": np.median(accuracies),
        "median_low": median[0],
        "median_high": median[1],
        "iqm": statistics.interquartile_mean(accuracies),
        "iqm_low": middle[0],
        "iqm_high": middle[1],
        "two_way_low": both[0],
        "two_way_high": both[1],
        "gain_two_way_low": gain_both[0],
        "gain_two_way_high": gain_both[1],
        "p": math.nan if itself else statistics.paired_p(gains),
        "p_adjusted": math.nan,
        "diverged": int((~one.finite).sum()),
        "validation_labels": one.validation_labels,
        "trainable_parameters": one.cost.trainable_parameters,
        "updates": one.cost.updates,
        "flops": one.cost.flops,
        "flops_as_notebook": one.cost.flops_as_notebook,
        "source_flops": one.cost.source_flops,
        "shift": row.shift,
    }


def _named(row: Row) -> dict[str, Any]:
    return {
        "task": row.task,
        "network": row.network,
        "training": row.training,
        "labels": row.labels,
        "arm": row.arm,
    }


def setting_columns(setting: Setting) -> dict[str, Any]:
    """Returns the columns that name a setting."""
    task, _, network, training = setting
    return {"task": task, "network": network, "training": training}


@functools.lru_cache(maxsize=1)
def _weights(task: str, count: int, images: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The two-way resamples of a task, the same for all its rows: drawing them takes a while."""
    return statistics.two_way_weights(
        count,
        images,
        samples=samples,
        generator=seeds.generator(BOOTSTRAP_SEED, "bootstrap", task, "two way"),
    )


def generator(row: Row, name: str) -> np.random.Generator:
    """Returns the generator of the draws called `name` for a row."""
    return seeds.generator(BOOTSTRAP_SEED, "bootstrap", row.name, name)


def number(value: Any) -> Any:
    """Returns a plain number to six significant digits, and "" for what is undefined."""
    if isinstance(value, str | int):
        return value
    return "" if math.isnan(value) else digits.rounded(value)
