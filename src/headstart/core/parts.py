"""The shapes in which images and labels travel together."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """Images (n, height, width[, channels]), or features (n, width), with their labels (n,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """Which images make one of train, valid and test: rows (k,) int64 of the raw part `raw`."""

    raw: str
    rows: np.ndarray
