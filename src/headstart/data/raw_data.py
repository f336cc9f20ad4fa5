"""Raw data as it lies in data/raw/, read strictly, and how it is normalised."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn, Part
from headstart.data.catalogue import DATASETS
from headstart.data.idx import damaged, load

ABOUT = "about.json"
FILES = "files.json"
"""The names of the files that the images were, by part."""

ALL = "all"
"""The one part of data that nobody has divided."""

# Images that pass through memory at a time.
BLOCK = 4096


@dataclass(frozen=True)
class Raw:
    """A dataset as it lies in data/raw/: nothing normalised, nothing cut.

    Attributes:
        classes: Names of the classes 0, 1, ...
        aliases: Other spellings, in lower case, to those names.
        parts: Images (n, height, width[, channels]) uint8, memory-mapped, and labels (n,); by
            "train" and "test" and perhaps "valid" as published, or all by "all".
        white: The value of a white pixel.
        folder: Where it lies.
    """

    classes: tuple[str, ...]
    aliases: Mapping[str, str] = field(repr=False)
    parts: Mapping[str, Part] = field(repr=False)
    white: int = 255
    folder: Path | None = None

    def drawn(self, rows: Mapping[str, Drawn]) -> "Raw":
        """Returns the dataset with the parts that `rows` names, their images in memory."""
        return replace(
            self,
            parts={
                name: Part(
                    np.asarray(self.parts[drawn.raw].images[drawn.rows]),
                    np.asarray(self.parts[drawn.raw].labels[drawn.rows]),
                )
                for name, drawn in rows.items()
            },
        )

    def name(self, part: str, row: int) -> str:
        """Returns what a person calls one image: its file where it was one, else its position."""
        path = self.folder / FILES if self.folder else None
        if path and path.exists():
            return str(artefacts.read_json(path)[part][row])
        return f"image {row}" if part == ALL else f"{part} image {row}"


def read(name: str, folder: Path, *, classes: Sequence[str] | str) -> Raw:
    """Returns the dataset `name` (published, `digits` or `own`) that was downloaded to `folder`.

    Its classes are called `classes`, in the order of their numbers, or with "auto" as published.

    Raises:
        UserError: A file is missing or damaged, or a label is no class.
        WrongValue: There are not as many `classes` as the dataset has.
    """
    if name in DATASETS:
        dataset = DATASETS[name]
        names, aliases = dataset.classes, dataset.aliases
        train_images, train_labels, test_images, test_labels = load(dataset, folder)
        parts = {"train": Part(train_images, train_labels), "test": Part(test_images, test_labels)}
        white = 255
    else:
        about = artefacts.read_json(folder / ABOUT)
        try:
            names, aliases = tuple(about["classes"]), {}
            white, listed = int(about["white"]), list(about["parts"])
        except (TypeError, KeyError, ValueError) as error:
            raise damaged(folder / ABOUT, "does not describe a dataset") from error
        parts = {part: _part(folder, part, classes=len(names)) for part in listed}
    if classes != "auto":
        if len(classes) != len(names):
            raise WrongValue(
                "classes",
                f"names {len(classes)} classes, {name} has {len(names)}: {', '.join(names)}",
            )
        if tuple(classes) != names:
            names, aliases = tuple(classes), {}
    return Raw(names, aliases, parts, white, folder)


def _part(folder: Path, part: str, *, classes: int) -> Part:
    read = artefacts.read_part(folder, part)
    images, labels = read.images, read.labels
    of_images, of_labels = (folder / f"{part}_{kind}.npy" for kind in ("images", "labels"))
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise damaged(of_images, f"holds {images.dtype} of {images.ndim} dimensions")
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise damaged(of_labels, f"holds {labels.dtype} of {labels.ndim} dimensions")
    if len(images) != len(labels):
        raise damaged(of_labels, f"{len(labels)} labels for {len(images)} images")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise damaged(of_labels, f"a label is no class (0 to {classes - 1})")
    return read


def normalised(images: np.ndarray, rows: np.ndarray, *, white: int = 255) -> Iterator[np.ndarray]:
    """Yields the images at `rows` as `normalise` gives them, some at a time."""
    for block, _ in blocks(images, rows):
        yield normalise(block, white=white)


def blocks(images: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the images at `rows`, a block at a time, each with the rows it holds."""
    for start in range(0, len(rows), BLOCK):
        at = rows[start : start + BLOCK]
        yield np.asarray(images[at]), at


def normalise(images: Any, *, white: int = 255) -> np.ndarray:
    """Returns `images / white` as float32 in [0, 1], in the shape that they have.

    The one way from raw pixels to what networks are trained on, and what a served model takes.

    Raises:
      UserError: when `images` is not an array of uint8, where dividing by 255 would be a guess.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise UserError(f"images are {kind}; raw pixels as uint8 from 0 to 255 are expected")
    return np.divide(images, np.float32(white), dtype=np.float32)


def write_about(folder: Path, *, classes: Sequence[str], white: int, parts: Sequence[str]) -> None:
    """Writes what `read` has to know of the arrays in `folder`."""
    about = {"classes": list(classes), "white": white, "parts": list(parts)}
    artefacts.write_json(folder / ABOUT, about)
