"""Trains the baseline: the target task from scratch.

Reads data/prepared/target/; writes models/baseline.keras and models/baseline.history.csv.
"""

from pathlib import Path

import _checkout  # noqa: F401

from headstart import tracking
from headstart.core import artefacts, runtime
from headstart.core.errors import located, reported
from headstart.params import reading
from headstart.params.networks import output_activation, output_units


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    runtime.fix(settings.seed)
    from headstart.learning import fit, networks

    epochs = settings.baseline_training.epochs
    with tracking.recorder(stage="train_b", root=Path.cwd(), epochs=epochs) as run:
        train = artefacts.read_part(Path("data/prepared/target"), "train")
        valid = artefacts.read_part(Path("data/prepared/target"), "valid")
        classes = len(artefacts.read_json(Path("data/prepared/classes.json"))["target"]["names"])
        model, history = fit.train_new(
            train,
            valid,
            network=settings.network,
            units=output_units(classes),
            activation=output_activation(classes, settings.train_b.output_activation),
            settings=settings.baseline_training,
            seed=settings.seed,
            task="target",
            on_epoch=run.epoch,
        )
        trainable, _ = networks.parameters(model)
        print(f"baseline: {trainable} trainable parameters, {len(train.labels)} images")
        artefacts.write_model(Path("models/baseline.keras"), model)
        artefacts.write_history(Path("models/baseline.history.csv"), history)
        run.finish()


if __name__ == "__main__":
    with reported(), located("params.yaml: "):
        main()
