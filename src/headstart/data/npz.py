"""An `.npz` file of one's own: images, labels and perhaps classes; nothing in it is unpickled."""

import contextlib
import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError, WrongValue
from headstart.data import images as image_files
from headstart.data.raw_data import ALL, BLOCK, write_about
from headstart.data.survey import Survey, counted

_MOST_CLASSES = 10_000
# Larger than any array that fits the tasks here; keeps a damaged header from filling the disk.
_MOST_BYTES = 64 * 1024**3
# A block of large images is no larger than one of small ones.
_BLOCK_BYTES = 1 << 26

# What images and labels of a part are called, here and by Keras.
_NAMES = (
    (ALL, "images", "labels"),
    ("test", "x_test", "y_test"),
    ("train", "x_train", "y_train"),
    ("valid", "x_val", "y_val"),
    ("valid", "x_valid", "y_valid"),
)

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

# What zipfile and NumPy raise for bytes that are no archive of arrays, or no longer one.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
           EOFError, RuntimeError, ValueError, SyntaxError, TypeError, LookupError,
           ArithmeticError, MemoryError, OSError)  # fmt: skip
_BEFORE_THE_START = 22  # EINVAL of a seek in a damaged archive


@dataclass(frozen=True)
class _Member:
    """One array: `FILE: NAME`, its header, and the bytes behind that."""

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype
    content: IO[bytes]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def blocks(self, most: int) -> Iterator[np.ndarray]:
        """Yields the rows in order, at most so many at a time."""
        for start in range(0, self.shape[0], most):
            count = min(most, self.shape[0] - start)
            content = self.content.read(count * self.row_bytes)
            if len(content) < count * self.row_bytes:
                raise UserError(f"{self.label} ends before its {self.shape[0]} rows")
            yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


@dataclass(frozen=True)
class _Contents:
    """The members that hold images and the labels as numbers, by part; the classes' names."""

    images: Mapping[str, str]
    labels: Mapping[str, np.ndarray]
    classes: list[str]


def survey(path: Path, *, classes: Sequence[str] | None = None) -> Survey:
    """Returns what the `.npz` file `path` holds, by `classes` as in `write`; no image is read.

    Raises:
        UserError: It is damaged, or does not hold what it has to.
    """
    with _opened(path) as archive:
        contents = _contents(path, archive, classes)
        with _member(path, archive, next(iter(contents.images.values()))) as images:
            height, width, *channels = _image_shape(images)
    return counted(contents.classes, contents.labels, [(height, width)], (*channels, 1)[0])


