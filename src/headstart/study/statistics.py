"""What the study's numbers say: pure functions over plain arrays of accuracies and answers.

Accuracies lie as (..., seeds), answers as right or wrong in (seeds, test images). Intervals
over seeds speak of the method on this data; the two-way interval of other test images too.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from headstart.judging.verdict import BASELINE_BETTER, INVALID, NO_DIFFERENCE, TRANSFER_BETTER

Interval = tuple[float, float]
# A comparison means nothing where this share of an arm's seeds answers one class for all.
_DEGENERATE_SHARE = 0.5
# Shares of test images are told apart by far more than this, rounding by far less.
_SAME = 1e-12
UNDEFINED = (math.nan, math.nan)


def t_interval(values: np.ndarray, *, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds of Student's t interval of the mean over the last axis.

    NaN where there are fewer than two values.

    Args:
        values: float (..., seeds).
        confidence: between 0 and 1.
    """
    from scipy.stats import sem, t

    values = np.asarray(values, dtype=np.float64)
    mean, count = values.mean(axis=-1), values.shape[-1]
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    # Not t.interval, which is NaN where all values are one.
    half = t.ppf((1 + confidence) / 2, count - 1) * sem(values, axis=-1)
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
    from scipy.stats import trim_mean

    middle: np.ndarray = trim_mean(values, 0.25, axis=-1)
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
        return UNDEFINED
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
        return UNDEFINED
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
    runs = [
        list(run) for _, run in itertools.groupby(enumerate(verdicts), key=lambda pair: pair[1])
    ]
    return [(run[0][0], run[-1][0], run[0][1]) for run in runs]


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
