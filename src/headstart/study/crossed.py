"""What splits crossed with seeds say: means, intervals and tests that know images too.

Pure functions over answers that lie as (..., splits, seeds, test images): 1 right and 0 wrong,
or differences of such, whose mean is an accuracy or a gain. Splits draw their test parts from the
same few images, so that they share some; `shared` is the mean share of a test part that another
split's has too.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from headstart.study.statistics import SAME, UNDEFINED, Interval, Resampling, percentiles


@dataclass(frozen=True)
class Mean:
    """Means with their standard errors and Satterthwaite's degrees of freedom, float64 (...).

    For other splits, seeds and images. NaN errors where there are fewer than two splits or seeds.
    """

    value: np.ndarray
    error: np.ndarray
    freedom: np.ndarray

    def interval(self, *, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the bounds of Student's t interval."""
        from scipy.stats import t

        half = t.ppf((1 + confidence) / 2, self.freedom) * self.error
        return self.value - half, self.value + half

    def p(self, *, alternative: Literal["two-sided", "greater"] = "two-sided") -> np.ndarray:
        """Returns the p-values of t-tests of a mean of 0.

        Where every image is answered alike in all trainings there is no spread, and p is 0, as
        that of a sign test of so many images nearly is; 1 where the mean is not on the side that
        is asked for.
        """
        from scipy.stats import t

        size = self.value if alternative == "greater" else np.abs(self.value)
        steady = self.error < SAME
        tails = 1 if alternative == "greater" else 2
        ratio = size / np.where(steady, 1.0, self.error)
        return np.where(steady, np.where(size > SAME, 0.0, 1.0), tails * t.sf(ratio, self.freedom))


def mean(values: np.ndarray, *, shared: float | np.ndarray) -> Mean:
    """Returns the means of values (..., splits, seeds, images); `shared` is one number or (...).

    The variance is that of crossed random effects, splits x seeds, from their mean squares, not
    below the larger of the two alone; and what the test parts share, which no difference of splits
    shows: the component of the images. That is Nadeau and Bengio's correction (2003, "Inference
    for the generalization error"), the component estimated from the images themselves, which are
    many, and not from the splits, which are few. What the training parts share is not known.
    """
    parts = _parts(np.asarray(values, dtype=np.float64), shared=shared)
    splits, seeds, images = values.shape[-3:]
    larger = np.maximum(parts.splits, parts.seeds)
    variance = np.maximum(parts.splits + parts.seeds - parts.rest, larger) + parts.images
    spread = (
        parts.splits**2 / max(splits - 1, 1)
        + parts.seeds**2 / max(seeds - 1, 1)
        + parts.images**2 / max(images - 1, 1)
    )
    freedom = variance**2 / np.where(spread > 0, spread, 1.0)
    freedom = np.maximum(freedom, max(min(splits, seeds) - 1, 1))
    return Mean(values.mean(axis=(-3, -2, -1)), np.sqrt(variance), freedom)


@dataclass(frozen=True)
class _Parts:
    splits: np.ndarray
    seeds: np.ndarray
    rest: np.ndarray
    images: np.ndarray


def _parts(values: np.ndarray, *, shared: float | np.ndarray) -> _Parts:
    """Returns the parts of the variance of the mean, (...)."""
    splits, seeds, images = values.shape[-3:]
    cells = values.mean(axis=-1)
    by_split, by_seed = cells.mean(axis=-1), cells.mean(axis=-2)
    by_image = values.mean(axis=-2)
    grand = by_split.mean(axis=-1)
    if min(splits, seeds) < 2:
        nothing = np.full_like(grand, np.nan)
        return _Parts(nothing, nothing, nothing, nothing)
    rest = cells - by_split[..., None] - by_seed[..., None, :] + grand[..., None, None]
    of_image = by_image.var(axis=-1, ddof=1).mean(axis=-1)
    # Within a split: images x seeds, without both their means.
    squares = (
        (values**2).sum(axis=(-2, -1))
        - seeds * (by_image**2).sum(axis=-1)
        - images * (cells**2).sum(axis=-1)
        + seeds * images * by_split**2
    ).mean(axis=-1)
    of_image = np.maximum(of_image - squares / ((seeds - 1) * (images - 1)) / seeds, 0.0)
    return _Parts(
        splits=by_split.var(axis=-1, ddof=1) / splits,
        seeds=by_seed.var(axis=-1, ddof=1) / seeds,
        rest=(rest**2).sum(axis=(-2, -1)) / ((splits - 1) * (seeds - 1) * splits * seeds),
        images=shared * of_image / images,
    )


