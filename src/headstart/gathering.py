"""Images of one's own, and those that scikit-learn ships, made into arrays under data/raw/.

A folder or file here comes from anywhere: nothing in it is executed or unpickled, nothing outside
of it is read, and no image or archive is unpacked before its size is known.
"""

import contextlib
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from headstart import artefacts
from headstart.datasets import ABOUT, ALL, FILES
from headstart.errors import UserError, warn

if TYPE_CHECKING:
    from PIL.Image import Image

PARTS = ("train", "valid", "test")
_SUFFIXES = (".png", ".jpg", ".jpeg")
# Larger than any camera's; an image of a few kilobytes can claim a billion pixels.
_MOST_PIXELS = 120_000_000
_MOST_CLASSES = 10_000
# Larger than any array that fits the tasks here; keeps a damaged header from filling the disk.
_MOST_BYTES = 64 * 1024**3
_BLOCK = 4096
_NAMES = {
    (ALL, "images", "labels"),
    ("train", "x_train", "y_train"),
    ("valid", "x_valid", "y_valid"),
    ("valid", "x_val", "y_val"),
    ("test", "x_test", "y_test"),
}


def digits(folder: Path) -> None:
    """Writes the 1797 handwritten digits that scikit-learn ships (8 x 8, white is 16).

    References:
        E. Alpaydin, C. Kaynak, 1998, "Optical Recognition of Handwritten Digits", UCI.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = found.images.astype(np.uint8)
    artefacts.write_array(folder / f"{ALL}_images.npy", images)
    artefacts.write_array(folder / f"{ALL}_labels.npy", found.target.astype(np.int64))
    _about(folder, classes=[str(name) for name in found.target_names], white=16, parts=[ALL])


def own(
    path: Path,
    folder: Path,
    *,
    classes: Sequence[str] | str,
    image_size: tuple[int, int] | str,
) -> None:
    """Writes the images at `path`, a folder or an `.npz` file, into `folder`.

    Args:
        path: `CLASS/IMAGE.png` or `.jpg`, perhaps below `train/`, `valid/` and `test/`; or a file.
        folder: Where the arrays go; what was there goes.
        classes: The names in the order of their numbers, or "auto": sorted.
        image_size: Height and width that all images are brought to, or "auto": as they are.

    Raises:
        UserError: Something at `path` is not as it has to be; it is named.
    """
    size = None if isinstance(image_size, str) else image_size
    named = None if isinstance(classes, str) else list(classes)
    if path.is_dir():
        _folder(path, folder, classes=named, size=size)
    elif path.suffix == ".npz" and path.is_file():
        _npz(path, folder, classes=named, size=size)
    elif path.exists():
        raise UserError(f"{path}: is neither a folder of images nor an .npz file")
    else:
        raise UserError(f"{path}: there is no such folder or file (dataset.path in params.yaml)")


def _about(folder: Path, *, classes: Sequence[str], white: int, parts: Sequence[str]) -> None:
    about = {"classes": list(classes), "white": white, "parts": list(parts)}
    artefacts.write_json(folder / ABOUT, about)


# A folder of images


@dataclass(frozen=True)
class Found:
    """What a folder holds: class names, and by part the files in order with their labels."""

    classes: list[str]
    files: Mapping[str, list[tuple[str, int]]]


def survey(root: Path, *, classes: Sequence[str] | None = None) -> Found:
    """Returns what images lie in the folder `root`, ordered by file name, then by class.

    Raises:
        UserError: A link leads out of the folder, a class is empty or unknown, or a name cannot
            be read.
    """
    top = _folders(root, root)
    parted = "train" in top and bool(_folders(root / "train", root))
    if parted:
        strange = sorted(set(top) - set(PARTS))
        if strange:
            raise UserError(
                f"{root}: beside train/, valid/ and test/ there is {strange[0]}/; move it away"
            )
        homes = {part: root / part for part in PARTS if part in top}
    else:
        homes = {ALL: root}
    there = {part: _folders(home, root) for part, home in homes.items()}
    names = sorted(set().union(*there.values())) if classes is None else list(classes)
    for part, found in there.items():
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise UserError(
                f"{homes[part] / unknown[0]}: is no class of dataset.classes in params.yaml; "
                "add it there, or move the folder away"
            )
        missing = [name for name in names if name not in found]
        if missing:
            raise UserError(f"{homes[part]}: there is no folder for the class {missing[0]!r}")
    if len(names) < 2:
        raise UserError(f"{root}: holds {len(names)} class folders; two or more are needed")
    files = {}
    strays: list[str] = []
    for part, home in homes.items():
        listed = []
        for number, name in enumerate(names):
            images = _images(home / name, root, strays)
            if not images:
                raise UserError(f"{home / name}: holds no .png or .jpg image")
            listed += [
                (image, number, f"{home.relative_to(root) / name / image}") for image in images
            ]
        files[part] = [(path, number) for _, number, path in sorted(listed)]
    if strays:
        more = ", ..." if len(strays) > 3 else ""
        warn(
            f"{root}: {len(strays)} files are left out, since they are no .png or .jpg: "
            f"{', '.join(strays[:3])}{more}"
        )
    return Found(names, files)


def _folders(home: Path, root: Path) -> list[str]:
    with os.scandir(home) as entries:
        return sorted(
            _readable(entry, root)
            for entry in entries
            if not entry.name.startswith(".") and entry.is_dir()
        )


def _images(home: Path, root: Path, strays: list[str]) -> list[str]:
    found = []
    with os.scandir(home) as entries:
        for entry in entries:
            name = _readable(entry, root)
            if name.startswith("."):
                continue
            if entry.is_dir():
                raise UserError(f"{entry.path}: is a folder among the images of a class; move it")
            if not name.lower().endswith(_SUFFIXES):
                strays.append(str(Path(entry.path).relative_to(root)))
            elif not entry.is_file():
                raise UserError(f"{entry.path}: is no file")
            else:
                found.append(name)
    return found


def _readable(entry: "os.DirEntry[str]", root: Path) -> str:
    """Returns the name of an entry that may be read: it is text, and lies in `root`."""
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{entry.path!a}: the name is not UTF-8; rename it") from error
    if entry.is_symlink():
        try:
            target = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{entry.path}: is a link that leads nowhere; remove it") from error
        if not target.is_relative_to(root.resolve()):
            raise UserError(
                f"{entry.path}: is a link out of the folder, to {target}; DVC would not see that "
                "it changes: copy what it leads to"
            )
    return entry.name


@dataclass(frozen=True)
class Look:
    """What data of one's own is like, as far as file names and headers tell.

    Attributes:
        classes: The names of the classes.
        counts: Images by part and class.
        sizes: The heights and widths that occur.
        channels: 1 for grey.
    """

    classes: list[str]
    counts: Mapping[str, list[int]]
    sizes: list[tuple[int, int]]
    channels: int


def look(path: Path) -> Look:
    """Returns what the folder or `.npz` file `path` holds, without decoding an image.

    Raises:
        UserError: As `own` does.
    """
    if path.is_dir():
        found = survey(path)
        grey, sizes = _looks(path, found)
        labels = {
            part: np.array([number for _, number in files]) for part, files in found.files.items()
        }
        names, shown, channels = found.classes, list(sizes), 1 if grey else 3
    elif path.suffix == ".npz" and path.is_file():
        with _archive(path) as archive:
            parts, labels, names = _npz_parts(path, archive, classes=None)
            with _member(path, archive, next(iter(parts.values()))[0]) as (header, _):
                height, width, *rest = (*header.shape[1:], 1, 1)[:3]
        shown, channels = [(height, width)], rest[0]
    else:
        raise UserError(f"{path}: is neither a folder of images nor an .npz file")
    counts = {
        part: np.bincount(numbers, minlength=len(names)).tolist()
        for part, numbers in labels.items()
    }
    return Look(names, counts, shown, channels)


def _looks(root: Path, found: Found) -> tuple[bool, dict[tuple[int, int], str]]:
    """Returns whether all images are grey, and the sizes that occur with a file of each."""
    grey = True
    sizes: dict[tuple[int, int], str] = {}
    for name, _ in (file for files in found.files.values() for file in files):
        with _opened(root / name) as image:
            grey = grey and _is_grey(image)
            sizes.setdefault(_upright(image), name)
    return grey, sizes


def _folder(
    root: Path, folder: Path, *, classes: Sequence[str] | None, size: tuple[int, int] | None
) -> None:
    found = survey(root, classes=classes)
    grey, sizes = _looks(root, found)
    if size is None and len(sizes) > 1:
        first, second = list(sizes.items())[:2]
        raise UserError(
            f"{root}: images have {len(sizes)} different sizes ({first[1]} is {_by(first[0])}, "
            f"{second[1]} {_by(second[0])} pixels); set dataset.image_size to [height, width]"
        )
    height, width = size if size is not None else next(iter(sizes))
    shape = (height, width) if grey else (height, width, 3)
    for part, files in found.files.items():
        pixels = (_pixels(root / name, (height, width), grey=grey)[None] for name, _ in files)
        artefacts.write_blocks(
            folder / f"{part}_images.npy", pixels, shape=(len(files), *shape), dtype=np.uint8
        )
        labels = np.array([number for _, number in files], dtype=np.int64)
        artefacts.write_array(folder / f"{part}_labels.npy", labels)
    names = {part: [name for name, _ in files] for part, files in found.files.items()}
    artefacts.write_json(folder / FILES, names)
    _about(folder, classes=found.classes, white=255, parts=list(found.files))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


@contextlib.contextmanager
def _opened(path: Path) -> "Iterator[Image]":
    """Yields an image whose pixels are not decoded yet.

    Raises:
        UserError: The file is no PNG or JPEG, is damaged or claims too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of what may be a bomb; ours is a limit.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise UserError(
                        f"{path}: claims {image.width} x {image.height} pixels, more than "
                        f"{_MOST_PIXELS}; make it smaller or take it out"
                    )
                yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: claims too many pixels ({error}); take it out") from error
    except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError,
            OverflowError, ArithmeticError, zlib.error) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise UserError(f"{path}: is no PNG or JPEG image, or damaged{reason}") from error
    except Exception as error:
        if type(error).__module__ != "struct":  # struct.error of a cut header
            raise
        raise UserError(f"{path}: is a damaged image ({error})") from error


