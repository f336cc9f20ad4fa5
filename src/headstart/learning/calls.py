"""What a network computes of one image, layer by layer. Arithmetic only: Keras is not imported."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.params.networks import Layer


@dataclass(frozen=True)
class Call:
    """One use of a layer, as far as its operations go.

    Attributes:
        layer: Which of the network's layers with weights is used, from 0; the parts of a nested
            network count as the one layer that it is in the network, those of a network from
            elsewhere as their block.
        below: The highest layer with weights to train that its input depends on; -1 where that
            is the image alone. When this layer trains, its inputs need a gradient.
        flops: Operations of one image's forward pass, a multiply-add counting 2; None where they
            cannot be counted.
    """

    layer: int
    below: int
    flops: int | None


def in_sequence(layers: Sequence[Layer]) -> tuple[Call, ...]:
    """Returns the uses of `layers`, each on the output of the one before it."""
    weighted = [layer for layer in layers if layer.parameters]
    return tuple(Call(number, number - 1, layer.flops) for number, layer in enumerate(weighted))
