"""Backbones and heads: building, initial weights, reading from a file."""

import warnings
from pathlib import Path

import keras
import numpy as np

from headstart.core import seeds
from headstart.core.errors import UserError
from headstart.params.networks import Network, layers


def build(
    input_shape: tuple[int, ...], network: Network, *, units: int, activation: str
) -> keras.Sequential:
    """Returns `network` under a dense head of `units`, with Keras' default initial weights.

    It takes images of `input_shape`, (height, width[, channels]).

    Raises:
        UserError: The images are too small for the network.
    """
    built = [keras.layers.Input(input_shape, name="image")]
    for layer in layers(network, input_shape, units=units, activation=activation):
        kind = getattr(keras.layers, layer.keras)
        built.append(kind(name=layer.name, **layer.options))
    return keras.Sequential(built, name="network")


def initialise(model: keras.Sequential, *, seed: int, backbone: str, head: str) -> None:
    """Draws the initial weights by name: Glorot uniform kernels, zero biases (Keras' defaults).

    Equal names ("source", "target") give equal weights in any process, so that arms can share a
    backbone or a head. The weights of `model`, made by `build`, are replaced.
    """
    for layer in model.layers[:-1]:
        if layer.weights:
            _draw(layer, seed, backbone, "backbone", layer.name)
    initialise_head(model, seed=seed, name=head)


def initialise_head(model: keras.Model, *, seed: int, name: str) -> None:
    """Draws the initial weights of the head alone, as `initialise` does."""
    _draw(model.layers[-1], seed, name, "head")


def _draw(layer: keras.layers.Layer, seed: int, *name: str) -> None:
    glorot = keras.initializers.GlorotUniform(seeds.integer(seed, *name, "initialisation"))
    layer.kernel.assign(glorot(layer.kernel.shape))
    layer.bias.assign(np.zeros(layer.bias.shape, dtype="float32"))


def load(path: Path) -> keras.Model:
    """Returns the model in the `.keras` file `path`; nothing in the file is executed (safe mode).

    Raises:
        UserError: There is no such file, or it is not a Keras model.
    """
    try:
        with warnings.catch_warnings():
            # An optimiser saved with frozen layers; nothing is trained further here.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            model: keras.Model = keras.models.load_model(path, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; `dvc repro` makes it") from error
        raise UserError(
            f"{path}: cannot be read as a Keras model ({str(error).splitlines()[0]}); "
            "`dvc repro` makes it again"
        ) from error
    return model


def parameters(model: keras.Model) -> tuple[int, int]:
    """Returns the numbers of trainable and of all parameters."""
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return trainable, model.count_params()
