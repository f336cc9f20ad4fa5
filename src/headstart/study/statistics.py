"""What the study's numbers say: pure functions over plain arrays of accuracies and answers.

Accuracies lie as (..., seeds), answers as right or wrong in (seeds, test images). Intervals
over seeds speak of the method on this data; the two-way interval of other test images too.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Interval = tuple[float, float]
# Shares of test images are told apart by far more than this, rounding by far less.
SAME = 1e-12
UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class Resampling:
    """How seeds are drawn with replacement, and what share of what comes out an interval holds."""

    confidence: float
    samples: int
    generator: np.random.Generator

    def interval(self, resampled: np.ndarray, *, count: int) -> Interval:
        """Returns the expanded percentile interval of what resamples of `count` seeds gave.

        Plain percentiles of few seeds are too narrow, as a normal interval in place of Student's
        is; the level makes up for it (Hesterberg 2015, "What teachers should know about the
        bootstrap"). Undefined for one seed.
        """
        from scipy.stats import norm, t

        if count < 2:
            return UNDEFINED
        wide = t.ppf((1 + self.confidence) / 2, count - 1) * math.sqrt(count / (count - 1))
        return percentiles(resampled, confidence=1 - 2 * float(norm.sf(wide)))

    def draws(self, values: np.ndarray) -> np.ndarray:
        """Returns resamples of the values (n,), (samples, n)."""
        places = self.generator.integers(len(values), size=(self.samples, len(values)))
        drawn: np.ndarray = np.asarray(values)[places]
        return drawn

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Returns the means of values (..., seeds), (...)."""
        mean: np.ndarray = values.mean(axis=-1)
        return mean

    def means(self, *values: np.ndarray) -> list[np.ndarray]:
        """Returns the means of values (..., seeds) in resamples, the same for all.

        Of one dimension or two; resamples come first, (samples, ...).
        """
        weights = self.shares(values[0].shape[-1])
        return [weights @ own.T for own in values]

    def student(self, values: np.ndarray, *, confidence: float | None = None) -> Interval:
        """Returns Student's t interval of the mean of values (seeds,)."""
        low, high = t_interval(values, confidence=confidence or self.confidence)
        return float(low), float(high)

    def of_means(self, resampled: np.ndarray, values: np.ndarray) -> Interval:
        """Returns the interval of what resampled means of values (..., seeds) gave."""
        return self.interval(resampled, count=values.shape[-1])

    def shares(self, count: int) -> np.ndarray:
        """Returns the share of each of `count` seeds in resamples, float64 (samples, count)."""
        each = np.full(count, 1 / count)
        return self.generator.multinomial(count, each, size=self.samples) / count


def t_interval(values: np.ndarray, *, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds of Student's t interval of the mean of values (..., seeds).

    NaN where there are fewer than two values.
    """
    from scipy.stats import sem, t

    values = np.asarray(values, dtype=np.float64)
    mean, count = values.mean(axis=-1), values.shape[-1]
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    # Not t.interval, which is NaN where all values are one.
    half = t.ppf((1 + confidence) / 2, count - 1) * sem(values, axis=-1)
    return mean - half, mean + half


def wins(arm: np.ndarray, baseline: np.ndarray) -> float:
    """Returns in how many seeds the arm is ahead; a tie counts half."""
    return float((arm > baseline).sum() + 0.5 * (arm == baseline).sum())


def one_sample_p(
    values: np.ndarray, *, alternative: Literal["two-sided", "greater"] = "two-sided"
) -> float:
    """Returns the p-value of the t-test of a mean of 0; NaN where there are fewer than two values.

    Values that are all the same have no spread for it: two-sided the exact p-value of the sign
    test, which needs none, 1 where they are 0. One-sided, where the question is whether something
    learned at all and not which of two is better, t has no end and p is 0, or 1 where they are not
    on the side that is asked for.
    """
    from scipy.stats import ttest_1samp

    if len(values) < 2:
        return math.nan
    if np.ptp(values) < SAME:
        if alternative == "greater":
            return 0.0 if values[0] > SAME else 1.0
        return 2 * 2.0 ** -len(values) if abs(values[0]) > SAME else 1.0
    return float(ttest_1samp(values, 0.0, alternative=alternative).pvalue)


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean of the middle half over the last axis, float (...).

    A quarter of the values is cut at each end, rounded down.
    """
    from scipy.stats import trim_mean

    middle: np.ndarray = trim_mean(values, 0.25, axis=-1)
    return middle


def bootstrap(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], resampling: Resampling
) -> Interval:
    """Returns the bootstrap interval of a statistic over seeds, undefined for one seed.

    `values` are (seeds,); `statistic` takes (samples, seeds) and returns (samples,).
    """
    return resampling.interval(statistic(resampling.draws(values)), count=len(values))


def two_way_interval(right: np.ndarray, *, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds of the interval of the mean over seeds *and* test images, float64 (...).

    `right` is (..., seeds, images), 1 right and 0 wrong, or the difference of two such tables.
    The variance of the mean comes from the components of seeds, images and the rest, its degrees
    of freedom are Satterthwaite's (1946). Never narrower than the interval over seeds alone; NaN
    where there are fewer than two seeds or images.
    """
    from scipy.stats import t

    right = np.asarray(right, dtype=np.float64)
    seeds, images = right.shape[-2:]
    mean = right.mean(axis=(-2, -1))
    if min(seeds, images) < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    by_seed, by_image = right.mean(axis=-1), right.mean(axis=-2)
    of_seeds = images * by_seed.var(axis=-1, ddof=1)
    of_images = seeds * by_image.var(axis=-1, ddof=1)
    freedom = seeds - 1, images - 1, (seeds - 1) * (images - 1)
    total = right.var(axis=(-2, -1)) * seeds * images
    rest = np.maximum(total - freedom[0] * of_seeds - freedom[1] * of_images, 0) / freedom[2]
    squares = of_seeds, of_images, rest
    variance = np.maximum(of_seeds + of_images - rest, 0)
    spread = sum(own**2 / degrees for own, degrees in zip(squares, freedom, strict=True))
    degrees = variance**2 / np.where(spread > 0, spread, 1)
    quantile = (1 + confidence) / 2
    half = t.ppf(quantile, np.maximum(degrees, 1)) * np.sqrt(variance / (seeds * images))
    _, high = t_interval(by_seed, confidence=confidence)
    half = np.maximum(half, high - mean)
    return mean - half, mean + half


def percentiles(values: np.ndarray, *, confidence: float) -> Interval:
    """Returns the central interval that holds `confidence` of `values`, infinities among them too.

    The bounds are values that occur, since between infinities nothing can be interpolated.
    """
    tail = (1 - confidence) / 2
    low = np.quantile(values, tail, method="lower")
    high = np.quantile(values, 1 - tail, method="higher")
    return float(low), float(high)


def ranges(verdicts: Sequence[str]) -> list[tuple[int, int, str]]:
    """Returns first and last position of each run of equal neighbours, and what they are."""
    runs = [list(run) for _, run in itertools.groupby(range(len(verdicts)), verdicts.__getitem__)]
    return [(run[0], run[-1], verdicts[run[0]]) for run in runs]


def resampled_coverage(values: np.ndarray, resampling: Resampling) -> float:
    """Returns how often the t interval of resampled seeds (seeds,) holds the mean of the real ones.

    The real seeds stand for the population. Accuracies near 1 are skewed and come in steps of
    one image, so that this lies below the confidence; it is told, not mended.
    """
    low, high = t_interval(resampling.draws(values), confidence=resampling.confidence)
    # Sums in another order differ in the last digit where all values are one.
    mean, slack = np.mean(values), 1e-12
    return float(((low - slack <= mean) & (mean <= high + slack)).mean())
