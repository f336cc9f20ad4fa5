"""Many networks of one shape trained at once: one after another on each core, none through `fit`.

Stacking the networks into larger matrix products is the usual way (`tf.vectorized_map`); here
it is the slower one. A network's weights fit a core's cache and ten networks' do not, so each
thread takes one network through a whole chunk of steps inside one graph, on one core. What is
saved against `fit` is what `fit` does between two steps; `docs/benchmarks.md` has the figures.

Networks share nothing but the images: a network's bytes depend neither on the others of its
group nor on the number of threads, and one that diverges disturbs no other. They do depend on
how many threads a single operation uses. That is TensorFlow's intra-op number and should be 1
here, with an inter-op number of at least `threads`; any other setting is right but slow.
"""

import functools
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf

from headstart.core.errors import UserError
from headstart.learning import memory
from headstart.learning.memory import CHUNK

# The weights of one network in the order of `model.get_weights()`; stacked: (replicas, ...).
Weights = list[np.ndarray]
# Takes the steps done so far and all steps, of all replicas together.
OnProgress = Callable[[int, int], None]

# Marks the places of a batch that stay empty.
EMPTY = -1
# Images a forward pass: large enough to be quick, small in memory.
_FORWARD_BATCH = 1024
# Below so many parameters a step costs what starting its operations costs, and XLA makes one
# of them: nine times the steps for a head. It gains a large network nothing, compiles for
# seconds, is slow at convolutions, and lacks the repeatable gradient of max pooling.
_SMALL_ENOUGH_FOR_XLA = 10_000
# Keras' defaults.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


