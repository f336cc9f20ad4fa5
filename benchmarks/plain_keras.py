"""Random cells of a study, trained again by plain Keras from what `headstart study export` writes.

    python benchmarks/plain_keras.py [SECTION] [--cells 10] [--draw 0] [--write]

after `dvc repro study/dvc.yaml:networks` for the section `pretrained`; minutes. What is trained
here knows the exported file alone: initial weights, labels, the order of every batch, and features
of networks from elsewhere. It is held against the committed cells.csv, at the learning rates that
the search chose, so that no network of the study has to be there.
"""

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks import sittings
from headstart.reporting import study_tables
from headstart.reporting.study_tables import CellRow
from headstart.study import export, plan, stage

L = keras.layers


def answers(cell: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the classes that a cell's network answers of its test images, int64 (n,)."""
    about = json.loads(str(cell["about"]))
    train, test, labels = _seen(cell, about)
    units = 1 if len(about["classes"]) == 2 else len(about["classes"])
    below = [] if "features" in cell else list(_below(about["network"], train.shape[1:]))
    model = keras.Sequential([keras.Input(train.shape[1:]), *below, L.Dense(units)])
    model.set_weights([cell[name] for name in sorted(cell) if name.startswith("weight_")])
    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    several = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weighted = [layer for layer in model.layers if layer.weights]
    order = iter(cell["order"])
    for updates, layers in about.get("phases", [(len(cell["order"]), None)]):
        for number, layer in enumerate(weighted):
            layer.trainable = layers is None or number >= len(weighted) - layers
        optimizer = keras.optimizers.get(about["optimizer"])
        optimizer.learning_rate = about["learning_rate"]
        model.compile(optimizer, binary if units == 1 else several)
        for _ in range(updates):
            batch = next(order)
            batch = batch[batch >= 0]
            # One step of `fit`, without what it sets up anew in every call.
            model.train_on_batch(train[batch], labels[batch])
    if next(order, None) is not None:
        raise ValueError(f"{about['cell']}: the phases have fewer updates than the order")
    logits = model.predict(test, verbose=0)
    return (logits[:, 0] > 0).astype(np.int64) if units == 1 else logits.argmax(axis=1)


def _seen(
    cell: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what trains, what is tested, and the labels of the first."""
    if "features" in cell:
        return cell["features"], cell["test_features"], cell["train_labels"][cell["subset"]]
    white = np.float32(about["white"])
    train, test = (cell[f"{part}_images"] / white for part in ("train", "test"))
    return train, test, cell["train_labels"]


def _below(network: Mapping[str, Any], shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """Yields the layers below the head of a network that the study trains itself."""
    activation = network["activation"]
    if network["name"] == "cnn":
        yield L.Reshape((*shape, 1)[:3])
        for filters in network["filters"]:
            yield L.Conv2D(filters, 3, padding="same", activation=activation)
            yield L.MaxPooling2D()
    yield L.Flatten()
    for units in network["dense" if network["name"] == "cnn" else "units"]:
        yield L.Dense(units, activation=activation)


def compared(section: str, *, count: int, draw: int) -> list[dict[str, Any]]:
    """Trains `count` cells of a section's tables again, in the project of the current folder."""
    rows = study_tables.read(stage.METRICS / section / "cells.csv", CellRow)
    runner, _ = stage.runner(section)
    published = [row for row in rows if row.chosen]
    found = []
    for place in np.random.default_rng(draw).choice(len(published), count, replace=False):
        row = published[place]
        names = [field.name for field in dataclasses.fields(plan.Row)]
        name = plan.Row(**{name: getattr(row, name) for name in names}).name
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "cell.npz")
            export.export(runner, f"{name}/seed={row.seed}", path, trained=rows, split=row.split)
            with np.load(path) as kept:
                cell = dict(kept)
        right = int((answers(cell) == cell["test_labels"]).sum())
        found.append(
            {
                "cell": f"{name}/seed={row.seed}{f'/split={row.split}' * (row.split > 0)}",
                "learning_rate": row.learning_rate,
                "images": row.test_images,
                "right": row.right,
                "by_keras": right,
            }
        )
        print(f"{found[-1]['cell']}: {row.right} right, by plain Keras {right}", flush=True)
    return found


def main() -> None:
    asking = sittings.parser(__doc__)
    asking.add_argument("section", nargs="?", default="pretrained")
    asking.add_argument("--cells", type=int, default=10)
    asking.add_argument("--draw", type=int, default=0, help="which cells: another number, others")
    asked = asking.parse_args()
    with contextlib.chdir(ROOT):
        measured = compared(asked.section, count=asked.cells, draw=asked.draw)
    sittings.finish("plain_keras", measured, parts, write=asked.write)


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    measured: Sequence[dict[str, Any]] = sitting.measured
    rows = [
        (
            f"`{own['cell']}`",
            f"{own['learning_rate']:g}",
            f"{own['images']}",
            f"{own['right']}",
            f"{own['by_keras']}",
        )
        for own in measured
    ]
    near = sum(abs(own["right"] - own["by_keras"]) <= 1 for own in measured)
    head = ["cell", "learning rate", "test images", "right", "right by plain Keras"]
    return {
        "plain-keras": f"{sitting.opening}.\n\n{sittings.table(head, rows)}\n"
        f"Equal within one image in {near} of {len(measured)} cells.\n"
    }


if __name__ == "__main__":
    main()
