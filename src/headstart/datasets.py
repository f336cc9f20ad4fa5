"""Raw data as it lies in data/raw/, read strictly, and how it is normalised."""

import hashlib
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from headstart import artefacts
from headstart.catalogue import DATASETS, FASHION_MNIST, Dataset
from headstart.errors import UserError
from headstart.parts import Drawn, Part

__all__ = [
    "DATASETS",
    "FASHION_MNIST",
    "Dataset",
    "Raw",
    "blank_images",
    "check",
    "duplicates",
    "load",
    "normalise",
    "normalised",
    "read",
    "read_idx",
]

ABOUT = "about.json"
FILES = "files.json"
ALL = "all"
"""The one part of data that nobody has divided."""

# Images that a message names.
_SHOWN = 5
# Images that pass through memory at a time.
_BLOCK = 4096

_IDX_UNSIGNED_BYTES = 0x08
_IDX_MOST_DIMENSIONS = 4
# Larger than any published IDX file; keeps a damaged header from asking for a terabyte.
_IDX_MOST_BYTES = 8 * 1024**3


def read_idx(path: Path) -> np.ndarray:
    """Returns the array in the IDX file `path`, uint8, memory-mapped, as its header shapes it.

    Raises:
      UserError: when the file is not there, is not IDX of unsigned bytes with 1 to 4 dimensions,
        has an empty dimension, or holds more or fewer bytes than its header says.

    References:
      The IDX format as described with the MNIST database.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; `dvc repro download` gets it")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        shape = _idx_shape(file, path)
        expected = 4 + 4 * len(shape) + math.prod(shape)
        if expected > _IDX_MOST_BYTES:
            raise _damaged(
                path, f"the header gives {_times(shape)} bytes, more than {_IDX_MOST_BYTES}"
            )
        if size != expected:
            raise _damaged(
                path, f"{_times(shape)} values make {expected} bytes, the file has {size}"
            )
    # Mapped, so that memory does not grow with the dataset.
    return np.memmap(path, dtype=np.uint8, mode="r", offset=4 + 4 * len(shape), shape=shape)


def _idx_shape(file: BinaryIO, path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise _damaged(path, f"an IDX file starts with two zero bytes, this one with {magic!r}")
    kind, dimensions = magic[2], magic[3]
    if kind != _IDX_UNSIGNED_BYTES:
        raise _damaged(
            path, f"its values are of type {kind:#04x}, unsigned bytes (0x08) are expected"
        )
    if not 1 <= dimensions <= _IDX_MOST_DIMENSIONS:
        raise _damaged(
            path, f"it has {dimensions} dimensions, 1 to {_IDX_MOST_DIMENSIONS} are expected"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise _damaged(path, "it ends within its header")
    shape = struct.unpack(f">{dimensions}I", header)
    if 0 in shape:
        raise _damaged(path, f"it is empty ({_times(shape)})")
    return shape


def _times(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: {reason}; delete it and run `dvc repro` to get it anew")


def load(dataset: Dataset, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns training images, training labels, test images and test labels, all uint8.

    Images are (n, height, width) in the published order, labels (n,).

    Raises:
      UserError: when a file cannot be read, there are not as many labels as images, a label is
        no class of `dataset`, or the two parts have images of different sizes.
    """
    paths = [folder / file.name for file in dataset.files]
    train_images, train_labels, test_images, test_labels = map(read_idx, paths)
    _check_pair(dataset, paths[0], train_images, paths[1], train_labels)
    _check_pair(dataset, paths[2], test_images, paths[3], test_labels)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise _damaged(
            paths[2],
            f"its images are {_times(test_images.shape[1:])} pixels, "
            f"those of {paths[0].name} {_times(train_images.shape[1:])}",
        )
    return train_images, train_labels, test_images, test_labels


def _check_pair(
    dataset: Dataset, image_path: Path, images: np.ndarray, label_path: Path, labels: np.ndarray
) -> None:
    for path, array, dimensions in ((image_path, images, 3), (label_path, labels, 1)):
        if array.ndim != dimensions:
            raise _damaged(path, f"it has {array.ndim} dimensions, {dimensions} are expected")
    if len(images) != len(labels):
        raise _damaged(
            label_path, f"{len(labels)} labels for the {len(images)} images in {image_path.name}"
        )
    wrong = np.flatnonzero(labels >= len(dataset.classes))
    if wrong.size:
        raise _damaged(
            label_path,
            f"label {labels[wrong[0]]} at position {wrong[0]} is no class of {dataset.name} "
            f"(0 to {len(dataset.classes) - 1})",
        )


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

    def name(self, part: str, row: int) -> str:
        """Returns what a person calls one image: its file where it was one, else its position."""
        path = self.folder / FILES if self.folder else None
        if path and path.exists():
            return str(artefacts.read_json(path)[part][row])
        return f"image {row}" if part == ALL else f"{part} image {row}"


