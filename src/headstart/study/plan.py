"""What is trained on what: budgets, subsets, orders and groups. NumPy only, no training.

Every draw is keyed by seed, task and name, so that any part of the plan can be made alone.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from headstart.core import seeds
from headstart.core.errors import WrongValue
from headstart.core.parts import Part
from headstart.data.tasks import Task, source_and_target
from headstart.params.networks import Network
from headstart.params.networks import labels as labels_of
from headstart.params.strategies import ARMS, Phase, Strategy
from headstart.study.budget import Budget
from headstart.study.parameters import ALL, ALL_PAIRS, TRAINED, Grid

# No seed of the grid: the shifted images are one data set that all seeds share.
_SHIFT_SEED = 0
_ENOUGH_TO_VALIDATE, _FOLDS = 25, 5
# Among what is kept of a search's training.
LOSSES = "losses"
# Marks the places of a batch that stay empty.
EMPTY = -1
# Above this share of the pixels, what is saved no longer pays for the basis (measured at 784).
_WORTH_A_SPAN = 0.7


@dataclass(frozen=True)
class Question:
    """One target task on images shifted by up to `shift` pixels, with the source task before it."""

    source: Task
    target: Task
    shift: int

    @property
    def name(self) -> str:
        """The target classes' names joined by `_`."""
        return "_".join(self.target.names)


@dataclass(frozen=True)
class Row:
    """A cell of the grid without its seed: what one row of summary.csv is about."""

    task: str
    shift: int
    network: str
    training: str
    labels: int
    arm: str

    @property
    def name(self) -> str:
        """What progress and errors call it."""
        shift = f"/shift={self.shift}" if self.shift else ""
        return f"{self.task}{shift}/{self.network}/{self.training}/labels={self.labels}/{self.arm}"


@dataclass(frozen=True)
class _Seeds:
    """Some networks that differ in their seed alone, and may be trained together.

    Who trains together acts on no byte, so that any part of a group may train alone.
    """

    seeds: tuple[int, ...]

    def of(self, seeds: Iterable[int]) -> Self:
        """Returns the same with other seeds."""
        return replace(self, seeds=tuple(seeds))

    def split(self, size: int) -> Iterator[Self]:
        """Yields groups of at most `size` of the seeds."""
        for start in range(0, len(self.seeds), size):
            yield self.of(self.seeds[start : start + size])

    @property
    def _seeds(self) -> str:
        first, last = self.seeds[0], self.seeds[-1]
        whole = self.seeds == tuple(range(first, last + 1))
        return f"seeds={first}-{last}" if whole else f"seeds={','.join(map(str, self.seeds))}"


@dataclass(frozen=True)
class SourceGroup(_Seeds):
    """Source networks: one source task and network, some seeds.

    With `validated` their losses on the validation images are asked for too.
    """

    question: Question
    network: Network
    label: str = field(compare=False)
    learning_rate: float
    validated: bool = False

    @property
    def name(self) -> str:
        """What progress and errors call it."""
        rate = f"learning_rate={self.learning_rate:g}"
        return f"source of {self.question.name}/{self.label}/{rate}/{self._seeds}"


@dataclass(frozen=True)
class Group(_Seeds):
    """Networks of one row of the grid, some seeds.

    The labels in the half-open range `validates` of a seed's order validate and do not train:
    none, except in a search for the learning rate.
    """

    row: Row
    question: Question
    network: Network
    budget: Budget
    learning_rate: float
    source_learning_rate: float
    validates: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """What progress and errors call it."""
        rate = f"learning_rate={self.learning_rate:g}"
        first, end = self.validates
        validates = f"/validates={first}-{end - 1}" if self.searches else ""
        return f"{self.row.name}/{rate}{validates}/{self._seeds}"

    @property
    def searches(self) -> bool:
        """Whether this is a training of the search, which validates and is not tested."""
        return self.validation_labels > 0

    @property
    def validation_labels(self) -> int:
        """The labels that validate."""
        first, end = self.validates
        return end - first

    @property
    def strategy(self) -> Strategy:
        """What trains when, and whether it starts from a source network."""
        return ARMS[self.row.arm]

    @property
    def training_labels(self) -> int:
        """The labels that train: the budget without what validates."""
        return self.row.labels - self.validation_labels

    @property
    def source(self) -> SourceGroup:
        """The source networks that the group's transferred arms start from."""
        return SourceGroup(
            self.seeds, self.question, self.network, self.row.network, self.source_learning_rate
        )


Work = Group | SourceGroup


