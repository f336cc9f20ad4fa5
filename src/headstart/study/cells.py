"""Training the groups of the plan: initial weights, features, batches, answers on the test set."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart import datasets, evaluation, grafting, networks, params, replicas, tasks
from headstart.params import Cnn, Mlp
from headstart.parts import Part
from headstart.study import plan
from headstart.study.parameters import ON_FEATURES, TRANSFERRED, Budget, Grid

Weights = replicas.Weights


@dataclass(frozen=True)
class Data:
    """What one question is asked of: images in [0, 1] float32, labels from 0 int64."""

    source_train: Part
    target_train: Part
    target_test: Part


def data(parts: Mapping[str, Part], question: plan.Question) -> Data:
    """Returns the question's data, cut from the raw `train` and `test` parts (uint8)."""

    def cut(name: str, task: tasks.Task, shift: int) -> Part:
        part = plan.shifted(
            tasks.cut(parts[name], task), shift=shift, task=question.name, name=name
        )
        return Part(datasets.normalise(part.images), part.labels)

    return Data(
        source_train=cut("train", question.source, 0),
        target_train=cut("train", question.target, question.shift),
        target_test=cut("test", question.target, question.shift),
    )


@dataclass
class Bench:
    """Everything that groups of one question and network share, made when first asked for.

    Attributes:
        question: The target task.
        network: The backbone.
        data: What it is trained and scored on.
        grid: The parameters.
        source: Gives the source networks' stacked weights for a group's seeds.
        threads: Networks trained at the same time.
    """

    question: plan.Question
    network: Mlp | Cnn
    data: Data
    grid: Grid
    source: Callable[[tuple[int, ...]], Weights]
    threads: int
    _features: dict[tuple[tuple[int, ...], bool], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        self.model = _model(self.network, self.data.target_train, self.question.target)
        how: dict[str, Any] = {"optimizer": self.grid.optimizer, "threads": self.threads}
        self.whole = replicas.Trainer(self.model, **how)
        self.head = replicas.Trainer(grafting.head_of(self.model), **how)
        self.backbone = replicas.Trainer(grafting.backbone_of(self.model), **how)
        self.initial = functools.cache(self._initial)
        self.subset = functools.cache(self._subset)
        self.batches = functools.cache(self._batches)

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

    def order(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns the training images of every batch of a cell, int32 (steps, batch)."""
        places = self.batches(seed, group.budget, group.training_labels)
        chosen = self.subset(seed)[: group.training_labels].astype(np.int32)
        return np.where(places == plan.EMPTY, plan.EMPTY, chosen[places])

    def validating(self, group: plan.Group, seed: int) -> np.ndarray:
        """Returns the training images that validate in a cell: the last of its budget."""
        return self.subset(seed)[group.training_labels : group.row.labels]

    def weights(self, group: plan.Group) -> Weights:
        """Returns the weights from which the group's networks start, stacked."""
        initial = _stacked([self.initial(seed) for seed in group.seeds])
        if group.row.arm not in TRANSFERRED:
            return initial
        # The head is the last layer: a kernel and a bias.
        return self.source(group.seeds)[:-2] + initial[-2:]

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


def train(bench: Bench, group: plan.Group) -> dict[str, np.ndarray]:
    """Trains a group and returns what is kept of it.

    `answers` (replicas, test images), `finite` (replicas,): whether all weights are numbers,
    `validation_right` (replicas,): right answers on the labels that validate.
    """
    weights = bench.weights(group)
    orders = np.stack([bench.order(group, seed) for seed in group.seeds])
    frozen = bench.frozen_steps(group)
    labels = bench.data.target_train.labels
    rates = np.full(len(group.seeds), group.learning_rate, dtype=np.float32)
    if frozen:
        features, _ = bench.features(group)
        weights[-2:] = bench.head.train(
            weights[-2:], features, labels, orders[:, :frozen], learning_rates=rates
        )
    if frozen < orders.shape[1]:
        weights = bench.whole.train(
            weights,
            bench.data.target_train.images,
            labels,
            orders[:, frozen:],
            learning_rates=rates,
        )

    def answer(images: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        if features is not None:
            outputs = bench.head.predict(weights[-2:], features)
        else:
            outputs = bench.whole.predict(weights, images)
        return np.stack([evaluation.answers(one) for one in outputs])

    on_features = frozen == orders.shape[1]
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


def train_sources(
    data: Data, group: plan.SourceGroup, settings: params.Training, *, threads: int
) -> Weights:
    """Trains source networks and returns their stacked weights."""
    name = f"source of {group.question.name}"
    model = _model(group.network, data.source_train, group.question.source)
    initial, orders = [], []
    for seed in group.seeds:
        networks.initialise(model, seed=seed, backbone=name, head=name)
        initial.append([np.array(weight) for weight in model.get_weights()])
        orders.append(
            plan.batches(
                Budget(epochs=settings.epochs),
                count=len(data.source_train.labels),
                batch_size=settings.batch_size,
                seed=seed,
                task=name,
            )
        )
    return replicas.Trainer(model, optimizer=settings.optimizer, threads=threads).train(
        _stacked(initial),
        data.source_train.images,
        data.source_train.labels,
        np.stack(orders),
        learning_rates=np.full(len(group.seeds), settings.learning_rate, dtype=np.float32),
    )


def _model(network: Mlp | Cnn, train: Part, task: tasks.Task) -> Any:
    classes = len(task.names)
    return networks.build(
        train.images.shape[1:],
        network,
        units=networks.output_units(classes),
        activation=params.output_activation(classes),
    )


def _stacked(each: Sequence[Weights]) -> Weights:
    return [np.stack(same) for same in zip(*each, strict=True)]


def _finite(stacked: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.isfinite(stacked.reshape(len(stacked), -1)).all(axis=1)
    return whole
