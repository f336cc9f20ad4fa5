"""What a dataset is like, told before any of its images is decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Survey:
    """What file names and headers tell of a dataset.

    Attributes:
        classes: The names of the classes 0, 1, ...
        totals: Images by raw part.
        counts: Images by raw part and class; None where only a download would tell.
        sizes: The heights and widths that occur.
        channels: 1 for grey, 3 for colour.
        aliases: Other spellings, in lower case, to the names of classes.
    """

    classes: Sequence[str]
    totals: Mapping[str, int]
    counts: Mapping[str, Sequence[int]] | None
    sizes: Sequence[tuple[int, int]]
    channels: int = 1
    aliases: Mapping[str, str] = field(default_factory=dict)

    def labels(self) -> dict[str, np.ndarray]:
        """Returns labels (n,) by raw part, in no particular order.

        Where `counts` is None they are as if each class had as many images as any other.
        """
        numbers = np.arange(len(self.classes))
        if self.counts is None:
            return {part: np.resize(numbers, total) for part, total in self.totals.items()}
        return {part: np.repeat(numbers, counts) for part, counts in self.counts.items()}


def counted(
    classes: Sequence[str],
    labels: Mapping[str, np.ndarray],
    sizes: Sequence[tuple[int, int]],
    channels: int,
) -> Survey:
    """Returns the survey of data whose labels (n,) are known, by raw part."""
    return Survey(
        classes,
        {part: len(numbers) for part, numbers in labels.items()},
        {
            part: np.bincount(numbers, minlength=len(classes)).tolist()
            for part, numbers in labels.items()
        },
        sizes,
        channels,
    )