def _is_grey(image: "Image") -> bool:
    return image.mode in ("1", "L", "LA", "I", "I;16", "I;16B")


# The EXIF orientations in which a camera lay on its side.
_SIDEWAYS = (5, 6, 7, 8)
_ORIENTATION = 0x0112


def _upright(image: "Image") -> tuple[int, int]:
    """Returns height and width as a viewer shows the image."""
    sideways = image.format == "JPEG" and image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (image.width, image.height) if sideways else (image.height, image.width)


def _pixels(path: Path, size: tuple[int, int], *, grey: bool) -> np.ndarray:
    """Returns the image as uint8, (height, width) if grey, else (height, width, 3)."""
    from PIL import Image, ImageOps

    with _opened(path) as image:
        if image.format == "JPEG":
            # Decodes at a half, a quarter or an eighth where that is still large enough.
            image.draft(None, (4 * max(size), 4 * max(size)))
            upright = ImageOps.exif_transpose(image)
        else:
            upright = image
        if upright.mode in ("I", "I;16", "I;16B"):
            # PNG with 16 bits: the upper eight are what a screen shows.
            deep = np.asarray(upright).astype(np.int64)
            upright = Image.fromarray((deep >> 8).clip(0, 255).astype(np.uint8))
        if upright.mode in ("LA", "RGBA", "PA") or "transparency" in upright.info:
            # What is transparent lies on white, as in most viewers.
            layers = upright.convert("RGBA")
            paper = Image.new("RGBA", layers.size, "white")
            upright = Image.alpha_composite(paper, layers)
        plain = upright.convert("L" if grey else "RGB")
        if (plain.height, plain.width) != size:
            plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(plain, dtype=np.uint8)


# An .npz file


def _npz(
    path: Path, folder: Path, *, classes: Sequence[str] | None, size: tuple[int, int] | None
) -> None:
    with _archive(path) as archive:
        parts, numbers, names = _npz_parts(path, archive, classes=classes)
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
    _about(folder, classes=names, white=255, parts=list(parts))


def _npz_parts(
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
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
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
def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[tuple[_Header, IO[bytes]]]:
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
    with _member(path, archive, name) as (header, file):
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
    with _member(path, archive, name) as (header, file):
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
        block = max(1, min(_BLOCK, (1 << 26) // max(header.row_bytes, 1)))

        def blocks() -> Iterable[np.ndarray]:
            start = 0
            for rows in _rows(path, name, header, file, block=block):
                pixels = _whole(path, name, rows.reshape(len(rows), *shape), start)
                start += len(rows)
                yield _resized(pixels, resized) if resized != shape else pixels

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


def _resized(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    to = (shape[1], shape[0])
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize(to, Image.Resampling.BILINEAR))
            for image in images
        ]
    )
