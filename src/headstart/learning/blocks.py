"""A network from elsewhere as blocks, one on the other: where it can be cut, and what trains there.

A cut point is a layer through whose single output every path from input to output goes. A block
lies between two neighbouring cut points and holds weights that train; normalisation, activation and
pooling belong to the block before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from headstart.learning.pretrained import BODY

# What belongs to the block before, though it may have weights.
_NO_BLOCK_OF_THEIR_OWN = ("keras.src.layers.normalization.", "keras.src.layers.activations.")


@dataclass(frozen=True)
class Block:
    """A block: the tensor that goes into it, in the graph of `Blocks.network`, and its layers."""

    input: keras.KerasTensor
    layers: tuple[keras.Layer, ...]


@dataclass(frozen=True)
class Blocks:
    """A network without networks inside, sharing all its layers, and its blocks from the input."""

    network: keras.Model
    blocks: tuple[Block, ...]


def of(network: keras.Model) -> Blocks:
    """Returns the blocks of a network with one input and one output.

    Networks inside it are looked into. A layer that is used in two places lies in one block.
    """
    seen = network.inputs[0]
    # Named, since Keras numbers what has no name over the life of a process.
    image = keras.Input(batch_shape=seen.shape, dtype=seen.dtype, name="seen")
    flat = keras.Model(image, _through(network, [image]), name="flat")
    segments = _segments(flat)
    blocks: list[Block] = []
    start: keras.KerasTensor = flat.inputs[0]
    below: list[keras.Layer] = []
    for segment in segments:
        layers = [layer for layer in segment.layers if layer.weights]
        if any(map(_opens, layers)):
            # What lies below the first block and trains, a normalisation of pixels, trains with it.
            first = flat.inputs[0] if any(map(_trains, below)) else start
            blocks.append(Block(first, (*below, *layers)))
            below = []
        elif blocks:
            blocks[-1] = Block(blocks[-1].input, (*blocks[-1].layers, *layers))
        else:
            below += layers
        start = segment.output
    return Blocks(flat, tuple(blocks))


def groups(model: keras.Model) -> list[Sequence[keras.Layer]]:
    """Returns the layers with weights of `model`, from the input, as they train: one by one.

    Those of a network from elsewhere train by blocks.
    """
    found: list[Sequence[keras.Layer]] = []
    for layer in model.layers:
        if layer.name == BODY:
            found += [block.layers for block in of(layer).blocks]
        elif layer.weights:
            found.append((layer,))
    return found


@dataclass(frozen=True)
class _Segment:
    """What lies between two neighbouring cut points, the upper one with it."""

    layers: tuple[keras.Layer, ...]
    output: keras.KerasTensor


def _segments(network: keras.Model) -> list[_Segment]:
    depths = sorted(network._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in network._nodes_by_depth[depth]]
    made = {id(tensor): at for at, node in enumerate(nodes) for tensor in node.output_tensors}
    # Up to where each node's output is needed, and each layer with weights used again.
    needed, reused = list(range(len(nodes))), list(range(len(nodes)))
    first_use: dict[int, int] = {}
    for at, node in enumerate(nodes):
        for tensor in node.input_tensors:
            needed[made[id(tensor)]] = at
        if getattr(node.operation, "weights", None):
            reused[first_use.setdefault(id(node.operation), at)] = at
    segments: list[_Segment] = []
    layers: list[keras.Layer] = []
    reach = 0
    for at, node in enumerate(nodes):
        if isinstance(node.operation, keras.Layer) and node.operation not in layers:
            layers.append(node.operation)
        reach = max(reach, reused[at])
        # Nothing else from below goes past this node, so that all paths go through it.
        if reach <= at and len(node.output_tensors) == 1:
            segments.append(_Segment(tuple(layers), node.output_tensors[0]))
            layers = []
        reach = max(reach, needed[at])
    return segments


def _through(network: keras.Model, inputs: Sequence[Any]) -> Any:
    """Returns the output of `network`, with the networks inside it taken apart."""

    def use(operation: keras.Operation) -> Any:
        nested = getattr(operation, "_functional", operation)
        if isinstance(nested, keras.Function):
            return lambda *args, **_: _through(nested, keras.tree.flatten(args))
        return operation

    # A Sequential holds its graph.
    graph = getattr(network, "_functional", network)
    return graph._run_through_graph(inputs, operation_fn=use)


def _trains(layer: keras.Layer) -> bool:
    """Tells whether there is something to train, whatever is frozen now."""
    return any(part._trainable_variables for part in layer._flatten_layers())


def _opens(layer: keras.Layer) -> bool:
    """Tells whether a block begins with what `layer` is in."""
    return _trains(layer) and not type(layer).__module__.startswith(_NO_BLOCK_OF_THEIR_OWN)
