"""From finished cells to the study's tables, verdicts and sentences. Plain values, no files."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core import seeds
from headstart.params.strategies import BASELINE
from headstart.reporting.study_tables import (
    ITSELF,
    CellRow,
    Judgement,
    Setting,
    SummaryRow,
    rounded,
)
from headstart.study import statistics, verdicts
from headstart.study.curves import mean_over_labels
from headstart.study.parameters import Statistics
from headstart.study.plan import Row
from headstart.study.prepare import Cost
from headstart.study.sampling import ONE_SPLIT, Sampling
from headstart.study.statistics import UNDEFINED, Resampling

# No seed of the grid: bootstraps are keyed by what they are about.
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Cells:
    """One row of the grid with all its seeds, and the cost of one training.

    `answers` are classes from 0, (seeds, test images), and `actual` what they should be,
    (test images,); `finite` is whether the training stayed among numbers, (seeds,). The source's
    learning rate is NaN where there is no source. Where `sampling` has several splits, the seeds
    of each follow one another; their test images are others, of the same classes.
    """

    row: Row
    answers: np.ndarray
    actual: np.ndarray
    finite: np.ndarray
    learning_rate: float
    source_learning_rate: float
    rate_at_edge: bool
    cost: Cost
    sampling: Sampling = ONE_SPLIT
    source_rate_at_edge: bool = False

    @property
    def seeds(self) -> int:
        """The number of seeds, each in every split."""
        return len(self.answers) // self.sampling.splits

    @functools.cached_property
    def scores(self) -> np.ndarray:
        """What means and their intervals are made of, as `Sampling` has it."""
        return self.sampling.scores(self.right)

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
    def balanced_accuracies(self) -> np.ndarray:
        """Means over the classes of the share answered right, float64 (seeds,)."""
        members = np.eye(self.classes)[self.actual]
        shares: np.ndarray = self.right @ (members / members.sum(axis=0)) @ np.ones(self.classes)
        return shares / self.classes

    @property
    def balanced_scores(self) -> np.ndarray:
        """The same as scores: each image weighs as its class is rare."""
        if self.sampling.splits == 1:
            return self.balanced_accuracies
        weights = len(self.actual) / np.bincount(self.actual)[self.actual] / self.classes
        weighted: np.ndarray = self.scores * weights
        return weighted

    @property
    def classes(self) -> int:
        """The number of the task's classes, each of which has test images."""
        return len(np.unique(self.actual))

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

    @functools.cached_property
    def accuracies(self) -> np.ndarray:
        """(b, seeds)."""
        return np.stack([cells.accuracies for cells in self.rows])

    @functools.cached_property
    def scores(self) -> np.ndarray:
        """(b, ...), as `Sampling` has it."""
        return np.stack([cells.scores for cells in self.rows])

    @property
    def sampling(self) -> Sampling:
        """What the curve rests on."""
        return self.rows[0].sampling

    def among(self, budgets: np.ndarray) -> tuple[Cells, ...]:
        """Returns the rows whose budgets are chosen, bool (b,)."""
        return tuple(itertools.compress(self.rows, budgets))


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


def cell_rows(cells: Sequence[Cells], unsearched: Sequence[Cells] = ()) -> list[CellRow]:
    """Returns the rows of cells.csv, one a training, without seconds.

    Of `unsearched`, the same rows at the rates of no search, those that have other rates.
    """
    rates = {own.row: (own.learning_rate, own.source_learning_rate) for own in cells}
    others = [
        own
        for own in unsearched
        if str(rates[own.row]) != str((own.learning_rate, own.source_learning_rate))
    ]
    return [*_cell_rows(cells, chosen=1), *_cell_rows(others, chosen=0)]


def _cell_rows(cells: Sequence[Cells], *, chosen: int) -> list[CellRow]:
    return [
        rounded(
            CellRow(
                **dataclasses.asdict(own.row),
                seed=place % own.seeds,
                split=place // own.seeds,
                chosen=chosen,
                accuracy=float(own.accuracies[place]),
                right=int(own.right[place].sum()),
                test_images=own.right.shape[1],
                degenerate=int(own.degenerate[place]),
                diverged=int(not own.finite[place]),
                learning_rate=own.learning_rate,
                source_learning_rate=own.source_learning_rate,
            )
        )
        for own in cells
        for place in range(len(own.right))
    ]


