"""Trains the source network on the source task.

Reads data/prepared/source/; writes models/source.keras and models/source.history.csv.
"""

from pathlib import Path

import _checkout  # noqa: F401
import numpy as np

from headstart import tracking
from headstart.core import artefacts, runtime
from headstart.core.errors import located, reported, warn
from headstart.params import reading
from headstart.params.networks import output_activation, output_units


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    runtime.fix(settings.seed)
    from headstart.learning import fit, networks, pretrained

    chosen = settings.source_training
    with tracking.recorder(stage="train_a", root=Path.cwd(), epochs=chosen.epochs) as run:
        if chosen.from_ is not None:
            images = artefacts.read_array(Path("data/prepared/source/train_images.npy"))
            adopted = pretrained.adopt_as(chosen, root=Path(), image_shape=images.shape[1:])
            height, width = adopted.size
            print(
                f"source network: {chosen.from_}, {adopted.cut}: "
                f"{adopted.backbone.output_shape[1]} features of {height} x {width} pixels "
                f"({adopted.takes}), {networks.parameters(adopted.backbone)[1]} parameters; what "
                "it cost is unknown"
            )
            if adopted.misfit:
                warn(f"source_training: {adopted.misfit}")
            # Where there is no source task, the transfer stage looks at the target's images.
            if amiss := pretrained.features_warning(adopted.backbone, images[:64]):
                warn(f"{chosen.from_}: {amiss}")
            artefacts.write_model(Path("models/source.keras"), adopted.backbone)
            artefacts.write_history(Path("models/source.history.csv"), [])
            run.finish()
            return
        train = artefacts.read_part(Path("data/prepared/source"), "train")
        valid = artefacts.read_part(Path("data/prepared/source"), "valid")
        classes = len(artefacts.read_json(Path("data/prepared/classes.json"))["source"]["names"])
        model, history = fit.train_new(
            train,
            valid,
            network=settings.network,
            units=output_units(classes),
            activation=output_activation(classes),
            settings=settings.source_training,
            seed=settings.seed,
            task="source",
            on_epoch=run.epoch,
        )
        trainable, _ = networks.parameters(model)
        print(f"source network: {trainable} trainable parameters, {len(train.labels)} images")
        commonest = np.bincount(valid.labels).max() / len(valid.labels)
        if history[-1]["val_accuracy"] < 1.1 * commonest:
            warn(
                f"the source network is near chance: validation accuracy "
                f"{history[-1]['val_accuracy']:.3f}, always answering the commonest class gives "
                f"{commonest:.3f}; it has little to transfer (raise source_training.epochs)"
            )
        artefacts.write_model(Path("models/source.keras"), model)
        artefacts.write_history(Path("models/source.history.csv"), history)
        run.finish()


if __name__ == "__main__":
    with reported(), located("params.yaml: "):
        main()
