"""What spoils a comparison before it starts: duplicates and blank images."""

import hashlib
from collections.abc import Mapping

import numpy as np

from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn
from headstart.data.raw_data import Raw, blocks

SHOWN = 5
"""Images that a message names."""


def check(raw: Raw, drawn: Mapping[str, Drawn], *, max_duplicates: int) -> list[str]:
    """Returns warnings about the images that train, valid and test are made of.

    Raises:
        WrongValue: More than `max_duplicates` images stand in more than one of the three, which
            makes every accuracy a lie.
        UserError: All images are blank.
    """
    used = {name: (raw.parts[part.raw].images, part.rows) for name, part in drawn.items()}
    warnings = []
    count, examples = duplicates(used)
    if count:
        names = "; ".join(
            " = ".join(f"{name}: {raw.name(drawn[name].raw, row)}" for name, row in places.items())
            for places in examples
        )
        leak = f"{count} images stand in more than one of train, valid and test "
        leak += f"({names}{'; ...' * (count > len(examples))})"
        if count > max_duplicates:
            raise WrongValue(
                "max_duplicates",
                f"{max_duplicates}, and {leak}; take them out of the data, or raise the limit and "
                "distrust the accuracies",
            )
        warnings.append(f"{leak}, as max_duplicates {max_duplicates} allows: accuracies too high")
    blank = {name: blank_images(images, rows) for name, (images, rows) in used.items()}
    count = sum(map(len, blank.values()))
    if count:
        shown = [raw.name(drawn[name].raw, row) for name, rows in blank.items() for row in rows[:2]]
        blanks = f"are of one value all over ({', '.join(shown)}{', ...' * (count > len(shown))})"
        total = sum(len(part.rows) for part in drawn.values())
        if count == total:
            raise UserError(f"all {total} images {blanks}: there is nothing to learn from")
        warnings.append(f"{count} of {total} images {blanks}")
    return warnings


def duplicates(
    used: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> tuple[int, list[dict[str, int]]]:
    """Returns how many images stand, pixel by pixel, in more than one of `used`, and the first few.

    `used` are images (n, ...) and the rows (k,) that count, by name ("train", "valid", "test").
    Each of the few is told by where it stands: its first row, by name.
    """
    by_name = {
        name: np.unique(digests(images, rows), return_index=True)
        for name, (images, rows) in used.items()
    }
    every = np.concatenate([own for own, _ in by_name.values()])
    distinct, times = np.unique(every, return_counts=True)
    several = distinct[times > 1]
    examples = [
        {
            name: int(used[name][1][first[np.searchsorted(own, digest)]])
            for name, (own, first) in by_name.items()
            if digest in own
        }
        for digest in several[:SHOWN]
    ]
    return len(several), examples


def digests(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns a hash (k,) uint64 of each image at `rows`, the same of the same pixels.

    References:
        BLAKE2b with 64 bits: among a million different images two agree by chance in one of
        thirty million datasets.
    """
    hashed = (
        int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), "little")
        for block, _ in blocks(images, rows)
        for image in block
    )
    return np.fromiter(hashed, dtype=np.uint64, count=len(rows))


def blank_images(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns those of `rows` whose images are of one value all over: they carry nothing."""
    blank = [
        at[(flat := block.reshape(len(block), -1)).max(axis=1) == flat.min(axis=1)]
        for block, at in blocks(images, rows)
    ]
    return np.concatenate(blank) if blank else rows[:0]
