"""Whether a model is right as often as it is sure: bins of equal counts, and their error."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from headstart.judging.answers import answered_classes, per_class

BINS = 15
"""As many as in Guo et al. 2017."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """Answers given with about the same confidence.

    `confidence` is the mean probability of the answered class over the `images` of the bin, of
    which `right` are answered right.
    """

    images: int
    right: int
    confidence: float


def bins(actual: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """Returns the answers by ascending confidence in at most 15 bins of equal counts.

    Bins of `numpy.array_split`: n test images fall into bins of n // 15 or one more. Images of
    equal confidence cannot be told apart, so they share the bin of the first of them, and a bin
    that is left empty goes: the order of the images is no part of the result. None where a
    probability is no number. `actual` are classes from 0, int (n,), n > 0; `probabilities` float
    (n,), (n, 1) or (n, k).

    References:
        Bins of equal counts: Nixon et al. 2019, "Measuring Calibration in Deep Learning".
    """
    answered = answered_classes(probabilities)
    confidence = per_class(probabilities)[np.arange(len(actual)), answered].astype(np.float64)
    if not np.isfinite(confidence).all():
        return []
    ascending = np.sort(confidence)
    sizes = [len(part) for part in np.array_split(ascending, BINS)]
    number = np.repeat(np.arange(BINS), sizes)[np.searchsorted(ascending, confidence)]
    return [
        Bin(
            images=int(own.sum()),
            right=int((answered == actual)[own].sum()),
            confidence=math.fsum(confidence[own]) / int(own.sum()),
        )
        for own in (number == which for which in np.unique(number))
    ]


def calibration_error(binned: Sequence[Bin]) -> float | None:
    """Returns the expected calibration error, from 0 to 1; None without bins.

    Over the bins the mean, each weighted by its images, of how far the share of right answers
    lies from the mean confidence.

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    images = sum(own.images for own in binned)
    apart = (abs(own.right - own.images * own.confidence) for own in binned)
    return math.fsum(apart) / images if images else None
