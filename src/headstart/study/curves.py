"""What curves of accuracy by label budget say: gains over ranges, labels needed and saved.

Pure functions over plain arrays: budgets (b,), ascending, and accuracies (b, seeds), of both arms
with the same seeds in the same places. What crosses splits with seeds has scores (b, splits, seeds,
images) in place of accuracies, and a resampling that takes them.
"""

import math
from dataclasses import dataclass

import numpy as np

from headstart.study.statistics import SAME, UNDEFINED, Interval, Resampling

FEW = 100
"""The labels up to which a budget is one of few, fixed before anything was seen."""
UNDETERMINED = "undetermined"
# Places between two budgets at which the monotone cubic is read off.
_PLACES = 1001


@dataclass(frozen=True)
class Estimate:
    """A number derived from curves, with its bootstrap interval over seeds and what it is worth.

    `kind` is `estimate`, `at least` (value is a lower bound), `at most` (an upper bound), or
    `undetermined`. A `low` of 0 and a `high` of infinity are open ends. `cubic` is the value
    along the monotone cubic in place of straight lines.
    """

    value: float
    low: float
    high: float
    kind: str
    cubic: float = math.nan


NOTHING = Estimate(math.nan, *UNDEFINED, UNDETERMINED)
"""Where nothing can be told."""


@dataclass(frozen=True)
class Best:
    """The best `among` several arms, and what it gains and saves where it is chosen anew."""

    place: int
    among: int
    share: float
    gain: Interval
    saved: Estimate


