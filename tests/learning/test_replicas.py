"""Replicas against Keras' own `fit`, on networks small enough to be quick."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.core import runtime
from headstart.core.errors import UserError
from headstart.params.networks import Cnn, Mlp

# Above and below the size from which XLA compiles the steps.
MLP = Mlp(name="mlp", units=(80, 20, 10), activation="selu")
CNN = Cnn(name="cnn", filters=(4, 6), dense=(8,), activation="relu")
HEAD = "head"
WIDTH = 7
SIDE = 12
COUNT = 75
BATCH = 16
RATES = {"sgd": 0.01, "adam": 0.001}


def network(kind: Any, *, units: int = 1, activation: str = "sigmoid") -> Any:
    """A backbone under a head, or a head alone on features."""
    import keras

    from headstart.learning import networks

    keras.utils.set_random_seed(3)
    if kind == HEAD:
        head = keras.layers.Dense(units, activation=activation)
        return keras.Sequential([keras.layers.Input((WIDTH,)), head])
    return networks.build((SIDE, SIDE), kind, units=units, activation=activation)


def trainer(model: Any, *, optimizer: str = "sgd", threads: int = 2) -> Any:
    from headstart.learning import replicas

    return replicas.Trainer(model, optimizer=optimizer, threads=threads)


def data(model: Any, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Images, or features, and labels that have something to do with them."""
    draw = np.random.default_rng(1)
    images = draw.random((COUNT, *model.input_shape[1:]), dtype=np.float32)
    sums = images.reshape(COUNT, -1)[:, :20].sum(axis=1)
    return images, np.digitize(sums, np.quantile(sums, np.arange(1, classes) / classes))


def starts(model: Any, count: int) -> list[np.ndarray]:
    """Stacked initial weights, another start for every replica."""
    draw = np.random.default_rng(2)
    own = model.get_weights()
    noise = [draw.normal(0, 0.02, (count, *weight.shape)).astype("float32") for weight in own]
    return [weight + extra for weight, extra in zip(own, noise, strict=True)]


def epochs(number: int, *, labels: int, batch: int, seed: int) -> np.ndarray:
    """Fresh permutations cut in batches, the last of an epoch filled up with -1."""
    from headstart.learning import replicas

    draw = np.random.default_rng(seed)
    steps = math.ceil(labels / batch)
    order = np.full((number, steps * batch), replicas.EMPTY, dtype=np.int32)
    for epoch in range(number):
        order[epoch, :labels] = draw.permutation(labels)
    return order.reshape(number * steps, batch)


