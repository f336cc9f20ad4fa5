"""Training in the span of few images against training on their pixels."""

from typing import Any

import numpy as np
import pytest

from headstart.params.networks import Cnn, Mlp
from headstart.study import plan, subspace

MLP = Mlp(name="mlp", units=(80, 20, 10), activation="selu")
CNN = Cnn(name="cnn", filters=(4,), dense=(8,), activation="relu")
REPLICAS, STEPS = 2, 200


@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (3, "softmax")])
@pytest.mark.parametrize("count", [10, 60])
def test_few_images_train_to_the_same_weights_as_their_pixels(
    units: Any, activation: Any, count: Any
) -> None:
    import keras

    from headstart.learning import networks, replicas

    draw = np.random.default_rng(1)
    images = draw.random((REPLICAS, count, 12, 12), dtype=np.float32)
    images[:, 1] = images[:, 0]  # The same image twice spans no direction of its own.
    labels = draw.integers(0, max(units, 2), (REPLICAS, count))
    orders = draw.integers(0, count, (REPLICAS, STEPS, 8)).astype(np.int32)
    rates = np.full(REPLICAS, 0.01, dtype=np.float32)

    def trainer(shape: tuple[int, ...]) -> Any:
        model = networks.build(shape, MLP, units=units, activation=activation)
        return model, replicas.Trainer(model, optimizer="sgd", threads=2)

    # Weights that grow let last digits grow too: not those that another test left drawn.
    keras.utils.set_random_seed(1)
    model, on_pixels = trainer((12, 12))
    before = [np.stack([weight] * REPLICAS) for weight in model.get_weights()]
    expected = on_pixels.train(before, images, labels, orders, learning_rates=rates)

    spans = [subspace.span(one) for one in images]
    entered = subspace.enter(before[0], spans)
    first, *others = trainer((count,))[1].train(
        [entered, *before[1:]],
        np.stack([one.coordinates for one in spans]),
        labels,
        orders,
        learning_rates=rates,
    )
    found = [subspace.leave(before[0], entered, first, spans), *others]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert np.abs(expected[0] - before[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("network", "optimizer", "images", "expected"),
    [
        (MLP, "sgd", 10, True),
        (MLP, "sgd", 784, False),
        # Adam's steps depend on the basis, and a convolution does not see the whole image.
        (MLP, "adam", 10, False),
        (CNN, "sgd", 10, False),
    ],
)
def test_only_sgd_on_dense_layers_trains_in_the_span(
    network: Any, optimizer: Any, images: Any, expected: Any
) -> None:
    assert plan.trains_in_span(network, optimizer, images=images, pixels=784) is expected
