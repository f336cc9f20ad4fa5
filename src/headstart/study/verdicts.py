"""What paired gains say: tests corrected within a family, verdicts, and what seeds can show.

A gain is an arm's accuracy minus the baseline's of the same seed.
"""

import bisect
import functools
import itertools
import math

import numpy as np

from headstart.core import seeds
from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.study.statistics import SAME, Interval

INVALID = "invalid"
EQUIVALENT = "equivalent"
NO_WORSE = "no worse"
CANNOT_TELL = "cannot tell"
WORDS = (INVALID, TRANSFER_BETTER, BASELINE_BETTER, EQUIVALENT, NO_WORSE, CANNOT_TELL)
"""The verdicts of the study, in the order in which they are tried."""

POWER = 0.8
MOST_SEEDS = 10_000
# A comparison means nothing where this share of an arm's seeds answers one class for all.
_DEGENERATE_SHARE = 0.5
# Up to so many seeds all flips are tried: 4096 of them.
_ALL_FLIPS = 13
_DRAWN_FLIPS = 10_000
# In standard deviations: beyond this no seed is needed that another would not be.
_CLEAR = 1e4


@functools.cache
def sign_flips(count: int) -> np.ndarray:
    """Returns flips of the signs of `count` seeds, float64 (flips, count), the identity first.

    All of them for up to 13 seeds, but for the mirror images, which have the same |t|; for more
    seeds 10,000 drawn by the generator "sign flips".
    """
    if count <= _ALL_FLIPS:
        rest = itertools.product((1.0, -1.0), repeat=count - 1)
        return np.array([(1.0, *signs) for signs in rest])
    drawn = seeds.generator(0, "sign flips").choice([1.0, -1.0], size=(_DRAWN_FLIPS, count))
    drawn[0] = 1.0
    return drawn


def max_t(gains: np.ndarray) -> np.ndarray:
    """Returns adjusted two-sided p-values (..., comparisons) of families of gains, paired by seed.

    Step-down max-T over sign flips: where the arms are exchangeable, all gains of a seed may
    change sign together. `gains` are (..., comparisons, seeds). The family-wise error is held for
    any dependence between the comparisons. NaN where there are fewer than two seeds.

    References:
        Westfall and Young (1993), Resampling-Based Multiple Testing, algorithm 4.1.
    """
    gains = np.asarray(gains, dtype=np.float64)
    count = gains.shape[-1]
    if count < 2 or not gains.size:
        return np.full(gains.shape[:-1], np.nan)
    # |t| grows with |mean| / root mean square, whose denominator no flip changes: the same order,
    # and no division by a spread of 0.
    size = np.sqrt((gains**2).mean(axis=-1, keepdims=True))
    ratios = np.divide(gains, size, out=np.zeros_like(gains), where=size > SAME)
    # As one product of two matrices: many small ones take ten times as long.
    flipped = ratios.reshape(-1, count) @ (sign_flips(count).T / count)
    flipped = np.abs(flipped, out=flipped).reshape(*gains.shape[:-1], -1)
    order = np.argsort(-flipped[..., 0], axis=-1, kind="stable")
    flipped = np.take_along_axis(flipped, order[..., None], axis=-2)
    # The largest among a comparison and all that are less extreme.
    largest = np.maximum.accumulate(flipped[..., ::-1, :], axis=-2)[..., ::-1, :]
    as_extreme = (largest >= flipped[..., :1] - SAME).mean(axis=-1)
    adjusted = np.empty_like(as_extreme)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(as_extreme, axis=-1), axis=-1)
    return adjusted


def holm(p: np.ndarray) -> np.ndarray:
    """Returns the p-values (comparisons,) of one family, corrected as Holm (1979) has it."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


def unfit(degenerate: float, *, untrained: bool) -> bool:
    """Tells whether an arm, of which a share of the seeds is degenerate, cannot be compared.

    A degenerate seed answers one class for everything; an untrained arm is no better than chance.
    """
    return degenerate >= _DEGENERATE_SHARE or untrained


def untrained(p: float, *, alpha: float) -> bool:
    """Tells whether balanced accuracies are on average not above chance, by a one-sided p-value.

    One seed cannot tell, has none (NaN), and is taken as trained.
    """
    return p >= alpha


def verdict(
    gain: float, interval: Interval, adjusted_p: float, *, alpha: float, margin: float
) -> str:
    """Returns the verdict on the mean gain of two arms that can be compared.

    `interval` is of confidence 1 - 2 `alpha`.

    `adjusted_p` below `alpha` decides for the better arm. Else two one-sided t-tests at `alpha`
    against the margin: both are `equivalent`, the lower alone is `no worse`.
    """
    if adjusted_p < alpha:
        return TRANSFER_BETTER if gain > 0 else BASELINE_BETTER
    low, high = interval
    if low > -margin:
        return EQUIVALENT if high < margin else NO_WORSE
    return CANNOT_TELL


def fewest_seeds(alpha: float) -> int:
    """Returns how many seeds it takes before the least p-value of sign flips is below `alpha`."""
    return 2 + math.floor(-math.log2(alpha))


def detectable_gain(spread: float, count: int, *, alpha: float, comparisons: int) -> float:
    """Returns the smallest gain that `count` seeds show with 80 % power in a family; NaN if none.

    `spread` is the standard deviation of the gains over seeds. Of the paired t-test at `alpha`
    divided by the comparisons, which is a little stricter than max-T where there are flips enough:
    from two seeds more than can decide at all.
    """
    if count < fewest_seeds(alpha):
        return math.nan
    return spread * _effect(count, alpha / comparisons)


@functools.cache
def _effect(count: int, level: float) -> float:
    """The smallest mean in standard deviations that `count` values show with 80 % power."""
    from scipy.optimize import brentq

    return float(brentq(lambda effect: _power(effect, count, level) - POWER, 1e-6, _CLEAR))


def detectable_by_t(error: float, freedom: float, *, level: float) -> float:
    """Returns the smallest mean that a two-sided t-test at `level` shows with 80 % power.

    Of a mean with the standard error `error` and so many degrees of freedom; NaN where there is
    none.
    """
    from scipy.optimize import brentq

    if math.isnan(error):
        return math.nan

    def lacking(effect: float) -> float:
        return _power_of_t(effect**2, freedom, level) - POWER

    return error * float(brentq(lacking, 1e-6, _CLEAR))


def seeds_needed(gain: float, spread: float, *, level: float) -> float:
    """Returns how many seeds a two-sided paired t-test needs to show a gain with 80 % power.

    `spread` is the standard deviation of the gains over seeds, of which NaN is unknown; infinity
    stands for more than 10,000 seeds.
    """
    if math.isnan(spread):
        return math.nan
    effect = min(gain / max(spread, SAME), _CLEAR)
    counts = range(2, MOST_SEEDS + 1)
    place = bisect.bisect_left(counts, POWER, key=lambda count: _power(effect, count, level))
    return float(counts[place]) if place < len(counts) else math.inf


def _power(effect: float, count: int, level: float) -> float:
    """The power of a two-sided t-test: of t squared, which is F, with both its tails.

    Not statsmodels' TTestPower, which is NaN here and there: SciPy's lower tail of t is.
    """
    return _power_of_t(count * effect**2, count - 1, level)


def _power_of_t(noncentrality: float, freedom: float, level: float) -> float:
    from scipy.stats import f, ncf

    critical = f.isf(level, 1, freedom)
    return float(ncf.sf(critical, 1, freedom, noncentrality))
