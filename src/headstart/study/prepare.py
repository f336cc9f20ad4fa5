"""A grid with its data and groups, checked before anything trains."""

import math
from dataclasses import dataclass

import numpy as np
import psutil

from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.data import tasks
from headstart.data.raw_data import Raw
from headstart.learning import memory
from headstart.params import networks
from headstart.params.sections import output_units
from headstart.study import costs, plan
from headstart.study.parameters import Grid, Replicas

# TensorFlow, Keras and what they compile, whatever the grid.
_LIBRARY_BYTES = 1_200_000_000


@dataclass(frozen=True)
class Prepared:
    """A grid that has passed all checks: its data and all its groups.

    `data` holds the raw images (uint8) of the parts `train` and `test`.
    """

    grid: Grid
    replicas: Replicas
    data: Raw
    questions: tuple[plan.Question, ...]
    groups: tuple[plan.Group, ...]

    @property
    def cells(self) -> int:
        """The number of trainings that were asked for."""
        rows = {group.row for group in self.groups}
        return len(rows) * self.grid.seeds * len(self.grid.learning_rates)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and, for colour, channels."""
        return self.data.parts["train"].images.shape[1:]

    def cost(self, group: plan.Group, shape: tuple[int, ...] | None = None) -> costs.Cost:
        """Returns the cost of one training of `group`, on images of `shape`, else the data's."""
        question = group.question
        labels = self.data.parts["train"].labels
        layers, source_layers = (
            networks.layers(
                group.network, shape or self.image_shape, units=output_units(len(task.names))
            )
            for task in (question.target, question.source)
        )
        images = int(np.isin(labels, question.source.numbers).sum())
        return costs.cost(
            group, self.grid, layers, source_layers=source_layers, source_images=images
        )

    def computed_flops(self, group: plan.Group) -> int:
        """Returns what a training takes here, where few images train in their span."""
        count, pixels = group.training_labels, math.prod(self.image_shape)
        in_span = plan.trains_in_span(
            group.network, self.grid.optimizer, images=count, pixels=pixels
        )
        return self.cost(group, (count,) if in_span else None).flops


def prepare(grid: Grid, replicas: Replicas, data: Raw) -> Prepared:
    """Returns the grid with its data and groups; refuses all nonsense before anything trains.

    Args:
        grid: The parameters.
        replicas: Who trains together.
        data: The parts `train` and `test`, as they were drawn.

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
    groups = tuple(
        plan.groups(grid, questions, available=available, group_size=replicas.group_size)
    )
    prepared = Prepared(grid, replicas, data, questions, groups)
    needed, free = peak_memory(prepared), psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"the study needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are "
            "free; make replicas.group_size or the networks smaller"
        )
    return prepared


def peak_memory(prepared: Prepared) -> int:
    """Returns about how many bytes the study takes at its peak: the largest group, and its data."""
    grid, shape = prepared.grid, prepared.image_shape
    images = sum(len(part.labels) for part in prepared.data.parts.values())
    peak = 0
    for group in {
        (group.network, group.question.name): group for group in prepared.groups
    }.values():
        units = output_units(len(group.question.target.names))
        layers = networks.layers(group.network, shape, units=units)
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