def ranges(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns which budgets, bool (b,), belong to all, few and many labels.

    Few and many are left out where one of them is all.
    """
    few = labels <= FEW
    parts = {"few": few, "many": ~few} if few.any() and not few.all() else {}
    return {"all": np.ones(len(labels), dtype=bool)} | parts


def mean_over_labels(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the mean of curves (b, ...) over the logarithm of the labels, (...).

    The area below the curve, by trapezoids, divided by its width: of gains the area between two
    curves, told as accuracy. The value itself where there is one budget.
    """
    if len(labels) == 1:
        return np.asarray(values[0])
    logs = np.log(labels)
    mean: np.ndarray = np.trapezoid(values, logs, axis=0) / (logs[-1] - logs[0])
    return mean


def accuracies_at(labels: np.ndarray, curve: np.ndarray, at: float) -> np.ndarray:
    """Returns accuracies (...) with `at` labels of curves (b, ...), straight over the logarithm."""
    logs = np.log(labels)
    flat = curve.reshape(len(labels), -1)
    between = np.array([np.interp(math.log(at), logs, own) for own in flat.T])
    return between.reshape(curve.shape[1:])


def labels_needed(labels: np.ndarray, accuracies: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns where curves (..., b) first reach a target accuracy (...), in labels, float (...).

    Between two budgets the curve is taken as straight over the logarithm of the labels. 0
    stands for "the smallest budget or less", infinity for "more than the largest".
    """
    target = np.asarray(target, dtype=np.float64)
    # Sums in another order differ in the last digit.
    reached = accuracies >= target[..., None] - SAME
    before = np.maximum(reached.argmax(axis=-1) - 1, 0)
    needed = np.where(
        reached.any(axis=-1), _passed(labels, accuracies, before, level=target), np.inf
    )
    return np.where(reached[..., 0], 0.0, needed)


def _cubic_needed(labels: np.ndarray, curve: np.ndarray, target: float) -> float:
    """The same for one curve (b,) along the monotone cubic (Fritsch and Butland; SciPy's PCHIP).

    Between two budgets it stays between their values, so that it gets there in the same place.
    """
    from scipy.interpolate import PchipInterpolator

    reached = np.flatnonzero(curve >= target - SAME)
    if not len(reached):
        return math.inf
    first = reached[0]
    if not first:
        return 0.0
    logs = np.log(labels)
    places = np.linspace(logs[first - 1], logs[first], _PLACES)
    return math.exp(np.interp(target, PchipInterpolator(logs, curve)(places), places))


def needed(
    labels: np.ndarray, curve: np.ndarray, *, target: float, resampling: Resampling
) -> Estimate:
    """Returns how many labels an arm needs for a mean accuracy of `target`."""
    mean = resampling.mean(curve)
    value = float(labels_needed(labels, mean, np.asarray(target)))
    (means,) = resampling.means(curve)
    resampled = labels_needed(labels, means, np.full(len(means), target))
    cubic = _cubic_needed(labels, mean, target)
    return _bounded(value, resampling.of_means(resampled, curve), cubic, ends=labels)


def labels_saved(
    labels: np.ndarray,
    baseline: np.ndarray,
    *,
    own: float,
    accuracies: np.ndarray,
    resampling: Resampling,
) -> Estimate:
    """Returns by which factor the baseline needs more labels to be as good as an arm with `own`.

    Above 1 the arm saves labels, below 1 it costs them. `at least` where the baseline is never
    as good, `at most` where it is with the smallest budget already, `undetermined` where the
    seeds allow for both. `accuracies` (seeds,) are the arm's, `labels` the baseline's budgets.
    """
    means, targets = resampling.means(baseline, accuracies)
    mean, target = resampling.mean(baseline), float(resampling.mean(accuracies))
    resampled = labels_needed(labels, means, targets) / own
    return _saved(labels, mean, own, target, resampling.of_means(resampled, accuracies))


def saved_by_medians(
    labels: np.ndarray, baseline: np.ndarray, own: int, accuracies: np.ndarray
) -> Estimate:
    """Returns the same by medians over seeds, (b, seeds) and (seeds,), without an interval."""
    medians, target = np.median(baseline, axis=1), float(np.median(accuracies))
    return _saved(labels, medians, own, target, UNDEFINED)


def _saved(
    labels: np.ndarray, baseline: np.ndarray, own: float, target: float, interval: Interval
) -> Estimate:
    """Returns the estimate from the baseline's mean curve (b,) and its interval."""
    value = float(labels_needed(labels, baseline, np.asarray(target))) / own
    cubic = _cubic_needed(labels, baseline, target) / own
    return _bounded(value, interval, cubic, ends=labels / own)


def best_of(
    gains: np.ndarray,
    labels: np.ndarray,
    baseline: np.ndarray,
    *,
    own: float,
    accuracies: np.ndarray,
    resampling: Resampling,
) -> Best:
    """Returns the arm with the largest mean gain, with intervals that know that it was chosen.

    `gains` are (arms, seeds), `accuracies` (arms, seeds) those with `own` labels. In every
    resample of the seeds the best arm is chosen anew: what it gains and saves there is what the
    intervals hold. That alone does not take back that the largest of several means is too large,
    so that the interval of the gain reaches down to the lower end that Student's interval of this
    arm has with the error shared among the arms (Bonferroni), and up to its plain upper end.
    `share` is how often it is the arm that is best here.
    """
    means, every, baselines = resampling.means(gains, accuracies, baseline)
    chosen, place = means.argmax(axis=1), int(resampling.mean(gains).argmax())
    rows = np.arange(len(means))
    resampled = labels_needed(labels, baselines, every[rows, chosen]) / own
    target = float(resampling.mean(accuracies[place]))
    saved = _saved(
        labels, resampling.mean(baseline), own, target, resampling.of_means(resampled, baseline)
    )
    low, high = resampling.of_means(means[rows, chosen], gains)
    shared = 1 - (1 - resampling.confidence) / len(gains)
    own_low, _ = resampling.student(gains[place], confidence=shared)
    _, own_high = resampling.student(gains[place])
    gain = min(low, own_low), max(high, own_high)
    return Best(place, len(gains), float((chosen == place).mean()), gain, saved)


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
        return NOTHING
    gains = arm - baseline
    value = float(overtaken(resampling.mean(gains)))
    resampled = overtaken(*resampling.means(gains))
    interval = resampling.of_means(resampled, gains)
    if value == 0:
        return Estimate(math.nan, *interval, UNDETERMINED)
    return _bounded(value, interval, math.nan, ends=labels)


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


def _bounded(value: float, interval: Interval, cubic: float, *, ends: np.ndarray) -> Estimate:
    """Returns an estimate in labels; 0 and infinity are told as bounds, the ends of the budgets."""
    if interval == (0, math.inf):
        return Estimate(math.nan, *interval, UNDETERMINED)
    if math.isinf(value):
        return Estimate(float(ends[-1]), *interval, "at least")
    if value == 0:
        return Estimate(float(ends[0]), *interval, "at most")
    return Estimate(value, *interval, "estimate", cubic)
