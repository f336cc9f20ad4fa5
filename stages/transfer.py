"""Grafts a new head on the source network's backbone and trains it on the target task.

Reads models/source.keras and data/prepared/target/; writes models/transfer.keras and
models/transfer.history.csv.
"""

from pathlib import Path

import _checkout  # noqa: F401

from headstart import tracking
from headstart.core import artefacts, runtime
from headstart.core.errors import located, reported, warn
from headstart.params import reading
from headstart.params.networks import output_activation, output_units


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    runtime.fix(settings.seed)
    from headstart.learning import features, networks, pretrained
    from headstart.transfer import graft

    epochs = settings.transfer_training.epochs
    with tracking.recorder(stage="transfer", root=Path.cwd(), epochs=epochs) as run:
        train = artefacts.read_part(Path("data/prepared/target"), "train")
        valid = artefacts.read_part(Path("data/prepared/target"), "valid")
        classes = len(artefacts.read_json(Path("data/prepared/classes.json"))["target"]["names"])
        strategy = settings.transfer.strategy
        elsewhere = settings.source_training.from_
        # A network from elsewhere gives the architecture in any case.
        needed = strategy.from_source or elsewhere is not None
        source = networks.load(Path("models/source.keras")) if needed else None
        folder = features.shared(Path.cwd())
        if source and elsewhere and strategy.from_source:
            look = pretrained.features_warning
            if amiss := features.remembered(source, train.images[:64], folder, look):
                warn(f"{elsewhere}: {amiss}")
        model, history = graft.train_grafted(
            train,
            valid,
            source=source,
            network=settings.network if elsewhere is None else None,
            units=output_units(classes),
            activation=output_activation(classes),
            settings=settings.transfer_training,
            strategy=strategy,
            frozen_fraction=settings.transfer.frozen_fraction,
            unfrozen_learning_rate=settings.transfer.unfrozen_learning_rate,
            seed=settings.seed,
            on_epoch=run.epoch,
            folder=folder,
            inference=settings.transfer.inference,
        )
        trainable, total = networks.parameters(model)
        print(
            f"transfer ({strategy.words}): {trainable} trainable and {total - trainable} frozen "
            f"parameters, {len(train.labels)} images"
        )
        artefacts.write_model(Path("models/transfer.keras"), model)
        artefacts.write_history(Path("models/transfer.history.csv"), history)
        run.finish()


if __name__ == "__main__":
    with reported(), located("params.yaml: "):
        main()
