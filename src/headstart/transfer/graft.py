"""A new head on a trained backbone: what is copied, what is frozen, features computed once."""

import functools

import keras
import numpy as np

from headstart.core import seeds
from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.learning import fit, networks, pretrained
from headstart.params.networks import HEAD, Network
from headstart.params.sections import TrainingSettings
from headstart.transfer import strategies

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


def set_backbone_trainable(model: keras.Sequential, trainable: bool) -> None:
    """Freezes the layers below the head, or lets them train again."""
    for layer in model.layers[:-1]:
        layer.trainable = trainable


def backbone_of(model: keras.Sequential) -> keras.Model:
    """Returns the layers below the head as a model of their own, sharing their weights."""
    return keras.Model(model.inputs, model.layers[-2].output, name="backbone")


def head_of(model: keras.Sequential) -> keras.Sequential:
    """Returns the head as a model of its own on features, sharing its weights."""
    head = model.layers[-1]
    width = model.layers[-2].output.shape[1:]
    return keras.Sequential([keras.layers.Input(width, name="features"), head], name="on_features")


def features(model: keras.Sequential, images: np.ndarray) -> np.ndarray:
    """Returns what the head sees of each image: (n, features) float32, in the images' order."""
    backbone = backbone_of(model)
    parts = [
        np.asarray(backbone.predict_on_batch(np.asarray(images[start : start + _FEATURE_BATCH])))
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
) -> keras.Model:
    if network is None:
        if source is None:
            raise UserError(
                "params.yaml: transfer.strategy: random_frozen is the control for a source network "
                "trained here; with source_training.from write frozen, finetune or gradual"
            )
        model = pretrained.with_head(source, units=units, activation=activation, head=HEAD)
        networks.initialise_head(model, seed=seed, name="target")
        return model
    model = networks.build(image_shape, network, units=units, activation=activation)
    networks.initialise(model, seed=seed, backbone="target", head="target")
    if source is not None:
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
    strategy: str,
    frozen_fraction: float,
    unfrozen_learning_rate: float,
    seed: int,
    on_epoch: fit.OnEpoch,
) -> tuple[keras.Sequential, fit.History]:
    """Trains a new head on the source's backbone by one of the strategies.

    Returns the network, compiled and with the layers that trained last marked as trainable,
    and its history. Initial weights and the order of the samples are those of the baseline
    of the same seed; `source` is copied from and stays as it was.

    `frozen` and `random_frozen` train the head alone, on features computed once: the same
    weights as training through the frozen layers, at a fraction of the cost. `finetune`
    trains all layers; `gradual` the head for `frozen_fraction` of the epochs (at least one,
    never all), then all layers with `unfrozen_learning_rate` and a fresh optimiser.

    Args:
        train: Images (n, height, width[, channels]) and labels (n,).
        valid: The same, to validate on.
        source: The trained source network; None for `random_frozen`, whose backbone keeps
            its initial weights.
        network: The backbone; None where `source` is one as it is, from elsewhere.
        units: Units of the new head.
        activation: Activation of the new head.
        settings: Budget and optimiser.
        strategy: One of the above.
        frozen_fraction: For `gradual`, the share of the epochs with a frozen backbone.
        unfrozen_learning_rate: For `gradual`, the learning rate of the other epochs.
        seed: Keys the initial weights and the order of the samples.
        on_epoch: Called after every epoch with its row of the history.
    """
    model = _grafted(
        source, train.images.shape[1:], network, units=units, activation=activation, seed=seed
    )
    order = functools.partial(seeds.epoch_order, count=len(train.labels), seed=seed, task="target")
    history: fit.History = []
    frozen = strategies.frozen_epochs(strategy, settings.epochs, frozen_fraction=frozen_fraction)
    if frozen:
        set_backbone_trainable(model, False)
        head = head_of(model)
        fit.compile_model(head, optimizer=settings.optimizer, learning_rate=settings.learning_rate)
        history += fit.fit(
            head,
            Part(features(model, train.images), train.labels),
            Part(features(model, valid.images), valid.labels),
            batch_size=settings.batch_size,
            order=order,
            epochs=range(1, frozen + 1),
            on_epoch=on_epoch,
        )
    rate = unfrozen_learning_rate if strategy == "gradual" else settings.learning_rate
    thawed = frozen < settings.epochs
    set_backbone_trainable(model, thawed)
    fit.compile_model(model, optimizer=settings.optimizer, learning_rate=rate)
    if thawed:
        history += fit.fit(
            model,
            train,
            valid,
            batch_size=settings.batch_size,
            order=order,
            epochs=range(frozen + 1, settings.epochs + 1),
            on_epoch=on_epoch,
        )
    return model, history
