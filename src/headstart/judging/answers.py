"""What models answer to test images: from probabilities to classes, and both arms side by side."""

import dataclasses
import functools

import numpy as np

ARMS = ("baseline", "transfer")


@dataclasses.dataclass(frozen=True)
class Answers:
    """What both arms answer to the same test images, whose classes are `actual`, int (n,) from 0.

    Probabilities are float (n,) or (n, 1) of class 1, or (n, k) of each class.
    """

    actual: np.ndarray
    baseline: np.ndarray
    transfer: np.ndarray

    @property
    def probabilities(self) -> dict[str, np.ndarray]:
        """The probabilities by arm."""
        return {arm: getattr(self, arm) for arm in ARMS}

    @functools.cached_property
    def classes(self) -> dict[str, np.ndarray]:
        """The answered classes by arm, int64 (n,) each."""
        return {arm: answered_classes(values) for arm, values in self.probabilities.items()}


def answered_classes(probabilities: np.ndarray) -> np.ndarray:
    """Returns the answered classes, int64 (n,).

    (n,) or (n, 1) from a single unit: class 1 above 0.5, as Keras has it; (n, k) from k units:
    the class of the highest, the first one of equals.
    """
    if _one_unit(probabilities):
        return (np.asarray(probabilities).reshape(-1) > 0.5).astype(np.int64)
    highest: np.ndarray = np.argmax(probabilities, axis=1).astype(np.int64)
    return highest


def answered_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Returns what predictions.csv holds, float64 (n,).

    The probability of class 1 in a binary task, of the answered class otherwise.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    answered: np.ndarray = values.reshape(-1) if _one_unit(values) else values.max(axis=1)
    return answered


def per_class(probabilities: np.ndarray) -> np.ndarray:
    """Returns a column for each class, (n, k): float64 if from one unit, else as they came."""
    values = np.asarray(probabilities)
    if not _one_unit(values):
        return values
    second = values.reshape(-1).astype(np.float64)
    return np.stack([1 - second, second], axis=1)


def _one_unit(probabilities: np.ndarray) -> bool:
    shape = np.shape(probabilities)
    return len(shape) == 1 or shape[1] == 1
