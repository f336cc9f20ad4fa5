"""Paired tests and intervals of two models' answers to the same test images.

The counts of the functions are whole numbers or integer arrays of one shape, and so are p-values
and limits: a whole table of outcomes costs one call.
"""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Paired:
    """On how many test images both, one or none of the two models are right."""

    both_right: int
    only_baseline: int
    only_transfer: int
    both_wrong: int

    @property
    def total(self) -> int:
        """The number of test images."""
        return self.both_right + self.only_baseline + self.only_transfer + self.both_wrong

    @property
    def gain(self) -> float:
        """The accuracy of transfer minus that of the baseline."""
        return (self.only_transfer - self.only_baseline) / self.total

    @property
    def exact_p(self) -> float:
        """The p-value of the exact two-sided McNemar test; 1 where no answer is discordant."""
        return float(mcnemar(self.only_baseline, self.only_transfer))

    @property
    def mid_p(self) -> float:
        """The two-sided McNemar mid-p-value; 1 where no answer is discordant."""
        return float(mcnemar(self.only_baseline, self.only_transfer, mid=True))

    def gain_interval(self, confidence: float) -> tuple[float, float]:
        """Returns Newcombe's interval of the gain."""
        low, high = newcombe(
            self.both_right,
            self.only_baseline,
            self.only_transfer,
            self.both_wrong,
            confidence=confidence,
        )
        return float(low), float(high)


def paired(actual: np.ndarray, baseline: np.ndarray, transfer: np.ndarray) -> Paired:
    """Returns how the answers of both models, int (n,) each, fall together."""
    left, right = np.asarray(baseline) == actual, np.asarray(transfer) == actual
    return Paired(
        both_right=int((left & right).sum()),
        only_baseline=int((left & ~right).sum()),
        only_transfer=int((~left & right).sum()),
        both_wrong=int((~left & ~right).sum()),
    )


def mcnemar(only_baseline: Any, only_transfer: Any, *, mid: bool = False) -> Any:
    """Returns two-sided p-values of the exact McNemar test, or its mid-p-values.

    Given their number, the discordant answers fall to either model like a fair coin. The mid-p
    counts the observed outcome half: Fagerland, Lydersen and Laake, "The McNemar test for binary
    matched-pairs data: mid-p and asymptotic are better than exact conditional" (2013).
    """
    from scipy.stats import binom

    fewer, discordant = np.minimum(only_baseline, only_transfer), only_baseline + only_transfer
    tails = 2 * binom.cdf(fewer, discordant, 0.5)
    if mid:
        tails = tails - binom.pmf(fewer, discordant, 0.5)
    # An even split has both tails overlap, or is a hair above 1.
    return np.minimum(tails, 1)


def newcombe(
    both_right: Any, only_baseline: Any, only_transfer: Any, both_wrong: Any, *, confidence: float
) -> tuple[Any, Any]:
    """Returns both limits of the paired interval of transfer's accuracy minus the baseline's.

    Wilson's score intervals of both accuracies, joined by the correlation phi of the answers
    with its continuity correction: method 10 of Newcombe, "Improved confidence intervals for
    the difference between binomial proportions based on paired data" (1998).
    """
    from scipy.special import ndtri

    z2 = ndtri((1 + confidence) / 2) ** 2
    total = both_right + only_baseline + only_transfer + both_wrong
    transfer, baseline = both_right + only_transfer, both_right + only_baseline

    def below_and_above(right: Any) -> tuple[Any, Any]:
        share = right / total
        middle = (right + z2 / 2) / (total + z2)
        half = np.sqrt(z2 * (share * (1 - share) * total + z2 / 4)) / (total + z2)
        return share - middle + half, middle + half - share

    # As floats: a product of four counts leaves the whole numbers of 64 bits at 55,000 images.
    agreed = 1.0 * both_right * both_wrong - 1.0 * only_baseline * only_transfer
    agreed = np.where(agreed > 0, np.maximum(agreed - total / 2, 0), agreed)
    scale = np.sqrt(1.0 * transfer * (total - transfer) * baseline * (total - baseline))
    phi = np.where(scale > 0, agreed / np.maximum(scale, 1), 0)
    (below, above), (below_b, above_b) = below_and_above(transfer), below_and_above(baseline)
    gain = (only_transfer - only_baseline) / total
    # Rounding may leave a hair below 0.
    low = np.sqrt(np.maximum(below**2 - 2 * phi * below * above_b + above_b**2, 0))
    high = np.sqrt(np.maximum(above**2 - 2 * phi * above * below_b + below_b**2, 0))
    # And one beyond what a difference of shares can be.
    return np.maximum(gain - low, -1.0), np.minimum(gain + high, 1.0)
