"""A grid with its data and groups, checked before anything trains."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import psutil

from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Part
from headstart.data import tasks
from headstart.data.raw_data import Raw
from headstart.data.tasks import Task
from headstart.judging.cost import Work
from headstart.learning import memory
from headstart.learning.calls import in_sequence
from headstart.params import networks
from headstart.params.strategies import ALL_LAYERS, ARMS, BASELINE, Phase
from headstart.reporting.study_tables import task_of
from headstart.study import plan, sources
from headstart.study.parameters import TRAINED, Grid, Replicas, Source, a_class

# TensorFlow, Keras and what they compile, whatever the grid.
_LIBRARY_BYTES = 1_200_000_000
# What a step and a group cost besides arithmetic, in operations, for the estimate of time left:
# about 20 microseconds a network-step and half a second a group at 30 GFLOP/s.
_STEP_OVERHEAD = 6e5
_GROUP_OVERHEAD = 1.5e10
# Answers are kept as numbers of eight bits.
_MOST_CLASSES = 256


@dataclass(frozen=True)
class Cost:
    """What one training costs.

    `flops_as_notebook` computes frozen layers anew in every step, `flops` once an image;
    `source_flops` is the whole training of the source network, 0 where an arm needs none.
    `search_updates` and `search_flops` are those of all trainings that chose the row's learning
    rate, for all seeds together, `source_search_flops` of those that chose the source's, which all
    rows of a task and network share; 0 where none was searched.
    """

    trainable_parameters: int
    updates: int
    flops: int
    flops_as_notebook: int
    source_flops: int
    search_updates: int = 0
    search_flops: int = 0
    source_search_flops: int = 0


@dataclass(frozen=True)
class Prepared:
    """A grid that has passed all checks: its data, and its rows with all seeds as groups.

    `data` holds the raw images (uint8) of the parts `train` and `test`, and of `valid` where
    learning rates are searched. Groups are at the rates that are taken unsearched.
    """

    grid: Grid
    replicas: Replicas
    data: Raw
    questions: tuple[plan.Question, ...]
    groups: tuple[plan.Group, ...]

    @property
    def cells(self) -> int:
        """The number of trainings that were asked for."""
        return self.grid.splits * sum(len(group.seeds) for group in self.groups)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and, for colour, channels."""
        return self.data.parts["train"].images.shape[1:]

    def layers(
        self, network: networks.Network, task: Task, shape: tuple[int, ...] | None = None
    ) -> list[networks.Layer]:
        """Returns the layers of a network for a task, on images of `shape`, else the data's."""
        units = networks.output_units(len(task.names))
        return networks.layers(network, shape or self.image_shape, units=units)

    def work(
        self, group: plan.Group, *, in_span: bool = False, counted: sources.Counted | None = None
    ) -> Work:
        """Returns a training of `group` as it is told, or as it is done where that is in a span.

        `counted` is what a network from elsewhere computes, as far as somebody has looked.
        """
        count, grid = group.training_labels, self.grid
        in_span = in_span and plan.trains_in_span(
            group.network, grid.optimizer, images=count, pixels=math.prod(self.image_shape)
        )
        shape = (count,) if in_span else None
        if isinstance(group, sources.FromElsewhere):
            calls = (counted or sources.counted(group)).calls
        else:
            calls = in_sequence(self.layers(group.network, group.question.target, shape))
        return Work(
            calls=calls,
            phases=group.strategy.phases(group.budget.amount, frozen_fraction=grid.frozen_fraction),
            # Features are needed only of the labels that train.
            images=count,
            batch_size=grid.batch_size,
            in_steps=group.budget.steps is not None,
        )

    def effort(self, work: plan.Group | plan.SourceGroup) -> float:
        """Returns how long the networks of a group take, relatively, features left out."""
        if isinstance(work, plan.SourceGroup):
            return len(work.seeds) * effort(self.source_work(work))
        counted, answers = None, 0
        if isinstance(work, sources.FromElsewhere):
            counted = sources.counted(work, passes=False)
        if isinstance(work, sources.ByFit):
            # Of a head they take next to nothing.
            answers = self.answered(work) * sources.counted(work).forward
        return len(work.seeds) * (effort(self.work(work, in_span=True, counted=counted)) + answers)

    def effort_of(self, rows: Sequence[plan.Group]) -> float:
        """Returns how long rows take in a split of their own, relatively.

        With the source networks that they start from and the features that they see.
        """
        started = {row.source for row in rows if row.strategy.from_source}
        passed = sum(images * sources.counted(group).forward for group, images in self.passes(rows))
        works: list[plan.Work] = [*rows, *started]
        return passed + sum(map(self.effort, works))

    def answered(self, group: plan.Group) -> int:
        """Returns how many images a network of a group answers: those of the test, or a fold's."""
        return group.validation_labels or self._images("test", group.question.target)

    def passes(
        self, works: Iterable[plan.Group | plan.SourceGroup]
    ) -> Iterator[tuple[sources.FromElsewhere, int]]:
        """Yields the groups of which images pass frozen layers from elsewhere, and how many do.

        Later groups find their features: images pass a trained network once, and once a seed the
        control's.
        """
        done = set[tuple[plan.Question, Source, int | None, int]]()
        for work in works:
            if not isinstance(work, sources.FromElsewhere):
                continue
            test = self._images("test", work.question.target)
            each = (
                self.most_labels(work.question)
                if work.untrained
                else self._images("train", work.question.target)
            )
            asked = {
                (work.question, work.origin, seed if work.untrained else None, layers)
                for seed in work.seeds
                for layers in work.strategy.trains
                if layers is not ALL_LAYERS
            }
            if asked - done:
                yield work, len(asked - done) * (each + test)
            done |= asked

    def most_labels(self, question: plan.Question) -> int:
        """Returns the largest label budget of a question."""
        return max(group.row.labels for group in self.groups if group.question == question)

    def _images(self, part: str, task: Task) -> int:
        return int(np.isin(self.data.parts[part].labels, task.numbers).sum())

    def source_work(self, group: plan.SourceGroup) -> Work:
        """Returns the training of a source network."""
        training, source = self.grid.source_training, group.question.source
        return Work(
            calls=in_sequence(self.layers(group.network, source)),
            phases=(Phase(training.epochs, ALL_LAYERS),),
            images=self._images("train", source),
            batch_size=training.batch_size,
        )

    def cost(self, group: plan.Group, kept: Mapping[str, np.ndarray] | None = None) -> Cost:
        """Returns the cost of one training of `group`, of which one is `kept`."""
        counted = None
        if isinstance(group, sources.FromElsewhere):
            counted = sources.counted(group, kept)
            sizes: Sequence[int] = counted.parameters
        else:
            layers = self.layers(group.network, group.question.target)
            sizes = [layer.parameters for layer in layers if layer.parameters]
        work = self.work(group, counted=counted)
        _, parameters = work.phases[-1].parts(sizes)
        searched, from_source = self.grid.searched, group.strategy.from_source
        searches = [
            (len(own.seeds), self.work(own, counted=counted))
            for own in (plan.search(group, self.grid) if searched else ())
        ]
        source_flops = self.source_work(group.source).flops if from_source else 0
        of_source = plan.source_search(group.source, self.grid) if searched and from_source else ()
        return Cost(
            trainable_parameters=sum(parameters),
            updates=work.updates,
            flops=work.flops,
            flops_as_notebook=work.flops_as_notebook,
            source_flops=source_flops,
            search_updates=sum(count * own.updates for count, own in searches),
            search_flops=sum(count * own.flops for count, own in searches),
            source_search_flops=source_flops * sum(len(own.seeds) for own in of_source),
        )


