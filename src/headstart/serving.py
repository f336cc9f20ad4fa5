"""The target classifier as it is served: raw images in, class and probability out."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.data import raw_data
from headstart.judging.answers import answered_classes, per_class

MODEL_FILE = "model.keras"
CLASSES_FILE = "classes.json"
# Images that pass through the network at once; bounds the memory, not the answer.
_BATCH = 1000


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the classifier says about one image: the class, and how probable each one is."""

    name: str
    number: int
    probability: float
    probabilities: tuple[float, ...]


class Classifier:
    """A trained target model with the names of its classes."""

    def __init__(self, model: Path, classes: Sequence[str]) -> None:
        """Loads the `.keras` file `model`; `classes` are the names of the classes 0, 1, ..."""
        from headstart.core import runtime

        # No draw is left in a finished network; threads and kernels are as when it was judged.
        runtime.fix(0)
        from headstart.learning import networks

        self.classes = tuple(classes)
        self._model = networks.load(model)
        self.shape: tuple[int, ...] = tuple(self._model.input_shape[1:])

    @classmethod
    def in_folder(cls, folder: Path) -> "Classifier":
        """Returns the classifier that `folder` holds as model.keras and classes.json."""
        return cls(folder / MODEL_FILE, artefacts.read_json(folder / CLASSES_FILE))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns what the network answers to normalised images: (n,) of class 1, or (n, k)."""
        # `model.predict` builds a pipeline and a graph for every call, a third of a second.
        batches = (images[at : at + _BATCH] for at in range(0, len(images), _BATCH))
        outputs = np.concatenate([np.asarray(self._model(b, training=False)) for b in batches])
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def classify(self, raw: Any) -> list[Answer]:
        """Returns an answer for each raw image.

        One image in the shape that the network takes, (28, 28) for Fashion-MNIST, or n of them.

        Raises:
            UserError: `raw` is not what `raw_images` expects.
        """
        images = raw_images(raw, shape=self.shape)
        probabilities = self.probabilities(raw_data.normalise(images))
        numbers, values = answered_classes(probabilities), per_class(probabilities)
        return [
            Answer(self.classes[number], int(number), float(row[number]), tuple(map(float, row)))
            for number, row in zip(numbers, values, strict=True)
        ]


def raw_images(raw: Any, *, shape: tuple[int, ...]) -> np.ndarray:
    """Returns one or many raw images as uint8 (n, *shape).

    `raw` is an array or nested lists of whole numbers from 0 to 255, in `shape` or (n, *shape).

    Raises:
        UserError: It is something else; the message says what, and what is expected.
    """
    sides = ", ".join(map(str, shape))
    expected = (
        f"expected: raw pixels, whole numbers from 0 to 255 (uint8, not divided by 255), one "
        f"image of shape ({sides}) or n of them, (n, {sides})"
    )
    try:
        values = np.asarray(raw)
    except (ValueError, OverflowError):
        values = np.asarray(None)
    if values.dtype == object:
        raise UserError(f"the images are no array of numbers with equal sides; {expected}")
    if values.dtype.kind not in "uif":
        kind = "text" if values.dtype.kind in "US" else values.dtype.name
        raise UserError(f"the images hold {kind}; {expected}")
    if values.shape == shape:
        values = values[np.newaxis]
    if values.shape[1:] != shape or not len(values):
        raise UserError(f"the images have the shape {values.shape}; {expected}")
    if values.dtype != np.uint8:
        wrong = ~((values >= 0) & (values <= 255) & (np.mod(values, 1) == 0))
        if wrong.any():
            raise UserError(f"a pixel is {values[wrong][0]}; {expected}")
        if values.dtype.kind == "f" and 0 < values.max() <= 1:
            # Raw images this dark do not occur; images that were divided already do.
            raise UserError(f"no pixel is above {values.max()}; {expected}")
    return values.astype(np.uint8)