class Trainer:
    """Trains and asks replicas of one network. Keep it: tracing its graphs takes a second."""

    def __init__(self, model: keras.Model, *, optimizer: str, threads: int) -> None:
        """Prepares the graphs; a batch size is traced when it is first trained with.

        Args:
            model: Gives the shapes; its own weights are left alone. One output unit means
                binary cross-entropy, more mean sparse categorical cross-entropy, as in
                `training.compile_model`.
            optimizer: "sgd" or "adam", with Keras' defaults.
            threads: Networks trained at the same time, one core each.

        Raises:
            ValueError: The model has weights that do not train, such as frozen layers.
        """
        if model.non_trainable_variables:
            raise ValueError(f"{model.name}: every weight of a replica has to train")
        if optimizer not in memory.COPIES:
            raise ValueError(f"{optimizer}: expected one of {', '.join(memory.COPIES)}")
        self._model = model
        self._optimizer = optimizer
        self._threads = threads
        self._steps = functools.cache(functools.partial(_steps_graph, model, optimizer))
        self._forward = tf.function(
            lambda weights, images: model.stateless_call(weights, [], images, training=False)[0],
            input_signature=[_weight_specs(model), _image_spec(model)],
            autograph=False,
        ).get_concrete_function()

    def train(
        self,
        weights: Sequence[np.ndarray],
        images: np.ndarray,
        labels: np.ndarray,
        orders: np.ndarray,
        *,
        learning_rates: np.ndarray,
        on_progress: OnProgress | None = None,
    ) -> Weights:
        """Trains replicas and returns their stacked weights, as Keras' `fit` would each alone.

        A loss that becomes NaN stays in its replica's weights and disturbs no other.

        Args:
            weights: Stacked initial weights, float32; left as they are.
            images: float32 (n, ...) for all replicas, or features (replicas, n, width) of each.
            labels: Integers (n,) for all replicas, or (replicas, n).
            orders: Samples of every batch, integers (replicas, steps, batch). EMPTY fills up a
                batch that is smaller, at its end; the loss is the mean over the others.
            learning_rates: (replicas,).
            on_progress: Called after every few steps, from any thread, never by two at once.

        Raises:
            UserError: The training needs more memory than is free. Nothing was trained.
        """
        replicas, steps, batch = orders.shape
        apart = _apart(self._model, images)
        needed = memory.of_replicas(
            parameters=self._model.count_params(),
            activations=sum(math.prod(layer.output.shape[1:]) for layer in self._model.layers),
            optimizer=self._optimizer,
            replicas=replicas,
            threads=self._threads,
            batch=batch,
            images=images.nbytes // replicas if apart else 0,
        )
        _check_memory(needed + (0 if apart else images.nbytes), replicas)
        shared = None if apart else tf.constant(images, tf.float32)
        labels_apart = labels.ndim == 2
        same_labels = None if labels_apart else tf.constant(labels, tf.int64)
        trained = [np.empty_like(weight) for weight in weights]
        progress = _Progress(replicas * steps, on_progress)
        take = self._steps(batch)

        def train_replica(replica: int) -> None:
            seen = tf.constant(images[replica], tf.float32) if apart else shared
            answers = tf.constant(labels[replica], tf.int64) if labels_apart else same_labels
            own = [tf.constant(weight[replica]) for weight in weights]
            state = own + [tf.zeros_like(weight) for weight in own] * (
                2 if self._optimizer == "adam" else 0
            )
            rate = tf.constant(learning_rates[replica], tf.float32)
            for start in range(0, steps, CHUNK):
                chunk = orders[replica, start : start + CHUNK]
                # One shape for all chunks: XLA compiles once.
                order = np.zeros((CHUNK, batch), dtype=np.int32)
                order[: len(chunk)] = chunk
                ends = tf.constant([start, start + len(chunk)])
                state = take(state, seen, answers, tf.constant(order), ends, rate)
                progress.add(len(chunk))
            for whole, weight in zip(trained, state, strict=False):
                whole[replica] = weight.numpy()

        self._each(train_replica, replicas, progress)
        return trained

    def predict(self, weights: Sequence[np.ndarray], images: np.ndarray) -> np.ndarray:
        """Returns the outputs of replicas, float32 (replicas, n, units).

        Args:
            weights, images: As `train` takes them.
        """
        apart = _apart(self._model, images)
        replicas, count = len(weights[0]), images.shape[1 if apart else 0]
        outputs = np.empty((replicas, count, *self._model.output_shape[1:]), dtype=np.float32)

        def predict_replica(replica: int) -> None:
            own = [tf.constant(weight[replica]) for weight in weights]
            seen = images[replica] if apart else images
            for start in range(0, count, _FORWARD_BATCH):
                part = slice(start, start + _FORWARD_BATCH)
                outputs[replica, part] = self._forward(own, tf.constant(seen[part], tf.float32))

        self._each(predict_replica, replicas, _Progress(0, None))
        return outputs

    def _each(self, work: Callable[[int], None], replicas: int, progress: "_Progress") -> None:
        """Does `work` for every replica; an error or Ctrl-C ends the others after their chunk."""
        with ThreadPoolExecutor(self._threads) as pool:
            futures = [pool.submit(work, replica) for replica in range(replicas)]
            try:
                for future in futures:
                    future.result()
            except BaseException as error:
                progress.error = progress.error or error
                pool.shutdown(wait=False, cancel_futures=True)
                raise progress.error from None