def effort(work: Work) -> float:
    """Returns how long trainings take compared with each other, overheads counted."""
    return work.flops + work.updates * _STEP_OVERHEAD + _GROUP_OVERHEAD / 10


def prepare(grid: Grid, replicas: Replicas, data: Raw) -> Prepared:
    """Returns the grid with its data (`train` and `test`, as drawn) and groups, all checked.

    Where learning rates are searched the data has the part `valid` too.

    Raises:
        WrongValue: A class does not exist, a task has too many, or a budget is above the data.
        UserError: A class has no image, or the trainings need more memory than there is.
    """
    questions = plan.questions(grid, data.classes, data.aliases)
    for question in questions:
        if (classes := len(question.target.names)) > _MOST_CLASSES:
            raise WrongValue(
                "target_tasks",
                f"a task has {classes} classes, and a study tells up to {_MOST_CLASSES} apart; "
                "name fewer",
            )
    available = {}
    # The source's classes may be few or none where only networks from elsewhere are asked for.
    trained = TRAINED in grid.sources
    for question in questions:
        for name in ("train", "test"):
            for task in (question.source, question.target) if trained else (question.target,):
                _, labels = tasks.positions(data.parts[name].labels, task)
                tasks.check_classes(Part(labels, labels), task, where=f"{question.name} {name}")
                if task is question.target and name == "train":
                    available[question.name] = len(labels)
        if grid.searched and trained:
            _, labels = tasks.positions(data.parts["valid"].labels, question.source)
            tasks.check_classes(
                Part(labels, labels), question.source, where=f"{question.name} valid"
            )
    groups = tuple(
        group
        for question in questions
        for group in _groups(grid, question, available=available[question.name])
    )
    prepared = Prepared(grid, replicas, data, questions, groups)
    needed, free = peak_memory(prepared), psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"the study needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are "
            "free; make replicas.group_size or the networks smaller"
        )
    return prepared


