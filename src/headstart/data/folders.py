"""Images of one's own, and those that scikit-learn ships, made into arrays under data/raw/.

A folder or file here comes from anywhere: nothing in it is executed or unpickled, nothing outside
of it is read, and no image or archive is unpacked before its size is known.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError, warn
from headstart.data.raw_data import ALL, FILES

if TYPE_CHECKING:
    pass
from headstart.data import images
from headstart.data.raw_data import write_about

PARTS = ("train", "valid", "test")


_SUFFIXES = (".png", ".jpg", ".jpeg")


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


def looks(root: Path, found: Found) -> tuple[bool, dict[tuple[int, int], str]]:
    """Returns whether all images are grey, and the sizes that occur with a file of each."""
    grey = True
    sizes: dict[tuple[int, int], str] = {}
    for name, _ in (file for files in found.files.values() for file in files):
        with images.opened(root / name) as image:
            grey = grey and images.is_grey(image)
            sizes.setdefault(images.upright_size(image), name)
    return grey, sizes


def write(
    root: Path, folder: Path, *, classes: Sequence[str] | None, size: tuple[int, int] | None
) -> None:
    """Writes the images of a folder of one's own into `folder` as arrays, one pair a part."""
    found = survey(root, classes=classes)
    grey, sizes = looks(root, found)
    if size is None and len(sizes) > 1:
        first, second = list(sizes.items())[:2]
        raise UserError(
            f"{root}: images have {len(sizes)} different sizes ({first[1]} is {_by(first[0])}, "
            f"{second[1]} {_by(second[0])} pixels); set dataset.image_size to [height, width]"
        )
    height, width = size if size is not None else next(iter(sizes))
    shape = (height, width) if grey else (height, width, 3)
    for part, files in found.files.items():
        rows = (images.read(root / name, shape=shape)[None] for name, _ in files)
        artefacts.write_blocks(
            folder / f"{part}_images.npy", rows, shape=(len(files), *shape), dtype=np.uint8
        )
        labels = np.array([number for _, number in files], dtype=np.int64)
        artefacts.write_array(folder / f"{part}_labels.npy", labels)
    names = {part: [name for name, _ in files] for part, files in found.files.items()}
    artefacts.write_json(folder / FILES, names)
    write_about(folder, classes=found.classes, white=255, parts=list(found.files))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
