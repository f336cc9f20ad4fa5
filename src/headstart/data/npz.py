"""Images and labels in an `.npz` file; nothing in it is unpickled."""

import contextlib
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.data import images as image_files
from headstart.data.raw_data import ALL

if TYPE_CHECKING:
    pass
from headstart.data.raw_data import BLOCK, write_about

_MOST_CLASSES = 10_000


# Larger than any array that fits the tasks here; keeps a damaged header from filling the disk.
_MOST_BYTES = 64 * 1024**3


_NAMES = {
    (ALL, "images", "labels"),
    ("train", "x_train", "y_train"),
    ("valid", "x_valid", "y_valid"),
    ("valid", "x_val", "y_val"),
    ("test", "x_test", "y_test"),
}


def write(
    path: Path, folder: Path, *, classes: Sequence[str] | None, size: tuple[int, int] | None
) -> None:
    """Writes the images of an npz file of one's own into `folder` as arrays, one pair a part."""
    with opened_archive(path) as archive:
        parts, numbers, names = npz_parts(path, archive, classes=classes)
        shapes = set()
        for part, (images, _) in parts.items():
            shapes.add(_npz_images(path, archive, images, folder, part, numbers[part], size=size))
        if len(shapes) > 1:
            raise UserError(
                f"{path}: the parts have images of different shapes: "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        for part, found in numbers.items():
            artefacts.write_array(folder / f"{part}_labels.npy", found)
    write_about(folder, classes=names, white=255, parts=list(parts))


def npz_parts(
    path: Path, archive: zipfile.ZipFile, *, classes: Sequence[str] | None
) -> tuple[dict[str, tuple[str, str]], dict[str, np.ndarray], list[str]]:
    """Returns the members of images and labels, the labels as numbers, and the classes' names."""
    members = {name.removesuffix(".npy"): name for name in archive.namelist()}
    parts = {
        part: (members[images], members[labels])
        for part, images, labels in sorted(_NAMES)
        if images in members and labels in members
    }
    if not parts or (ALL in parts and len(parts) > 1):
        raise UserError(
            f"{path}: holds {', '.join(sorted(members)) or 'nothing'}; images and labels are "
            "needed, or x_train, y_train, x_test and y_test"
        )
    own_names = None
    if "classes" in members:
        own_names = [str(name) for name in _small(path, archive, members["classes"])]
    labels = {part: _labels(path, archive, names[1]) for part, names in parts.items()}
    numbers, names = _numbered(path, labels, own_names, classes)
    return parts, numbers, names


@contextlib.contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yields the archive; whatever is wrong with its bytes becomes one message."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError,
            ValueError, SyntaxError, TypeError, KeyError, IndexError, OverflowError, MemoryError,
            UnicodeError) as error:  # fmt: skip
        raise UserError(f"{path}: is no .npz file, or damaged ({_short(error)})") from error
    except OSError as error:
        if error.errno not in (None, 22):  # a seek before the start, in a damaged archive
            raise
        raise UserError(f"{path}: is no .npz file, or damaged ({_short(error)})") from error
    except Exception as error:
        if type(error).__module__ not in ("struct", "lzma", "tokenize", "_lzma"):
            raise
        raise UserError(f"{path}: is no .npz file, or damaged ({_short(error)})") from error


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.float64)) * self.dtype.itemsize


@contextlib.contextmanager
def member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[tuple[_Header, IO[bytes]]]:
    """Yields the header of an array in an npz archive, and the open file after it."""
    info = archive.getinfo(name)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise UserError(f"{path}: {name} is of the .npy version {version}; 1.0 is expected")
        reader = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, fortran, dtype = reader(file)
        if dtype.hasobject:
            raise UserError(
                f"{path}: {name} holds Python objects, which are not read; save numbers"
            )
        if fortran and len(shape) > 1:
            raise UserError(f"{path}: {name} is in Fortran order; save np.ascontiguousarray of it")
        if not shape or any(not 0 < side <= 2**40 for side in shape):
            raise UserError(f"{path}: {name} is empty or no array ({shape})")
        header = _Header(shape, dtype)
        total = shape[0] * header.row_bytes
        if total > _MOST_BYTES or total > info.file_size:
            raise UserError(f"{path}: {name} claims {shape} of {dtype}, and holds less or too much")
        yield header, file


def _rows(
    path: Path, name: str, header: _Header, file: IO[bytes], *, block: int
) -> Iterator[np.ndarray]:
    for start in range(0, header.shape[0], block):
        count = min(block, header.shape[0] - start)
        content = bytearray()
        while len(content) < count * header.row_bytes:
            chunk = file.read(count * header.row_bytes - len(content))
            if not chunk:
                raise UserError(f"{path}: {name} ends before its {header.shape[0]} rows")
            content += chunk
        yield np.frombuffer(content, header.dtype).reshape(count, *header.shape[1:])


