"""Operations of a Keras model, layer by layer."""

import math

import keras
import numpy as np


def forward_flops(model: keras.Model) -> dict[str, int | None]:
    """Returns the floating-point operations of one image's forward pass, by layer name.

    Counts the multiply-adds of dense and convolutional kernels, 2 each; biases, activations,
    normalisation and pooling are below a hundredth of that and left out, as is usual. None
    stands for a layer that we cannot count; such are only in networks from elsewhere.
    """
    found = {layer.name: _forward_flops(layer) for layer in model.layers if layer.weights}
    return {name: flops for name, flops in found.items() if flops != 0}


def _forward_flops(layer: keras.layers.Layer) -> int | None:
    if isinstance(layer, keras.Model):
        parts = [_forward_flops(part) for part in layer.layers if part.weights]
        return None if None in parts else sum(part for part in parts if part)
    if isinstance(layer, _CHEAP):
        return 0
    if not isinstance(layer, _COUNTED):
        return None
    # Where a layer is used twice its shape is that of the first use.
    shape = layer._inbound_nodes[0].outputs[0].shape[1:-1]
    if None in shape:
        return None
    kernels = [weight for weight in layer.weights if weight.name.endswith("kernel")]
    return 2 * math.prod(shape) * sum(int(np.prod(kernel.shape)) for kernel in kernels)


_CHEAP = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.Normalization,
    keras.layers.PReLU,
)
_COUNTED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