def first(path: Path, *, shape: Sequence[int], count: int) -> np.ndarray:
    """Returns `count` images of the file at most, uint8 in `shape`, spread over its first ones.

    Raises:
        UserError: As `write` does.
    """
    with _opened(path) as archive:
        contents = _contents(path, archive, None)
        with _member(path, archive, next(iter(contents.images.values()))) as images:
            wanted = _shape_in(images, (shape[0], shape[1]))
            pixels = next(_pixels(images))
            chosen = pixels[:: max(len(pixels) // count, 1)][:count]
            return chosen if chosen.shape[1:] == wanted else image_files.resized(chosen, wanted)


def write(
    path: Path, folder: Path, *, classes: Sequence[str] | None, size: tuple[int, int] | None
) -> None:
    """Writes images (n, height, width[, channels]) and labels of a `.npz` file into `folder`.

    There they are `<part>_images.npy` uint8 in `size` (height, width), or in their own if None,
    `<part>_labels.npy` by `classes`, or the file's or sorted names if None, and about.json.

    Raises:
        UserError: As `survey` does, or a pixel is no whole number from 0 to 255.
        WrongValue: `classes` are not those of the file.
    """
    with _opened(path) as archive:
        contents = _contents(path, archive, classes)
        shapes = set()
        for part, name in contents.images.items():
            with _member(path, archive, name) as images:
                to = folder / f"{part}_images.npy"
                shapes.add(_write_images(images, to, count=len(contents.labels[part]), size=size))
        if len(shapes) > 1:
            shown = ", ".join(map(str, sorted(shapes)))
            raise UserError(f"{path}: the parts have images of different shapes: {shown}")
    for part, labels in contents.labels.items():
        artefacts.write_array(folder / f"{part}_labels.npy", labels)
    write_about(folder, classes=contents.classes, white=255, parts=list(contents.images))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yields the archive; whatever is wrong with its bytes becomes one message."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UserError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, _BEFORE_THE_START):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: is no .npz file, or damaged ({reason})") from error


@contextlib.contextmanager
def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[_Member]:
    """Yields an array whose values are not read yet, and whose header is no lie."""
    label = f"{path}: {name}"
    info = archive.getinfo(name)
    with archive.open(info) as content:
        version = np.lib.format.read_magic(content)
        if version not in _HEADERS:
            raise UserError(f"{label} is of the .npy version {version}; 1.0 is expected")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, fortran, dtype = _HEADERS[version](content)
        if dtype.hasobject:
            raise UserError(f"{label} holds Python objects, which are not read; save numbers")
        if fortran and len(shape) > 1:
            raise UserError(f"{label} is in Fortran order; save np.ascontiguousarray of it")
        if not shape or any(not 0 < side <= 2**40 for side in shape):
            raise UserError(f"{label} is empty or no array ({shape})")
        if math.prod(shape) * dtype.itemsize > min(_MOST_BYTES, info.file_size):
            raise UserError(f"{label} claims {shape} of {dtype}, and holds less or too much")
        yield _Member(label, shape, dtype, content)


def _contents(path: Path, archive: zipfile.ZipFile, classes: Sequence[str] | None) -> _Contents:
    members = {name.removesuffix(".npy"): name for name in archive.namelist()}
    parts = {
        part: (members[images], members[labels])
        for part, images, labels in _NAMES
        if images in members and labels in members
    }
    if not parts or (ALL in parts and len(parts) > 1):
        raise UserError(
            f"{path}: holds {', '.join(sorted(members)) or 'nothing'}; images and labels are "
            "needed, or x_train, y_train, x_test and y_test"
        )
    listed = members.get("classes")
    own_names = [str(name) for name in _column(path, archive, listed)] if listed else None
    labels = {part: _labels(path, archive, names[1]) for part, names in parts.items()}
    numbers, names = _numbered(path, labels, own_names, classes)
    return _Contents({part: name for part, (name, _) in parts.items()}, numbers, names)


def _column(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with _member(path, archive, name) as member:
        if member.shape[1:] not in ((), (1,)):
            raise UserError(f"{member.label} has the shape {member.shape}; (n,) is expected")
        return np.concatenate(list(member.blocks(1 << 20))).reshape(-1)


def _labels(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    labels = _column(path, archive, name)
    if labels.dtype.kind == "U":
        return labels
    if labels.dtype.kind not in "iu":
        raise UserError(f"{path}: {name} are {labels.dtype}; whole numbers or names are expected")
    wrong = np.flatnonzero((labels < 0) | (labels >= _MOST_CLASSES))
    if wrong.size:
        raise UserError(f"{path}: {name}: label {labels[wrong[0]]} at {wrong[0]} is out of range")
    return labels.astype(np.int64)


def _numbered(
    path: Path,
    labels: Mapping[str, np.ndarray],
    own_names: Sequence[str] | None,
    classes: Sequence[str] | None,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns labels as numbers, and the names of the classes in the order of these numbers."""
    if len({array.dtype.kind == "U" for array in labels.values()}) > 1:
        raise UserError(f"{path}: some labels are names and some numbers")
    occurring = sorted(set().union(*(np.unique(array).tolist() for array in labels.values())))
    textual = isinstance(occurring[0], str)
    listed = list(
        own_names or classes or (occurring if textual else map(str, range(occurring[-1] + 1)))
    )
    names = list(classes or listed)
    if sorted(names) != sorted(listed):
        raise WrongValue("classes", f"{', '.join(names)}; {path} has {', '.join(listed)}")
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{path}: two or more classes of different names are needed")
    # In the file a label is a name, or a place in its list of names.
    number_of = {name if textual else at: names.index(name) for at, name in enumerate(listed)}
    numbers = {}
    for part, array in labels.items():
        values, places = np.unique(array, return_inverse=True)
        wrong = np.flatnonzero(~np.isin(array, list(number_of)))
        if wrong.size:
            raise UserError(
                f"{path}: label {array[wrong[0]].item()!r} at position {wrong[0]} of {part} is no "
                f"class ({', '.join(names)})"
            )
        new = np.array([number_of[value] for value in values.tolist()], dtype=np.int64)
        numbers[part] = new[places]
    return numbers, names


def _image_shape(images: _Member) -> tuple[int, ...]:
    """Returns (height, width), or with channels where there are several."""
    shape = images.shape[1:-1] if images.shape[3:] == (1,) else images.shape[1:]
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] > 4):
        wanted = "(n, height, width) or (n, height, width, channels)"
        raise UserError(f"{images.label} has the shape {images.shape}; {wanted} is expected")
    if images.dtype.kind not in "iuf":
        raise UserError(f"{images.label} are {images.dtype}; uint8 from 0 to 255 is expected")
    return shape


def _shape_in(images: _Member, size: tuple[int, int] | None) -> tuple[int, ...]:
    """Returns the shape of an image in `size`, or in its own if None."""
    shape = _image_shape(images)
    if size is None or size == shape[:2]:
        return shape
    if len(shape) == 3 and shape[2] != 3:
        raise UserError(f"{images.label} has {shape[2]} channels; 1 or 3 can be resized")
    return (*size, *shape[2:])


def _pixels(images: _Member) -> Iterator[np.ndarray]:
    """Yields the images in order as uint8 in their own size, a block at a time."""
    shape, start = _image_shape(images), 0
    for rows in images.blocks(max(1, min(BLOCK, _BLOCK_BYTES // max(images.row_bytes, 1)))):
        yield _whole(images.label, rows.reshape(len(rows), *shape), start)
        start += len(rows)


def _write_images(
    images: _Member, to: Path, *, count: int, size: tuple[int, int] | None
) -> tuple[int, ...]:
    """Writes `count` images in `size`, or as they are if None; returns the shape of one."""
    resized = _shape_in(images, size)
    if images.shape[0] != count:
        raise UserError(f"{images.label} has {images.shape[0]} rows for {count} labels")
    blocks = (
        pixels if pixels.shape[1:] == resized else image_files.resized(pixels, resized)
        for pixels in _pixels(images)
    )
    artefacts.write_blocks(to, blocks, shape=(count, *resized), dtype=np.uint8)
    return resized


def _whole(label: str, values: np.ndarray, start: int) -> np.ndarray:
    """Returns pixel values as uint8, where that changes none; `start` is the first one's number."""
    if values.dtype == np.uint8:
        return values

    for wrong, what in (
        (~np.isfinite(values), "NaN or infinity"),
        ((values < 0) | (values > 255), "values out of range"),
        (values != np.floor(values), "fractions"),
    ):
        if wrong.any():
            at = start + int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
            raise UserError(
                f"{label}: image {at} holds {what}; whole numbers from 0 to 255 are "
                "expected (pixels in [0, 1] times 255, rounded, as uint8)"
            )
    return values.astype(np.uint8)