def _small(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with member(path, archive, name) as (header, file):
        if len(header.shape) != 1 and not (len(header.shape) == 2 and header.shape[1] == 1):
            raise UserError(f"{path}: {name} has the shape {header.shape}; (n,) is expected")
        return np.concatenate(list(_rows(path, name, header, file, block=1 << 20))).reshape(-1)


def _labels(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    labels = _small(path, archive, name)
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
    textual = [array.dtype.kind == "U" for array in labels.values()]
    if any(textual) and not all(textual):
        raise UserError(f"{path}: some labels are names and some numbers")
    if all(textual):
        found = sorted(set(np.concatenate(list(labels.values())).tolist()))
        names = list(classes or own_names or found)
        strange = sorted(set(found) - set(names))
        if strange:
            raise UserError(f"{path}: the label {strange[0]!r} is no class ({', '.join(names)})")
        number_of = {name: number for number, name in enumerate(names)}
        return {
            part: np.array([number_of[str(name)] for name in array], dtype=np.int64)
            for part, array in labels.items()
        }, names
    most = max(int(array.max()) for array in labels.values())
    names = list(own_names or classes or [str(number) for number in range(most + 1)])
    for part, array in labels.items():
        wrong = np.flatnonzero(array >= len(names))
        if wrong.size:
            raise UserError(
                f"{path}: label {array[wrong[0]]} at position {wrong[0]} of {part} is no class "
                f"(0 to {len(names) - 1})"
            )
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{path}: two or more classes of different names are needed")
    numbers = dict(labels)
    if own_names and classes:
        if sorted(own_names) != sorted(classes):
            raise UserError(
                f"{path}: has the classes {', '.join(own_names)}; dataset.classes in params.yaml "
                f"names {', '.join(classes)}"
            )
        new = np.array([list(classes).index(name) for name in own_names], dtype=np.int64)
        numbers, names = {part: new[array] for part, array in labels.items()}, list(classes)
    return numbers, names


def _npz_images(
    path: Path,
    archive: zipfile.ZipFile,
    name: str,
    folder: Path,
    part: str,
    labels: np.ndarray,
    *,
    size: tuple[int, int] | None,
) -> tuple[int, ...]:
    with member(path, archive, name) as (header, file):
        shape = header.shape[1:-1] if header.shape[3:] == (1,) else header.shape[1:]
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] > 4):
            raise UserError(
                f"{path}: {name} has the shape {header.shape}; (n, height, width) or (n, height, "
                "width, channels) is expected"
            )
        if header.dtype.kind not in "iuf":
            raise UserError(f"{path}: {name} are {header.dtype}; uint8 from 0 to 255 is expected")
        if header.shape[0] != len(labels):
            raise UserError(f"{path}: {len(labels)} labels for the {header.shape[0]} of {name}")
        if size is not None and len(shape) == 3 and shape[2] != 3:
            raise UserError(f"{path}: {name} has {shape[2]} channels; 1 or 3 can be resized")
        resized = (*(size or shape[:2]), *shape[2:])
        # A block of large images is no larger than one of small ones.
        block = max(1, min(BLOCK, (1 << 26) // max(header.row_bytes, 1)))

        def blocks() -> Iterable[np.ndarray]:
            start = 0
            for rows in _rows(path, name, header, file, block=block):
                pixels = _whole(path, name, rows.reshape(len(rows), *shape), start)
                start += len(rows)
                yield image_files.resized(pixels, resized) if resized != shape else pixels

        artefacts.write_blocks(
            folder / f"{part}_images.npy",
            blocks(),
            shape=(header.shape[0], *resized),
            dtype=np.uint8,
        )
        return resized


def _whole(path: Path, name: str, values: np.ndarray, start: int) -> np.ndarray:
    """Returns pixel values as uint8, where that changes none."""
    if values.dtype == np.uint8:
        return values

    def refuse(bad: np.ndarray, what: str) -> None:
        if bad.any():
            at = start + int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
            raise UserError(
                f"{path}: image {at} of {name} holds {what}; whole numbers from 0 to 255 are "
                "expected (pixels in [0, 1] times 255, rounded, as uint8)"
            )

    if values.dtype.kind == "f":
        refuse(~np.isfinite(values), "NaN or infinity")
        refuse(values != np.floor(values), "fractions")
    refuse((values < 0) | (values > 255), "values out of range")
    return values.astype(np.uint8)
