"""Cutting a dataset into train, valid and test, and into source and target task. NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Part


@dataclass(frozen=True)
class Task:
    """The classes of one task: label i in the task is class `numbers[i]` of the dataset."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]


class NoSourceTask(WrongValue):
    """The target task leaves too few classes for a source task."""

    def instead(self, advice: str) -> WrongValue:
        """Returns the same with what else the user can do."""
        return WrongValue(self.key, f"{self.reason}, or {advice}")


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
        WrongValue: A class does not exist, is named twice or stands in both tasks, or no two
            classes are left for the source task.
    """
    target = _numbers(names, aliases, target_classes, key="target_classes")
    if source_classes == "none":
        source: tuple[int, ...] = ()
    elif source_classes == "others":
        source = tuple(number for number in range(len(names)) if number not in target)
        if len(source) < 2:
            raise NoSourceTask(
                "target_classes",
                f"{list(target_classes)} leaves {len(source)} of the {len(names)} classes for the "
                "source task; leave at least two",
            )
    else:
        source = _numbers(names, aliases, source_classes, key="source_classes")
    both = [names[number] for number in source if number in target]
    if both:
        raise WrongValue(
            "source_classes",
            f"{', '.join(both)} is a target class too; name each class in one of the two tasks",
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
            raise WrongValue(key, f"there is no class {entry!r}; there are {known}")
        if number in numbers:
            raise WrongValue(key, f"{names[number]} is named twice")
        numbers.append(number)
    return tuple(numbers)


def cut(part: Part, task: Task) -> Part:
    """Returns the images of the task's classes, in their order, with labels from 0 (int64)."""
    chosen, labels = positions(part.labels, task)
    return Part(images=part.images[chosen], labels=labels)


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
            f"{where}: holds no image of {', '.join(empty)}; make train_size, valid_size or "
            "test_size of the dataset larger, or choose other classes"
        )
    return [
        f"{where}: only {count} images of {name}; expect wide intervals"
        for name, count in zip(task.names, counts, strict=True)
        if count < _FEW
    ]


# Below this many images of a class an accuracy on it moves in steps of 5 % or more.
_FEW = 20
