"""What so many test images can show, known before anything is trained."""

import bisect
from collections.abc import Callable

import numpy as np

from headstart.judging.paired import mcnemar, newcombe

POWER = 0.8


def visible_difference(images: int, *, accuracy: float, alpha: float) -> float | None:
    """Returns the smallest difference in accuracy that the mid-p sees with a power of 0.8.

    The better model answers `accuracy` right, and each errs independently of the other. Models
    that stumble over the same images disagree less, and smaller differences are seen. None where
    even a model that is never right would not be seen.
    """
    low, high = 0.0, accuracy
    if power(images, accuracy=accuracy, difference=high, alpha=alpha) < POWER:
        return None
    while high - low > 1e-5:
        middle = (low + high) / 2
        seen = power(images, accuracy=accuracy, difference=middle, alpha=alpha) >= POWER
        low, high = (low, middle) if seen else (middle, high)
    return high


def power(images: int, *, accuracy: float, difference: float, alpha: float) -> float:
    """Returns the chance that the better model is called better, summed over all outcomes."""
    from scipy.stats import binom

    worse = accuracy - difference
    only_better, only_worse = accuracy * (1 - worse), worse * (1 - accuracy)
    apart = only_better + only_worse
    # All but a billionth of the outcomes.
    fewest, most = binom.ppf([5e-10, 1 - 5e-10], images, apart).astype(int)
    discordant = np.arange(fewest, most + 1)
    # The most that the worse model may have alone: the mid-p is cdf(k) + cdf(k - 1).
    least = binom.ppf(alpha / 2, discordant, 0.5)
    least -= mcnemar(least, discordant - least, mid=True) >= alpha
    seen = binom.cdf(least, discordant, only_worse / apart) if apart else np.zeros(1)
    return float((binom.pmf(discordant, images, apart) * seen).sum())


def most_discordant(images: int, *, alpha: float, margin: float) -> int | None:
    """Returns with how many discordant answers, evenly split, two models can still be equivalent.

    Over all numbers of images that both answer right. None where not even answers that agree on
    every image are enough.
    """
    if not _equivalent(images, 0, alpha, margin):
        return None
    return 2 * _last(lambda each: _equivalent(images, each, alpha, margin), images // 2)


def fewest_images(*, alpha: float, margin: float) -> int:
    """Returns from how many test images on two models that always agree can be equivalent."""
    most = 1
    while not _equivalent(most, 0, alpha, margin):
        most *= 2
    return 1 + _last(lambda images: not _equivalent(images, 0, alpha, margin), most)


def _equivalent(images: int, each: int, alpha: float, margin: float) -> bool:
    """Tells whether any outcome with `each` discordant answers of either arm is equivalent."""
    if images == 0:
        return False
    agreed = images - 2 * each
    # Right and wrong are alike to the interval.
    wrong = np.arange(agreed // 2 + 1)
    _, high = newcombe(agreed - wrong, each, each, wrong, confidence=1 - 2 * alpha)
    return bool(high.min() < margin)


def _last(holds: Callable[[int], bool], most: int) -> int:
    """Returns the largest number from 0 to `most` for which holds what holds for all below it."""
    return bisect.bisect_left(range(1, most + 1), True, key=lambda number: not holds(number))