def questions(
    grid: Grid, classes: Sequence[str], aliases: Mapping[str, str]
) -> tuple[Question, ...]:
    """Returns the grid's target tasks, each with its source task, times its shifts.

    Raises:
        WrongValue: A class does not exist, or too few classes are left for the source task.
    """
    # Where no source network is trained the target task may take all classes.
    idle = grid.source_classes == "others" and TRAINED not in grid.sources
    source_classes = "none" if idle else grid.source_classes

    def pair(target_classes: Sequence[int | str]) -> tuple[Task, Task]:
        return source_and_target(
            classes, aliases, target_classes=target_classes, source_classes=source_classes
        )

    wanted: Sequence[Sequence[int | str]]
    if grid.target_tasks == ALL_PAIRS:
        wanted = list(itertools.combinations(classes, 2))
    else:
        wanted = [task for task in grid.target_tasks if not isinstance(task, str)]
    pairs = [pair(task) for task in wanted]
    names = ["_".join(target.names) for _, target in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise WrongValue(
            "target_tasks",
            f"two tasks are called {twice[0]}, after their classes; name each task once, or "
            "rename a class",
        )
    shifted = pairs if grid.shifted_tasks == ALL else [pair(task) for task in grid.shifted_tasks]
    strange = [target.names for source, target in shifted if (source, target) not in pairs]
    if strange:
        raise WrongValue("shifted_tasks", f"{list(strange[0])} is none of target_tasks")
    asked = []
    for both in pairs:
        asked += [Question(*both, shift) for shift in (grid.shifts if both in shifted else (0,))]
    return tuple(asked)


def label_budgets(grid: Grid, *, available: int, classes: int, task: str) -> tuple[int, ...]:
    """Returns the grid's label budgets, ascending.

    `available` are the training images of `task`, `classes` the number of its classes.

    Raises:
        WrongValue: A budget is above the data, has no label for some class, or stands there twice.
    """
    budgets = []
    for entry in grid.labels:
        labels = available if entry == ALL else int(entry)
        if labels > available:
            raise WrongValue(
                "labels",
                f"{labels} is more than the {available} training images of {task}; make it "
                "smaller, write all, or raise dataset.train_size",
            )
        validate = [end - first for first, end in folds(grid, labels)] if grid.searched else [0]
        if labels - max(validate) < classes or (grid.searched and min(validate) < 1):
            raise WrongValue(
                "labels",
                f"{labels} is too small for the {classes} classes of {task}: at least one label a "
                "class has to train (and one to validate where learning rates are searched)",
            )
        budgets.append(labels)
    if len(set(budgets)) < len(budgets):
        raise WrongValue(
            "labels", f"all is {available} for {task}, which stands there as a number too"
        )
    return tuple(sorted(budgets))


def folds(grid: Grid, labels: int) -> list[tuple[int, int]]:
    """Returns which of a seed's first `labels` validate in a search, as half-open ranges.

    The last `validation_share` of them; of fewer than 25 that would be too few to tell rates
    apart, so that each fifth validates once, in a training of its own.
    """
    if labels >= _ENOUGH_TO_VALIDATE:
        return [(labels - round(grid.validation_share * labels), labels)]
    parts = np.array_split(np.arange(labels), min(_FOLDS, labels))
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def interleaved(labels: np.ndarray, *, classes: int, generator: np.random.Generator) -> np.ndarray:
    """Returns a class-interleaved permutation of the positions in `labels`, int64 (n,).

    Classes take turns from the lowest number, each in random order, until one has no more: the
    first k hold every class as equally as can be, and are the first of any larger k.
    """
    members = [generator.permutation(np.flatnonzero(labels == one)) for one in range(classes)]
    turn = np.concatenate([np.arange(len(positions)) for positions in members])
    number = np.repeat(np.arange(classes), [len(positions) for positions in members])
    return np.concatenate(members)[np.lexsort((number, turn))].astype(np.int64)


def subset(labels: np.ndarray, *, classes: int, seed: int, task: str) -> np.ndarray:
    """Returns the order in which a seed spends labels: a budget of k is the first k of it."""
    return interleaved(labels, classes=classes, generator=seeds.generator(seed, task, "subset"))


def steps(budget: Budget, *, count: int, batch_size: int) -> int:
    """Returns how many updates `budget` makes of `count` labels."""
    return budget.steps or budget.amount * math.ceil(count / batch_size)


def phases(
    strategy: Strategy, budget: Budget, *, count: int, batch_size: int, frozen_fraction: float
) -> tuple[Phase, ...]:
    """Returns the phases of a training on `count` labels, in updates.

    Whole epochs where the budget counts epochs, as the pipeline has it.
    """
    updates = 1 if budget.steps else math.ceil(count / batch_size)
    return tuple(
        Phase(updates * phase.amount, phase.layers)
        for phase in strategy.phases(budget.amount, frozen_fraction=frozen_fraction)
    )


def batches(
    budget: Budget, *, count: int, batch_size: int, seed: int, task: str, name: str = "order"
) -> np.ndarray:
    """Returns the positions of the samples in every batch, int32 (steps, min(batch_size, count)).

    `epochs`: each epoch is a fresh permutation and its last batch may be smaller, filled up
    with EMPTY. `steps`: a stream of fresh permutations, cut in full batches.
    """
    width = min(batch_size, count)
    total = steps(budget, count=count, batch_size=batch_size)
    passes = budget.epochs or math.ceil(total * width / count)
    orders = np.empty((passes, count), dtype=np.int32)
    for number in range(passes):
        orders[number] = seeds.generator(seed, task, name, number + 1).permutation(count)
    if budget.steps:
        return orders.reshape(-1)[: total * width].reshape(total, width)
    whole = math.ceil(count / width) * width
    filled = np.full((passes, whole), EMPTY, dtype=np.int32)
    filled[:, :count] = orders
    return filled.reshape(total, width)


def shifted(part: Part, *, shift: int, task: str, name: str) -> Part:
    """Returns images moved by up to `shift` pixels down and right or up and left, filled with 0.

    Each image has its own draw, uniform over the square; the same for every seed of the study.
    """
    if not shift:
        return part
    count, height, width = part.images.shape[:3]
    moves = seeds.generator(_SHIFT_SEED, task, "shift", shift, name).integers(
        -shift, shift + 1, size=(count, 2)
    )
    margin = ((0, 0), (shift, shift), (shift, shift)) + ((0, 0),) * (part.images.ndim - 3)
    padded = np.pad(part.images, margin)
    rows = shift - moves[:, :1] + np.arange(height)
    columns = shift - moves[:, 1:] + np.arange(width)
    images = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return Part(images, part.labels)


def groups(
    grid: Grid, asked: Sequence[Question], *, available: Mapping[str, int]
) -> Iterator[Group]:
    """Yields the rows of the grid with all seeds, at the rates that are taken unsearched.

    `asked` comes from `questions`; `available` are the training images by the target task's name.
    """
    networks = list(zip(labels_of(grid.networks), grid.networks, strict=True))
    for question, (label, network) in itertools.product(asked, networks):
        budgets = label_budgets(
            grid,
            available=available[question.name],
            classes=len(question.target.names),
            task=question.name,
        )
        for arm, budget, labels in itertools.product(grid.arms, grid.training, budgets):
            row = Row(question.name, question.shift, label, str(budget), labels, arm)
            seeds = tuple(range(grid.seeds))
            rates = grid.reference_rate, grid.source_training.learning_rate
            yield Group(seeds, row, question, network, budget, *rates)


def source_search(group: SourceGroup, grid: Grid) -> Iterator[SourceGroup]:
    """Yields the trainings that choose the source network's learning rate, one a rate.

    Their seeds, as those of `search`, are the first ones however many the rows have: more seeds
    later change no choice.
    """
    for rate in sorted(grid.learning_rates):
        searched = group.of(range(grid.search_seeds))
        yield replace(searched, learning_rate=rate, validated=True)


def search(group: Group, grid: Grid) -> Iterator[Group]:
    """Yields the trainings that choose a row's learning rate, one a rate and fold."""
    searched = group.of(range(grid.search_seeds))
    for rate, fold in itertools.product(sorted(grid.learning_rates), folds(grid, group.row.labels)):
        yield replace(searched, learning_rate=rate, validates=fold)


def packed(missing: Iterable[Group], size: int) -> list[Group]:
    """Returns groups of at most `size` seeds; those that share data follow one another.

    That is what a bench holds: images, then features of some seeds, then spans of some labels.
    """
    pieces = [piece for group in missing for piece in group.split(size)]
    benches = list(dict.fromkeys((piece.question, piece.network) for piece in pieces))

    def shared(piece: Group) -> tuple[int, tuple[int, ...], int, tuple[int, int]]:
        bench = benches.index((piece.question, piece.network))
        return bench, piece.seeds, piece.row.labels, piece.validates

    return sorted(pieces, key=shared)


def trains_in_span(network: Network, optimizer: str, *, images: int, pixels: int) -> bool:
    """Tells whether so few images are trained on in the directions that they span.

    The steps are the same either way, see `headstart.study.subspace`.
    """
    return network.on_pixels and optimizer == "sgd" and images <= _WORTH_A_SPAN * pixels
