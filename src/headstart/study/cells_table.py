"""From finished cells to the study's tables, verdicts and sentences. Plain values, no files."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core import seeds
from headstart.params.strategies import BASELINE
from headstart.reporting.study_tables import CellRow, Setting, SummaryRow, rounded
from headstart.study import statistics
from headstart.study.parameters import Statistics
from headstart.study.plan import Row
from headstart.study.prepare import Cost
from headstart.study.statistics import Resampling

# No seed of the grid: bootstraps are keyed by what they are about.
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Cells:
    """One row of the grid with all its seeds, and the cost of one training.

    `answers` are classes from 0, (seeds, test images), and `actual` what they should be,
    (test images,); `finite` is whether the training stayed among numbers, (seeds,).
    """

    row: Row
    answers: np.ndarray
    actual: np.ndarray
    finite: np.ndarray
    learning_rates: tuple[float, ...]
    validation_labels: int
    cost: Cost

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Whether answers are right, bool (seeds, test images)."""
        equal: np.ndarray = self.answers == self.actual
        return equal

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


Curves = dict[Setting, dict[str, Curve]]


def curves(cells: Sequence[Cells]) -> Curves:
    """Returns the cells sorted into curves, settings and arms in the order they come."""
    sorted_in: dict[Setting, dict[str, list[Cells]]] = {}
    for own in cells:
        row = own.row
        setting = Setting(row.task, row.shift, row.network, row.training)
        sorted_in.setdefault(setting, {}).setdefault(row.arm, []).append(own)
    return {
        setting: {
            arm: Curve(tuple(sorted(rows, key=lambda own: own.row.labels)))
            for arm, rows in arms.items()
        }
        for setting, arms in sorted_in.items()
    }


def cell_rows(cells: Sequence[Cells]) -> list[CellRow]:
    """Returns the rows of cells.csv, one a training, without seconds."""
    return [
        rounded(
            CellRow(
                **dataclasses.asdict(own.row),
                seed=seed,
                accuracy=float(own.accuracies[seed]),
                right=int(own.right[seed].sum()),
                test_images=own.right.shape[1],
                degenerate=int(own.degenerate[seed]),
                diverged=int(not own.finite[seed]),
                learning_rate=own.learning_rates[seed],
                validation_labels=own.validation_labels,
            )
        )
        for own in cells
        for seed in range(len(own.right))
    ]


def summary_rows(curves: Curves, settings: Statistics) -> list[SummaryRow]:
    """Returns the rows of summary.csv, one an arm and label budget."""
    rows = []
    for arms in curves.values():
        made = [
            _summary(own, base, settings)
            for curve in arms.values()
            for own, base in zip(curve.rows, arms[BASELINE].rows, strict=True)
        ]
        # One family: the arms and budgets of one task and training budget.
        adjusted = statistics.holm([row.p for row in made])
        rows += [
            rounded(dataclasses.replace(row, p_adjusted=p))
            for row, p in zip(made, adjusted, strict=True)
        ]
    return rows


def _summary(own: Cells, base: Cells, settings: Statistics) -> SummaryRow:
    row, accuracies, confidence = own.row, own.accuracies, settings.confidence
    itself = row.arm == BASELINE
    gains = accuracies - base.accuracies
    low, high = statistics.t_interval(accuracies, confidence=confidence)
    gain_low, gain_high = statistics.t_interval(gains, confidence=confidence)
    median, middle = (
        statistics.bootstrap(accuracies, of, resampling(settings, "bootstrap", row.name, name))
        for name, of in (
            ("median", functools.partial(np.median, axis=1)),
            ("iqm", statistics.interquartile_mean),
        )
    )
    weights = _weights(row.task, *own.right.shape, settings)
    both, gain_both = (
        statistics.two_way_interval(right, weights, confidence=confidence)
        for right in (own.right, own.right.astype(np.int8) - base.right.astype(np.int8))
    )
    return SummaryRow(
        **dataclasses.asdict(row),
        seeds=len(accuracies),
        mean=float(accuracies.mean()),
        std=float(accuracies.std(ddof=1)) if len(accuracies) > 1 else math.nan,
        low=float(low),
        high=float(high),
        gain=float(gains.mean()),
        gain_low=0.0 if itself else float(gain_low),
        gain_high=0.0 if itself else float(gain_high),
        wins=statistics.wins(accuracies, base.accuracies),
        degenerate=int(own.degenerate.sum()),
        median=float(np.median(accuracies)),
        median_low=median[0],
        median_high=median[1],
        iqm=float(statistics.interquartile_mean(accuracies)),
        iqm_low=middle[0],
        iqm_high=middle[1],
        two_way_low=both[0],
        two_way_high=both[1],
        gain_two_way_low=gain_both[0],
        gain_two_way_high=gain_both[1],
        p=math.nan if itself else statistics.paired_p(gains),
        p_adjusted=math.nan,
        diverged=int((~own.finite).sum()),
        validation_labels=own.validation_labels,
        **dataclasses.asdict(own.cost),
    )


@functools.lru_cache(maxsize=1)
def _weights(
    task: str, count: int, images: int, settings: Statistics
) -> tuple[np.ndarray, np.ndarray]:
    """The two-way resamples of a task, the same for all its rows: drawing them takes a while."""
    drawn = resampling(settings, "bootstrap", task, "two way")
    return drawn.shares(count), drawn.shares(images)


def resampling(settings: Statistics, *about: str | int) -> Resampling:
    """Returns the resampling that is keyed by what it is about."""
    generator = seeds.generator(_BOOTSTRAP_SEED, *about)
    return Resampling(settings.confidence, settings.bootstrap_samples, generator)
