"""Training networks from elsewhere, whole or their last blocks, by Keras, one after another.

As the pipeline's transfer stage does it, on a seed's labels in the order of the plan. What lies
below the blocks that train is frozen: features of it are computed once. One graph of each kind
of update serves all cells of a question and network.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from headstart.core import seeds
from headstart.core.parts import Part
from headstart.judging.answers import answered_classes
from headstart.learning import backbones, blocks, features, fit, flops, networks
from headstart.params.networks import HEAD, output_activation
from headstart.params.strategies import HEAD_ALONE, Phase, Strategy
from headstart.study import adopt, cells, plan, sources
from headstart.study.parameters import Grid
from headstart.transfer import parts


@dataclass(frozen=True)
class Learner:
    """What trains of a network, compiled; `fresh` is what its optimiser holds before a step."""

    model: keras.Model
    update: fit.Pass
    fresh: list[np.ndarray]

    def begin(self, learning_rate: float) -> None:
        """Makes the optimiser as good as new."""
        optimizer = self.model.optimizer
        for variable, value in zip(optimizer.variables, self.fresh, strict=True):
            variable.assign(value)
        optimizer.learning_rate = learning_rate


class Bench:
    """Everything that groups of one question and network from elsewhere share."""

    def __init__(
        self,
        group: sources.ByFit,
        data: cells.Data,
        grid: Grid,
        *,
        threads: int,
        root: Path,
        folder: Path | None,
    ) -> None:
        """Reads and cuts the network.

        Args:
            group: Any of the groups that are to be trained.
            data: What its question is asked of.
            grid: What it is part of.
            threads: How many batches pass at the same time where features are computed.
            root: The project's folder.
            folder: Where features are kept; None: in memory.
        """
        self.question, self.origin, self.data, self.grid = group.question, group.origin, data, grid
        self.threads, self._folder, self._units = threads, folder, group.units
        self.network = adopt.network(group.origin, root, data.target_train.images.shape[1:])
        # Its masks never act: what starts from learned weights runs as it answers.
        self.model = self._under_head(0, trained=True)
        parts.set_trainable(self.model, None)
        self._learned = _values(self.model)
        groups = blocks.groups(self.model)
        self.blocks = len(groups) - 1
        self.counted = sources.Counted(flops.calls(self.model), tuple(map(_parameters, groups)))
        self.learner = functools.cache(self._learner)
        self.seen = functools.cache(self._seen)
        self.subset = functools.cache(self._subset)
        # Cells come seeds by seeds.
        self._untrained = functools.lru_cache(maxsize=1)(self._drawn)

    def serves(self, group: plan.Group) -> bool:
        """Tells whether a group is of this question and network."""
        return isinstance(group, sources.ByFit) and (
            (group.question, group.origin) == (self.question, self.origin)
        )

    def check(self, strategy: Strategy) -> None:
        """Raises UserError where a strategy trains more blocks than the network has."""
        adopt.check_blocks(strategy, self.origin, self.blocks)

    def start(self, group: sources.ByFit, seed: int) -> None:
        """Gives the network the weights that a cell starts from: the head is that of all arms."""
        values = self._untrained(seed) if group.untrained else self._learned
        for variable, value in zip(self.model.variables, values, strict=True):
            variable.assign(value)
        networks.initialise_head(self.model, seed=seed, name=self.question.name)

    def chosen(self, group: sources.ByFit, seed: int) -> np.ndarray:
        """Returns the training images of a cell in order, int64 (training labels,)."""
        return np.delete(self.subset(seed)[: group.row.labels], slice(*group.validates))

    def order(self, group: sources.ByFit, seed: int) -> np.ndarray:
        """Returns the training images of every batch of a cell, int64 (steps, batch)."""
        places = plan.batches(
            group.budget,
            count=group.training_labels,
            batch_size=self.grid.batch_size,
            seed=seed,
            task=self.question.name,
        )
        return np.where(places == plan.EMPTY, plan.EMPTY, self.chosen(group, seed)[places])

    def phases(self, group: sources.ByFit) -> tuple[Phase, ...]:
        """Returns how many updates train how many blocks, the head one of them."""
        return plan.phases(
            group.strategy,
            group.budget,
            count=group.training_labels,
            batch_size=self.grid.batch_size,
            frozen_fraction=self.grid.frozen_fraction,
        )

    def layers(self, asked: int | None) -> int | None:
        """Returns how many blocks train, None where all do: below them there are only pixels."""
        return None if asked == self.blocks + 1 else asked

    def outputs(
        self, group: sources.ByFit, layers: int | None, chosen: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns what the network answers of `chosen` training images, or all test images."""
        seen = self.seen(layers, "target_test" if chosen is None else "target_train")
        learner = self.learner(layers, inference=not group.untrained)
        return features.features(
            learner.model,
            seen if chosen is None else seen[chosen],
            None,
            threads=self.threads,
            told=False,
        )

    def _seen(self, layers: int | None, part: str) -> np.ndarray:
        """Returns what trains sees of the images of a part: what frozen layers make of them.

        Asked while those are as they were learned.
        """
        images: np.ndarray = getattr(self.data, part).images
        if layers is None:
            return images
        alone = layers == HEAD_ALONE
        # The same model as heads train on, whose features may be there.
        below = self.network if alone else parts.frozen_part(self.model, layers)
        return features.features(below, images, self._folder, threads=self.threads, told=False)

    def _learner(self, layers: int | None, *, inference: bool) -> Learner:
        parts.set_trainable(self.model, layers)
        model = parts.trained_part(self.model, layers, inference=inference)
        fit.compile_model(
            model, optimizer=self.grid.optimizer, learning_rate=self.grid.learning_rates[0]
        )
        part = Part(self.seen(layers, "target_train"), self.data.target_train.labels)
        return Learner(model, fit.updates(model, part), _values(model.optimizer))

    def _subset(self, seed: int) -> np.ndarray:
        return plan.subset(
            self.data.target_train.labels,
            classes=len(self.question.target.names),
            seed=seed,
            task=self.question.name,
        )

    def _under_head(self, seed: int, *, trained: bool) -> keras.Model:
        return backbones.with_head(
            self.network,
            units=self._units,
            activation=output_activation(len(self.question.target.names)),
            head=HEAD,
            seed=seed,
            trained=trained,
        )

    def _drawn(self, seed: int) -> list[np.ndarray]:
        """Returns the values of a seed's untrained network, that of the control on features."""
        named = seeds.integer(seed, self.question.name, "untrained")
        return _values(self._under_head(named, trained=False))


