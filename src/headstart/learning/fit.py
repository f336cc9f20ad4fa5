"""One network trained with Keras: the same batches for everyone, memory-mapped data in chunks."""

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headstart.core import digits, seeds
from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.learning import networks
from headstart.params.networks import Network
from headstart.params.sections import CHOSEN, TrainingSettings

# Stands in the model's file, for whoever trains it further with Keras' own `fit`: most of what that
# costs is between steps.
_STEPS_PER_EXECUTION = 64
# Images that pass from Python into the graph at a time, and the bytes that they may take. Bounds
# memory, whatever the data's size.
_CHUNK = 2048
_CHUNK_BYTES = 1 << 26

# Probabilities are cut here where learning rates are compared, so that no single label decides.
_SMALLEST = 1e-6

Order = Callable[[int], np.ndarray]
# Takes the order of samples, the size of batches and what hears of the steps done; returns means.
Pass = Callable[[np.ndarray, int, Callable[[int], None]], dict[str, float]]
OnEpoch = Callable[[Mapping[str, float]], None]
History = list[dict[str, float]]


def compile_model(model: keras.Model, *, optimizer: str, learning_rate: float) -> None:
    """Sets optimiser, loss and metric; the loss follows from the head (one unit: binary)."""
    optimizers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    binary = model.output_shape[-1] == 1
    model.compile(
        # Named, since Keras numbers nameless optimisers over the life of a process.
        optimizer=optimizers[optimizer](learning_rate=learning_rate, name=optimizer),
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=_STEPS_PER_EXECUTION,
        # XLA compiles for over a second and rounds differently.
        jit_compile=False,
    )


def fit(
    model: keras.Model,
    train: Part,
    valid: Part,
    *,
    batch_size: int,
    order: Order,
    epochs: range,
    on_epoch: OnEpoch,
) -> History:
    """Trains a compiled `model` and returns its history, a row per epoch, to six digits.

    Args:
        model: Compiled by `compile_model`; its weights are trained in place.
        train: Images or features (n, ...) and labels (n,) to learn from.
        valid: The same to validate on after every epoch, in the same batches. Never test data.
        batch_size: Samples an update; the last batch of an epoch may be smaller.
        order: Gives the order of the n training samples in an epoch.
        epochs: Epochs to train, counted from 1.
        on_epoch: Called after every epoch with its row of the history.

    Raises:
        UserError: The loss became NaN or infinite; says at which epoch and what to lower.
    """
    train_epoch = updates(model, train)
    validate = _pass_over(valid, model, model.test_step)
    history: History = []
    for epoch in epochs:
        print(f"Epoch {epoch}/{epochs.stop - 1}")
        steps = math.ceil(len(train.labels) / batch_size)
        bar = keras.utils.Progbar(steps, verbose=1 if sys.stdout.isatty() else 2)
        told = functools.partial(bar.update, finalize=False)
        row = train_epoch(order(epoch), batch_size, told)
        tested = validate(np.arange(len(valid.labels)), batch_size, lambda _: None)
        row |= {f"val_{name}": value for name, value in tested.items()}
        bar.update(steps, list(row.items()), finalize=True)
        if not all(math.isfinite(value) for value in row.values()):
            raise UserError(
                f"the loss became {row['loss']} in epoch {epoch}: training diverged; lower "
                "learning_rate in params.yaml (a tenth is a fair try) or check the images"
            )
        history.append({"epoch": epoch, **{k: digits.rounded(v) for k, v in row.items()}})
        on_epoch(history[-1])
    return history


def updates(model: keras.Model, train: Part) -> Pass:
    """Returns what trains a compiled `model` on batches of `train`, an update each.

    One graph serves orders and batch sizes of all kinds, whatever the weights, and what the
    optimiser holds, are set to in between.
    """
    # Their variables are made here, since a graph that makes some is traced twice.
    model.optimizer.build(model.trainable_variables)
    model.compute_metrics(None, train.labels[:1], np.zeros((1, model.output_shape[-1]), "f4"))
    return _pass_over(train, model, model.train_step)


