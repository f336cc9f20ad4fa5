"""A grid with its data and groups, checked before anything trains."""

import math
from collections.abc import Iterator
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
from headstart.params.strategies import ALL_LAYERS, Phase
from headstart.reporting.study_tables import task_of
from headstart.study import plan
from headstart.study.parameters import Grid, Replicas, a_class

# TensorFlow, Keras and what they compile, whatever the grid.
_LIBRARY_BYTES = 1_200_000_000
# What a step and a group cost besides arithmetic, in operations, for the estimate of time left:
# about 20 microseconds a network-step and half a second a group at 30 GFLOP/s.
_STEP_OVERHEAD = 6e5
_GROUP_OVERHEAD = 1.5e10


@dataclass(frozen=True)
class Cost:
    """What one training costs.

    `flops_as_notebook` computes frozen layers anew in every step, `flops` once an image;
    `source_flops` is the whole training of the source network, 0 where an arm needs none.
    `search_updates` and `search_flops` are those of all trainings that chose the row's learning
    rate, for all seeds together; 0 where none was searched.
    """

    trainable_parameters: int
    updates: int
    flops: int
    flops_as_notebook: int
    source_flops: int
    search_updates: int = 0
    search_flops: int = 0


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
        return sum(len(group.seeds) for group in self.groups)

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

    def work(self, group: plan.Group, *, in_span: bool = False) -> Work:
        """Returns a training of `group` as it is told, or as it is done where that is in a span."""
        count, grid = group.training_labels, self.grid
        in_span = in_span and plan.trains_in_span(
            group.network, grid.optimizer, images=count, pixels=math.prod(self.image_shape)
        )
        shape = (count,) if in_span else None
        return Work(
            calls=in_sequence(self.layers(group.network, group.question.target, shape)),
            phases=group.strategy.phases(group.budget.amount, frozen_fraction=grid.frozen_fraction),
            # Features are needed only of the labels that train.
            images=count,
            batch_size=grid.batch_size,
            in_steps=group.budget.steps is not None,
        )

    def source_work(self, group: plan.SourceGroup) -> Work:
        """Returns the training of a source network."""
        training, source = self.grid.source_training, group.question.source
        return Work(
            calls=in_sequence(self.layers(group.network, source)),
            phases=(Phase(training.epochs, ALL_LAYERS),),
            images=int(np.isin(self.data.parts["train"].labels, source.numbers).sum()),
            batch_size=training.batch_size,
        )

    def cost(self, group: plan.Group) -> Cost:
        """Returns the cost of one training of `group`."""
        work = self.work(group)
        layers = self.layers(group.network, group.question.target)
        _, trained = work.phases[-1].parts([layer for layer in layers if layer.parameters])
        searches = [
            (len(own.seeds), self.work(own))
            for own in (plan.search(group, self.grid) if self.grid.searched else ())
        ]
        return Cost(
            trainable_parameters=sum(layer.parameters for layer in trained),
            updates=work.updates,
            flops=work.flops,
            flops_as_notebook=work.flops_as_notebook,
            source_flops=self.source_work(group.source).flops if group.strategy.from_source else 0,
            search_updates=sum(count * own.updates for count, own in searches),
            search_flops=sum(count * own.flops for count, own in searches),
        )


def effort(work: Work) -> float:
    """Returns how long trainings take compared with each other, overheads counted."""
    return work.flops + work.updates * _STEP_OVERHEAD + _GROUP_OVERHEAD / 10


def prepare(grid: Grid, replicas: Replicas, data: Raw) -> Prepared:
    """Returns the grid with its data (`train` and `test`, as drawn) and groups, all checked.

    Where learning rates are searched the data has the part `valid` too.

    Raises:
        WrongValue: A class does not exist, or a budget is above the data.
        UserError: A class has no image, or the trainings need more memory than there is.
    """
    questions = plan.questions(grid, data.classes, data.aliases)
    available = {}
    for question in questions:
        for name in ("train", "test"):
            for task in (question.source, question.target):
                _, labels = tasks.positions(data.parts[name].labels, task)
                tasks.check_classes(Part(labels, labels), task, where=f"{question.name} {name}")
                if task is question.target and name == "train":
                    available[question.name] = len(labels)
        if grid.searched:
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
    named = [entry * len(names) for entry in map(a_class, grid.labels) if entry]
    # A class may have fewer images than another: what is asked for is a number of labels in all.
    others = [entry for entry in grid.labels if not a_class(entry)]
    labels = tuple(n for n in dict.fromkeys(named) if n < available and n not in others)
    if not (labels or others):
        raise WrongValue(
            "labels",
            f"the {available} training images of {question.name} are fewer than the smallest "
            "budget; write all too",
        )
    own = grid.model_copy(update={"labels": (*labels, *others)})
    for group in plan.groups(own, [question], available={question.name: available}):
        yield replace(group, row=replace(group.row, task=task_of(names)))


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
    return _LIBRARY_BYTES + 6 * images * math.prod(shape) + peak