def _groups(grid: Grid, question: plan.Question, *, available: int) -> Iterator[plan.Group]:
    """Yields the rows of a question, its budgets a class in labels, its task named for tables."""
    names = question.target.names
    in_all = [entry * len(names) for entry in map(a_class, grid.labels) if entry]
    # A class may have fewer images than another: what is asked for is a number of labels in all.
    others = [entry for entry in grid.labels if not a_class(entry)]
    labels = tuple(n for n in dict.fromkeys(in_all) if n < available and n not in others)
    if not (labels or others):
        raise WrongValue(
            "labels",
            f"a budget a class has to be below the {available} training images of "
            f"{question.name}, and the smallest is {min(in_all)}; write all too",
        )
    own = grid.model_copy(update={"labels": (*labels, *others)})
    for group in plan.groups(own, [question], available={question.name: available}):
        named = replace(group, row=replace(group.row, task=task_of(names)))
        if group.row.arm == BASELINE:
            yield named
            continue
        # Of our own networks there are no blocks, and the same from scratch is the baseline.
        if TRAINED in grid.sources and group.row.arm in ARMS:
            yield named
        yield from sources.counterparts(named, grid.elsewhere)


def peak_memory(prepared: Prepared) -> int:
    """Returns about how many bytes the study takes at its peak: the largest group, and its data."""
    grid, shape = prepared.grid, prepared.image_shape
    images = sum(len(part.labels) for part in prepared.data.parts.values())
    peak = 0
    for group in {
        (group.network, group.question.name): group for group in prepared.groups
    }.values():
        layers = prepared.layers(group.network, group.question.target)
        training = memory.of_replicas(
            parameters=sum(layer.parameters for layer in layers),
            activations=sum(math.prod(layer.shape) for layer in layers),
            optimizer=grid.optimizer,
            replicas=prepared.replicas.group_size,
            threads=prepared.replicas.threads,
            batch=grid.batch_size,
        )
        orders = max(
            4
            * grid.batch_size
            * plan.steps(other.budget, count=other.training_labels, batch_size=grid.batch_size)
            for other in prepared.groups
            if other.network == group.network
        )
        peak = max(peak, training + 3 * prepared.replicas.group_size * orders)
    if grid.elsewhere:
        # A head's features lie apart for each seed.
        width = max(sources.expected(source).width for source in grid.elsewhere)
        peak += 4 * width * prepared.replicas.group_size * images
    return _LIBRARY_BYTES + 6 * images * math.prod(shape) + peak
