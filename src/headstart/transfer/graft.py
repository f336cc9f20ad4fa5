"""A new head on a trained backbone: what is copied, what is frozen, features computed once."""

import functools
from pathlib import Path

import keras
import numpy as np

from headstart.core import seeds
from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.learning import backbones, blocks, fit, networks
from headstart.learning import features as kept
from headstart.params.networks import HEAD, Network
from headstart.params.sections import TrainingSettings, rates
from headstart.params.strategies import Strategy
from headstart.transfer.parts import frozen_part, set_trainable, trained_part

# Images a forward pass when features are computed: large enough to be quick, small in memory.
_FEATURE_BATCH = 1024


def graft(model: keras.Sequential, source: keras.Model) -> None:
    """Copies the backbone weights of `source` into `model`; the heads stay apart.

    The two share nothing afterwards: training `model` leaves `source` as it was (in the
    notebook, cell 65, they share their layers).

    Raises:
        UserError: The two backbones differ in layers or shapes.
    """
    ours = {layer.name: layer for layer in model.layers if layer.weights}
    theirs = {layer.name: layer for layer in source.layers if layer.weights}
    del ours[HEAD], theirs[HEAD]
    shapes = [
        {name: [tuple(weight.shape) for weight in layer.weights] for name, layer in side.items()}
        for side in (ours, theirs)
    ]
    if shapes[0] != shapes[1]:
        raise UserError(
            "the source model's layers do not fit params.yaml's network: "
            f"{shapes[1]} against {shapes[0]}; `dvc repro` trains the source anew"
        )
    for name, layer in ours.items():
        layer.set_weights(theirs[name].get_weights())


def features(
    model: keras.Model, images: np.ndarray, layers: int, folder: Path | None = None
) -> np.ndarray:
    """Returns what the top `layers` layers see of each image: float32 (n, ...), in order.

    Those of a network from elsewhere are kept in `folder`, where there is one; those of our own
    networks take less time to compute than to read.
    """
    below = frozen_part(model, layers)
    if backbones.is_adopted(model):
        return kept.features(below, images, folder)
    parts = [
        np.asarray(below.predict_on_batch(np.asarray(images[start : start + _FEATURE_BATCH])))
        for start in range(0, len(images), _FEATURE_BATCH)
    ]
    return np.concatenate(parts)


def _grafted(
    source: keras.Model | None,
    image_shape: tuple[int, ...],
    network: Network | None,
    *,
    units: int,
    activation: str,
    seed: int,
    trained: bool,
) -> keras.Model:
    if network is None:
        if source is None:
            raise ValueError("a network from elsewhere is both network and source")
        model = backbones.with_head(
            source,
            units=units,
            activation=activation,
            head=HEAD,
            seed=seeds.integer(seed, "target", "backbone", "initialisation"),
            trained=trained,
        )
        networks.initialise_head(model, seed=seed, name="target")
        return model
    model = networks.build(image_shape, network, units=units, activation=activation)
    networks.initialise(model, seed=seed, backbone="target", head="target")
    if trained and source is not None:
        graft(model, source)
    return model


def train_grafted(
    train: Part,
    valid: Part,
    *,
    source: keras.Model | None,
    network: Network | None,
    units: int,
    activation: str,
    settings: TrainingSettings,
    strategy: Strategy,
    frozen_fraction: float,
    unfrozen_learning_rate: float | tuple[float, ...],
    seed: int,
    on_epoch: fit.OnEpoch,
    folder: Path | None = None,
    inference: bool = True,
) -> tuple[keras.Model, fit.History]:
    """Trains a new head on the source's backbone by one of the strategies.

    Returns the network, compiled and with the layers that trained last marked as trainable,
    and its history. Initial weights and the order of the samples are those of the baseline
    of the same seed; `source` is copied from and stays as it was.

    Layers above frozen ones train on features computed once: the same weights as training
    through the frozen layers, at a fraction of the cost. A second phase has a fresh optimiser.

    Args:
        train: Images (n, height, width[, channels]) and labels (n,).
        valid: The same, to validate on.
        source: The trained source network; None for a strategy that takes no weights from it.
        network: The backbone; None where `source` is one as it is, from elsewhere, which gives the
            architecture in any case.
        units: Units of the new head.
        activation: Activation of the new head.
        settings: Budget and optimiser; of several learning rates the best is taken, in the first
            phase before the second begins.
        strategy: What trains when.
        frozen_fraction: The first phase's share of the epochs, where there are two.
        unfrozen_learning_rate: The second phase's learning rate, or several to choose from.
        seed: Keys the initial weights and the order of the samples.
        on_epoch: Called after every epoch with its row of the history.
        folder: Keeps the features of networks from elsewhere; None: they are held in memory.
        inference: Whether a network from elsewhere runs as it answers while it trains: batch
            normalisation by the statistics that it has.

    Raises:
        UserError: The strategy trains more blocks than the network has, or the loss diverged.
    """
    model = _grafted(
        source,
        train.images.shape[1:],
        network,
        units=units,
        activation=activation,
        seed=seed,
        trained=strategy.from_source,
    )
    strategy.check_blocks(len(blocks.groups(model)) - 1)
    order = functools.partial(seeds.epoch_order, count=len(train.labels), seed=seed, task="target")
    history: fit.History = []
    phases = strategy.phases(settings.epochs, frozen_fraction=frozen_fraction)
    asked = (settings.rates, rates(unfrozen_learning_rate))
    done = 0
    for phase, candidates in zip(phases, asked, strict=False):
        # With all blocks there is nothing below but pixels.
        layers = None if phase.layers == len(blocks.groups(model)) else phase.layers
        set_trainable(model, layers)
        learner, parts = trained_part(model, layers, inference=inference), [train, valid]
        if layers is not None:
            parts = [
                Part(features(model, part.images, layers, folder), part.labels) for part in parts
            ]
        more, rate = fit.fit_best(
            learner,
            *parts,
            optimizer=settings.optimizer,
            rates=candidates,
            batch_size=settings.batch_size,
            order=order,
            epochs=range(done + 1, done + phase.amount + 1),
            on_epoch=on_epoch,
        )
        history += more
        done += phase.amount
    if learner is not model:
        # The file tells how it was trained last.
        fit.compile_model(model, optimizer=settings.optimizer, learning_rate=rate)
    return model, history
