"""Which images train, validate and test."""

from collections.abc import Mapping

import numpy as np

from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn
from headstart.core.seeds import generator


def draw(
    labels: Mapping[str, np.ndarray],
    *,
    how: str,
    train_size: float,
    valid_size: float,
    test_size: float,
    seed: int,
) -> dict[str, Drawn]:
    """Returns which images make `train`, `valid` and `test`.

    `published`: the first images of the published training part validate, the next train, and the
    first of the test part test, as in the notebook (cells 9 to 13); of images that nobody has
    divided, the ones after that test. `stratified`: the same, but drawn, each class in proportion
    as nearly as whole images allow. `folders`: the first images of the three given parts.

    Args:
        labels: Labels (n,) by raw part: "train" and "test", these and "valid", or "all".
        how: One of the above.
        train_size, valid_size, test_size: Images, or as a float a fraction of what there is.
        seed: Keys the stratified draw.

    Raises:
        WrongValue: A part is missing, or has not as many images.
        UserError: The parts of the data are no split.
    """
    sizes = {"valid": valid_size, "train": train_size, "test": test_size}
    three = {"train", "valid", "test"} <= labels.keys()
    if how == "folders" and not three:
        raise WrongValue(
            "split",
            f"folders needs train, valid and test, the data has {', '.join(labels)}; write "
            "published or stratified",
        )
    if how != "folders" and "valid" in labels:
        raise WrongValue(
            "split", f"{how} would mix train and valid as they are given; write folders"
        )
    if how != "folders" and "all" not in labels and labels.keys() != {"train", "test"}:
        raise UserError(
            f"the data has the parts {', '.join(labels)}; train and test, these and valid, or "
            "no parts are needed"
        )
    # In the order in which they are taken: the notebook validates on the first images.
    pools = {
        part: part if how == "folders" else "all" if "all" in labels else _POOL[part]
        for part in ("valid", "train", "test")
    }
    drawn: dict[str, Drawn] = {}
    for raw in dict.fromkeys(pools.values()):
        total = len(labels[raw])
        left = np.arange(total, dtype=np.int64)
        share = 0.0
        for part in (part for part, pool in pools.items() if pool == raw):
            size = sizes[part]
            if isinstance(size, float):
                # Rounded together, so that fractions that make 1.0 take each image once.
                count = round((share + size) * total) - round(share * total)
                share += size
            else:
                count = size
            _check_count(part, size, count, pool=raw, total=total, left=len(left))
            if how == "stratified":
                chosen = _stratified(labels[raw][left], count, generator(seed, "split", part))
            else:
                chosen = np.arange(count)
            drawn[part] = Drawn(raw, left[chosen])
            left = np.delete(left, chosen)
    return {part: drawn[part] for part in ("train", "valid", "test")}


_POOL = {"train": "train", "valid": "train", "test": "test"}


def _check_count(part: str, size: float, count: int, *, pool: str, total: int, left: int) -> None:
    of = {"all": "images", "train": "training images", "valid": "validation images"}
    there = f"{total} {of.get(pool, 'test images')}"
    if count < 1:
        raise WrongValue(f"{part}_size", f"{size} of the {there} is no image")
    if count > left:
        taken = f", of which other parts take {total - left}" if left < total else ""
        raise WrongValue(f"{part}_size", f"{size} is more than there are: {there}{taken}")


def _stratified(labels: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Returns `count` positions, ascending: of each class its share, by largest remainders."""
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = count * sizes / len(labels)
    takes = np.floor(quotas).astype(np.int64)
    rest = np.argsort(takes - quotas, kind="stable")[: count - takes.sum()]
    takes[rest] += 1
    chosen = [
        random.permutation(np.flatnonzero(labels == number))[:take]
        for number, take in zip(classes, takes, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
