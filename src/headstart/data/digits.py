"""The 1797 handwritten digits that scikit-learn ships: 8 x 8 pixels, white is 16.

References:
    E. Alpaydin, C. Kaynak, 1998, "Optical Recognition of Handwritten Digits", UCI.
"""

from pathlib import Path

import numpy as np

from headstart.core import artefacts
from headstart.data import raw_data
from headstart.data.survey import Survey, counted

NAME = "digits"


def write(folder: Path) -> None:
    """Writes images (1797, 8, 8) uint8 and labels into `folder`."""
    images, labels, classes = _load()
    artefacts.write_array(folder / f"{raw_data.ALL}_images.npy", images)
    artefacts.write_array(folder / f"{raw_data.ALL}_labels.npy", labels)
    raw_data.write_about(folder, classes=classes, white=16, parts=[raw_data.ALL])


def survey() -> Survey:
    """Returns what the digits are like."""
    images, labels, classes = _load()
    return counted(classes, {raw_data.ALL: labels}, [(images.shape[1], images.shape[2])], 1)


def _load() -> tuple[np.ndarray, np.ndarray, list[str]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    names = [str(name) for name in digits.target_names]
    return digits.images.astype(np.uint8), digits.target.astype(np.int64), names
