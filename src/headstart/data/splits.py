"""Which images train, validate and test."""

from collections.abc import Mapping

import numpy as np

from headstart.core.errors import UserError
from headstart.core.parts import Drawn, Part
from headstart.core.seeds import generator


def check_sizes(
    *, train_size: int, valid_size: int, test_size: int, published_train: int, published_test: int
) -> None:
    """Refuses sizes that the published parts cannot fill.

    Raises:
        UserError: Names the key, the value and how many images there are.
    """
    left = published_train - valid_size
    if left < 1:
        raise UserError(
            f"params.yaml: dataset.valid_size: {valid_size} leaves none of the {published_train} "
            "published training images to train on; make it smaller"
        )
    if train_size > left:
        raise UserError(
            f"params.yaml: dataset.train_size: {train_size} is more than the {left} training "
            f"images that dataset.valid_size {valid_size} leaves of {published_train}"
        )
    if test_size > published_test:
        raise UserError(
            f"params.yaml: dataset.test_size: {test_size} is more than the {published_test} "
            "published test images"
        )


def split(
    published: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    *,
    train_size: int,
    valid_size: int,
    test_size: int,
) -> dict[str, Part]:
    """Returns `train`, `valid` and `test` in the published order, as the notebook cut them.

    The first `valid_size` published training images validate, the next `train_size` train;
    the first `test_size` published test images test. See notebook cells 9 to 13.

    Args:
        published: Training images and labels, test images and labels.
        train_size: Number of images to train on.
        valid_size: Number of images to validate on.
        test_size: Number of images to test on.
    """
    train_images, train_labels, test_images, test_labels = published
    valid, train = slice(0, valid_size), slice(valid_size, valid_size + train_size)
    return {
        "train": Part(train_images[train], train_labels[train]),
        "valid": Part(train_images[valid], train_labels[valid]),
        "test": Part(test_images[:test_size], test_labels[:test_size]),
    }


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
        train_size: Number of images, or as a float a fraction of what there is.
        valid_size: The same.
        test_size: The same.
        seed: Keys the stratified draw.

    Raises:
        UserError: A part is missing, or has not as many images; names the key.
    """
    sizes = {"valid": valid_size, "train": train_size, "test": test_size}
    three = {"train", "valid", "test"} <= labels.keys()
    if how == "folders" and not three:
        raise UserError(
            f"params.yaml: dataset.split: folders needs train, valid and test, the data has "
            f"{', '.join(labels)}; write published or stratified"
        )
    if how != "folders" and "valid" in labels:
        raise UserError(
            f"params.yaml: dataset.split: {how} would mix train and valid as they are given; "
            "write folders"
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
        raise UserError(f"params.yaml: dataset.{part}_size: {size} of the {there} is no image")
    if count > left:
        taken = f", of which other parts take {total - left}" if left < total else ""
        raise UserError(
            f"params.yaml: dataset.{part}_size: {size} is more than there are: {there}{taken}"
        )


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