def read(name: str, folder: Path, *, classes: Sequence[str] | str) -> Raw:
    """Returns the dataset that the download stage left in `folder`.

    Args:
        name: A published dataset, `digits` or `own`.
        folder: `data/raw/<name>`.
        classes: The names of the classes in the order of their numbers, or "auto": as published.

    Raises:
        UserError: A file is missing or damaged, a label is no class, or there are not as many
            `classes` as the dataset has.
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
            raise _damaged(folder / ABOUT, "does not describe a dataset") from error
        parts = {part: _gathered(folder, part, classes=len(names)) for part in listed}
    if classes != "auto":
        if len(classes) != len(names):
            raise UserError(
                f"params.yaml: dataset.classes: names {len(classes)} classes, {name} has "
                f"{len(names)}: {', '.join(names)}"
            )
        if tuple(classes) != names:
            names, aliases = tuple(classes), {}
    return Raw(names, aliases, parts, white, folder)


def _gathered(folder: Path, part: str, *, classes: int) -> Part:
    found = artefacts.read_part(folder, part)
    images, labels = folder / f"{part}_images.npy", folder / f"{part}_labels.npy"
    if found.images.dtype != np.uint8 or found.images.ndim not in (3, 4):
        raise _damaged(images, f"holds {found.images.dtype} of {found.images.ndim} dimensions")
    if found.labels.dtype != np.int64 or found.labels.ndim != 1:
        raise _damaged(labels, f"holds {found.labels.dtype} of {found.labels.ndim} dimensions")
    if len(found.images) != len(found.labels):
        raise _damaged(labels, f"{len(found.labels)} labels for {len(found.images)} images")
    if found.labels.size and not 0 <= found.labels.min() <= found.labels.max() < classes:
        raise _damaged(labels, f"a label is no class (0 to {classes - 1})")
    return found


def check(raw: Raw, drawn: Mapping[str, Drawn], *, max_duplicates: int) -> list[str]:
    """Returns warnings about the images that train, valid and test are made of.

    Raises:
        UserError: More than `max_duplicates` images stand in more than one of the three, which
            makes every accuracy a lie, or all images are blank.
    """
    used = {name: (raw.parts[some.raw].images, some.rows) for name, some in drawn.items()}
    warnings = []
    count, examples = duplicates(used)
    if count:
        shown = "; ".join(
            " = ".join(f"{name}: {raw.name(drawn[name].raw, row)}" for name, row in where.items())
            for where in examples
        )
        told = f"{count} images stand in more than one of train, valid and test ({shown}"
        told += "; ...)" if count > len(examples) else ")"
        if count > max_duplicates:
            raise UserError(
                f"params.yaml: dataset.max_duplicates: {max_duplicates}, and {told}; take them "
                "out of the data, or raise the limit and distrust the accuracies"
            )
        warnings.append(
            f"{told}, as dataset.max_duplicates {max_duplicates} allows: accuracies are too high"
        )
    blank = {name: blank_images(images, rows) for name, (images, rows) in used.items()}
    count = sum(map(len, blank.values()))
    if count:
        named = [raw.name(drawn[name].raw, row) for name, rows in blank.items() for row in rows[:2]]
        told = f"are of one value all over ({', '.join(named)}{', ...' * (count > len(named))})"
        total = sum(len(some.rows) for some in drawn.values())
        if count == total:
            raise UserError(f"all {total} images {told}: there is nothing to learn from")
        warnings.append(f"{count} of {total} images {told}")
    return warnings


def duplicates(
    used: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> tuple[int, list[dict[str, int]]]:
    """Returns how many images stand, pixel by pixel, in more than one of `used`, and the first few.

    Each of the few is told by where it stands: its first row, by name.

    Args:
        used: By name ("train", "valid", "test"), images (n, ...) and the rows (k,) that count.

    References:
        BLAKE2b with 64 bits: among a million different images two agree by chance in one of
        thirty million datasets.
    """
    sums = {
        name: np.unique(_sums(images, rows), return_index=True)
        for name, (images, rows) in used.items()
    }
    all_sums, times = np.unique(np.concatenate([s for s, _ in sums.values()]), return_counts=True)
    several = all_sums[times > 1]
    examples = []
    for digest in several[:_SHOWN]:
        where = {}
        for name, (found, first) in sums.items():
            at = int(np.searchsorted(found, digest))
            if at < len(found) and found[at] == digest:
                where[name] = int(used[name][1][first[at]])
        examples.append(where)
    return len(several), examples


def _sums(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns a hash (k,) uint64 of each image at `rows`."""
    found = np.empty(len(rows), dtype=np.uint64)
    at = 0
    for block, _ in _blocks(images, rows):
        for image in block:
            digest = hashlib.blake2b(image.data, digest_size=8).digest()
            found[at] = int.from_bytes(digest, "little")
            at += 1
    return found


def blank_images(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns those of `rows` whose images are of one value all over: they carry nothing."""
    blank = [
        at[block.reshape(len(block), -1).max(axis=1) == block.reshape(len(block), -1).min(axis=1)]
        for block, at in _blocks(images, rows)
    ]
    return np.concatenate(blank) if blank else rows[:0]


def normalised(images: np.ndarray, rows: np.ndarray, *, white: int = 255) -> Iterator[np.ndarray]:
    """Yields the images at `rows` as `normalise` gives them, some at a time."""
    for block, _ in _blocks(images, rows):
        yield normalise(block, white=white)


def _blocks(images: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(rows), _BLOCK):
        at = rows[start : start + _BLOCK]
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
