"""Images of one's own, and those that scikit-learn ships, as arrays under data/raw/."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.data.raw_data import ALL, write_about

if TYPE_CHECKING:
    pass
from headstart.data import folders, npz


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
    write_about(folder, classes=[str(name) for name in found.target_names], white=16, parts=[ALL])


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
        folders.write(path, folder, classes=named, size=size)
    elif path.suffix == ".npz" and path.is_file():
        npz.write(path, folder, classes=named, size=size)
    elif path.exists():
        raise UserError(f"{path}: is neither a folder of images nor an .npz file")
    else:
        raise UserError(f"{path}: there is no such folder or file (dataset.path in params.yaml)")


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
        found = folders.survey(path)
        grey, sizes = folders.looks(path, found)
        labels = {
            part: np.array([number for _, number in files]) for part, files in found.files.items()
        }
        names, shown, channels = found.classes, list(sizes), 1 if grey else 3
    elif path.suffix == ".npz" and path.is_file():
        with npz.opened_archive(path) as archive:
            parts, labels, names = npz.npz_parts(path, archive, classes=None)
            with npz.member(path, archive, next(iter(parts.values()))[0]) as (header, _):
                height, width, *rest = (*header.shape[1:], 1, 1)[:3]
        shown, channels = [(height, width)], rest[0]
    else:
        raise UserError(f"{path}: is neither a folder of images nor an .npz file")
    counts = {
        part: np.bincount(numbers, minlength=len(names)).tolist()
        for part, numbers in labels.items()
    }
    return Look(names, counts, shown, channels)
