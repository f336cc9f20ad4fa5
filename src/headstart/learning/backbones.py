"""A network from elsewhere under a new head: with what it learned or drawn anew, and its mode."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras

from headstart.learning.pretrained import BODY

# Layers that stand for the preprocessing: what they hold was never trained.
_PREPROCESSING = "keras.src.layers.preprocessing."


def with_head(
    backbone: keras.Model, *, units: int, activation: str, head: str, seed: int, trained: bool
) -> keras.Model:
    """Returns `backbone`, copied, under a new dense layer called `head`.

    Args:
        backbone: As `pretrained.adopt` makes it; stays as it is.
        units, activation, head: The new layer's.
        seed: Keys all that is drawn: the masks of dropout, and the weights of an untrained copy.
        trained: Whether the copy has the weights of `backbone`. If not, it has the same
            architecture and preprocessing, weights by Keras' own initialisers, and the
            statistics of batch normalisation as they are before any training.
    """
    with _drawn_by(seed):
        copy = keras.models.clone_model(backbone, clone_function=None if trained else _anew)
    if trained:
        copy.set_weights(backbone.get_weights())
    for ours, theirs in zip(copy._flatten_layers(), backbone._flatten_layers(), strict=True):
        if type(ours).__module__.startswith(_PREPROCESSING):
            ours.set_weights(theirs.get_weights())
            if isinstance(ours, keras.layers.Normalization):
                # It computes with constants that were made when it was built.
                ours.finalize_state()
    outputs = keras.layers.Dense(units, activation=activation, name=head)(copy.output)
    return keras.Model(copy.inputs, outputs, name="network")


def is_adopted(model: keras.Model) -> bool:
    """Tells whether the backbone of `model` is a network from elsewhere."""
    return any(layer.name == BODY for layer in model.layers)


class AsItAnswers(keras.layers.Layer):
    """A network that runs while it trains as when it answers.

    Batch normalisation goes by the statistics that it has and leaves them as they are, its scale
    and offset train; dropout drops nothing. In a functional model Keras overrides the `training`
    that a layer was called with by that of the model (3.15, `functional.operation_fn`).
    """

    def __init__(self, network: keras.Model, **options: Any) -> None:
        super().__init__(**options)
        self.network = network

    def call(self, inputs: Any) -> Any:
        """Returns what the network answers."""
        return self.network(inputs, training=False)


@contextlib.contextmanager
def _drawn_by(seed: int) -> Iterator[None]:
    """Keys by `seed` what Keras draws for layers without a seed, which comes from `random`."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _anew(layer: keras.Layer) -> keras.Layer:
    """Returns a copy of `layer` whose initialisers have no seed of their own."""
    return type(layer).from_config(_unseeded(layer.get_config()))


def _unseeded(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(map(_unseeded, config))
    if not isinstance(config, dict):
        return config
    plain = {key: _unseeded(value) for key, value in config.items()}
    inner = plain.get("config")
    if plain.get("module") == "keras.initializers" and isinstance(inner, dict) and "seed" in inner:
        plain["config"] = inner | {"seed": None}
    return plain
