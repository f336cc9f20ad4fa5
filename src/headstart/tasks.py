"""Cutting a dataset into train, valid and test, and into source and target task. NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.errors import UserError
from headstart.parts import Drawn, Part
from headstart.seeds import generator


@dataclass(frozen=True)
class Task:
    """The classes of one task: label i in the task is class `numbers[i]` of the dataset."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]


def source_and_target(
    names: Sequence[str],
    aliases: Mapping[str, str],
    *,
    target_classes: Sequence[int | str],
    source_classes: str | Sequence[int | str],
) -> tuple[Task, Task]:
    """Returns the source and the target task among the classes `names`.

    Target labels follow the order of `target_classes` (in the notebook: sandal 0, shirt 1),
    source labels the order of the dataset's numbers or of the list.

    Raises:
        UserError: A class does not exist, is named twice or stands in both tasks, or no two
            classes are left for the source task.
    """
    target = _numbers(names, aliases, target_classes, key="tasks.target_classes")
    if source_classes == "none":
        source: tuple[int, ...] = ()
    elif source_classes == "others":
        source = tuple(number for number in range(len(names)) if number not in target)
        if len(source) < 2:
            raise UserError(
                f"params.yaml: tasks.target_classes: {list(target_classes)} leaves {len(source)} "
                f"of the {len(names)} classes for the source task; leave at least two, or "
                "bring a network (source_training.from, with tasks.source_classes: none)"
            )
    else:
        source = _numbers(names, aliases, source_classes, key="tasks.source_classes")
    both = [names[number] for number in source if number in target]
    if both:
        raise UserError(
            f"params.yaml: tasks.source_classes: {', '.join(both)} is a target class too; "
            "name each class in one of the two tasks"
        )
    return tuple(
        Task(numbers=numbers, names=tuple(names[number] for number in numbers))
        for numbers in (source, target)
    )  # type: ignore[return-value]


def _numbers(
    names: Sequence[str], aliases: Mapping[str, str], classes: Sequence[int | str], *, key: str
) -> tuple[int, ...]:
    by_name = {name.casefold(): number for number, name in enumerate(names)}
    by_name |= {alias.casefold(): by_name[name] for alias, name in aliases.items()}
    numbers = []
    for entry in classes:
        number = by_name.get(entry.casefold()) if isinstance(entry, str) else entry
        if number is None or not 0 <= number < len(names):
            known = ", ".join(f"{number} {name}" for number, name in enumerate(names))
            raise UserError(f"params.yaml: {key}: there is no class {entry!r}; there are {known}")
        if number in numbers:
            raise UserError(f"params.yaml: {key}: {names[number]} is named twice")
        numbers.append(number)
    return tuple(numbers)


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


def cut(part: Part, task: Task) -> Part:
    """Returns the images of the task's classes, in their order, with labels from 0 (int64)."""
    chosen, labels = positions(part.labels, task)
    return Part(images=part.images[chosen], labels=labels)


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


def positions(labels: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the images of the task's classes are, ascending, and their labels from 0.

    Both are int64 (k,); positions are those in `labels`.
    """
    most = max([*task.numbers, int(labels.max(initial=0))])
    label_of = np.full(most + 1, -1, dtype=np.int64)
    label_of[np.array(task.numbers, dtype=np.int64)] = np.arange(len(task.numbers))
    cut_labels = label_of[labels]
    chosen = np.flatnonzero(cut_labels >= 0)
    return chosen, cut_labels[chosen]


def check_classes(part: Part, task: Task, *, where: str) -> list[str]:
    """Returns warnings about classes with few images in `part`.

    Raises:
        UserError: A class of the task has no image in `part`.
    """
    counts = np.bincount(part.labels, minlength=len(task.names))
    empty = [name for name, count in zip(task.names, counts, strict=True) if count == 0]
    if empty:
        raise UserError(
            f"{where}: holds no image of {', '.join(empty)}; make dataset.train_size, valid_size "
            "or test_size in params.yaml larger, or choose other classes"
        )
    return [
        f"{where}: only {count} images of {name}; expect wide intervals"
        for name, count in zip(task.names, counts, strict=True)
        if count < _FEW
    ]


# Below this many images of a class an accuracy on it moves in steps of 5 % or more.
_FEW = 20
