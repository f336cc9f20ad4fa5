"""What curves of accuracy by label budget say: labels needed and saved, crossovers, areas.

Pure functions over plain arrays: budgets (b,), ascending, and accuracies (b, seeds), of both arms
with the same seeds in the same places.
"""

import math
from dataclasses import dataclass

import numpy as np

from headstart.study.statistics import UNDEFINED, Interval, Resampling, percentiles, t_interval


@dataclass(frozen=True)
class Estimate:
    """A number derived from curves, with its bootstrap interval over seeds and what it is worth.

    `kind` is `estimate`, `at least` (value is a lower bound), `at most` (an upper bound), or
    `undetermined`.
    """

    value: float
    low: float
    high: float
    kind: str


def labels_needed(labels: np.ndarray, accuracies: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns where curves (..., b) first reach a target accuracy (...), in labels, float (...).

    Between two budgets the curve is taken as straight over the logarithm of the labels. 0
    stands for "the smallest budget or less", infinity for "more than the largest".
    """
    target = np.asarray(target, dtype=np.float64)
    reached = accuracies >= target[..., None]
    before = np.maximum(reached.argmax(axis=-1) - 1, 0)
    needed = np.where(
        reached.any(axis=-1), _passed(labels, accuracies, before, level=target), np.inf
    )
    return np.where(reached[..., 0], 0.0, needed)


def needed(
    labels: np.ndarray, curve: np.ndarray, *, target: float, resampling: Resampling
) -> Estimate:
    """Returns how many labels an arm needs for a mean accuracy of `target`."""
    value = float(labels_needed(labels, curve.mean(axis=1), np.asarray(target)))
    (means,) = _resampled_means(curve, resampling=resampling)
    resampled = labels_needed(labels, means, np.full(len(means), target))
    interval = percentiles(resampled, confidence=resampling.confidence)
    return _bounded(value, interval, ends=labels)


def labels_saved(
    labels: np.ndarray, arm: np.ndarray, baseline: np.ndarray, *, at: int, resampling: Resampling
) -> Estimate:
    """Returns by which factor the baseline needs more labels to be as good as the arm with some.

    Above 1 the arm saves labels, below 1 it costs them. `at least` where the baseline is never
    as good, `at most` where it is with the smallest budget already, `undetermined` where the
    seeds allow for both. `at` is the position of the budget that the arm has.
    """
    own = float(labels[at])
    value = float(labels_needed(labels, baseline.mean(axis=1), arm.mean(axis=1)[at])) / own
    arms, baselines = _resampled_means(arm, baseline, resampling=resampling)
    resampled = labels_needed(labels, baselines, arms[:, at]) / own
    low, high = percentiles(resampled, confidence=resampling.confidence)
    if low == 0 and math.isinf(high):
        return Estimate(math.nan, low, high, "undetermined")
    return _bounded(value, (low, high), ends=labels / own)


def crossover(
    labels: np.ndarray, arm: np.ndarray, baseline: np.ndarray, *, resampling: Resampling
) -> Estimate:
    """Returns with how many labels the baseline overtakes an arm that is ahead before.

    `at least` the largest budget where the arm stays ahead, `undetermined` where it is never
    ahead.
    """

    def overtaken(gains: np.ndarray) -> np.ndarray:
        """The last change from ahead to behind: infinity if ahead at the end, 0 if never ahead."""
        ahead = gains > 0
        last = gains.shape[-1] - 1 - ahead[..., ::-1].argmax(axis=-1)
        passed = _passed(labels, gains, np.minimum(last, len(labels) - 2), level=np.zeros(()))
        return np.where(ahead.any(axis=-1), np.where(ahead[..., -1], np.inf, passed), 0.0)

    if len(labels) < 2:
        return Estimate(math.nan, *UNDEFINED, "undetermined")
    value = float(overtaken(arm.mean(axis=1) - baseline.mean(axis=1)))
    arms, baselines = _resampled_means(arm, baseline, resampling=resampling)
    interval = percentiles(overtaken(arms - baselines), confidence=resampling.confidence)
    if value == 0:
        return Estimate(math.nan, *interval, "undetermined")
    return _bounded(value, interval, ends=labels)


def area(
    labels: np.ndarray, arm: np.ndarray, baseline: np.ndarray, *, confidence: float
) -> Estimate:
    """Returns the mean gain over the logarithm of the labels: the area between the two curves.

    Trapezoids per seed, then a t interval over seeds.
    """
    if len(labels) < 2:
        return Estimate(math.nan, *UNDEFINED, "undetermined")
    logs = np.log(labels)
    per_seed = np.trapezoid(arm - baseline, logs, axis=0) / (logs[-1] - logs[0])
    low, high = t_interval(per_seed, confidence=confidence)
    return Estimate(float(per_seed.mean()), float(low), float(high), "estimate")


def _passed(
    labels: np.ndarray, curves: np.ndarray, before: np.ndarray, *, level: np.ndarray
) -> np.ndarray:
    """Returns where curves (..., b) pass a level between the budget `before` (...) and the next."""
    # One budget has no next; what is computed there is of no use to the caller.
    after = np.minimum(before + 1, len(labels) - 1)
    left, right = (
        np.take_along_axis(curves, at[..., None], axis=-1)[..., 0] for at in (before, after)
    )
    share = np.clip((level - left) / np.where(left == right, 1.0, right - left), 0.0, 1.0)
    logs = np.log(labels)
    passed: np.ndarray = np.exp(logs[before] + share * (logs[after] - logs[before]))
    return passed


def _bounded(value: float, interval: Interval, *, ends: np.ndarray) -> Estimate:
    """Returns an estimate in labels; 0 and infinity are told as bounds, the ends of the budgets."""
    if math.isinf(value):
        return Estimate(float(ends[-1]), *interval, "at least")
    if value == 0:
        return Estimate(float(ends[0]), *interval, "at most")
    return Estimate(value, *interval, "estimate")


def _resampled_means(*curves: np.ndarray, resampling: Resampling) -> list[np.ndarray]:
    """Returns mean curves (samples, b) over the same resampled seeds for all of `curves`."""
    weights = resampling.shares(curves[0].shape[1])
    return [weights @ curve.T for curve in curves]
