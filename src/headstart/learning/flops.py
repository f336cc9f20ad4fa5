"""The operations of a Keras model, counted layer by layer on its graph."""

import functools
import math
from typing import Any

import keras
from keras.src.applications.convnext import LayerScale, StochasticDepth

from headstart.learning import blocks
from headstart.learning.calls import Call


def calls(model: keras.Model) -> tuple[Call, ...]:
    """Returns the uses of layers in one forward pass of `model`, in order.

    Counts the multiply-adds of dense and convolutional kernels, and the products of ConvNeXt's
    LayerScale, which has weights of its own and nothing beside, whatever the graph: branches,
    nested models, a layer used several times. Biases, activations, normalisation, pooling and
    what else goes over its input once are left out, as is usual (tests/learning/test_flops.py
    says what they come to). What is neither has operations of None: attention, recurrent layers,
    products in `keras.ops`, layers of one's own; only networks from elsewhere have such.

    Layers are numbered as `headstart.params.strategies.Phase` does, by place among those with
    weights; a network from elsewhere counts by its blocks.
    """
    walk = _Walk(model)
    walk.through(model, model.inputs, None)
    return tuple(walk.calls)


# Layers by what each number that they give (or take, where they are transposed) is multiplied
# with: the axes of the kernel without its last ones.
_OF_OUTPUTS = dict.fromkeys(
    (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D), 1
) | dict.fromkeys((keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D), 2)
_OF_INPUTS = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_KERNELS = {"kernel", "depthwise_kernel", "pointwise_kernel", "bias"}

# What goes over its input once, by the modules of Keras and by the names of `keras.ops`.
_CHEAP_MODULES = tuple(
    f"keras.src.{name}."
    for name in (
        "layers.activations",
        "layers.core.identity",
        "layers.merging",
        "layers.normalization",
        "layers.pooling",
        "layers.preprocessing.image_preprocessing",
        "layers.preprocessing.normalization",
        "layers.preprocessing.rescaling",
        "layers.regularization",
        "layers.reshaping",
    )
)
_CONTRACTING = (keras.layers.Dot, keras.layers.SpectralNormalization)
_CHEAP_OPERATIONS = {
    "Add", "Clip", "Concatenate", "Divide", "ExpandDims", "Gelu", "GetItem", "HardSigmoid", "Max",
    "Maximum", "Mean", "Minimum", "Multiply", "Pad", "Power", "Relu", "Relu6", "Reshape", "Sigmoid",
    "Silu", "Softmax", "Square", "Squeeze", "Stack", "Subtract", "Sum", "Tanh", "Transpose",
    "TrueDivide",
}  # fmt: skip


class _Walk:
    """A forward pass with shapes in place of numbers."""

    def __init__(self, model: keras.Model) -> None:
        self._numbers = {
            id(layer): number
            for number, group in enumerate(blocks.groups(model))
            for layer in group
        }
        self._below = dict.fromkeys(model.inputs, -1)
        self.calls: list[Call] = []

    def through(self, model: keras.Model, inputs: Any, number: int | None) -> Any:
        """Returns the outputs of `model`, all of it part of the layer `number` if it is given."""

        def use(operation: keras.Operation) -> Any:
            own = self._numbers.get(id(operation)) if number is None else number
            return functools.partial(self._use, operation, own)

        # A Sequential holds its graph.
        graph = getattr(model, "_functional", model)
        return graph._run_through_graph(inputs, operation_fn=use)

    def _use(
        self, operation: keras.Operation, number: int | None, *args: Any, **options: Any
    ) -> Any:
        inputs = _tensors((args, options))
        below = max((self._below[tensor] for tensor in inputs), default=-1)
        nested = getattr(operation, "_functional", operation)
        if isinstance(nested, keras.Function):
            return self.through(nested, inputs, number)
        outputs = operation.compute_output_spec(*args, **options)
        for flops in _flops(operation, inputs, _tensors(outputs)):
            # What has no weights is a part of what it is used on.
            self.calls.append(Call(below if number is None else number, below, flops))
            # The second of two kernels is used on what the first gives.
            below = max(below, -1 if number is None else number)
        if number is not None and _can_train(operation):
            below = max(below, number)
        self._below |= dict.fromkeys(_tensors(outputs), below)
        return outputs


def _tensors(structure: Any) -> list[keras.KerasTensor]:
    leaves = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


def _can_train(operation: keras.Operation) -> bool:
    """Tells whether there is something to train, whatever is frozen now."""
    parts = operation._flatten_layers() if isinstance(operation, keras.Layer) else ()
    return any(part._trainable_variables for part in parts)


def _flops(
    operation: keras.Operation,
    inputs: list[keras.KerasTensor],
    outputs: list[keras.KerasTensor],
) -> tuple[int | None, ...]:
    """Returns the operations of each kernel on one image; None for what cannot be counted."""
    kind = type(operation)
    if kind.__name__ in _CHEAP_OPERATIONS and kind.__module__.startswith("keras.src.ops."):
        return ()
    if f"{kind.__module__}.".startswith(_CHEAP_MODULES) and kind not in _CONTRACTING:
        return ()
    if kind is StochasticDepth:
        return ()
    if kind is LayerScale:
        return (None if None in outputs[0].shape[1:] else math.prod(outputs[0].shape[1:]),)
    counted = kind in _OF_OUTPUTS or kind in _OF_INPUTS or kind in _SEPARABLE
    # Low-rank updates and quantised kernels have weights of their own.
    if not counted or not {weight.name for weight in operation.weights} <= _KERNELS:
        return (None,)
    given = (inputs if kind in _OF_INPUTS else outputs)[0].shape[1:]
    if None in given:
        return (None,)
    if kind in _SEPARABLE:
        positions = math.prod(given) // operation.filters
        kernels = operation.depthwise_kernel, operation.pointwise_kernel
        return tuple(2 * positions * math.prod(kernel.shape) for kernel in kernels)
    return (2 * math.prod(given) * math.prod(operation.kernel.shape[: -_OF_OUTPUTS.get(kind, 1)]),)
