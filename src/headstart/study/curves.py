"""What curves of accuracy by label budget say: labels needed and saved, crossovers, areas.

Pure functions over plain arrays: budgets (b,), ascending, and accuracies (b, seeds).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.study.statistics import UNDEFINED, percentiles, t_interval


def labels_needed(labels: np.ndarray, accuracies: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns where curves first reach a target accuracy, in labels, float (...).

    Between two budgets the curve is taken as straight over the logarithm of the labels. 0
    stands for "the smallest budget or less", infinity for "more than the largest".

    Args:
        labels: budgets, ascending, (b,).
        accuracies: (..., b).
        target: (...).
    """
    accuracies = np.asarray(accuracies, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    reached = accuracies >= target[..., None]
    first = reached.argmax(axis=-1)
    after = np.maximum(first, 1)
    high = np.take_along_axis(accuracies, after[..., None], axis=-1)[..., 0]
    low = np.take_along_axis(accuracies, (after - 1)[..., None], axis=-1)[..., 0]
    logs = np.log(np.asarray(labels, dtype=np.float64))
    rise = np.where(high > low, high - low, 1.0)
    share = np.clip((target - low) / rise, 0.0, 1.0)
    needed = np.exp(logs[after - 1] + share * (logs[after] - logs[after - 1]))
    needed = np.where(reached.any(axis=-1), needed, np.inf)
    return np.where(reached[..., 0], 0.0, needed)


@dataclass(frozen=True)
class Estimate:
    """A number derived from curves, with its bootstrap interval over seeds and what it is worth.

    `kind` is `estimate`, `at least` (value is a lower bound), `at most` (an upper bound), or
    `undetermined` (value is NaN). A bound of 0 or infinity is open.
    """

    value: float
    low: float
    high: float
    kind: str


def needed(
    labels: np.ndarray,
    curve: np.ndarray,
    *,
    target: float,
    confidence: float,
    samples: int,
    generator: np.random.Generator,
) -> Estimate:
    """Returns how many labels an arm needs for a mean accuracy of `target`.

    Args:
        labels: budgets, ascending, (b,).
        curve: accuracies (b, seeds).
        target: the accuracy.
        confidence: between 0 and 1.
        samples: number of resamples of the seeds.
        generator: draws them.
    """
    value = float(labels_needed(labels, curve.mean(axis=1), np.asarray(target)))
    drawn = _resampled_means((curve,), samples=samples, generator=generator)[0]
    resampled = labels_needed(labels, drawn, np.full(len(drawn), target))
    interval = percentiles(resampled, confidence=confidence)
    if math.isinf(value):
        return Estimate(float(labels[-1]), *interval, "at least")
    if value == 0:
        return Estimate(float(labels[0]), *interval, "at most")
    return Estimate(value, *interval, "estimate")


def labels_saved(
    labels: np.ndarray,
    arm: np.ndarray,
    baseline: np.ndarray,
    *,
    at: int,
    confidence: float,
    samples: int,
    generator: np.random.Generator,
) -> Estimate:
    """Returns by which factor the baseline needs more labels to be as good as the arm with some.

    Above 1 the arm saves labels, below 1 it costs them. `at least` where the baseline is never
    as good, `at most` where it is with the smallest budget already, `undetermined` where the
    seeds allow for both.

    Args:
        labels: budgets, ascending, (b,).
        arm: accuracies (b, seeds).
        baseline: the same seeds in the same places.
        at: position of the budget that the arm has.
        confidence: between 0 and 1.
        samples: number of resamples of the seeds, the same for both arms.
        generator: draws them.
    """
    own = float(labels[at])
    means = arm.mean(axis=1), baseline.mean(axis=1)
    value = float(labels_needed(labels, means[1], means[0][at])) / own
    arms, baselines = _resampled_means((arm, baseline), samples=samples, generator=generator)
    resampled = labels_needed(labels, baselines, arms[:, at]) / own
    low, high = percentiles(resampled, confidence=confidence)
    if low == 0 and math.isinf(high):
        return Estimate(math.nan, low, high, "undetermined")
    if math.isinf(value):
        return Estimate(float(labels[-1]) / own, low, high, "at least")
    if value == 0:
        return Estimate(float(labels[0]) / own, low, high, "at most")
    return Estimate(value, low, high, "estimate")


def crossover(
    labels: np.ndarray,
    arm: np.ndarray,
    baseline: np.ndarray,
    *,
    confidence: float,
    samples: int,
    generator: np.random.Generator,
) -> Estimate:
    """Returns with how many labels the baseline overtakes an arm that is ahead before.

    `at least` the largest budget where the arm stays ahead, `undetermined` where it is never
    ahead. See `labels_saved` for the arguments.
    """

    def overtaken(gains: np.ndarray) -> np.ndarray:
        """The last change from ahead to behind: infinity if ahead at the end, 0 if never ahead."""
        ahead = gains > 0
        last = gains.shape[-1] - 1 - ahead[..., ::-1].argmax(axis=-1)
        before = np.minimum(last, gains.shape[-1] - 2)
        up = np.take_along_axis(gains, before[..., None], axis=-1)[..., 0]
        down = np.take_along_axis(gains, before[..., None] + 1, axis=-1)[..., 0]
        fall = np.where(up > down, up - down, 1.0)
        logs = np.log(np.asarray(labels, dtype=np.float64))
        share = np.clip(up / fall, 0.0, 1.0)
        where = np.exp(logs[before] + share * (logs[before + 1] - logs[before]))
        where = np.where(last == gains.shape[-1] - 1, np.inf, where)
        return np.where(ahead.any(axis=-1), where, 0.0)

    if len(labels) < 2:
        return Estimate(math.nan, *UNDEFINED, "undetermined")
    value = float(overtaken(arm.mean(axis=1) - baseline.mean(axis=1)))
    arms, baselines = _resampled_means((arm, baseline), samples=samples, generator=generator)
    interval = percentiles(overtaken(arms - baselines), confidence=confidence)
    if math.isinf(value):
        return Estimate(float(labels[-1]), *interval, "at least")
    if value == 0:
        return Estimate(math.nan, *interval, "undetermined")
    return Estimate(value, *interval, "estimate")


def area(
    labels: np.ndarray, arm: np.ndarray, baseline: np.ndarray, *, confidence: float
) -> Estimate:
    """Returns the mean gain over the logarithm of the labels: the area between the two curves.

    Trapezoids per seed, then a t interval over seeds. See `labels_saved` for the arguments.
    """
    if len(labels) < 2:
        return Estimate(math.nan, *UNDEFINED, "undetermined")
    logs = np.log(np.asarray(labels, dtype=np.float64))
    per_seed = np.trapezoid(arm - baseline, logs, axis=0) / (logs[-1] - logs[0])
    low, high = t_interval(per_seed, confidence=confidence)
    return Estimate(float(per_seed.mean()), float(low), float(high), "estimate")


def _resampled_means(
    curves: Sequence[np.ndarray], *, samples: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Returns mean curves (samples, b) over the same resampled seeds for all of `curves`."""
    count = curves[0].shape[1]
    weights = generator.multinomial(count, np.full(count, 1 / count), size=samples) / count
    return [weights @ curve.T for curve in curves]
