"""What the study's numbers say: pure functions over plain arrays of accuracies and answers.

Accuracies lie as (..., seeds), answers as right or wrong in (seeds, test images). Intervals
over seeds speak of the method on this data; the two-way interval of other test images too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.judging.verdict import BASELINE_BETTER, INVALID, NO_DIFFERENCE, TRANSFER_BETTER

Interval = tuple[float, float]
# A comparison means nothing where this share of an arm's seeds answers one class for all.
_DEGENERATE_SHARE = 0.5
# Shares of test images are told apart by far more than this, rounding by far less.
_SAME = 1e-12
_UNDEFINED = (math.nan, math.nan)


def t_interval(values: np.ndarray, *, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds of Student's t interval of the mean over the last axis.

    NaN where there are fewer than two values.

    Args:
        values: float (..., seeds).
        confidence: between 0 and 1.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=np.float64)
    count = values.shape[-1]
    mean = values.mean(axis=-1)
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = t.ppf((1 + confidence) / 2, count - 1) * values.std(axis=-1, ddof=1) / math.sqrt(count)
    return mean - half, mean + half


def gain_interval(
    arm: np.ndarray, baseline: np.ndarray, *, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds of the t interval of the mean paired difference, arm minus baseline.

    Args:
        arm: float (..., seeds).
        baseline: the same seeds in the same places.
        confidence: between 0 and 1.
    """
    return t_interval(np.asarray(arm) - np.asarray(baseline), confidence=confidence)


def wins(arm: np.ndarray, baseline: np.ndarray) -> float:
    """Returns in how many seeds the arm is ahead; a tie counts half."""
    return float((arm > baseline).sum() + 0.5 * (arm == baseline).sum())


def paired_p(gains: np.ndarray) -> float:
    """Returns the two-sided p-value of the paired t-test; NaN where there are fewer than two gains.

    Gains that are all the same have no spread for it: 1 where they are 0, else the exact
    p-value of the sign test, which needs none.
    """
    from scipy.stats import ttest_1samp

    if len(gains) < 2:
        return math.nan
    if np.ptp(gains) < _SAME:
        return 1.0 if abs(gains[0]) < _SAME else 2.0 ** (1 - len(gains))
    return float(ttest_1samp(gains, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p-values of one family; NaN stays NaN and does not count.

    Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p_values, dtype=np.float64)
    defined = ~np.isnan(values)
    adjusted = np.full_like(values, np.nan)
    if defined.any():
        adjusted[defined] = multipletests(values[defined], method="holm")[1]
    return [float(value) for value in adjusted]


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean of the middle half over the last axis, float (...).

    A quarter of the values is cut at each end, rounded down.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    cut = ordered.shape[-1] // 4
    middle: np.ndarray = ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)
    return middle


def bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float,
    samples: int,
    generator: np.random.Generator,
) -> Interval:
    """Returns the percentile bootstrap interval of a statistic over seeds, NaN for one seed.

    Args:
        values: float (seeds,).
        statistic: takes (samples, seeds) and returns (samples,).
        confidence: between 0 and 1.
        samples: number of resamples.
        generator: draws them.
    """
    if len(values) < 2:
        return _UNDEFINED
    drawn = generator.integers(len(values), size=(samples, len(values)))
    return percentiles(statistic(np.asarray(values)[drawn]), confidence=confidence)


def two_way_weights(
    seeds: int, images: int, *, samples: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how often resamples hold each seed and each test image.

    As shares: float64 (samples, seeds) and (samples, images). Both are drawn with replacement,
    independently (the pigeonhole bootstrap: Owen 2007, "The pigeonhole bootstrap", which errs on
    the side of wide intervals). Rows of one task may share them.
    """
    return (
        generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=samples) / seeds,
        generator.multinomial(images, np.full(images, 1 / images), size=samples) / images,
    )


def two_way_interval(
    right: np.ndarray, weights: tuple[np.ndarray, np.ndarray], *, confidence: float
) -> Interval:
    """Returns the bootstrap interval of the mean over seeds *and* test images.

    Args:
        right: (seeds, images), 1 right and 0 wrong, or differences of two such tables.
        weights: from `two_way_weights`.
        confidence: between 0 and 1.
    """
    if min(right.shape) < 2:
        return _UNDEFINED
    by_seed, by_image = weights
    per_image = by_seed @ right.astype(np.float64)
    return percentiles((per_image * by_image).sum(axis=1), confidence=confidence)


def percentiles(values: np.ndarray, *, confidence: float) -> Interval:
    """Returns the central interval that holds `confidence` of `values`, infinities among them too.

    The bounds are values that occur, since between infinities nothing can be interpolated.
    """
    tail = (1 - confidence) / 2
    low = np.quantile(values, tail, method="lower")
    high = np.quantile(values, 1 - tail, method="higher")
    return float(low), float(high)


# Curves: accuracy by label budget.


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
    found = labels_needed(labels, drawn, np.full(len(drawn), target))
    interval = percentiles(found, confidence=confidence)
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
    found = labels_needed(labels, baselines, arms[:, at]) / own
    low, high = percentiles(found, confidence=confidence)
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
        return Estimate(math.nan, *_UNDEFINED, "undetermined")
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
        return Estimate(math.nan, *_UNDEFINED, "undetermined")
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


# Verdicts.


def verdict(
    *, gain: float, adjusted_p: float, alpha: float, seeds: int, degenerate: tuple[int, int]
) -> str:
    """Returns the verdict on an arm against the baseline at one budget.

    Args:
        gain: mean paired difference.
        adjusted_p: after Holm's correction; NaN where it is undefined.
        alpha: below it a difference counts.
        seeds: number of seeds.
        degenerate: how many of the arm's and of the baseline's seeds answer one class for all.
    """
    if max(degenerate) >= _DEGENERATE_SHARE * seeds:
        return INVALID
    if not adjusted_p < alpha:
        return NO_DIFFERENCE
    return TRANSFER_BETTER if gain > 0 else BASELINE_BETTER


def ranges(verdicts: Sequence[str]) -> list[tuple[int, int, str]]:
    """Returns first and last position of each run of equal neighbours, and what they are."""
    found: list[tuple[int, int, str]] = []
    for position, one in enumerate(verdicts):
        if found and found[-1][2] == one:
            found[-1] = (found[-1][0], position, one)
        else:
            found.append((position, position, one))
    return found


def resampled_coverage(
    values: np.ndarray, *, confidence: float, samples: int, generator: np.random.Generator
) -> float:
    """Returns how often the t interval of resampled seeds holds the mean of the real ones.

    The real seeds stand for the population. Accuracies near 1 are skewed and come in steps of
    one image, so that this lies below `confidence`; it is told, not mended.

    Args:
        values: float (seeds,).
        confidence: between 0 and 1.
        samples: number of resamples.
        generator: draws them.
    """
    drawn = np.asarray(values)[generator.integers(len(values), size=(samples, len(values)))]
    low, high = t_interval(drawn, confidence=confidence)
    # Sums in another order differ in the last digit where all values are one.
    slack = 1e-12
    mean = np.mean(values)
    return float(((low - slack <= mean) & (mean <= high + slack)).mean())
