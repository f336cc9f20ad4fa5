"""Whether a model has learned anything at all: a lower bound of its balanced accuracy."""

from typing import Any

import numpy as np

# Halvings of an interval: more than six digits need.
_HALVINGS = 40


def bound(right: np.ndarray, total: np.ndarray, *, confidence: float) -> Any:
    """Returns a one-sided lower confidence bound of the mean recall, exact for any counts.

    It is the least mean of the classes' Clopper-Pearson limits at levels whose product is that of
    Fisher's combination of independent p-values. Whatever the recalls are, at most
    `1 - confidence` of all test sets give a bound above their mean: docs/metrics.md derives it.
    `right`, int (..., k), of the `total`, int (k,) above 0, test images of each class are answered
    right; float64 (...). One class gives the limit of Clopper and Pearson.
    """
    from scipy.special import betainc, betaincinv, betaln, xlog1py, xlogy
    from scipy.stats import chi2

    budget = chi2.ppf(confidence, 2 * len(total)) / 2
    # With a right answers of n, P(a or more | recall) is the distribution of Beta(a, n - a + 1).
    # A class without a right answer has the limit 0 at any level.
    none, a = right == 0, np.maximum(right, 1)
    b = total - a + 1
    lowest = betaincinv(a, b, max(np.exp(-budget), np.finfo(float).tiny))

    def limits(price: np.ndarray) -> np.ndarray:
        low, high = lowest, np.ones(a.shape)
        for _ in range(_HALVINGS):
            recall = (low + high) / 2
            density = np.exp(xlogy(a - 1, recall) + xlog1py(b - 1, -recall) - betaln(a, b))
            # The slope of the logarithm falls, since the distribution is log-concave.
            dear = density > price * betainc(a, b, recall)
            low, high = np.where(dear, recall, low), np.where(dear, high, recall)
        return np.where(none, 0, low)

    # The slope, as a logarithm, at which all classes' levels together spend the budget. By
    # concavity it is at least a class's share of it, and at most a / recall.
    low = np.full((*a.shape[:-1], 1), np.log(budget / len(total)))
    high = np.log(a / lowest).max(axis=-1, keepdims=True)
    for _ in range(_HALVINGS):
        slope = (low + high) / 2
        tails = np.where(none, 1, betainc(a, b, limits(np.exp(slope))))
        enough = -np.log(tails).sum(axis=-1, keepdims=True) >= budget
        low, high = np.where(enough, low, slope), np.where(enough, slope, high)
    return limits(np.exp(high)).mean(axis=-1)
