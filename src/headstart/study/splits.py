"""Other splits of the same images: train and test drawn anew, each crossed with all seeds.

Split 0 is the project's own. The others have its sizes, class by class, and so its rows, labels
and costs. Learning rates are chosen on split 0 and taken for all: more splits never search again.
What validates sources stays what it is in every split.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from headstart.core import seeds
from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn, Part
from headstart.data import quality
from headstart.data.raw_data import Raw
from headstart.study import store
from headstart.study.cells_table import Cells
from headstart.study.run import Runner
from headstart.study.sampling import Sampling

# No seed of the grid: all seeds share a split.
_SEED = 0
# What a split draws from, in this order.
_PARTS = ("train", "test")


def order(labels: np.ndarray, number: int) -> np.ndarray:
    """Returns which of the images with `labels` (n,) stand in which place in a split, int64 (n,).

    Images change places within their class alone, so that a part that begins or ends anywhere has
    as many of each class in every split. Split 0 leaves all where they are.
    """
    places = np.arange(len(labels))
    if number:
        for own in np.unique(labels):
            members = np.flatnonzero(labels == own)
            generator = seeds.generator(_SEED, "split", number, int(own))
            places[members] = generator.permutation(members)
    return places


def drawn(data: Raw, number: int) -> Raw:
    """Returns the data with `train` and `test` as split `number` has them; other parts stay."""
    if not number:
        return data
    places = order(_labels(data), number)
    images = np.concatenate([data.parts[name].images for name in _PARTS])
    labels = data.parts["train"].labels
    parts = {
        "train": Part(images[places[: len(labels)]], labels),
        "test": Part(images[places[len(labels) :]], data.parts["test"].labels),
    }
    return dataclasses.replace(data, parts={**data.parts, **parts})


def check(raw: Raw, rows: Mapping[str, Drawn], count: int, *, max_duplicates: int) -> list[str]:
    """Returns warnings about what stands in both parts of a split, of `count`, besides split 0.

    What stands twice in one part of split 0, which is no leak there, may be drawn apart. `rows` are
    those of the raw data that split 0 takes.

    Raises:
        WrongValue: In a split more than `max_duplicates` images stand in train and in test.
    """
    drawn = [(raw.parts[rows[name].raw], rows[name].rows) for name in _PARTS]
    labels = np.concatenate([part.labels[own] for part, own in drawn])
    digests = np.concatenate([quality.digests(part.images, own) for part, own in drawn])
    train = len(rows["train"].rows)

    def leak(number: int) -> tuple[int, int, np.ndarray, np.ndarray]:
        places = order(labels, number)
        own = digests[places]
        _, left, right = np.intersect1d(own[:train], own[train:], return_indices=True)
        return len(left), number, places[:train][left], places[train:][right]

    most, number, left, right = max(map(leak, range(1, count)), key=lambda found: found[0])
    if not most:
        return []

    def name(place: int) -> str:
        part = _PARTS[place >= train]
        return raw.name(rows[part].raw, int(rows[part].rows[place - train * (place >= train)]))

    shown = zip(left[: quality.SHOWN].tolist(), right[: quality.SHOWN].tolist(), strict=True)
    names = "; ".join(f"train: {name(one)} = test: {name(other)}" for one, other in shown)
    said = f"{most} images stand in train and in test of split {number + 1} of {count} "
    said += f"({names}{'; ...' * (most > quality.SHOWN)})"
    if most > max_duplicates:
        raise WrongValue(
            "splits",
            f"{count}, and {said}, where dataset.max_duplicates of params.yaml allows "
            f"{max_duplicates}; take them out of the data, write 1 split, or raise the limit and "
            "distrust the accuracies",
        )
    return [f"{said}, as dataset.max_duplicates {max_duplicates} allows: accuracies too high"]


def shared(data: Raw, count: int, classes: Sequence[int]) -> float:
    """Returns the share of a test part that another of `count` splits tests too, on average.

    Of the images of `classes`; 0 for one split.
    """
    labels, train = _labels(data), len(data.parts["train"].labels)
    tested = []
    for number in range(count):
        places = order(labels, number)[train:]
        tested.append(places[np.isin(labels[places], classes)])
    shares = [
        len(np.intersect1d(one, other, assume_unique=True)) / len(one)
        for one, other in itertools.combinations(tested, 2)
    ]
    return float(np.mean(shares)) if shares else 0.0


def _labels(data: Raw) -> np.ndarray:
    return np.concatenate([data.parts[name].labels for name in _PARTS])


def run(first: Runner) -> tuple[list[Cells], list[Cells]]:
    """Trains what is missing of all splits; `first` is the runner of split 0.

    Returns the rows of the grid at the rates chosen, and those at the rates of no search, empty
    where there was none.

    Raises:
        UserError: Some groups of a split failed; its others and those of the splits before it are
            done and kept.
    """
    grid = first.prepared.grid
    groups = first.prepared.groups
    # While it searches, as if the rates that it chooses were others than those of no search.
    about = (*groups, *groups) if grid.searched else groups
    first.afterwards = (grid.splits - 1) * first.prepared.effort_of(about)
    rows = first.rows()
    effort = first.prepared.effort_of(list(dict.fromkeys((*rows, *groups))))
    cells, unsearched = [], []
    for number in range(grid.splits):
        runner = of_split(first, number)
        runner.afterwards = (grid.splits - 1 - number) * effort
        cells.append(runner.run(rows))
        if grid.searched:
            unsearched.append(runner.unsearched())
    samplings = {
        question: Sampling(
            grid.splits, shared(first.prepared.data, grid.splits, question.target.numbers)
        )
        for question in first.prepared.questions
    }

    def joined(by_split: Sequence[Sequence[Cells]]) -> list[Cells]:
        return [
            _joined(own, samplings[row.question])
            for row, own in zip(rows, zip(*by_split, strict=True), strict=True)
        ]

    return joined(cells), joined(unsearched) if grid.searched else []


def of_split(first: Runner, number: int) -> Runner:
    """Returns what trains a split: another data set, so that its networks have keys of their own.

    Images are held by one split at a time, besides the first.

    Raises:
        UserError: There is no such split.
    """
    if not number:
        return first
    prepared = first.prepared
    if not 0 < number < prepared.grid.splits:
        raise UserError(f"there is no split {number}; the grid has 0 to {prepared.grid.splits - 1}")
    data = drawn(prepared.data, number)

    def say(line: str) -> None:
        first.say(f"split {number + 1} of {prepared.grid.splits}: {line}")

    kept = {**first.store.common, "data": store.data_in_common(data)}
    return Runner(
        dataclasses.replace(prepared, data=data),
        dataclasses.replace(first.store, common=kept),
        say,
        first.engine,
        root=first.root,
        progress=first.progress,
        split=number,
    )


def _joined(cells: Sequence[Cells], sampling: Sampling) -> Cells:
    """Returns one row of the grid from its splits, in their order."""
    return dataclasses.replace(
        cells[0],
        answers=np.concatenate([own.answers for own in cells]),
        finite=np.concatenate([own.finite for own in cells]),
        sampling=sampling,
    )
