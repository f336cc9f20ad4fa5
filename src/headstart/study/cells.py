"""Training the groups of the plan: initial weights, features, batches, answers on the test set."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.core.parts import Part
from headstart.data import tasks
from headstart.data.raw_data import Raw, normalise
from headstart.judging.answers import answered_classes, per_class
from headstart.learning import networks, replicas
from headstart.params.networks import Network, output_activation, output_units
from headstart.params.strategies import HEAD_ALONE, Phase
from headstart.study import plan, subspace
from headstart.study.budget import Budget
from headstart.study.parameters import Grid
from headstart.transfer import cut

Weights = replicas.Weights

# A wrong answer given with certainty costs 14 nats.
_SMALLEST = 1e-6


@dataclass(frozen=True)
class Data:
    """What one question is asked of: images in [0, 1] float32, labels from 0 int64."""

    target_train: Part
    target_test: Part


def data(raw: Raw, question: plan.Question) -> Data:
    """Returns the question's data, cut from the parts `train` and `test` of the raw data."""

    def cut(name: str) -> Part:
        part = plan.shifted(
            tasks.cut(raw.parts[name], question.target),
            shift=question.shift,
            task=question.name,
            name=name,
        )
        return Part(normalise(part.images, white=raw.white), part.labels)

    return Data(target_train=cut("train"), target_test=cut("test"))


