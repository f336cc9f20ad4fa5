"""The one shape in which images and labels travel together."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """Images (n, height, width[, channels]), or features (n, width), with their labels (n,)."""

    images: np.ndarray
    labels: np.ndarray
