"""A folder of one's own, `CLASS/IMAGE.png`, perhaps below `train/`, `valid/` and `test/`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError, WrongValue, warn
from headstart.data import images
from headstart.data.raw_data import ALL, FILES, write_about
from headstart.data.survey import Survey, counted

PARTS = ("train", "valid", "test")
_SUFFIXES = (".png", ".jpg", ".jpeg")
# Files that a warning names.
_SHOWN = 3


@dataclass(frozen=True)
class _Listing:
    """The names of the classes, and by part the files, below the folder, with their labels."""

    classes: list[str]
    files_by_part: Mapping[str, list[tuple[str, int]]]

    @property
    def labels(self) -> dict[str, np.ndarray]:
        return {
            part: np.array([label for _, label in files], dtype=np.int64)
            for part, files in self.files_by_part.items()
        }


def survey(root: Path) -> Survey:
    """Returns what the folder `root` holds, as far as names and headers of files tell.

    Raises:
        UserError: A link leads out of the folder, a class is empty, or a file cannot be read.
    """
    listing = _listed(root, None)
    grey, sizes = _headers(root, listing)
    return counted(listing.classes, listing.labels, list(sizes), 1 if grey else 3)


def write(
    root: Path, folder: Path, *, classes: Sequence[str] | None, size: tuple[int, int] | None
) -> None:
    """Writes the images below `root`, ordered by file name, then by class, into `folder`.

    There they are `<part>_images.npy` uint8 in `size` (height, width), or in their own if None,
    `<part>_labels.npy` by `classes`, or sorted names if None, files.json and about.json.

    Raises:
        UserError: As `survey` does.
        WrongValue: `classes` are not the folders, or without `size` sizes differ.
    """
    listing = _listed(root, classes)
    grey, sizes = _headers(root, listing)
    if size is None and len(sizes) > 1:
        shown = ", ".join(f"{name} is {h} x {w}" for (h, w), name in list(sizes.items())[:2])
        raise WrongValue(
            "image_size",
            f"auto, but {root} has images of {len(sizes)} sizes ({shown} pixels); write "
            "[height, width]",
        )
    shape = (*(size or next(iter(sizes))), *([] if grey else [3]))
    for part, files in listing.files_by_part.items():
        rows = (images.read(root / name, shape=shape)[np.newaxis] for name, _ in files)
        artefacts.write_blocks(
            folder / f"{part}_images.npy", rows, shape=(len(files), *shape), dtype=np.uint8
        )
        artefacts.write_array(folder / f"{part}_labels.npy", listing.labels[part])
    names = {part: [name for name, _ in files] for part, files in listing.files_by_part.items()}
    artefacts.write_json(folder / FILES, names)
    write_about(folder, classes=listing.classes, white=255, parts=list(names))


def decoded(root: Path, *, shape: Sequence[int]) -> Iterator[np.ndarray]:
    """Yields every image below `root` as uint8 in `shape`, in the order of `write`.

    Raises:
        UserError: As `survey` does; or an image is damaged.
    """
    for files in _listed(root, None).files_by_part.values():
        for name, _ in files:
            yield images.read(root / name, shape=shape)


def _listed(root: Path, classes: Sequence[str] | None) -> _Listing:
    homes = _homes(root)
    present = {part: _subfolders(home, root) for part, home in homes.items()}
    names = sorted(set().union(*present.values())) if classes is None else list(classes)
    for part, home in homes.items():
        unknown = sorted(set(present[part]) - set(names))
        if unknown:
            raise WrongValue(
                "classes", f"{home / unknown[0]} is no class; add it there, or move the folder away"
            )
        missing = [name for name in names if name not in present[part]]
        if missing:
            raise UserError(f"{home}: there is no folder for the class {missing[0]!r}")
    if len(names) < 2:
        raise UserError(f"{root}: holds {len(names)} class folders; two or more are needed")
    strays: list[str] = []
    files_by_part = {}
    for part, home in homes.items():
        ordered = sorted(
            (file, label, str(home.relative_to(root) / name / file))
            for label, name in enumerate(names)
            for file in _image_names(home / name, root, strays)
        )
        files_by_part[part] = [(path, label) for _, label, path in ordered]
    if strays:
        warn(
            f"{root}: {len(strays)} files are left out, since they are no .png or .jpg: "
            f"{', '.join(strays[:_SHOWN])}{', ...' * (len(strays) > _SHOWN)}"
        )
    return _Listing(names, files_by_part)


def _homes(root: Path) -> dict[str, Path]:
    """Returns the folders that hold those of the classes, by part."""
    top = _subfolders(root, root)
    # A class may be called train: only a folder of folders is a part.
    if "train" not in top or not _subfolders(root / "train", root):
        return {ALL: root}
    strange = sorted(set(top) - set(PARTS))
    if strange:
        beside = f"beside train/, valid/ and test/ there is {strange[0]}/"
        raise UserError(f"{root}: {beside}; move it away")
    return {part: root / part for part in PARTS if part in top}


def _subfolders(home: Path, root: Path) -> list[str]:
    with os.scandir(home) as entries:
        return sorted(
            _readable(entry, root)
            for entry in entries
            if not entry.name.startswith(".") and entry.is_dir()
        )


def _image_names(home: Path, root: Path, strays: list[str]) -> list[str]:
    """Returns the images in the folder of a class; other files are added to `strays`."""
    names = []
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
                names.append(name)
    if not names:
        raise UserError(f"{home}: holds no .png or .jpg image")
    return names


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


def _headers(root: Path, listing: _Listing) -> tuple[bool, dict[tuple[int, int], str]]:
    """Returns whether all images are grey, and the sizes that occur with a file of each."""
    grey = True
    sizes: dict[tuple[int, int], str] = {}
    for files in listing.files_by_part.values():
        for name, _ in files:
            with images.opened(root / name) as image:
                grey = grey and images.is_grey(image)
                sizes.setdefault(images.upright_size(image), name)
    return grey, sizes