@dataclass(frozen=True)
class CrossedResampling(Resampling):
    """How means over splits, seeds and images are drawn: from a multivariate t distribution.

    Its scale is the covariance of the means by the same components as their intervals, its degrees
    of freedom the fewest among them. Few splits make a bootstrap of them coarse.
    """

    shared: float

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Returns the means of values (..., splits, seeds, images), (...)."""
        means: np.ndarray = values.mean(axis=(-3, -2, -1))
        return means

    def means(self, *values: np.ndarray) -> list[np.ndarray]:
        """Returns draws of the means of values ([k,] splits, seeds, images), (samples[, k])."""
        every = np.concatenate([own.reshape(-1, *own.shape[-3:]) for own in values])
        told = mean(every, shared=self.shared)
        drawn = np.broadcast_to(told.value, (self.samples, len(every)))
        if not np.isnan(told.error).any():
            normal = self.generator.standard_normal(drawn.shape)
            freedom = np.min(told.freedom)
            scale = np.sqrt(freedom / self.generator.chisquare(freedom, (self.samples, 1)))
            drawn = drawn + scale * (normal @ _root(every, told, shared=self.shared))
        ends = np.cumsum([own[..., 0, 0, 0].size for own in values])[:-1]
        parts = np.split(drawn, ends, axis=1)
        return [
            part.reshape(len(part), *own.shape[:-3])
            for part, own in zip(parts, values, strict=True)
        ]

    def student(self, values: np.ndarray, *, confidence: float | None = None) -> Interval:
        """Returns Student's t interval of the mean of values (splits, seeds, images)."""
        told = mean(values, shared=self.shared)
        low, high = told.interval(confidence=confidence or self.confidence)
        return float(low), float(high)

    def of_means(self, resampled: np.ndarray, values: np.ndarray) -> Interval:
        """Returns the interval of what drawn means gave: t is in them. Undefined for one seed."""
        if values.shape[-2] < 2:
            return UNDEFINED
        return percentiles(resampled, confidence=self.confidence)


def _root(values: np.ndarray, told: Mean, *, shared: float) -> np.ndarray:
    """Returns a (k, k) array whose square by its transpose is the covariance of the means."""
    splits, seeds, images = values.shape[-3:]
    cells, by_image = values.mean(axis=-1), values.mean(axis=-2)
    by_split, by_seed = cells.mean(axis=-1), cells.mean(axis=-2)
    rest = cells - by_split[..., None] - by_seed[..., None, :] + told.value[:, None, None]

    def products(deviations: np.ndarray, freedom: int) -> np.ndarray:
        flat = deviations.reshape(len(values), -1)
        return flat @ flat.T / freedom

    covariance = (
        products(by_split - told.value[:, None], (splits - 1) * splits)
        + products(by_seed - told.value[:, None], (seeds - 1) * seeds)
        - products(rest, (splits - 1) * (seeds - 1) * splits * seeds)
        + products(by_image - by_split[..., None], splits * (images - 1)) * shared / images
    )
    sizes, directions = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(sizes, 0.0))[:, None] * directions.T
    # As wide as the intervals, which are not below their largest component.
    spread = np.sqrt((root**2).sum(axis=0))
    scaled: np.ndarray = root * np.divide(
        told.error, spread, out=np.zeros_like(spread), where=spread > SAME
    )
    return scaled