@dataclass
class Bench:
    """Everything that groups of one question and network share, made when first asked for.

    `source` gives source networks' stacked weights, `threads` train at the same time.
    """

    question: plan.Question
    network: Network
    data: Data
    grid: Grid
    source: Callable[[plan.SourceGroup], Weights]
    threads: int
    _features: dict[tuple[tuple[int, ...], float | None, int, str], np.ndarray] = field(
        default_factory=dict
    )
    _spans: dict[tuple[tuple[int, ...], int, tuple[int, int]], list[subspace.Span]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        self.model = self._model(self.data.target_train.images.shape[1:])
        self.whole = self._trainer(self.model)
        # By the number of layers that train.
        self.trained_part = functools.cache(
            lambda layers: self._trainer(cut.trained_part(self.model, layers))
        )
        self.frozen_part = functools.cache(
            lambda layers: self._trainer(cut.frozen_part(self.model, layers))
        )
        self.on_coordinates = functools.cache(lambda count: self._trainer(self._model((count,))))
        self.initial = functools.cache(self._initial)
        self.subset = functools.cache(self._subset)
        self.batches = functools.cache(self._batches)

    def serves(self, group: plan.Group) -> bool:
        """Tells whether a group is of this question and network."""
        return (group.question, group.network) == (self.question, self.network)

    def _model(self, shape: tuple[int, ...]) -> Any:
        return _model(self.network, shape, self.question.target)

    def _trainer(self, model: Any) -> replicas.Trainer:
        return replicas.Trainer(model, optimizer=self.grid.optimizer, threads=self.threads)

    def _initial(self, seed: int) -> Weights:
        """The target network's initial weights: shared by all arms of the seed."""
        networks.initialise(
            self.model, seed=seed, backbone=self.question.name, head=self.question.name
        )
        return [np.array(weight) for weight in self.model.get_weights()]

    def _subset(self, seed: int) -> np.ndarray:
        return plan.subset(
            self.data.target_train.labels,
            classes=len(self.question.target.names),
            seed=seed,
            task=self.question.name,
        )

    def _batches(self, seed: int, budget: Budget, count: int) -> np.ndarray:
        return plan.batches(
            budget,
            count=count,
            batch_size=self.grid.batch_size,
            seed=seed,
            task=self.question.name,
        )

    def chosen(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns the training images of a cell, int32 (images,)."""
        order = self.subset(seed)[: group.row.labels]
        return np.delete(order, slice(*group.validates)).astype(np.int32)

    def places(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns every batch of a cell as places among its images, (steps, batch)."""
        return self.batches(seed, group.budget, group.training_labels)

    def order(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns the training images of every batch of a cell, int32 (steps, batch)."""
        places = self.places(group, seed)
        return np.where(places == plan.EMPTY, plan.EMPTY, self.chosen(group, seed)[places])

    def validating(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns the training images that validate in a search, int64 (validation labels,)."""
        return self.subset(seed)[slice(*group.validates)]

    def weights(self, group: plan.Group) -> Weights:
        """Returns the weights from which the group's networks start, stacked."""
        initial = _stacked([self.initial(seed) for seed in group.seeds])
        if not group.strategy.from_source:
            return initial
        head = _top(HEAD_ALONE)
        return self.source(group.source)[: head.start] + initial[head]

    def features(self, group: plan.Group, layers: int, part: str) -> np.ndarray:
        """Returns what the top layers see of `target_train` or `target_test`, made once.

        (replicas, images, ...).
        """
        source = group.source_learning_rate if group.strategy.from_source else None
        key = group.seeds, source, layers, part
        if key not in self._features:
            # Groups come seeds by seeds: older features are hardly asked for again.
            for other in [other for other in self._features if other[0] != group.seeds]:
                del self._features[other]
            below, stacked = self.frozen_part(layers), self.weights(group)[: _top(layers).start]
            self._features[key] = below.predict(stacked, getattr(self.data, part).images)
        return self._features[key]

    def phases(self, group: plan.Group) -> tuple[Phase, ...]:
        """Returns how many updates train how many layers, one after the other."""
        return plan.phases(
            group.strategy,
            group.budget,
            count=group.training_labels,
            batch_size=self.grid.batch_size,
            frozen_fraction=self.grid.frozen_fraction,
        )

    def in_span(self, group: plan.Group) -> bool:
        """Tells whether a group's images are so few that they train by their coordinates."""
        return plan.trains_in_span(
            self.network,
            self.grid.optimizer,
            images=group.training_labels,
            pixels=math.prod(self.data.target_train.images.shape[1:]),
        )

    def spans(self, group: plan.Group) -> list[subspace.Span]:
        """Returns the directions of every seed's images. Arms follow each other: the last stay."""
        key = group.seeds, group.row.labels, group.validates
        if key not in self._spans:
            images = self.data.target_train.images
            self._spans = {
                key: [subspace.span(images[self.chosen(group, seed)]) for seed in group.seeds]
            }
        return self._spans[key]


def bench(
    group: plan.Group,
    raw: Raw,
    grid: Grid,
    source: Callable[[plan.SourceGroup], Weights],
    threads: int,
) -> Bench:
    """Returns the bench for a group and all others of its question and network.

    `raw` has the parts `train` and `test`; `source` and `threads` are as in `Bench`.
    """
    question = group.question
    return Bench(question, group.network, data(raw, question), grid, source, threads)


def train(bench: Bench, group: plan.Group) -> dict[str, np.ndarray]:
    """Trains a group and returns what is kept of it, with the seeds as first axis.

    `answers` (seeds, test images) and `finite` (seeds,), whether all weights are numbers; of a
    search `losses` (seeds, validation labels) alone, see `_log_losses`: it sees no test image.
    """
    weights, labels = bench.weights(group), bench.data.target_train.labels
    done, layers = 0, None
    for phase in bench.phases(group):
        updates, layers = slice(done, done + phase.amount), phase.layers
        if layers is None:
            weights = _train_whole(bench, group, weights, updates)
        else:
            orders = np.stack([bench.order(group, seed)[updates] for seed in group.seeds])
            weights[_top(layers)] = bench.trained_part(layers).train(
                weights[_top(layers)],
                bench.features(group, layers, "target_train"),
                labels,
                orders,
                learning_rates=_rates(group),
            )
        done = updates.stop
    if group.searches:
        chosen = np.stack([bench.validating(group, seed) for seed in group.seeds])
        outputs = _outputs(bench, group, weights, layers, chosen)
        return {plan.LOSSES: _log_losses(outputs, labels[chosen])}
    outputs = _outputs(bench, group, weights, layers)
    return {
        "answers": np.stack([answered_classes(each) for each in outputs]).astype(np.uint8),
        "finite": np.all([_finite(weight) for weight in weights], axis=0),
    }


def _outputs(
    bench: Bench,
    group: plan.Group,
    weights: Weights,
    layers: int | None,
    chosen: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the outputs for each seed's `chosen` training images, or for all test images."""
    part = "target_test" if chosen is None else "target_train"
    if layers is None:
        images = getattr(bench.data, part).images
        seen = images if chosen is None else images[chosen]
        return bench.whole.predict(weights, seen)
    seen = bench.features(group, layers, part)
    if chosen is not None:
        seen = np.stack([each[own] for each, own in zip(seen, chosen, strict=True)])
    return bench.trained_part(layers).predict(weights[_top(layers)], seen)


def _log_losses(outputs: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Returns minus the logarithm of the probability of the actual class, float64 (seeds, n), nats.

    Probabilities are cut at 1e-6 and 1 - 1e-6; a network without numbers has NaN.
    """
    return np.array(
        [
            # Not NumPy's logarithm, which follows the processor's vectors.
            [-math.log(given) for given in _given(own, classes).tolist()]
            for own, classes in zip(outputs, actual, strict=True)
        ]
    )


def _given(outputs: np.ndarray, actual: np.ndarray) -> np.ndarray:
    given = per_class(outputs)[np.arange(len(actual)), actual].astype(np.float64)
    return np.clip(given, _SMALLEST, 1 - _SMALLEST)


def _top(layers: int) -> slice:
    """Returns where the weights of the top layers stand: a kernel and a bias a layer."""
    return slice(-2 * layers, None)


def _train_whole(bench: Bench, group: plan.Group, weights: Weights, updates: slice) -> Weights:
    """Trains all layers for some of the updates, in the span of the images where they are few."""
    images, labels = bench.data.target_train.images, bench.data.target_train.labels
    if not bench.in_span(group):
        orders = np.stack([bench.order(group, seed)[updates] for seed in group.seeds])
        return bench.whole.train(weights, images, labels, orders, learning_rates=_rates(group))
    spans = bench.spans(group)
    entered = subspace.enter(weights[0], spans)
    trained = bench.on_coordinates(group.training_labels).train(
        [entered, *weights[1:]],
        np.stack([span.coordinates for span in spans]),
        np.stack([labels[bench.chosen(group, seed)] for seed in group.seeds]),
        np.stack([bench.places(group, seed)[updates] for seed in group.seeds]),
        learning_rates=_rates(group),
    )
    return [subspace.leave(weights[0], entered, trained[0], spans), *trained[1:]]


def _rates(group: plan.Group) -> np.ndarray:
    return np.full(len(group.seeds), group.learning_rate, dtype=np.float32)


def train_sources(
    group: plan.SourceGroup, raw: Raw, grid: Grid, threads: int
) -> dict[str, np.ndarray]:
    """Trains source networks on the part `train`; returns their stacked weights, to be kept.

    Where `validated` is asked for, `losses` on the part `valid` too, (seeds, images).
    """
    name = f"source of {group.question.name}"
    settings = grid.source_training
    train = tasks.cut(raw.parts["train"], group.question.source)
    images = normalise(train.images, white=raw.white)
    model = _model(group.network, images.shape[1:], group.question.source)
    initial, orders = [], []
    for seed in group.seeds:
        networks.initialise(model, seed=seed, backbone=name, head=name)
        initial.append([np.array(weight) for weight in model.get_weights()])
        orders.append(
            plan.batches(
                Budget(epochs=settings.epochs),
                count=len(images),
                batch_size=settings.batch_size,
                seed=seed,
                task=name,
            )
        )
    trainer = replicas.Trainer(model, optimizer=settings.optimizer, threads=threads)
    trained = trainer.train(
        _stacked(initial),
        images,
        train.labels,
        np.stack(orders),
        learning_rates=np.full(len(group.seeds), group.learning_rate, dtype=np.float32),
    )
    kept = {f"{number:03}": weight for number, weight in enumerate(trained)}
    if group.validated:
        valid = tasks.cut(raw.parts["valid"], group.question.source)
        outputs = trainer.predict(trained, normalise(valid.images, white=raw.white))
        kept[plan.LOSSES] = _log_losses(outputs, np.stack([valid.labels] * len(group.seeds)))
    return kept


def weights_of(kept: Mapping[str, np.ndarray]) -> Weights:
    """Returns the weights in what `train_sources` returned, of all its networks or of one."""
    return [kept[name] for name in sorted(kept) if name != plan.LOSSES]


def _model(network: Network, shape: tuple[int, ...], task: tasks.Task) -> Any:
    classes = len(task.names)
    return networks.build(
        shape,
        network,
        units=output_units(classes),
        activation=output_activation(classes),
    )


def _stacked(each: Sequence[Weights]) -> Weights:
    return [np.stack(same) for same in zip(*each, strict=True)]


def _finite(stacked: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.isfinite(stacked.reshape(len(stacked), -1)).all(axis=1)
    return whole