def fitted(
    model: Any,
    weights: list[np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    *,
    optimizer: str,
    rate: float,
) -> list[np.ndarray]:
    """What one call of `fit` makes of the weights, on batches of the sizes in `order`."""
    import keras
    import tensorflow as tf

    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    binary = model.output_shape[-1] == 1
    model.set_weights(weights)
    model.compile(
        optimizer=kinds[optimizer](learning_rate=rate),
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    batches = ((images[batch[batch >= 0]], labels[batch[batch >= 0]]) for batch in order)
    shapes = (
        tf.TensorSpec((None, *images.shape[1:]), tf.float32),
        tf.TensorSpec((None,), tf.int64),
    )
    model.fit(
        tf.data.Dataset.from_generator(lambda: batches, output_signature=shapes),
        steps_per_epoch=len(order),
        shuffle=False,
        verbose=0,
    )
    return [np.array(weight) for weight in model.get_weights()]


def largest_difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("units", "activation"), [(1, "sigmoid"), (3, "softmax")], ids=["binary", "categorical"]
)
@pytest.mark.parametrize("kind", [MLP, CNN, HEAD], ids=["mlp", "cnn", "head"])
def test_replicas_equal_fit_after_200_steps(
    kind: Any, units: int, activation: str, optimizer: str
) -> None:
    model = network(kind, units=units, activation=activation)
    images, labels = data(model, max(units, 2))
    weights = starts(model, 2)
    # Each replica has labels, order and learning rate of its own; 5 steps an epoch, the last
    # with 11 or 6 samples.
    orders = np.stack([epochs(40, labels=n, batch=BATCH, seed=n) for n in (COUNT, COUNT - 5)])
    assert orders.shape[1] == 200
    rates = np.array([1.0, 0.5]) * RATES[optimizer]
    ours = trainer(model, optimizer=optimizer).train(
        weights, images, labels, orders, learning_rates=rates
    )
    theirs = fitted(
        model,
        [weight[1] for weight in weights],
        images,
        labels,
        orders[1],
        optimizer=optimizer,
        rate=rates[1],
    )
    moved = largest_difference([weight[1] for weight in weights], theirs)
    assert moved > 5e-3
    assert largest_difference([weight[1] for weight in ours], theirs) < 1e-5
    assert largest_difference([weight[0] for weight in ours], theirs) > 1e-3


@pytest.mark.filterwarnings("ignore:(.|\\n)*You are using a softmax over axis -1")
def test_a_softmax_over_one_unit_learns_as_in_fit() -> None:
    """Keras computes the loss from the logit: the weights learn while the answer stays 1."""
    model = network(HEAD, activation="softmax")
    images, labels = data(model)
    weights = starts(model, 1)
    orders = epochs(40, labels=COUNT, batch=BATCH, seed=4)[None]
    made = trainer(model)
    ours = made.train(weights, images, labels, orders, learning_rates=np.array([0.1]))
    theirs = fitted(
        model, [w[0] for w in weights], images, labels, orders[0], optimizer="sgd", rate=0.1
    )
    assert largest_difference([weight[0] for weight in weights], theirs) > 0.1
    assert largest_difference([weight[0] for weight in ours], theirs) < 1e-5
    # Some kernels round the quotient down by half a unit in the last place.
    np.testing.assert_allclose(made.predict(ours, images), 1, rtol=1e-6)


def test_features_of_each_replica_are_its_own() -> None:
    model = network(HEAD)
    images, labels = data(model)
    features = np.stack([images, images[::-1] * 2])
    weights = starts(model, 2)
    orders = np.stack([epochs(5, labels=COUNT, batch=BATCH, seed=n) for n in range(2)])
    rates = np.array([0.1, 0.2])
    made = trainer(model)
    together = made.train(weights, features, labels, orders, learning_rates=rates)
    answers = made.predict(together, features)
    assert answers.shape == (2, COUNT, 1)
    for one in range(2):
        alone = made.train(
            [weight[one : one + 1] for weight in weights],
            features[one],
            labels,
            orders[one : one + 1],
            learning_rates=rates[one : one + 1],
        )
        assert largest_difference([weight[one] for weight in together], [w[0] for w in alone]) == 0
        assert (made.predict(alone, features[one])[0] == answers[one]).all()


@pytest.mark.parametrize("kind", [MLP, CNN], ids=["mlp", "cnn"])
def test_bytes_depend_on_neither_group_nor_threads_nor_the_run(kind: Any) -> None:
    model = network(kind)
    images, labels = data(model)
    weights = starts(model, 2)
    # More steps than one call into the graph takes, and not a whole number of calls.
    orders = np.stack([epochs(60, labels=COUNT, batch=BATCH, seed=n) for n in range(2)])
    rates = np.full(2, 0.02)
    first = trainer(model, threads=3).train(weights, images, labels, orders, learning_rates=rates)
    made = trainer(model, threads=1)
    again = made.train(
        [weight[1:] for weight in weights], images, labels, orders[1:], learning_rates=rates[1:]
    )
    assert largest_difference([weight[1:] for weight in first], again) == 0


@pytest.mark.skipif(not runtime.kernels(runtime.AVX2), reason="oneDNN is for x86-64")
def test_max_pooling_always_has_the_quick_gradient(tmp_path: Path) -> None:
    """TensorFlow's own is slow, and comes in by chance where a loop's step stands in the loop."""
    import tensorflow as tf

    model = network(CNN)
    images, labels = data(model)
    made = trainer(model)
    # Each batch size is a graph of its own: a try of its own.
    sizes = range(4, 9)
    tf.profiler.experimental.start(str(tmp_path))
    for batch in sizes:
        order = epochs(1, labels=batch, batch=batch, seed=1)[None]
        made.train(starts(model, 1), images, labels, order, learning_rates=np.array([0.02]))
    tf.profiler.experimental.stop()
    (trace,) = tmp_path.rglob("*.xplane.pb")
    kernels = re.findall(rb":(\w*MaxPoolGrad)\b", trace.read_bytes())
    assert set(kernels) == {b"_MklNativeMaxPoolGrad"}


def test_nan_stays_in_its_replica() -> None:
    model = network(MLP)
    images, labels = data(model)
    weights = starts(model, 3)
    orders = np.stack([epochs(8, labels=COUNT, batch=BATCH, seed=n) for n in range(3)])
    made = trainer(model)
    calm = made.train(weights, images, labels, orders, learning_rates=np.full(3, 0.02))
    wild = made.train(weights, images, labels, orders, learning_rates=np.array([0.02, 1e30, 0.02]))
    assert np.isnan(wild[0][1]).any()
    for one in (0, 2):
        assert largest_difference([w[one] for w in calm], [w[one] for w in wild]) == 0


def test_an_empty_place_reads_no_sample_of_its_own() -> None:
    """Neither the last image, which -1 would mean, nor the first may touch the weights."""
    model = network(MLP)
    images, labels = data(model)
    images[[0, -1]] = np.nan
    # Samples 1 to 20 of 75, in batches of 16 and 4.
    order = epochs(3, labels=20, batch=BATCH, seed=1)[None]
    order[order >= 0] += 1
    weights = trainer(model).train(
        starts(model, 1), images, labels, order, learning_rates=np.array([0.02])
    )
    assert all(np.isfinite(weight).all() for weight in weights)


def test_progress_counts_every_step_of_every_replica() -> None:
    model = network(HEAD)
    images, labels = data(model)
    orders = np.stack([epochs(60, labels=COUNT, batch=BATCH, seed=n) for n in range(3)])
    told: list[tuple[int, int]] = []
    trainer(model).train(
        starts(model, 3),
        images,
        labels,
        orders,
        learning_rates=np.full(3, 0.1),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (900, 900)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 3


def test_an_error_in_the_callback_ends_all_replicas() -> None:
    model = network(HEAD)
    images, labels = data(model)
    orders = np.stack([epochs(100, labels=COUNT, batch=BATCH, seed=n) for n in range(6)])
    told: list[int] = []

    def fail(done: int, _: int) -> None:
        told.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(model).train(
            starts(model, 6),
            images,
            labels,
            orders,
            learning_rates=np.full(6, 0.1),
            on_progress=fail,
        )
    # The others were busy with their first chunk, and told nobody.
    assert len(told) == 1


def test_a_group_that_does_not_fit_into_memory_is_refused_before_it_starts() -> None:
    model = network(MLP)
    images, labels = data(model)
    many = 10**9
    weights = [np.broadcast_to(weight, (many, *weight.shape)) for weight in model.get_weights()]
    orders = np.broadcast_to(np.int32(0), (many, 10, BATCH))
    with pytest.raises(UserError, match=r"1000000000 networks .* GB .*replicas\.group_size"):
        trainer(model).train(
            weights, images, labels, orders, learning_rates=np.broadcast_to(0.1, (many,))
        )


def test_a_frozen_layer_is_refused() -> None:
    model = network(MLP)
    model.layers[-2].trainable = False
    with pytest.raises(ValueError, match="has to train"):
        trainer(model)
