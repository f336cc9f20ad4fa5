"""IDX, the format of MNIST and its kin: files read strictly."""

import math
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from headstart.core.errors import UserError
from headstart.data.catalogue import PublishedDataset

_UNSIGNED_BYTES = 0x08
_MOST_DIMENSIONS = 4
# Larger than any published IDX file; keeps a damaged header from asking for a terabyte.
_MOST_BYTES = 8 * 1024**3


def read_idx(path: Path) -> np.ndarray:
    """Returns the array in the IDX file `path`, uint8, memory-mapped, as its header shapes it.

    Raises:
      UserError: when the file is not there, is not IDX of unsigned bytes with 1 to 4 dimensions,
        has an empty dimension, or holds more or fewer bytes than its header says.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; `dvc repro download` gets it")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        shape = _idx_shape(file, path)
        expected = 4 + 4 * len(shape) + math.prod(shape)
        if expected > _MOST_BYTES:
            raise damaged(path, f"the header gives {_times(shape)} bytes, more than {_MOST_BYTES}")
        if size != expected:
            makes = f"{_times(shape)} values make {expected} bytes"
            raise damaged(path, f"{makes}, the file has {size}")
    # Mapped, so that memory does not grow with the dataset.
    return np.memmap(path, dtype=np.uint8, mode="r", offset=4 + 4 * len(shape), shape=shape)


def _idx_shape(file: BinaryIO, path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise damaged(path, f"an IDX file starts with two zero bytes, this one with {magic!r}")
    kind, dimensions = magic[2], magic[3]
    if kind != _UNSIGNED_BYTES:
        raise damaged(path, f"its values are of type {kind:#04x}, not unsigned bytes (0x08)")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise damaged(path, f"it has {dimensions} dimensions, 1 to {_MOST_DIMENSIONS} are expected")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise damaged(path, "it ends within its header")
    shape = struct.unpack(f">{dimensions}I", header)
    if 0 in shape:
        raise damaged(path, f"it is empty ({_times(shape)})")
    return shape


def _times(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def damaged(path: Path, reason: str) -> UserError:
    """Returns the error that says why a raw file cannot be used, and how to get it anew."""
    return UserError(f"{path}: {reason}; delete it and run `dvc repro` to get it anew")


def load(
    dataset: PublishedDataset, folder: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns training images, training labels, test images and test labels, all uint8.

    Images are (n, height, width) in the published order, labels (n,).

    Raises:
      UserError: when a file cannot be read, there are not as many labels as images, a label is
        no class of `dataset`, or the two parts have images of different sizes.
    """
    paths = [folder / file.name for file in dataset.files]
    train_images, train_labels, test_images, test_labels = map(read_idx, paths)
    _check_pair(dataset, paths[:2], train_images, train_labels)
    _check_pair(dataset, paths[2:], test_images, test_labels)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise damaged(
            paths[2],
            f"its images are {_times(test_images.shape[1:])} pixels, "
            f"those of {paths[0].name} {_times(train_images.shape[1:])}",
        )
    return train_images, train_labels, test_images, test_labels


def _check_pair(
    dataset: PublishedDataset, paths: Sequence[Path], images: np.ndarray, labels: np.ndarray
) -> None:
    of_images, of_labels = paths
    for path, array, dimensions in ((of_images, images, 3), (of_labels, labels, 1)):
        if array.ndim != dimensions:
            raise damaged(path, f"it has {array.ndim} dimensions, {dimensions} are expected")
    if len(images) != len(labels):
        reason = f"{len(labels)} labels for the {len(images)} images in {of_images.name}"
        raise damaged(of_labels, reason)
    wrong = np.flatnonzero(labels >= len(dataset.classes))
    if wrong.size:
        raise damaged(
            of_labels,
            f"label {labels[wrong[0]]} at position {wrong[0]} is no class of {dataset.name} "
            f"(0 to {len(dataset.classes) - 1})",
        )
