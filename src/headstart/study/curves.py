"""What curves of accuracy by label budget say: gains over ranges, labels needed and saved.

Pure functions over plain arrays: budgets (b,), ascending, and accuracies (b, seeds), of both arms
with the same seeds in the same places.
"""

import math
from dataclasses import dataclass

import numpy as np

from headstart.study.statistics import SAME, UNDEFINED, Interval, Resampling, t_interval

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


@dataclass(frozen=True)
class Best:
    """The best of several arms, and what it gains and saves where the best is chosen anew."""

    place: int
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
    """Returns accuracies (seeds,) with `at` labels, straight over the logarithm of the labels."""
    logs = np.log(labels)
    return np.array([np.interp(math.log(at), logs, own) for own in curve.T])


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
    mean = curve.mean(axis=1)
    value = float(labels_needed(labels, mean, np.asarray(target)))
    weights = resampling.shares(curve.shape[1])
    resampled = labels_needed(labels, weights @ curve.T, np.full(len(weights), target))
    cubic = _cubic_needed(labels, mean, target)
    return _bounded(value, resampling.interval(resampled, count=curve.shape[1]), cubic, ends=labels)


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
    weights = resampling.shares(len(accuracies))
    return _saved(
        labels, baseline, own, accuracies, weights @ accuracies, weights, resampling=resampling
    )


def _saved(
    labels: np.ndarray,
    baseline: np.ndarray,
    own: float,
    accuracies: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    resampling: Resampling,
) -> Estimate:
    mean, target = baseline.mean(axis=1), accuracies.mean()
    value = float(labels_needed(labels, mean, target)) / own
    resampled = labels_needed(labels, weights @ baseline.T, targets) / own
    cubic = _cubic_needed(labels, mean, float(target)) / own
    interval = resampling.interval(resampled, count=len(accuracies))
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
    intervals hold; that of the gain holds Student's interval of the best arm too. `share` is how
    often it is the arm that is best here.
    """
    weights = resampling.shares(gains.shape[1])
    means = weights @ gains.T
    chosen, place = means.argmax(axis=1), int(gains.mean(axis=1).argmax())
    rows = np.arange(len(weights))
    targets = (weights @ accuracies.T)[rows, chosen]
    saved = _saved(
        labels, baseline, own, accuracies[place], targets, weights, resampling=resampling
    )
    low, high = resampling.interval(means[rows, chosen], count=gains.shape[1])
    own_low, own_high = t_interval(gains[place], confidence=resampling.confidence)
    gain = min(low, float(own_low)), max(high, float(own_high))
    return Best(place, float((chosen == place).mean()), gain, saved)


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
        return Estimate(math.nan, *UNDEFINED, UNDETERMINED)
    gains = arm - baseline
    value = float(overtaken(gains.mean(axis=1)))
    resampled = overtaken(resampling.shares(gains.shape[1]) @ gains.T)
    interval = resampling.interval(resampled, count=gains.shape[1])
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