def train(bench: Bench, group: sources.ByFit) -> dict[str, np.ndarray]:
    """Trains the networks of a group; returns what is kept of them, with the seeds as first axis.

    As `cells.train`, and besides what `sources.counted` reads.
    """
    bench.check(group.strategy)
    each = [_train(bench, group, seed) for seed in group.seeds]
    return {name: np.stack([own[name] for own in each]) for name in each[0]}


def _train(bench: Bench, group: sources.ByFit, seed: int) -> dict[str, np.ndarray]:
    bench.start(group, seed)
    order = bench.order(group, seed)
    done, layers = 0, None
    for phase in bench.phases(group):
        layers = bench.layers(phase.layers)
        learner = bench.learner(layers, inference=not group.untrained)
        # Its graph may be made now, and asks what trains.
        parts.set_trainable(bench.model, layers)
        learner.begin(group.learning_rate)
        for run in _runs(order[done : done + phase.amount]):
            learner.update(run, order.shape[1], lambda _: None)
        done += phase.amount
    if group.searches:
        chosen = bench.subset(seed)[slice(*group.validates)]
        outputs = bench.outputs(group, layers, chosen)
        actual = bench.data.target_train.labels[chosen]
        return {plan.LOSSES: cells._log_losses(outputs[None], actual[None])[0]}
    answers = answered_classes(bench.outputs(group, layers)).astype(np.uint8)
    finite = all(np.isfinite(weight).all() for weight in bench.model.get_weights())
    return {"answers": answers, "finite": np.array(finite), **sources.to_keep(bench.counted)}


def on_gpu() -> bool:
    """Tells whether networks train on a GPU here, which rounds otherwise than a processor."""
    return bool(tf.config.list_physical_devices("GPU"))


def _runs(order: np.ndarray) -> Iterator[np.ndarray]:
    """Yields batches as orders of samples, each up to one that is not full, as epochs end."""
    ends = np.flatnonzero((order == plan.EMPTY).any(axis=1)) + 1
    for run in np.split(order, ends):
        if len(run):
            yield run[run != plan.EMPTY]


def _values(owner: keras.Model | keras.optimizers.Optimizer) -> list[np.ndarray]:
    return [np.array(variable) for variable in owner.variables]


def _parameters(layers: Sequence[keras.Layer]) -> int:
    """Returns the number of weights of a block that train."""
    weights = [weight for layer in layers for weight in layer.trainable_weights]
    return sum(int(np.prod(weight.shape)) for weight in weights)
