"""What the trainings of the plan cost, in operations: arithmetic on the parameters alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.judging.cost import Work
from headstart.params.networks import Layer
from headstart.params.strategies import ALL_LAYERS, Phase
from headstart.study import plan
from headstart.study.parameters import Grid

# What a step and a group cost besides arithmetic, in operations, for the estimate of time left:
# about 20 microseconds a network-step and half a second a group at 30 GFLOP/s.
_STEP_OVERHEAD = 6e5
_GROUP_OVERHEAD = 1.5e10


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


def cost(
    group: plan.Group,
    grid: Grid,
    layers: Sequence[Layer],
    *,
    source_layers: Sequence[Layer],
    source_images: int,
) -> Cost:
    """Returns the cost of one training of `group`.

    Args:
        group: What is trained.
        grid: The parameters.
        layers: Of the target's network, with its head.
        source_layers: Of the source's.
        source_images: Training images of the source task.
    """
    own = Work(
        forward=_forward(layers),
        phases=group.strategy.phases(group.budget.amount, frozen_fraction=grid.frozen_fraction),
        # Features are needed only of the labels that train.
        images=group.training_labels,
        batch_size=grid.batch_size,
        in_steps=group.budget.steps is not None,
    )
    source = Work(
        forward=_forward(source_layers),
        phases=(Phase(grid.source_training.epochs, ALL_LAYERS),),
        images=source_images,
        batch_size=grid.source_training.batch_size,
    )
    _, trained = own.phases[-1].parts([layer for layer in layers if layer.parameters])
    return Cost(
        trainable_parameters=sum(layer.parameters for layer in trained),
        updates=own.updates,
        flops=own.flops,
        flops_as_notebook=own.flops_as_notebook,
        source_flops=source.flops if group.strategy.from_source else 0,
        source_updates=source.updates if group.strategy.from_source else 0,
    )


def _forward(layers: Sequence[Layer]) -> tuple[int, ...]:
    return tuple(layer.flops for layer in layers if layer.parameters)


def effort(updates: int, flops: int) -> float:
    """Returns how long trainings take compared with each other, overheads counted."""
    return flops + updates * _STEP_OVERHEAD + _GROUP_OVERHEAD / 10
