"""Every strategy on a network from elsewhere, against plain Keras: the same weights."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_image

from benchmarks import pretrained_networks as lite0
from headstart.core import artefacts, seeds
from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.judging.cost import Work
from headstart.learning import blocks, flops, networks, pretrained
from headstart.params.sections import TrainingSettings
from headstart.params.strategies import STRATEGIES, named
from headstart.transfer import graft

L = keras.layers
SEED, BATCH = 3, 4
# Ten steps an epoch.
BUDGET = TrainingSettings(epochs=2, batch_size=BATCH, optimizer="sgd", learning_rate=0.05)
UNFROZEN = 0.01


@dataclasses.dataclass(frozen=True)
class Case:
    """A network without a head, how to build it, and what it is shown.

    `last` are the layers with weights of the last blocks, the highest first, and `blocks` how many
    there are.
    """

    build: Callable[[], keras.Model]
    range_: tuple[float, float]
    images: np.ndarray
    last: Sequence[Sequence[str]]
    blocks: int


def branched() -> keras.Model:
    """A small network with batch normalisation, a shortcut, a network inside, and dropout."""
    image = keras.Input((16, 16, 3))
    x = L.ZeroPadding2D(name="pad")(image)
    x = L.Conv2D(6, 3, strides=2, use_bias=False, name="stem")(x)
    x = L.BatchNormalization(momentum=0.9, name="stem_bn")(x)
    x = before = L.ReLU(name="stem_relu")(x)
    x = L.DepthwiseConv2D(3, padding="same", name="deep")(x)
    x = L.BatchNormalization(name="deep_bn")(x)
    x = L.Conv2D(6, 1, name="project")(x)
    x = L.Add(name="sum")([x, L.Dropout(0.3, name="drop")(before)])
    x = L.BatchNormalization(name="sum_bn")(x)
    inside = keras.Sequential(
        [keras.Input(x.shape[1:]), L.Conv2D(5, 3, name="c"), L.BatchNormalization(name="c_bn")],
        name="inside",
    )
    x = L.MaxPooling2D(name="pool")(L.ReLU(name="inside_relu")(inside(x)))
    x = L.BatchNormalization(name="top_bn")(L.Conv2D(8, 1, name="top")(x))
    model = keras.Model(image, L.ReLU(name="top_relu")(x), name="branched")
    draw = np.random.default_rng(1)
    for part in model._flatten_layers():
        if isinstance(part, L.BatchNormalization):
            part.moving_mean.assign(draw.normal(0, 0.2, part.moving_mean.shape))
            part.moving_variance.assign(draw.uniform(0.3, 2.0, part.moving_variance.shape))
    return model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Case:
    path = tmp_path_factory.mktemp("branched") / "branched.keras"
    branched().save(path)
    images = np.random.default_rng(2).random((40, 16, 16, 3), dtype=np.float32)
    return Case(
        lambda: keras.models.load_model(path),
        (-1.0, 1.0),
        images,
        [["top", "top_bn"], ["c", "c_bn"], ["deep", "deep_bn", "project", "sum_bn"]],
        4,
    )


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """EfficientNet-Lite0 on crops of photographs."""
    folder = tmp_path_factory.mktemp("lite0")
    # From a file, since Keras numbers layers without names over the life of a process.
    path = folder / "lite0.keras"
    lite0.network(lite0.weights(folder), size=64, top=False).save(path)
    photographs = [
        load_sample_image(name) / np.float32(255) for name in ("china.jpg", "flower.jpg")
    ]
    draw = np.random.default_rng(2)
    corners = draw.integers(0, (427 - 64, 640 - 64), (40, 2))
    images = [photographs[n % 2][y : y + 64, x : x + 64] for n, (y, x) in enumerate(corners)]
    return Case(
        lambda: keras.models.load_model(path),
        (-0.9921875, 1.0),
        np.stack(images).astype(np.float32),
        [["conv_head", "_bn1"], ["blocks.15._project_conv", "_blocks_15__bn2"]],
        # The stem, two convolutions, three in six places, nine shortcuts around three, the last.
        1 + 2 + 3 * 6 + 9 + 1,
    )


@pytest.fixture(params=["small", pytest.param("real", marks=pytest.mark.slow)])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


def parts(case: Case) -> tuple[Part, Part]:
    labels = np.arange(len(case.images)) % 3
    return Part(case.images, labels), Part(case.images[:6], labels[:6])


def transferred(case: Case, folder: Path, strategy: str, **changes: Any) -> keras.Model:
    """What headstart trains, from a file of the network to a file of the transfer model."""
    case.build().save(folder / "network.keras")
    adopted = pretrained.adopt(
        folder / "network.keras",
        layer="auto",
        image_shape=case.images.shape[1:],
        preprocessing=case.range_,
    )
    artefacts.write_model(folder / "source.keras", adopted.backbone)
    options: dict[str, Any] = {
        "source": networks.load(folder / "source.keras"),
        "network": None,
        "units": 3,
        "activation": "softmax",
        "settings": BUDGET,
        "strategy": named(strategy),
        "frozen_fraction": 0.5,
        "unfrozen_learning_rate": UNFROZEN,
        "seed": SEED,
        "on_epoch": lambda _: None,
        "inference": True,
    }
    model, _ = graft.train_grafted(*parts(case), **(options | changes))
    artefacts.write_model(folder / "transfer.keras", model)
    return networks.load(folder / "transfer.keras")


def plain(
    case: Case,
    body: keras.Model,
    phases: Sequence[tuple[int, float, Sequence[keras.Layer]]],
    *,
    inference: bool = True,
) -> list[np.ndarray]:
    """Trains `body` under a head with nothing but Keras; returns the weights of both.

    A phase is so many epochs at a rate, with layers below the head that train.
    """
    low, high = case.range_
    images, labels = case.images * (high - low) + low, parts(case)[0].labels
    head = L.Dense(3, "softmax")
    head.build((None, body.output_shape[-1]))
    drawn = seeds.integer(SEED, "target", "head", "initialisation")
    head.kernel.assign(keras.initializers.GlorotUniform(drawn)(head.kernel.shape))
    training_layers = {id(layer) for _, _, layers in phases for layer in layers}
    for part in body._flatten_layers():
        # Otherwise batch normalisation of frozen layers would go by the batch in training mode.
        whole = isinstance(part, keras.Model) or not part.weights
        part.trainable = inference or whole or id(part) in training_layers
    epoch = 0
    for epochs, rate, layers in phases:
        training = bool(layers) and not inference
        step = _step(body, head, rate=rate, layers=layers, training=training)
        for _ in range(epochs):
            epoch += 1
            order = seeds.epoch_order(epoch, count=len(labels), seed=SEED, task="target")
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                step(tf.constant(images[chosen]), tf.constant(labels[chosen]))
    return [*body.get_weights(), *head.get_weights()]


def _step(
    body: keras.Model,
    head: keras.Layer,
    *,
    rate: float,
    layers: Sequence[keras.Layer],
    training: bool,
) -> Callable[[Any, Any], None]:
    """Returns a step of gradient descent on a batch."""
    below = [weight.value for layer in layers for weight in layer.trainable_weights]
    variables = [*below, head.kernel.value, head.bias.value]

    @tf.function
    def step(batch: Any, answers: Any) -> None:
        with tf.GradientTape() as tape:
            features = tf.reduce_mean(body(batch, training=training), axis=(1, 2))
            loss = keras.losses.sparse_categorical_crossentropy(answers, head(features))
            mean = tf.reduce_mean(loss)
        for variable, slope in zip(variables, tape.gradient(mean, variables), strict=True):
            variable.assign_sub(rate * slope)

    return step


def all_layers(network: keras.Model) -> list[keras.Layer]:
    parts = network._flatten_layers(include_self=False)
    return [part for part in parts if part.weights and not isinstance(part, keras.Model)]


def in_blocks(case: Case, network: keras.Model, count: int) -> list[keras.Layer]:
    """The layers of the last blocks, as the test itself names them."""
    names = {name for block in case.last[:count] for name in block}
    found = [part for part in network._flatten_layers() if part.name in names]
    assert len(found) == len(names)
    return found


STARTED = ["finetune", "gradual", "frozen", "last:1", "last:2"]


@pytest.mark.parametrize("strategy", STARTED)
def test_weights_are_those_of_plain_keras_after_20_steps(
    case: Case, tmp_path: Path, strategy: str
) -> None:
    body = case.build()
    by_strategy: dict[str, list[tuple[int, float, Sequence[keras.Layer]]]] = {
        "finetune": [(2, 0.05, all_layers(body))],
        "gradual": [(1, 0.05, []), (1, UNFROZEN, all_layers(body))],
        "frozen": [(2, 0.05, [])],
        "last:1": [(2, 0.05, in_blocks(case, body, 1))],
        "last:2": [(2, 0.05, in_blocks(case, body, 2))],
    }
    phases = by_strategy[strategy]
    model = transferred(case, tmp_path, strategy)
    before, expected = case.build().get_weights(), plain(case, body, phases)
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    moved = [not np.array_equal(a, b) for a, b in zip(before, expected, strict=False)]
    assert any(moved) == (strategy != "frozen")
    # What is marked in the file is what trained last.
    trained = sum(weight.size for layer in phases[-1][2] for weight in _values(layer))
    assert networks.parameters(model)[0] == trained + sum(
        weight.size for weight in model.get_weights()[-2:]
    )


def _values(layer: keras.Layer) -> list[np.ndarray]:
    return [np.array(weight) for weight in layer.trainable_weights]


def body_of(model: keras.Model) -> keras.Model:
    return model.get_layer(pretrained.BODY)


@pytest.mark.parametrize("statistics", [True, False], ids=["scratch", "finetune"])
def test_batch_normalisation_in_training_mode_is_that_of_plain_keras(
    case: Case, tmp_path: Path, statistics: bool
) -> None:
    """From scratch by itself, and where it is asked for; what is frozen keeps its statistics."""

    def build() -> keras.Model:
        network = case.build()
        for part in network._flatten_layers():
            if isinstance(part, L.Dropout):
                part.rate = 0.0  # Its masks are drawn elsewhere than here.
        return network

    still = dataclasses.replace(case, build=build)
    strategy = "scratch_same" if statistics else "last:2"
    # At a larger rate a deep network from scratch makes of two roundings two networks, on some
    # processors with 0.0001.
    rate = 0.00001 if statistics else 0.05
    slow = BUDGET.model_copy(update={"learning_rate": rate})
    model = transferred(still, tmp_path, strategy, inference=False, settings=slow)
    body = still.build()
    if statistics:
        # Drawn by the seed alone, so that the control that freezes them tells where they began.
        drawn = transferred(still, tmp_path, "random_frozen", inference=False)
        body.set_weights(body_of(drawn).get_weights())
        layers = all_layers(body)
    else:
        layers = in_blocks(still, body, 2)
    body_weights = body.get_weights()
    expected = plain(still, body, [(2, rate, layers)], inference=False)
    assert any(
        not np.allclose(before, after, rtol=0, atol=1e-4)
        for before, after in zip(body_weights, expected, strict=False)
    )
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_random_frozen_is_the_same_network_as_it_was_before_any_training(
    case: Case, tmp_path: Path
) -> None:
    model = transferred(case, tmp_path, "random_frozen")
    body, learned = body_of(model), case.build()
    assert [type(part) for part in body._flatten_layers()] == [
        type(part) for part in learned._flatten_layers()
    ]
    for ours, theirs in zip(body._flatten_layers(), learned._flatten_layers(), strict=True):
        if isinstance(ours, L.BatchNormalization):
            assert not np.any(ours.moving_mean)
            np.testing.assert_array_equal(ours.moving_variance, 1)
        elif isinstance(ours, L.Conv2D):
            # Glorot's, in its bounds and filling them.
            field = ours.kernel.shape[0] * ours.kernel.shape[1]
            limit = np.sqrt(6 / (field * sum(ours.kernel.shape[2:])))
            drawn = np.abs(np.array(ours.kernel))
            assert 0.8 * limit < drawn.max() <= limit
            assert not np.array_equal(ours.kernel, theirs.kernel)
    # The head learned what plain Keras learns on these features.
    learned.set_weights(body.get_weights())
    expected = plain(case, learned, [(2, 0.05, [])])
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    other = transferred(case, tmp_path, "random_frozen", seed=SEED + 1)
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("strategy", [*STARTED, "random_frozen", "scratch_same"])
def test_equal_trainings_give_equal_bytes(case: Case, tmp_path: Path, strategy: str) -> None:
    digests = set()
    for _ in range(2):
        transferred(case, tmp_path, strategy, inference=named(strategy).from_source)
        digests.add(artefacts.md5(tmp_path / "transfer.keras"))
        # What others draw in between changes nothing.
        keras.layers.Dense(2).build((1, 2))
    assert len(digests) == 1


def test_blocks_lie_between_layers_that_every_path_goes_through(case: Case) -> None:
    network = case.build()
    found = blocks.of(network).blocks
    assert len(found) == case.blocks
    for block, names in zip(reversed(found), case.last, strict=False):
        assert {layer.name for layer in block.layers} == set(names)
    # Each weight that trains is in one block.
    trained = [id(weight) for block in found for layer in block.layers for weight in layer.weights]
    assert sorted(trained) == sorted(id(weight) for weight in network.weights)


def test_layer_used_twice_lies_in_one_block() -> None:
    image = keras.Input((4,))
    twice = L.Dense(4, name="twice")
    x = L.Dense(4, name="between")(twice(L.Dense(4, name="first")(image)))
    found = blocks.of(keras.Model(image, L.Dense(4, name="last")(twice(x)))).blocks
    assert [[layer.name for layer in block.layers] for block in found] == [
        ["first"],
        ["twice", "between"],
        ["last"],
    ]


@pytest.mark.parametrize("asked", ["last:5", "last:400"])
def test_more_blocks_than_there_are_are_refused_with_their_number(
    small: Case, tmp_path: Path, asked: str
) -> None:
    with pytest.raises(UserError, match=r"transfer\.strategy: last:\d+ trains more.* there are 4$"):
        transferred(small, tmp_path, asked)


def test_all_blocks_are_all_layers_and_no_block_is_the_head_alone(
    small: Case, tmp_path: Path
) -> None:
    assert named("last:0") is STRATEGIES["frozen"]
    every = transferred(small, tmp_path, "last:4").get_weights()
    for ours, theirs in zip(
        every, transferred(small, tmp_path, "finetune").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_what_lies_below_the_blocks_that_train_is_paid_for_once(
    small: Case, tmp_path: Path
) -> None:
    counted = flops.calls(transferred(small, tmp_path, "last:2"))
    cost = {
        # Multiply-adds count twice: outputs times what each is multiplied with.
        "stem": 2 * 8 * 8 * 6 * 27,
        "deep": 2 * 8 * 8 * 6 * 9,
        "project": 2 * 8 * 8 * 6 * 6,
        "c": 2 * 6 * 6 * 5 * 54,
        "top": 2 * 3 * 3 * 8 * 5,
        "head": 2 * 8 * 3,
    }
    assert [call.flops for call in counted] == list(cost.values())
    assert [call.layer for call in counted] == [0, 1, 1, 2, 3, 4]

    def flops_of(strategy: str) -> int:
        phases = named(strategy).phases(2, frozen_fraction=0.5)
        return Work(calls=counted, phases=phases, images=40, batch_size=BATCH).flops

    below = 40 * (cost["stem"] + cost["deep"] + cost["project"])
    # The lowest that trains has no gradient of its inputs.
    assert flops_of("last:2") == below + 80 * (2 * cost["c"] + 3 * cost["top"] + 3 * cost["head"])
    below += 40 * cost["c"]
    assert flops_of("last:1") == below + 80 * (2 * cost["top"] + 3 * cost["head"])
    below += 40 * cost["top"]
    assert flops_of("frozen") == flops_of("random_frozen") == below + 80 * 2 * cost["head"]
    whole = 80 * (3 * sum(cost.values()) - cost["stem"])
    assert flops_of("finetune") == flops_of("scratch_same") == flops_of("last:4") == whole


def test_features_below_are_computed_once(
    small: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []
    true = graft.features

    def spy(model: keras.Model, images: np.ndarray, layers: int, *folder: Any) -> np.ndarray:
        found = true(model, images, layers, *folder)
        seen.append((len(images), found.shape[1:]))
        return found

    monkeypatch.setattr(graft, "features", spy)
    transferred(small, tmp_path, "last:2")
    # What the network inside sees, of training and validation images.
    assert seen == [(40, (8, 8, 6)), (6, (8, 8, 6))]


def test_constants_of_a_normalisation_come_along(small: Case, tmp_path: Path) -> None:
    """A layer that computes with what it was built with, whatever weights it is given after."""

    def build() -> keras.Model:
        image = keras.Input((16, 16, 3))
        scaled = L.Normalization(name="scaled")
        scaled.adapt(np.random.default_rng(4).normal(3, 2, (50, 16, 16, 3)))
        model = keras.Model(image, L.Conv2D(4, 3, name="only")(scaled(image)))
        model.get_layer("only").kernel.assign(np.full((3, 3, 3, 4), 0.1))
        return model

    case = Case(build, (0.0, 1.0), small.images, [["scaled", "only"]], 1)
    for strategy in ("frozen", "random_frozen"):
        model = transferred(case, tmp_path, strategy)
        learned = build()
        learned.set_weights(body_of(model).get_weights())
        learned.get_layer("scaled").finalize_state()
        np.testing.assert_allclose(
            learned.get_layer("scaled").mean, build().get_layer("scaled").mean, atol=1e-6
        )
        for ours, theirs in zip(
            model.get_weights(), plain(case, learned, [(2, 0.05, [])]), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
