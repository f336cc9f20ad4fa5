"""Where a network is cut in two: the layers that train, and what lies below them."""

import keras


def set_trainable(model: keras.Model, layers: int | None) -> None:
    """Lets the top `layers` layers with weights train (None: all), and freezes those below."""
    cut = _cut(model, layers)
    for number, layer in enumerate(model.layers):
        layer.trainable = number >= cut


def frozen_part(model: keras.Model, layers: int) -> keras.Model:
    """Returns what is below the top `layers` layers as a model, sharing its weights."""
    return keras.Model(
        model.inputs, model.layers[_cut(model, layers) - 1].output, name="frozen_part"
    )


def trained_part(model: keras.Model, layers: int) -> keras.Sequential:
    """Returns the top `layers` layers as a model on what is below them, sharing their weights."""
    cut = _cut(model, layers)
    shape = model.layers[cut - 1].output.shape[1:]
    return keras.Sequential(
        [keras.layers.Input(shape, name="features"), *model.layers[cut:]], name="on_features"
    )


def _cut(model: keras.Model, layers: int | None) -> int:
    """Returns the position of the lowest layer that trains."""
    weighted = [number for number, layer in enumerate(model.layers) if layer.weights]
    return 0 if layers is None else weighted[-layers]
