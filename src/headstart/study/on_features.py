"""Training heads on what a network from elsewhere makes of images.

Features of a trained network depend on no seed: each image passes once. Of untrained networks
each seed has its own, through which only the images pass that it has labels of, and those of the
test.
"""

import functools
from pathlib import Path

import keras
import numpy as np

from headstart.core import seeds
from headstart.core.parts import Part
from headstart.judging.answers import answered_classes
from headstart.learning import backbones, features, flops, networks, pretrained, replicas
from headstart.params.networks import HEAD, output_activation, output_units
from headstart.study import adopt, cells, plan, sources
from headstart.study.parameters import Grid


class Bench:
    """Everything that groups of one question and network from elsewhere share."""

    def __init__(
        self,
        group: sources.OnFeatures,
        data: cells.Data,
        grid: Grid,
        *,
        threads: int,
        root: Path,
        folder: Path | None,
        most: int,
    ) -> None:
        """Reads and cuts the network.

        Args:
            group: Any of the groups that are to be trained.
            data: What its question is asked of.
            grid: What it is part of.
            threads: How many networks train, and batches pass, at the same time.
            root: The project's folder.
            folder: Where features are kept; None: in memory.
            most: The largest label budget of the question: an untrained network sees each image
                of a seed once, whatever the budgets.
        """
        self.question, self.origin, self.data, self.grid = group.question, group.origin, data, grid
        self._folder, self._most, self._threads = folder, most, threads
        self.network = adopt.network(group.origin, root, data.target_train.images.shape[1:])
        classes = len(self.question.target.names)
        self.head = keras.Sequential(
            [
                keras.layers.Input((self.seen.width,), name=pretrained.FEATURES),
                keras.layers.Dense(
                    output_units(classes), activation=output_activation(classes), name=HEAD
                ),
            ]
        )
        self.trainer = replicas.Trainer(self.head, optimizer=grid.optimizer, threads=threads)
        self.subset = functools.cache(self._subset)
        self.initial = functools.cache(self._initial)
        self._trained = functools.cache(self._passed)
        # As many as a group has, since groups come seeds by seeds.
        self._untrained = functools.lru_cache(maxsize=grid.seeds)(self._passed_untrained)

    @functools.cached_property
    def seen(self) -> sources.Seen:
        """What the network makes of an image."""
        each = [call.flops for call in flops.calls(self.network)]
        counted = float("nan") if None in each else float(sum(filter(None, each)))
        return sources.Seen(int(self.network.output_shape[1]), counted)

    def serves(self, group: plan.Group) -> bool:
        """Tells whether a group is of this question and network."""
        return isinstance(group, sources.OnFeatures) and (
            (group.question, group.origin) == (self.question, self.origin)
        )

    def spent(self, group: sources.OnFeatures, seed: int) -> np.ndarray:
        """Returns the training images of a seed's labels in order, those that validate too."""
        return self.subset(seed)[: group.row.labels]

    def on_labels(self, group: sources.OnFeatures, seed: int) -> np.ndarray:
        """Returns the features of `spent`, float32 (labels, width)."""
        if group.untrained:
            return self._untrained(seed)[0][: group.row.labels]
        return self._trained("target_train")[self.spent(group, seed)]

    def on_test(self, group: sources.OnFeatures) -> np.ndarray:
        """Returns the features of the test's images: (n, width), or (seeds, n, width) untrained."""
        if group.untrained:
            return np.stack([self._untrained(seed)[1] for seed in group.seeds])
        return self._trained("target_test")

    def scale(self, group: sources.OnFeatures, seed: int) -> np.ndarray:
        """Returns what a cell's features are divided by while its head trains, float32 (1, 1).

        The root of their mean square, over all features of the images that train: features of an
        untrained network may be of the order of 1e-12, and one list of learning rates is to fit
        all networks.
        """
        learn = np.delete(self.on_labels(group, seed), slice(*group.validates), axis=0)
        mean_square = np.square(learn, dtype=np.float64).mean(axis=0).mean()
        return np.full((1, 1), np.sqrt(mean_square) or 1.0, dtype=np.float32)

    def order(self, group: sources.OnFeatures, seed: int) -> np.ndarray:
        """Returns every batch of a cell as places in `spent`, int32 (steps, batch)."""
        learn = np.delete(np.arange(group.row.labels), slice(*group.validates))
        places = plan.batches(
            group.budget,
            count=len(learn),
            batch_size=self.grid.batch_size,
            seed=seed,
            task=self.question.name,
        )
        return np.where(places == plan.EMPTY, plan.EMPTY, learn[places]).astype(np.int32)

    def _subset(self, seed: int) -> np.ndarray:
        return plan.subset(
            self.data.target_train.labels,
            classes=len(self.question.target.names),
            seed=seed,
            task=self.question.name,
        )

    def _initial(self, seed: int) -> list[np.ndarray]:
        networks.initialise_head(self.head, seed=seed, name=self.question.name)
        return [np.array(weight) for weight in self.head.get_weights()]

    def _passed(self, part: str) -> np.ndarray:
        images: Part = getattr(self.data, part)
        return features.features(
            self.network, images.images, self._folder, threads=self._threads, told=False
        )

    def _passed_untrained(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features of a seed's own network: of its images, in order, and the test's."""
        drawn = _below(self.network, seeds.integer(seed, self.question.name, "untrained"))
        # One graph for all seeds.
        self._drawn.set_weights(drawn.get_weights())
        own = self.data.target_train.images[self.subset(seed)[: self._most]]
        ours, test = (
            features.features(self._drawn, images, self._folder, threads=self._threads, told=False)
            for images in (own, self.data.target_test.images)
        )
        return ours, test

    @functools.cached_property
    def _drawn(self) -> keras.Model:
        return _below(self.network, 0)


def _below(adopted: keras.Model, seed: int) -> keras.Model:
    """Returns an untrained copy of a network."""
    model = backbones.with_head(
        adopted, units=1, activation="sigmoid", head=HEAD, seed=seed, trained=False
    )
    # A name of its own, since that is part of what features are kept under.
    return keras.Model(model.inputs, model.layers[-1].input, name="untrained")


def train(bench: Bench, group: sources.OnFeatures) -> dict[str, np.ndarray]:
    """Trains the heads of a group; returns what is kept of them, with the seeds as first axis.

    As `cells.train`, and besides what `sources.counted` reads.
    """
    labels = bench.data.target_train.labels
    actual = np.stack([labels[bench.spent(group, seed)] for seed in group.seeds])
    scales = np.stack([bench.scale(group, seed) for seed in group.seeds])
    seen = np.stack(
        [
            bench.on_labels(group, seed) / scale
            for seed, scale in zip(group.seeds, scales, strict=True)
        ]
    )
    kernel, bias = bench.trainer.train(
        [np.stack(same) for same in zip(*map(bench.initial, group.seeds), strict=True)],
        seen,
        actual,
        np.stack([bench.order(group, seed) for seed in group.seeds]),
        learning_rates=np.full(len(group.seeds), group.learning_rate, dtype=np.float32),
    )
    if group.searches:
        places = slice(*group.validates)
        outputs = bench.trainer.predict([kernel, bias], seen[:, places])
        return {plan.LOSSES: cells._log_losses(outputs, actual[:, places])}
    # The same dense layer on features as they are: those of the test's images may be many.
    weights = [kernel / scales, bias]
    outputs = bench.trainer.predict(weights, bench.on_test(group))
    count = len(group.seeds)
    return {
        "answers": np.stack([answered_classes(each) for each in outputs]).astype(np.uint8),
        "finite": np.all([cells._finite(weight) for weight in weights], axis=0),
        sources.WIDTH: np.full(count, bench.seen.width, dtype=np.int64),
        sources.FLOPS: np.full(count, bench.seen.flops),
    }
