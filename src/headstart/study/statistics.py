"""What the study's numbers say: pure functions over plain arrays of accuracies and answers.

Accuracies lie as (..., seeds), answers as right or wrong in (seeds, test images). Intervals
over seeds speak of the method on this data; the two-way interval of other test images too.
"""

import itertools
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
UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class Resampling:
    """How seeds are drawn with replacement, and what share of what comes out an interval holds."""

    confidence: float
    samples: int
    generator: np.random.Generator

    def draws(self, values: np.ndarray) -> np.ndarray:
        """Returns resamples of the values (n,), (samples, n)."""
        places = self.generator.integers(len(values), size=(self.samples, len(values)))
        drawn: np.ndarray = np.asarray(values)[places]
        return drawn

    def shares(self, count: int) -> np.ndarray:
        """Returns the share of each of `count` values in resamples, float64 (samples, count)."""
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
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], resampling: Resampling
) -> Interval:
    """Returns the percentile bootstrap interval of a statistic over seeds, NaN for one seed.

    `values` are (seeds,); `statistic` takes (samples, seeds) and returns (samples,).
    """
    if len(values) < 2:
        return UNDEFINED
    return percentiles(statistic(resampling.draws(values)), confidence=resampling.confidence)


def two_way_interval(
    right: np.ndarray, weights: tuple[np.ndarray, np.ndarray], *, confidence: float
) -> Interval:
    """Returns the bootstrap interval of the mean over seeds *and* test images.

    Both are drawn with replacement, independently (Owen 2007, "The pigeonhole bootstrap", which
    errs on the side of wide intervals). `right` is (seeds, images), 1 right and 0 wrong, or the
    difference of two such tables; `weights` are the resamples' shares of seeds and of images.
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

    `adjusted_p` may be NaN, undefined. `degenerate` is how many of the arm's and of the
    baseline's seeds answer one class for all.
    """
    if max(degenerate) >= _DEGENERATE_SHARE * seeds:
        return INVALID
    if not adjusted_p < alpha:
        return NO_DIFFERENCE
    return TRANSFER_BETTER if gain > 0 else BASELINE_BETTER


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
