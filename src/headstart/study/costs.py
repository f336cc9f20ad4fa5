"""What the trainings of the plan cost, in operations: arithmetic on the parameters alone."""

import math
from dataclasses import dataclass

from headstart.judging.cost import Work
from headstart.params.networks import Network, layers
from headstart.params.sections import TrainingSettings
from headstart.study import plan
from headstart.study.parameters import Grid
from headstart.transfer.strategies import ON_FEATURES, TRANSFERRED

# What a step and a group cost besides arithmetic, in operations, for the estimate of time left:
# about 20 microseconds a network-step and half a second a group at 30 GFLOP/s.
_STEP_OVERHEAD = 6e5
_GROUP_OVERHEAD = 1.5e10


@dataclass(frozen=True)
class Shape:
    """Operations of one image's forward pass and number of weights, below and in the head."""

    backbone_flops: int
    head_flops: int
    backbone_parameters: int
    head_parameters: int


@dataclass(frozen=True)
class Cost:
    """What one training costs.

    `flops_as_notebook` computes frozen layers anew in every step, `flops` once an image;
    `source_flops` is the whole training of the source network, 0 where an arm needs none.
    """

    trainable_parameters: int
    updates: int
    flops: int
    flops_as_notebook: int
    source_flops: int
    source_updates: int = 0


def shape(network: Network, input_shape: tuple[int, ...], *, units: int) -> Shape:
    """Returns the counts of `network` under a head of so many units."""
    *backbone, head = layers(network, input_shape, units=units)
    return Shape(
        sum(layer.flops for layer in backbone),
        head.flops,
        sum(layer.parameters for layer in backbone),
        head.parameters,
    )


def cost(
    group: plan.Group, grid: Grid, form: Shape, *, source_form: Shape, source_images: int
) -> Cost:
    """Returns the cost of one training of `group`, rules as in `headstart.cost`."""
    count, arm = group.training_labels, group.row.arm
    total = plan.steps(group.budget, count=count, batch_size=grid.batch_size)
    if arm in ON_FEATURES:
        frozen = total
    elif arm == "gradual":
        frozen = plan.frozen_steps(
            group.budget,
            count=count,
            batch_size=grid.batch_size,
            frozen_fraction=grid.frozen_fraction,
        )
    else:
        frozen = 0
    per_step = count / math.ceil(count / grid.batch_size)
    if group.budget.steps:
        per_step = min(grid.batch_size, count)
    seen, seen_frozen = round(total * per_step), round(frozen * per_step)
    backbone = 3 * (seen - seen_frozen) * form.backbone_flops
    trained = 3 * seen * form.head_flops + backbone
    whole = form.backbone_parameters + form.head_parameters
    before = source(grid.source_training, source_form, images=source_images)
    return Cost(
        trainable_parameters=form.head_parameters if arm in ON_FEATURES else whole,
        updates=total,
        # Features are needed only of the labels that train.
        flops=trained + (count * form.backbone_flops if frozen else 0),
        flops_as_notebook=trained + seen_frozen * form.backbone_flops,
        source_flops=before.flops if arm in TRANSFERRED else 0,
        source_updates=before.updates if arm in TRANSFERRED else 0,
    )


def source(settings: TrainingSettings, form: Shape, *, images: int) -> Work:
    """Returns one source training, as far as its cost goes."""
    return Work(
        backbone_flops=form.backbone_flops,
        head_flops=form.head_flops,
        images=images,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
    )


def effort(updates: int, flops: int) -> float:
    """Returns how long trainings take compared with each other, overheads counted."""
    return flops + updates * _STEP_OVERHEAD + _GROUP_OVERHEAD / 10