class _Progress:
    """Counts the steps of all threads and passes them on; the first error ends it for all."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        self._done, self._total = 0, total
        self._on_progress = on_progress

    def add(self, steps: int) -> None:
        with self._lock:
            if self.error:
                raise InterruptedError("another replica failed")
            self._done += steps
            try:
                if self._on_progress is not None:
                    self._on_progress(self._done, self._total)
            except BaseException as error:
                self.error = error
                raise


def _steps_graph(model: keras.Model, optimizer: str, batch: int) -> Callable[..., list[Any]]:
    """Returns the graph that takes one network through a chunk of steps.

    Its arguments are the weights (for Adam followed by both moments), images, labels, the
    order (chunk, batch), first and last step, and the learning rate. The batch's size is part of
    the graph: without it a fifth of a step's operations would only ask for shapes.
    """
    count = len(model.trainable_variables)
    binary = model.output_shape[-1] == 1
    # Not `keras.losses`, which are these and a mean over the units.
    losses: Any = (
        keras.ops.binary_crossentropy if binary else keras.ops.sparse_categorical_crossentropy
    )
    weights = _weight_specs(model)
    flat = all(len(weight.shape) <= 2 for weight in model.weights)

    def gradients(current: list[Any], images: Any, labels: Any, shares: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(current)
            # The loss reads the logits off the graph, as it does in `fit`.
            outputs, _ = model.stateless_call(current, [], images, training=True)
            loss = tf.reduce_sum(losses(labels, outputs) * shares)
        return tape.gradient(loss, current)

    if not flat:
        # TensorFlow puts oneDNN's gradient of max pooling, five times as quick as its own, only
        # where it came upon the pooling before the gradient (`MaxpoolGradRewrite` in
        # mkl_layout_pass.cc). Around a loop that is chance, another in every process; in a
        # function of its own, which has no way back, it is certain.
        gradients = tf.function(
            gradients, autograph=False, experimental_attributes={"_noinline": True}
        )

    def run(
        state: list[Any], images: Any, labels: Any, orders: Any, ends: Any, rate: Any
    ) -> list[Any]:
        # An empty place repeats its batch's first sample, with weight 0: anything else could
        # overflow where no real sample does, and 0 times infinity is NaN.
        filled = tf.where(orders < 0, orders[:, :1], orders)
        real = tf.cast(orders >= 0, tf.float32)
        shares = real / tf.reduce_sum(real, axis=1, keepdims=True)
        if optimizer == "sgd":
            # The gradients then are the updates; to multiply those is one more pass over memory.
            shares = rate * shares
        answers = tf.cast(labels, tf.float32)[:, None] if binary else labels
        shape = [batch, 1] if binary else [batch]

        def body(number: Any, *state: Any) -> tuple[Any, ...]:
            place = number - ends[0]
            chosen = tf.gather(filled, place)
            weight = tf.reshape(tf.gather(shares, place), shape)
            slopes = gradients(
                list(state[:count]), tf.gather(images, chosen), tf.gather(answers, chosen), weight
            )
            if optimizer == "sgd":
                return number + 1, *_sgd(state, slopes)
            return number + 1, *_adam(state, slopes, rate, number)

        _, *trained = tf.while_loop(
            lambda number, *_: number < ends[1], body, (ends[0], *state), parallel_iterations=1
        )
        return trained

    small = model.count_params() <= _SMALL_ENOUGH_FOR_XLA
    signature = [
        weights * (3 if optimizer == "adam" else 1),
        _image_spec(model),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([CHUNK, batch], tf.int32),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([], tf.float32),
    ]
    return tf.function(
        run, input_signature=signature, jit_compile=small and flat, autograph=False
    ).get_concrete_function()


def _sgd(state: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
    return [weight - gradient for weight, gradient in zip(state, gradients, strict=True)]


def _adam(state: Sequence[Any], gradients: Sequence[Any], rate: Any, number: Any) -> list[Any]:
    """Kingma and Ba, "Adam" (2015), in the order of Keras: epsilon beside the plain root."""
    count = len(gradients)
    weights, firsts, seconds = state[:count], state[count : 2 * count], state[2 * count :]
    done = tf.cast(number + 1, tf.float32)
    rate = rate * tf.sqrt(1.0 - tf.pow(_BETA_2, done)) / (1.0 - tf.pow(_BETA_1, done))
    firsts = [
        first + (gradient - first) * (1.0 - _BETA_1)
        for first, gradient in zip(firsts, gradients, strict=True)
    ]
    seconds = [
        second + (tf.square(gradient) - second) * (1.0 - _BETA_2)
        for second, gradient in zip(seconds, gradients, strict=True)
    ]
    weights = [
        weight - first * rate / (tf.sqrt(second) + _EPSILON)
        for weight, first, second in zip(weights, firsts, seconds, strict=True)
    ]
    return weights + firsts + seconds


def _weight_specs(model: keras.Model) -> list[Any]:
    return [tf.TensorSpec(weight.shape, tf.float32) for weight in model.trainable_variables]


def _image_spec(model: keras.Model) -> Any:
    return tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)


def _apart(model: keras.Model, images: np.ndarray) -> bool:
    """Tells whether every replica has images of its own."""
    return images.ndim == len(model.input_shape) + 1


def _check_memory(needed: int, replicas: int) -> None:
    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"training {replicas} networks together takes about {needed / 1e9:.1f} GB of memory "
            f"and {free / 1e9:.1f} GB are free; train fewer together (replicas.group_size) or "
            "make the networks smaller"
        )
