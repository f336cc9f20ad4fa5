"""Training and grafting with real Keras, on networks small enough to be quick."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.core import artefacts, seeds
from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.params.networks import Cnn, Mlp
from headstart.params.sections import TrainingSettings
from headstart.params.strategies import HEAD_ALONE, STRATEGIES

MLP = Mlp(name="mlp", units=(12, 8), activation="selu")
CNN = Cnn(name="cnn", filters=(4,), dense=(6,), activation="relu")
BUDGET = TrainingSettings(epochs=3, batch_size=16, optimizer="sgd", learning_rate=0.05)


def images(count: int, classes: int, *, seed: int = 0) -> Part:
    """Images of one bright row each, the row telling the class, under noise."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    pixels = draw.random((count, 8, 8), dtype=np.float32) * 0.5
    pixels[np.arange(count), labels * 2] += 0.5
    return Part(pixels, labels)


TRAIN, VALID = images(100, 2), images(40, 2, seed=1)


def ignore(row: Mapping[str, float]) -> None:
    """Takes a row of the history and does nothing."""


def train_new(**changes: Any) -> tuple[Any, list[dict[str, float]]]:
    from headstart.learning import fit

    options: dict[str, Any] = {
        "network": MLP,
        "units": 1,
        "activation": "sigmoid",
        "settings": BUDGET,
        "seed": 5,
        "task": "target",
        "on_epoch": ignore,
    }
    return fit.train_new(TRAIN, VALID, **(options | changes))


def train_grafted(source: Any, **changes: Any) -> tuple[Any, list[dict[str, float]]]:
    from headstart.transfer import graft

    options: dict[str, Any] = {
        "network": MLP,
        "units": 1,
        "activation": "sigmoid",
        "settings": BUDGET,
        "strategy": STRATEGIES["frozen"],
        "frozen_fraction": 0.5,
        "unfrozen_learning_rate": 0.01,
        "seed": 5,
        "on_epoch": ignore,
    }
    return graft.train_grafted(TRAIN, VALID, source=source, **(options | changes))


@pytest.fixture(scope="module")
def source() -> Any:
    from headstart.learning import fit

    model, _ = fit.train_new(
        images(100, 4),
        images(40, 4, seed=1),
        network=MLP,
        units=4,
        activation="softmax",
        settings=BUDGET,
        seed=5,
        task="source",
        on_epoch=ignore,
    )
    return model


def weights_of(model: Any) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_features_computed_once_equal_training_through_the_frozen_layers(source: Any) -> None:
    from headstart.learning import fit, networks
    from headstart.transfer import cut, graft

    once, _ = train_grafted(source)
    through = networks.build((8, 8), MLP, units=1, activation="sigmoid")
    networks.initialise(through, seed=5, backbone="target", head="target")
    graft.graft(through, source)
    cut.set_trainable(through, HEAD_ALONE)
    fit.compile_model(through, optimizer="sgd", learning_rate=0.05)
    order = functools.partial(seeds.epoch_order, count=100, seed=5, task="target")
    fit.fit(through, TRAIN, VALID, batch_size=16, order=order, epochs=range(1, 4), on_epoch=ignore)
    for ours, theirs in zip(weights_of(once), weights_of(through), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert not same(weights_of(once)[-2:], weights_of(train_new()[0])[-2:])


def test_both_arms_see_the_same_batches(monkeypatch: pytest.MonkeyPatch, source: Any) -> None:
    seen: list[tuple[int, list[int]]] = []
    true_order = seeds.epoch_order

    def spy(epoch: int, **key: Any) -> np.ndarray:
        order = true_order(epoch, **key)
        seen.append((epoch, order.tolist()))
        return order

    monkeypatch.setattr(seeds, "epoch_order", spy)
    train_new()
    baseline = dict(seen)
    seen.clear()
    train_grafted(source, strategy=STRATEGIES["finetune"])
    assert dict(seen) == baseline
    assert sorted(baseline) == [1, 2, 3]
    seen.clear()
    train_grafted(source, strategy=STRATEGIES["gradual"])
    assert dict(seen) == baseline


def test_fit_takes_the_samples_in_the_order_given() -> None:
    """One step of SGD on a known batch equals the gradient step by hand (logistic regression)."""
    import keras

    from headstart.learning import fit

    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    model.set_weights([np.zeros((2, 1)), np.zeros(1)])
    fit.compile_model(model, optimizer="sgd", learning_rate=1.0)
    part = Part(np.array([[1, 0], [0, 1], [2, 2]], dtype=np.float32), np.array([1, 0, 1]))
    fit.fit(
        model,
        part,
        part,
        batch_size=2,
        order=lambda epoch: np.array([2, 0, 1]),
        epochs=range(1, 2),
        on_epoch=ignore,
    )
    weights, bias = np.zeros(2), 0.0
    for batch in ([2, 0], [1]):
        x, y = part.images[batch], part.labels[batch]
        error = 1 / (1 + np.exp(-(x @ weights + bias))) - y
        weights, bias = weights - x.T @ error / len(batch), bias - error.mean()
    np.testing.assert_allclose(model.get_weights()[0][:, 0], weights, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], [bias], atol=1e-6)


