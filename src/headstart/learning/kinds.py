"""Kinds of networks, by arithmetic alone: parameters and operations without Keras."""

import math

from headstart.params import sections


def weights(
    shape: tuple[int, ...], network: sections.Mlp | sections.Cnn, *, units: int
) -> tuple[int, int, int]:
    """Returns the parameters of backbone and head, and the operations of a forward pass.

    Args:
        shape: Height, width and, for colour, channels of an image.
        network: The backbone.
        units: Units of the head.
    """
    parameters = flops = 0
    if isinstance(network, sections.Cnn):
        height, width, channels = (*shape, 1)[:3]
        for filters in network.filters:
            parameters += 9 * channels * filters + filters
            flops += 2 * 9 * channels * filters * height * width
            height, width, channels = height // 2, width // 2, filters
        inputs, widths = height * width * channels, network.dense
    else:
        inputs, widths = math.prod(shape), network.units
    for width in widths:
        parameters += inputs * width + width
        flops += 2 * inputs * width
        inputs = width
    return parameters, inputs * units + units, flops + 2 * inputs * units