def fit_best(
    model: keras.Model,
    train: Part,
    valid: Part,
    *,
    optimizer: str,
    rates: Sequence[float],
    batch_size: int,
    order: Order,
    epochs: range,
    on_epoch: OnEpoch,
) -> tuple[History, float]:
    """Trains `model` at each of the learning rates, and leaves it as the best one made it.

    Returns its history and that rate, which stands as `learning_rate` in the rows of the history
    where there was a choice: the one with the lowest log loss of the validation labels,
    probabilities cut at 1e-6 and 1 - 1e-6, to six significant digits; of equals the lower. What
    diverged is worst. The study chooses so too (`headstart.study.rates`). `on_epoch` hears of a
    training among several once it is chosen. The other arguments are those of `fit`.

    Raises:
        UserError: The loss diverged at every rate.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "order": order, "epochs": epochs}
    if len(rates) == 1:
        compile_model(model, optimizer=optimizer, learning_rate=rates[0])
        return fit(model, train, valid, on_epoch=on_epoch, **options), rates[0]
    start = [np.array(variable) for variable in model.variables]
    best: tuple[float, float, list[np.ndarray], History] | None = None
    for rate in sorted(rates):
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        print(f"learning rate {rate:g}")
        compile_model(model, optimizer=optimizer, learning_rate=rate)
        try:
            history = fit(model, train, valid, on_epoch=lambda _: None, **options)
        except UserError as error:
            print(error)
            diverged = error
            continue
        loss = _log_loss(score(model, valid, batch_size=batch_size)[0], valid.labels)
        if best is None or loss < best[0]:
            told = [{**row, "learning_rate": rate} for row in history]
            best = loss, rate, [np.array(variable) for variable in model.variables], told
    if best is None:
        raise diverged
    _, rate, values, history = best
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    compile_model(model, optimizer=optimizer, learning_rate=rate)
    for row in history:
        on_epoch(row)
    print(f"learning rate {rate:g} of {', '.join(f'{each:g}' for each in sorted(rates))}: {CHOSEN}")
    return history, rate


def _log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean log loss of (n,) or (n, classes) to six digits; infinite for no number."""
    given = (
        np.where(labels == 1, probabilities, 1 - probabilities)
        if probabilities.ndim == 1
        else probabilities[np.arange(len(labels)), labels]
    )
    cut = np.clip(given.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    loss = digits.rounded(-math.fsum(map(math.log, cut)) / len(cut))
    return math.inf if math.isnan(loss) else loss


def _pass_over(part: Part, model: keras.Model, step: Callable[[Any], Any]) -> Pass:
    """Returns what takes `step`, Keras' own, with each batch of `part`, and returns the means.

    What `model.fit` does, without its input pipeline, whose start alone takes most of a second.
    Chunks hold whole batches, so that they change no batch.
    """
    arrays = (part.images, part.labels)
    chunk = min(_CHUNK, _CHUNK_BYTES // max(part.images[:1].nbytes, 1))

    @tf.function(
        input_signature=(*_signature(arrays), tf.TensorSpec((), tf.int32)), autograph=False
    )
    def take(images: Any, labels: Any, batch_size: Any) -> None:
        count = tf.shape(labels)[0]

        def batch(start: Any) -> Any:
            stop = tf.minimum(start + batch_size, count)
            step((images[start:stop], labels[start:stop]))
            return (stop,)

        tf.while_loop(lambda start: start < count, batch, (0,), parallel_iterations=1)

    def run(order: np.ndarray, batch_size: int, report: Callable[[int], None]) -> dict[str, float]:
        size = max(chunk // batch_size, 1) * batch_size
        model.reset_metrics()
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            take(*(array[chosen] for array in arrays), batch_size)
            report(math.ceil((start + len(chosen)) / batch_size))
        result = model.get_metrics_result()
        return {name: float(result[name]) for name in ("loss", "accuracy")}

    return run


def train_new(
    train: Part,
    valid: Part,
    *,
    network: Network,
    units: int,
    activation: str,
    settings: TrainingSettings,
    seed: int,
    task: str,
    on_epoch: OnEpoch,
) -> tuple[keras.Sequential, History]:
    """Builds a network for the images, trains it from scratch, and returns it with its history.

    Args:
        train, valid: Images (n, height, width[, channels]) and labels (n,).
        network, units, activation: The backbone; the units and the activation of the head.
        settings: Budget and optimiser; of several learning rates the best is taken.
        seed, task: Key the initial weights and the order of the samples ("source" or "target").
        on_epoch: Called after every epoch with its row of the history.
    """
    model = networks.build(train.images.shape[1:], network, units=units, activation=activation)
    networks.initialise(model, seed=seed, backbone=task, head=task)
    history, _ = fit_best(
        model,
        train,
        valid,
        optimizer=settings.optimizer,
        rates=settings.rates,
        batch_size=settings.batch_size,
        order=functools.partial(seeds.epoch_order, count=len(train.labels), seed=seed, task=task),
        epochs=range(1, settings.epochs + 1),
        on_epoch=on_epoch,
    )
    return model, history


def score(model: keras.Model, part: Part, *, batch_size: int) -> tuple[np.ndarray, float]:
    """Returns probabilities and the model's own compiled loss over the images of `part`.

    The probabilities are (n,) of class 1 from one unit, else (n, classes); the loss is the mean
    of the images' own, in float64.

    Args:
        model: Compiled, as `compile_model` does or as it was saved.
        part: Images (n, ...) and labels (n,).
        batch_size: As in training: the kernels for another size may round differently on
            another processor.
    """
    binary = model.output_shape[-1] == 1
    compiled = keras.losses.get(model.loss)

    arrays = (part.images, part.labels)

    @tf.function(input_signature=_signature(arrays), autograph=False)
    def answer(images: Any, labels: Any) -> tuple[Any, Any]:
        # The loss reads the logits off the graph, as in `fit`.
        outputs = model(images, training=False)
        return outputs, compiled(labels[:, None] if binary else labels, outputs)

    batches = [
        answer(*(array[start : start + batch_size] for array in arrays))
        for start in range(0, len(part.labels), batch_size)
    ]
    outputs, losses = (np.concatenate(each) for each in zip(*batches, strict=True))
    return outputs[:, 0] if binary else outputs, math.fsum(losses) / len(losses)


def _signature(arrays: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
    return tuple(
        tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(array.dtype)) for array in arrays
    )