def test_equal_runs_give_equal_bytes_and_other_seeds_do_not(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        model, history = train_new(seed=seed)
        artefacts.write_model(tmp_path / f"{name}.keras", model)
        artefacts.write_history(tmp_path / f"{name}.csv", history)
        digests.append(
            [artefacts.md5(tmp_path / f"{name}{suffix}") for suffix in (".keras", ".csv")]
        )
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]
    assert digests[0][1] != digests[2][1]


def test_transfer_leaves_the_source_model_as_it_was(source: Any) -> None:
    before = weights_of(source)
    for strategy in ("frozen", "finetune", "gradual"):
        train_grafted(source, strategy=STRATEGIES[strategy])
    assert same(before, weights_of(source))
    assert all(layer.trainable for layer in source.layers)


def test_strategies_train_what_they_say(source: Any) -> None:
    from headstart.learning import networks

    backbone = weights_of(source)[:-2]
    frozen, _ = train_grafted(source)
    assert same(weights_of(frozen)[:-2], backbone)
    assert networks.parameters(frozen) == (9, frozen.count_params())
    for strategy in ("finetune", "gradual"):
        model, history = train_grafted(source, strategy=STRATEGIES[strategy])
        assert not any(
            np.array_equal(a, b) for a, b in zip(weights_of(model)[:-2], backbone, strict=True)
        )
        assert networks.parameters(model)[0] == model.count_params()
        assert [row["epoch"] for row in history] == [1, 2, 3]
    # Two of three epochs frozen, then an almost still third one: near `frozen` after two.
    gradual, _ = train_grafted(
        source, strategy=STRATEGIES["gradual"], frozen_fraction=0.6, unfrozen_learning_rate=1e-9
    )
    short = BUDGET.model_copy(update={"epochs": 2})
    two, _ = train_grafted(source, settings=short)
    for ours, theirs in zip(weights_of(gradual), weights_of(two), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_random_frozen_keeps_the_baselines_initial_backbone(source: Any) -> None:
    from headstart.learning import networks

    model, _ = train_grafted(None, strategy=STRATEGIES["random_frozen"])
    start = networks.build((8, 8), MLP, units=1, activation="sigmoid")
    networks.initialise(start, seed=5, backbone="target", head="target")
    assert same(weights_of(model)[:-2], weights_of(start)[:-2])
    assert not same(weights_of(model)[:-2], weights_of(source)[:-2])
    assert not same(weights_of(model)[-2:], weights_of(start)[-2:])


def test_saved_model_answers_and_scores_as_the_trained_one(source: Any, tmp_path: Path) -> None:
    from headstart.learning import fit, networks

    model, _ = train_grafted(source)
    artefacts.write_model(tmp_path / "transfer.keras", model)
    loaded = networks.load(tmp_path / "transfer.keras")
    probabilities, loss = fit.score(loaded, VALID, batch_size=16)
    np.testing.assert_array_equal(probabilities, fit.score(model, VALID, batch_size=16)[0])
    np.testing.assert_allclose(probabilities, model.predict(VALID.images, verbose=0)[:, 0], 1e-5)
    given = np.where(VALID.labels == 1, probabilities, 1 - probabilities.astype(np.float64))
    assert loss == pytest.approx(-np.log(given).mean(), rel=1e-4)


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.filterwarnings("ignore:(?s).*softmax over axis -1")
def test_loss_of_a_score_is_what_keras_evaluates(units: int) -> None:
    """Of a softmax over one unit too, whose loss Keras takes from the logits."""
    from headstart.learning import fit

    model, _ = train_new(units=units, activation="softmax")
    _, loss = fit.score(model, VALID, batch_size=16)
    evaluated = model.evaluate(VALID.images, VALID.labels, verbose=0, return_dict=True)
    assert loss == pytest.approx(evaluated["loss"], rel=1e-5)


def test_gradient_of_the_binary_loss_is_exact_on_every_processor() -> None:
    """TensorFlow's own takes a reciprocal, from an estimate in which Intel and AMD differ."""
    import keras
    import tensorflow as tf

    @tf.function
    def gradient(logits: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = keras.losses.binary_crossentropy(labels, keras.activations.sigmoid(logits))
        return tape.gradient(loss, logits)

    labels = np.eye(20, dtype=np.float32)[:, :1]
    logits = np.linspace(-9, 9, 20, dtype=np.float32)[:, None]
    given = tf.constant(logits), tf.constant(labels)
    graph = gradient.get_concrete_function(*given).graph
    assert "Reciprocal" not in {operation.type for operation in graph.get_operations()}
    expected = 1 / (1 + np.exp(-logits.astype(np.float64))) - labels
    np.testing.assert_allclose(gradient(*given), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("network", "shape"), [(MLP, (8, 8)), (CNN, (8, 8)), (CNN, (8, 8, 3))])
def test_networks_learn_with_every_optimiser(
    network: Any, shape: tuple[int, ...], optimizer: str
) -> None:
    from headstart.learning import fit

    def shaped(part: Part) -> Part:
        if len(shape) == 2:
            return part
        return Part(np.repeat(part.images[..., None], 3, axis=-1), part.labels)

    rate = {"sgd": 0.1, "adam": 0.01}[optimizer]
    settings = TrainingSettings.model_validate(
        {"epochs": 8, "batch_size": 16, "optimizer": optimizer, "learning_rate": rate}
    )
    model, history = fit.train_new(
        shaped(TRAIN),
        shaped(VALID),
        network=network,
        units=1,
        activation="sigmoid",
        settings=settings,
        seed=1,
        task="target",
        on_epoch=ignore,
    )
    assert history[-1]["val_accuracy"] > 0.9
    assert len({layer.name for layer in model.layers}) == len(model.layers)


@pytest.mark.filterwarnings("ignore:(?s).*softmax over axis -1")
def test_softmax_over_one_unit_learns_weights_but_answers_one_class() -> None:
    from headstart.learning import fit

    model, history = train_new(activation="softmax")
    # Some kernels round the quotient down by half a unit in the last place.
    probabilities, _ = fit.score(model, VALID, batch_size=16)
    np.testing.assert_allclose(probabilities, 1, rtol=1e-6)
    # Keras takes the loss from the logits.
    assert history[-1]["loss"] < history[0]["loss"] < 0.7


def test_of_several_learning_rates_the_one_with_the_lowest_log_loss_is_kept() -> None:
    from headstart.learning import fit

    alone = {}
    for rate in (1e-4, 0.05, 0.2):
        settings = BUDGET.model_copy(update={"learning_rate": rate})
        model, history = train_new(settings=settings)
        probabilities, _ = fit.score(model, VALID, batch_size=16)
        given = np.where(VALID.labels == 1, probabilities, 1 - probabilities)
        loss = -np.log(np.clip(given.astype(np.float64), 1e-6, 1 - 1e-6)).mean()
        alone[rate] = (loss, weights_of(model), history)
    best = min(alone, key=lambda rate: alone[rate][0])
    heard: list[Mapping[str, float]] = []
    rates = (0.2, 1e-4, 1000.0, 0.05)
    several = BUDGET.model_copy(update={"learning_rate": rates})
    model, history = train_new(settings=several, on_epoch=heard.append)
    assert same(weights_of(model), alone[best][1])
    # Each epoch tells it, where there was a choice.
    assert history == heard == [{**row, "learning_rate": best} for row in alone[best][2]]
    assert not [row for row in alone[best][2] if "learning_rate" in row]
    assert float(model.optimizer.learning_rate) == pytest.approx(best)


def test_gradual_chooses_the_rate_of_the_head_and_then_the_other(source: Any) -> None:
    rates = (0.01, 0.1)
    several = BUDGET.model_copy(update={"epochs": 2, "learning_rate": rates})
    chosen, history = train_grafted(
        source,
        strategy=STRATEGIES["gradual"],
        settings=several,
        unfrozen_learning_rate=(1e-9, 1e-8),
    )
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[0]["learning_rate"] in rates
    assert history[1]["learning_rate"] in (1e-9, 1e-8)
    # What the second phase leaves as it was is the head at the rate chosen for it alone.
    head, _ = train_grafted(source, settings=several.model_copy(update={"epochs": 1}))
    for ours, theirs in zip(weights_of(chosen), weights_of(head), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    from headstart.learning import networks

    drawn = []
    for seed, backbone, head in ((1, "a", "h"), (1, "a", "g"), (1, "b", "h"), (2, "a", "h")):
        model = networks.build((8, 8), MLP, units=1, activation="sigmoid")
        networks.initialise(model, seed=seed, backbone=backbone, head=head)
        drawn.append(weights_of(model))
    assert same(drawn[0][:-2], drawn[1][:-2])
    assert same(drawn[0][-2:], drawn[2][-2:])
    for other in drawn[2:]:
        assert not np.array_equal(drawn[0][0], other[0])
    limit = np.sqrt(6 / (64 + 12))
    assert np.abs(drawn[0][0]).max() <= limit
    assert drawn[0][0].std() == pytest.approx(limit / np.sqrt(3), rel=0.1)
    assert not drawn[0][1].any()


def test_diverging_loss_stops_at_its_epoch_and_says_what_to_lower() -> None:
    from headstart.learning import fit

    rows: list[Mapping[str, float]] = []
    wild = TrainingSettings(epochs=9, batch_size=16, optimizer="sgd", learning_rate=1000.0)
    part = images(100, 4)
    with pytest.raises(UserError, match=r"the loss became \w+ in epoch \d.*lower learning_rate"):
        fit.train_new(
            part,
            part,
            network=MLP,
            units=4,
            activation="softmax",
            settings=wild,
            seed=1,
            task="source",
            on_epoch=rows.append,
        )
    assert len(rows) < 9


def test_backbones_that_do_not_fit_are_refused(source: Any) -> None:
    other = Mlp(name="mlp", units=(12, 9), activation="selu")
    with pytest.raises(UserError, match=r"do not fit params.yaml's network"):
        train_grafted(source, network=other)


def test_too_many_poolings_for_the_images_are_refused() -> None:
    deep = Cnn(name="cnn", filters=(2, 2, 2, 2), dense=(), activation="relu")
    with pytest.raises(UserError, match=r"network\.filters.*16 pixels a side"):
        train_new(network=deep)


def test_damaged_and_missing_models_are_refused_by_name(tmp_path: Path) -> None:
    from headstart.learning import networks

    with pytest.raises(UserError, match="there is no such file"):
        networks.load(tmp_path / "none.keras")
    (tmp_path / "bad.keras").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"bad\.keras: cannot be read as a Keras model"):
        networks.load(tmp_path / "bad.keras")


def test_forward_flops_count_every_multiply_add_twice() -> None:
    from headstart.learning import flops, networks

    mlp = networks.build((28, 28), MLP, units=1, activation="sigmoid")
    assert [call.flops for call in flops.calls(mlp)] == [18816, 192, 16]
    cnn = networks.build((28, 28), CNN, units=1, activation="sigmoid")
    # 3 x 3 kernels at 784 positions, then 14 x 14 x 4 features.
    assert [call.flops for call in flops.calls(cnn)] == [56448, 9408, 12]


def test_notebooks_networks_have_its_parameter_counts() -> None:
    from headstart.learning import networks

    notebook = Mlp(name="mlp", units=(300, 100, 50, 50, 50), activation="selu")
    baseline = networks.build((28, 28), notebook, units=1, activation="sigmoid")
    assert networks.parameters(baseline) == (275801, 275801)
    from headstart.transfer import cut

    cut.set_trainable(baseline, HEAD_ALONE)
    assert networks.parameters(baseline) == (51, 275801)


def test_order_of_memory_mapped_data_is_read_in_chunks_that_change_no_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    whole, _ = train_new()
    monkeypatch.setattr("headstart.learning.fit._CHUNK", 20)
    chunked, _ = train_new()
    assert same(weights_of(whole), weights_of(chunked))


def test_digest_helper_is_dvcs(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert artefacts.md5(tmp_path / "f") == hashlib.md5(b"abc", usedforsecurity=False).hexdigest()
