"""What a mean rests on, seeds alone or splits crossed with seeds, and what can be said of it.

Scores of one row are accuracies (seeds,) where there is one split, else answers as right or wrong
(splits, seeds, test images); gains are differences of scores. All that is said of several rows at
once takes scores with more axes before these.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from headstart.study import crossed, statistics, verdicts
from headstart.study.statistics import Interval, Resampling


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Splits of a study, and the share of a test part that another split tests too, on average."""

    splits: int = 1
    shared: float = 0.0

    def scores(self, right: np.ndarray) -> np.ndarray:
        """Returns the scores of answers (trainings, images), by split and in it by seed."""
        if self.splits == 1:
            accuracies: np.ndarray = right.sum(axis=1) / right.shape[1]
            return accuracies
        return right.reshape(self.splits, -1, right.shape[1]).astype(np.float64)

    def by_training(self, scores: np.ndarray) -> np.ndarray:
        """Returns accuracies or gains (trainings,) of scores, by split and in it by seed."""
        return scores if self.splits == 1 else scores.mean(axis=-1).reshape(-1)

    def interval(self, scores: np.ndarray, *, confidence: float) -> Interval:
        """Returns the t interval of the mean of scores."""
        if self.splits == 1:
            low, high = statistics.t_interval(scores, confidence=confidence)
        else:
            low, high = self._mean(scores).interval(confidence=confidence)
        return float(low), float(high)

    def bounds(self, gains: np.ndarray, *, alpha: float) -> Interval:
        """Returns the interval of two one-sided tests at `alpha`.

        Undefined where the gains of so few seeds are all the same that a sign test at `alpha` could
        not tell on which side of the margin they lie: their spread of 0 shows nothing.
        """
        few = self.splits == 1 and 2.0 ** -len(gains) >= alpha
        if few and np.ptp(gains) < statistics.SAME:
            return statistics.UNDEFINED
        return self.interval(gains, confidence=1 - 2 * alpha)

    def p(
        self, scores: np.ndarray, *, alternative: Literal["two-sided", "greater"] = "two-sided"
    ) -> float:
        """Returns the p-value of the t-test of a mean of 0."""
        if self.splits == 1:
            return statistics.one_sample_p(scores, alternative=alternative)
        return float(self._mean(scores).p(alternative=alternative))

    def p_adjusted(self, gains: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the p-values of one family of gains, corrected.

        By max-T over sign flips of the seeds; of splits crossed with seeds by Holm's correction of
        their t-tests, since neither splits, which share images, nor seeds, which share splits, are
        exchangeable.
        """
        if not gains:
            return np.empty(0)
        if self.splits == 1:
            return verdicts.max_t(np.array(gains))
        return verdicts.holm(np.array([self.p(own) for own in gains]))

    def detectable(self, gains: np.ndarray, *, alpha: float, comparisons: int) -> float:
        """Returns the smallest gain that would have shown with 80 % power; NaN if none."""
        if self.splits == 1:
            spread = float(gains.std(ddof=1)) if len(gains) > 1 else math.nan
            return verdicts.detectable_gain(
                spread, len(gains), alpha=alpha, comparisons=comparisons
            )
        told = self._mean(gains)
        return verdicts.detectable_by_t(
            float(told.error), float(told.freedom), level=alpha / comparisons
        )

    def resampling(self, drawn: Resampling) -> Resampling:
        """Returns how means of scores are drawn: as `drawn` where there is one split."""
        if self.splits == 1:
            return drawn
        return crossed.CrossedResampling(**vars(drawn), shared=self.shared)

    def _mean(self, scores: np.ndarray) -> crossed.Mean:
        return crossed.mean(scores, shared=self.shared)


ONE_SPLIT = Sampling()
