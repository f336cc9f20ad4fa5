"""A new head on a trained backbone: what is copied, what is frozen, features computed once."""

import keras
import numpy as np

from headstart import networks
from headstart.errors import UserError

# Images a forward pass when features are computed: large enough to be quick, small in memory.
_FEATURE_BATCH = 1024


def graft(model: keras.Sequential, source: keras.Model) -> None:
    """Copies the backbone weights of `source` into `model`; the heads stay apart.

    The two share nothing afterwards: training `model` leaves `source` as it was (in the
    notebook, cell 65, they share their layers).

    Raises:
        UserError: The two backbones differ in layers or shapes.
    """
    ours = {layer.name: layer for layer in model.layers if layer.weights}
    theirs = {layer.name: layer for layer in source.layers if layer.weights}
    del ours[networks.HEAD], theirs[networks.HEAD]
    shapes = [
        {name: [tuple(weight.shape) for weight in layer.weights] for name, layer in side.items()}
        for side in (ours, theirs)
    ]
    if shapes[0] != shapes[1]:
        raise UserError(
            "the source model's layers do not fit params.yaml's network: "
            f"{shapes[1]} against {shapes[0]}; `dvc repro` trains the source anew"
        )
    for name, layer in ours.items():
        layer.set_weights(theirs[name].get_weights())


def set_backbone_trainable(model: keras.Sequential, trainable: bool) -> None:
    """Freezes the layers below the head, or lets them train again."""
    for layer in model.layers[:-1]:
        layer.trainable = trainable


def backbone_of(model: keras.Sequential) -> keras.Model:
    """Returns the layers below the head as a model of their own, sharing their weights."""
    return keras.Model(model.inputs, model.layers[-2].output, name="backbone")


def head_of(model: keras.Sequential) -> keras.Sequential:
    """Returns the head as a model of its own on features, sharing its weights."""
    head = model.layers[-1]
    width = model.layers[-2].output.shape[1:]
    return keras.Sequential([keras.layers.Input(width, name="features"), head], name="on_features")


def features(model: keras.Sequential, images: np.ndarray) -> np.ndarray:
    """Returns what the head sees of each image: (n, features) float32, in the images' order."""
    backbone = backbone_of(model)
    parts = [
        np.asarray(backbone.predict_on_batch(np.asarray(images[start : start + _FEATURE_BATCH])))
        for start in range(0, len(images), _FEATURE_BATCH)
    ]
    return np.concatenate(parts)
