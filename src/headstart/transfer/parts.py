"""The two parts of a network while it trains: what is frozen, and what trains on its features.

Our own networks are cut between layers, by `transfer.cut`; those from elsewhere between blocks.
`layers` counts both from the head down, the head included; None is all of them.
"""

from typing import Any

import keras

from headstart.learning import backbones, blocks
from headstart.learning.pretrained import BODY
from headstart.params.strategies import HEAD_ALONE
from headstart.transfer import cut


def set_trainable(model: keras.Model, layers: int | None) -> None:
    """Lets the top `layers` layers or blocks train, and freezes those below."""
    if not backbones.is_adopted(model):
        cut.set_trainable(model, layers)
        return
    groups = blocks.groups(model)
    frozen = [layer for group in groups[: 0 if layers is None else -layers] for layer in group]
    # One by one: a network that is marked so already does not pass the mark on to its layers, since
    # TensorFlow's `AutoTrackable.__setattr__` sets no value that is there.
    for trainable, marked in ((True, [model]), (False, frozen)):
        for layer in marked:
            for part in layer._flatten_layers():
                part.trainable = trainable


def frozen_part(model: keras.Model, layers: int) -> keras.Model:
    """Returns what is below the top `layers` layers or blocks as a model, sharing its weights."""
    if layers == HEAD_ALONE or not backbones.is_adopted(model):
        return cut.frozen_part(model, layers)
    parts, at = _body(model)
    start = parts.blocks[1 - layers].input
    below = keras.Model(parts.network.inputs, start, name="below")
    return keras.Model(model.inputs, below(model.layers[at - 1].output), name="frozen_part")


def trained_part(model: keras.Model, layers: int | None, *, inference: bool) -> keras.Model:
    """Returns what trains as a model on what is below, sharing its weights.

    `inference` is whether a network from elsewhere runs as it answers while it trains.
    """
    if not backbones.is_adopted(model):
        return model if layers is None else cut.trained_part(model, layers)
    if layers == HEAD_ALONE:
        return cut.trained_part(model, layers)
    parts, at = _body(model)
    top, seen, inputs = parts.network, model.layers[at - 1].output, model.inputs
    if layers is not None:
        start = parts.blocks[1 - layers].input
        top = keras.Model(start, parts.network.outputs[0])
        seen = inputs = keras.Input(start.shape[1:], dtype=start.dtype, name="below")
    outputs: Any = (backbones.AsItAnswers(top) if inference else top)(seen)
    for layer in model.layers[at + 1 :]:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name="on_features")


def _body(model: keras.Model) -> tuple[blocks.Blocks, int]:
    """Returns the network from elsewhere in `model`, and its place among the layers."""
    at = [layer.name for layer in model.layers].index(BODY)
    return blocks.of(model.layers[at]), at
