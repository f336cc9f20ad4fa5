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
from headstart.judging.answers import answered_classes
from headstart.learning import networks, replicas
from headstart.params import sections
from headstart.params.networks import Network
from headstart.study import plan, subspace
from headstart.study.parameters import Budget, Grid
from headstart.transfer import graft
from headstart.transfer.strategies import ON_FEATURES, TRANSFERRED

Weights = replicas.Weights


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

    Attributes:
        question: The target task.
        network: The backbone.
        data: What it is trained and scored on.
        grid: The parameters.
        source: Gives source networks' stacked weights.
        threads: Networks trained at the same time.
    """

    question: plan.Question
    network: Network
    data: Data
    grid: Grid
    source: Callable[[plan.SourceGroup], Weights]
    threads: int
    _features: dict[tuple[tuple[int, ...], bool], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict
    )

    _spans: dict[tuple[tuple[int, ...], int], list[subspace.Span]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = self._model(self.data.target_train.images.shape[1:])
        self.whole = self._trainer(self.model)
        self.head = self._trainer(graft.head_of(self.model))
        self.backbone = self._trainer(graft.backbone_of(self.model))
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
        return self.subset(seed)[: group.training_labels].astype(np.int32)

    def places(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns every batch of a cell as places among its images, (steps, batch)."""
        return self.batches(seed, group.budget, group.training_labels)

    def order(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns the training images of every batch of a cell, int32 (steps, batch)."""
        places = self.places(group, seed)
        return np.where(places == plan.EMPTY, plan.EMPTY, self.chosen(group, seed)[places])

    def validating(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns the training images that validate in a cell: the last of its budget."""
        return self.subset(seed)[group.training_labels : group.row.labels]

    def weights(self, group: plan.Group) -> Weights:
        """Returns the weights from which the group's networks start, stacked."""
        initial = _stacked([self.initial(seed) for seed in group.seeds])
        if group.row.arm not in TRANSFERRED:
            return initial
        # The head is the last layer: a kernel and a bias.
        return self.source(group.source)[:-2] + initial[-2:]

    def features(self, group: plan.Group) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the heads see of train and test, (replicas, images, width), made once."""
        key = group.seeds, group.row.arm in TRANSFERRED
        if key not in self._features:
            # Groups come seeds by seeds: older features are not asked for again.
            for other in [other for other in self._features if other[0] != group.seeds]:
                del self._features[other]
            stacked = self.weights(group)[:-2]
            self._features[key] = (
                self.backbone.predict(stacked, self.data.target_train.images),
                self.backbone.predict(stacked, self.data.target_test.images),
            )
        return self._features[key]

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
        key = group.seeds, group.training_labels
        if key not in self._spans:
            images = self.data.target_train.images
            self._spans = {
                key: [subspace.span(images[self.chosen(group, seed)]) for seed in group.seeds]
            }
        return self._spans[key]

    def frozen_steps(self, group: plan.Group) -> int:
        """Returns for how many of the group's updates the backbone is frozen."""
        count, size = group.training_labels, self.grid.batch_size
        if group.row.arm in ON_FEATURES:
            return plan.steps(group.budget, count=count, batch_size=size)
        if group.row.arm != "gradual":
            return 0
        return plan.frozen_steps(
            group.budget,
            count=count,
            batch_size=size,
            frozen_fraction=self.grid.frozen_fraction,
        )


def bench(
    group: plan.Group,
    raw: Raw,
    grid: Grid,
    source: Callable[[plan.SourceGroup], Weights],
    threads: int,
) -> Bench:
    """Returns the bench for a group and all others of its question and network.

    Args:
        group: One of them.
        raw: The parts `train` and `test`.
        grid: The parameters.
        source: Gives source networks' stacked weights.
        threads: Networks trained at the same time.
    """
    question = group.question
    return Bench(question, group.network, data(raw, question), grid, source, threads)


def train(bench: Bench, group: plan.Group) -> dict[str, np.ndarray]:
    """Trains a group and returns what is kept of it.

    `answers` (replicas, test images), `finite` (replicas,): whether all weights are numbers,
    `validation_right` (replicas,): right answers on the labels that validate.
    """
    weights = bench.weights(group)
    frozen = bench.frozen_steps(group)
    labels = bench.data.target_train.labels
    if frozen:
        features, _ = bench.features(group)
        orders = np.stack([bench.order(group, seed)[:frozen] for seed in group.seeds])
        weights[-2:] = bench.head.train(
            weights[-2:], features, labels, orders, learning_rates=_rates(group)
        )
    on_features = frozen == len(bench.places(group, group.seeds[0]))
    if not on_features:
        weights = _train_whole(bench, group, weights, start=frozen)

    def answer(images: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        if features is not None:
            outputs = bench.head.predict(weights[-2:], features)
        else:
            outputs = bench.whole.predict(weights, images)
        return np.stack([answered_classes(each) for each in outputs])

    test = bench.data.target_test.images
    answers = answer(test, bench.features(group)[1] if on_features else None)
    validation = np.zeros(len(group.seeds), dtype=np.int64)
    if group.validation_labels:
        whole = answer(
            bench.data.target_train.images, bench.features(group)[0] if on_features else None
        )
        for place, seed in enumerate(group.seeds):
            chosen = bench.validating(group, seed)
            validation[place] = (whole[place, chosen] == labels[chosen]).sum()
    return {
        "answers": answers.astype(np.uint8),
        "finite": np.all([_finite(weight) for weight in weights], axis=0),
        "validation_right": validation,
    }


def _train_whole(bench: Bench, group: plan.Group, weights: Weights, *, start: int) -> Weights:
    """Trains all layers from update `start` on, in the span of the images where they are few."""
    images, labels = bench.data.target_train.images, bench.data.target_train.labels
    if not bench.in_span(group):
        orders = np.stack([bench.order(group, seed)[start:] for seed in group.seeds])
        return bench.whole.train(weights, images, labels, orders, learning_rates=_rates(group))
    spans = bench.spans(group)
    entered = subspace.enter(weights[0], spans)
    trained = bench.on_coordinates(group.training_labels).train(
        [entered, *weights[1:]],
        np.stack([one.coordinates for one in spans]),
        np.stack([labels[bench.chosen(group, seed)] for seed in group.seeds]),
        np.stack([bench.places(group, seed)[start:] for seed in group.seeds]),
        learning_rates=_rates(group),
    )
    return [subspace.leave(weights[0], entered, trained[0], spans), *trained[1:]]


def _rates(group: plan.Group) -> np.ndarray:
    return np.full(len(group.seeds), group.learning_rate, dtype=np.float32)


def train_sources(
    group: plan.SourceGroup, raw: Raw, grid: Grid, threads: int
) -> dict[str, np.ndarray]:
    """Trains source networks and returns their stacked weights as they are kept.

    Args:
        group: Which ones.
        raw: The part `train`.
        grid: The parameters.
        threads: Networks trained at the same time.
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
    trained = replicas.Trainer(model, optimizer=settings.optimizer, threads=threads).train(
        _stacked(initial),
        images,
        train.labels,
        np.stack(orders),
        learning_rates=np.full(len(group.seeds), settings.learning_rate, dtype=np.float32),
    )
    return {f"{number:03}": weight for number, weight in enumerate(trained)}


def weights_of(kept: Mapping[str, np.ndarray]) -> Weights:
    """Returns the stacked weights of what `train_sources` returned."""
    return [kept[name] for name in sorted(kept)]


def _model(network: Network, shape: tuple[int, ...], task: tasks.Task) -> Any:
    classes = len(task.names)
    return networks.build(
        shape,
        network,
        units=sections.output_units(classes),
        activation=sections.output_activation(classes),
    )


def _stacked(each: Sequence[Weights]) -> Weights:
    return [np.stack(same) for same in zip(*each, strict=True)]


def _finite(stacked: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.isfinite(stacked.reshape(len(stacked), -1)).all(axis=1)
    return whole
