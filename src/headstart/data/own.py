"""Data of one's own, a folder of images or an `.npz` file: what it is like, and as arrays.

It comes from anywhere: nothing in it is executed or unpickled, nothing outside of it is read, and
no image or archive is unpacked before its size is known.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.core.errors import WrongValue
from headstart.data import folders, npz
from headstart.data.survey import Survey


def write(
    path: Path, folder: Path, *, classes: Sequence[str] | str, image_size: tuple[int, int] | str
) -> None:
    """Writes the images at `path` into `folder`, a pair of arrays a part.

    Args:
        path: `CLASS/IMAGE.png` or `.jpg`, perhaps below `train/`, `valid/` and `test/`; or a file.
        folder: Where the arrays go; what was there goes.
        classes: The names in the order of their numbers, or "auto": sorted.
        image_size: Height and width that all images are brought to, or "auto": as they are.

    Raises:
        UserError: Something at `path` is not as it has to be; it is named.
        WrongValue: So is one of `path`, `classes` and `image_size`.
    """
    names = None if isinstance(classes, str) else list(classes)
    size = None if isinstance(image_size, str) else image_size
    (folders if _is_folder(path) else npz).write(path, folder, classes=names, size=size)


def survey(path: Path, *, classes: Sequence[str] | str = "auto") -> Survey:
    """Returns what the folder or `.npz` file `path` holds, without decoding an image.

    `classes` are names for those of an `.npz` file that has none of its own.

    Raises:
        UserError: As `write` does.
    """
    if _is_folder(path):
        return folders.survey(path)
    return npz.survey(path, classes=None if isinstance(classes, str) else classes)


def sample(path: Path, *, shape: Sequence[int], images: int, count: int) -> np.ndarray:
    """Returns `count` images at most of those in `path` as uint8 in `shape`, to look at.

    All `images` of a folder are decoded, so that a damaged one is told, and the sample is spread
    over them; of an `.npz` file the first ones are read.

    Raises:
        UserError: As `write` does.
    """
    if not _is_folder(path):
        return npz.first(path, shape=shape, count=count)
    # They are ordered by file and class.
    every = max(images // count, 1)
    decoded = enumerate(folders.decoded(path, shape=shape))
    chosen = [image for number, image in decoded if number % every == 0]
    return np.stack(chosen[:count])


def _is_folder(path: Path) -> bool:
    if path.is_dir() or (path.suffix == ".npz" and path.is_file()):
        return path.is_dir()
    if path.exists():
        raise WrongValue("path", f"{path} is neither a folder of images nor an .npz file")
    raise WrongValue("path", f"there is no folder or file {path}")