def summary_rows(curves: Curves, settings: Statistics) -> list[SummaryRow]:
    """Returns the rows of summary.csv, one an arm and label budget.

    The family of the corrected p-values: all arms and budgets of one task, shift, network and
    training budget.
    """
    rows = []
    for arms in curves.values():
        pairs = [
            (own, base)
            for curve in arms.values()
            for own, base in zip(curve.rows, arms[BASELINE].rows, strict=True)
        ]
        compared = [pair for pair in pairs if pair[0].row.arm != BASELINE]
        judgements = iter(
            judged(
                [own.scores - base.scores for own, base in compared],
                [unfit((own,), settings) or unfit((base,), settings) for own, base in compared],
                settings,
                arms[BASELINE].sampling,
            )
        )
        rows += [
            rounded(_summary(own, base, settings, next(judgements) if own is not base else None))
            for own, base in pairs
        ]
    return rows


def judged(
    gains: Sequence[np.ndarray],
    invalid: Sequence[bool],
    settings: Statistics,
    sampling: Sampling,
) -> list[Judgement]:
    """Returns what one family of gains says, each with whether it cannot be judged.

    Gains are differences of scores.
    """
    adjusted = sampling.p_adjusted(gains)
    made = []
    for own, p_adjusted, refused in zip(gains, adjusted, invalid, strict=True):
        low, high = sampling.interval(own, confidence=settings.confidence)
        word = verdicts.verdict(
            float(own.mean()),
            sampling.bounds(own, alpha=settings.alpha),
            p_adjusted,
            alpha=settings.alpha,
            margin=settings.margin,
        )
        made.append(
            Judgement(
                gain=float(own.mean()),
                gain_std=_std(sampling.by_training(own)),
                gain_low=low,
                gain_high=high,
                p=sampling.p(own),
                p_adjusted=float(p_adjusted),
                verdict=verdicts.INVALID if refused else word,
                detectable_gain=sampling.detectable(
                    own, alpha=settings.alpha, comparisons=len(gains)
                ),
            )
        )
    return made


def _std(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def unfit(rows: Sequence[Cells], settings: Statistics) -> bool:
    """Tells whether an arm cannot be compared over the budgets of these rows."""
    degenerate = float(np.mean([cells.degenerate for cells in rows]))
    return verdicts.unfit(degenerate, untrained=untrained(rows, settings))


def untrained(rows: Sequence[Cells], settings: Statistics) -> bool:
    """Tells whether an arm is not above chance over the budgets of these rows.

    Over several budgets by its mean balanced accuracy over the logarithm of the labels.
    """
    labels = np.array([cells.row.labels for cells in rows])
    balanced = np.array([cells.balanced_scores for cells in rows])
    above = mean_over_labels(labels, balanced) - 1 / rows[0].classes
    p = rows[0].sampling.p(above, alternative="greater")
    return verdicts.untrained(p, alpha=settings.alpha)


def _summary(
    own: Cells, base: Cells, settings: Statistics, judgement: Judgement | None
) -> SummaryRow:
    row, accuracies, confidence = own.row, own.accuracies, settings.confidence
    low, high = own.sampling.interval(own.scores, confidence=confidence)
    if own.sampling.splits == 1:
        median, middle = (
            statistics.bootstrap(accuracies, of, resampling(settings, "bootstrap", row.name, name))
            for name, of in (
                ("median", functools.partial(np.median, axis=1)),
                ("iqm", statistics.interquartile_mean),
            )
        )
        both, gain_both = (
            tuple(map(float, statistics.two_way_interval(right, confidence=confidence)))
            for right in (own.right, own.right.astype(np.int8) - base.right)
        )
    else:
        # Of no mean the components are known; of means their intervals know images already.
        median = middle = UNDEFINED
        both, gain_both = (
            own.sampling.interval(scores, confidence=confidence)
            for scores in (own.scores, own.scores - base.scores)
        )
    return SummaryRow(
        **dataclasses.asdict(row),
        seeds=own.seeds,
        splits=own.sampling.splits,
        mean=float(accuracies.mean()),
        std=_std(accuracies),
        low=low,
        high=high,
        wins=statistics.wins(accuracies, base.accuracies),
        balanced_accuracy=float(own.balanced_accuracies.mean()),
        untrained=int(untrained((own,), settings)),
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
        **vars(judgement or ITSELF),
        diverged=int((~own.finite).sum()),
        learning_rate=own.learning_rate,
        source_learning_rate=own.source_learning_rate,
        rate_at_edge=int(own.rate_at_edge),
        source_rate_at_edge=int(own.source_rate_at_edge),
        **dataclasses.asdict(own.cost),
    )


def resampling(
    settings: Statistics, *about: str | int, sampling: Sampling = ONE_SPLIT
) -> Resampling:
    """Returns the resampling of scores that is keyed by what it is about."""
    generator = seeds.generator(_BOOTSTRAP_SEED, *about)
    drawn = Resampling(settings.confidence, settings.bootstrap_samples, generator)
    return sampling.resampling(drawn)
