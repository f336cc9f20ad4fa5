"""What spoils a comparison before it starts: duplicates and blank images."""

import hashlib
from collections.abc import Mapping

import numpy as np

from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn
from headstart.data.raw_data import Raw, blocks

# Images that a message names.
_SHOWN = 5


def check(raw: Raw, drawn: Mapping[str, Drawn], *, max_duplicates: int) -> list[str]:
    """Returns warnings about the images that train, valid and test are made of.

    Raises:
        WrongValue: More than `max_duplicates` images stand in more than one of the three, which
            makes every accuracy a lie.
        UserError: All images are blank.
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
            raise WrongValue(
                "max_duplicates",
                f"{max_duplicates}, and {told}; take them out of the data, or raise the limit and "
                "distrust the accuracies",
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
    for block, _ in blocks(images, rows):
        for image in block:
            digest = hashlib.blake2b(image.data, digest_size=8).digest()
            found[at] = int.from_bytes(digest, "little")
            at += 1
    return found


def blank_images(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns those of `rows` whose images are of one value all over: they carry nothing."""
    blank = [
        at[block.reshape(len(block), -1).max(axis=1) == block.reshape(len(block), -1).min(axis=1)]
        for block, at in blocks(images, rows)
    ]
    return np.concatenate(blank) if blank else rows[:0]
