"""The notebook's steps as one plain script: no tracking, no files but the source model.

    python benchmarks/notebook.py FOLDER    FOLDER holds the four decompressed files

Import, load, three trainings of 5 epochs with `fit` defaults, two evaluations. Only the
baseline's softmax is a sigmoid, which changes no time.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

began = time.perf_counter()

import keras
import numpy as np
import tensorflow as tf


def read(folder: Path, name: str) -> np.ndarray:
    header = 16 if "images" in name else 8
    values = np.frombuffer((folder / name).read_bytes(), np.uint8, offset=header)
    return values.reshape(-1, 28, 28) if "images" in name else values


def split(images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    target = (labels == 5) | (labels == 6)
    source_labels = labels[~target].copy()
    source_labels[source_labels > 6] -= 2
    target_labels = (labels[target] == 6).astype(np.float32)
    return (images[~target], source_labels), (images[target], target_labels)


def network(units: int, activation: str) -> keras.Sequential:
    return keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Flatten(),
            *(keras.layers.Dense(width, activation="selu") for width in (300, 100, 50, 50, 50)),
            keras.layers.Dense(units, activation=activation),
        ]
    )


def fit(model: keras.Model, loss: str, train: Any, valid: Any) -> None:
    optimizer = keras.optimizers.SGD(learning_rate=1e-3)
    model.compile(loss=loss, optimizer=optimizer, metrics=["accuracy"])
    model.fit(*train, epochs=5, validation_data=valid, verbose=2)


def main(folder: Path) -> None:
    steps = {"import": time.perf_counter()}
    images = read(folder, "train-images-idx3-ubyte")[:30000] / 255.0
    labels = read(folder, "train-labels-idx1-ubyte")[:30000]
    train_a, train_b = split(images[5000:], labels[5000:])
    valid_a, valid_b = split(images[:5000], labels[:5000])
    _, test_b = split(
        read(folder, "t10k-images-idx3-ubyte")[:5000] / 255.0,
        read(folder, "t10k-labels-idx1-ubyte")[:5000],
    )
    tf.random.set_seed(42)
    np.random.seed(42)  # noqa: NPY002 (the notebook's own line)
    steps["load"] = time.perf_counter()
    source = network(8, "softmax")
    fit(source, "sparse_categorical_crossentropy", train_a, valid_a)
    with tempfile.TemporaryDirectory() as out:
        source.save(Path(out) / "source.keras")
    steps["source"] = time.perf_counter()
    baseline = network(1, "sigmoid")
    fit(baseline, "binary_crossentropy", train_b, valid_b)
    steps["baseline"] = time.perf_counter()
    transfer = keras.Sequential([*source.layers[:-1], keras.layers.Dense(1, activation="sigmoid")])
    for layer in transfer.layers[:-1]:
        layer.trainable = False
    fit(transfer, "binary_crossentropy", train_b, valid_b)
    steps["transfer"] = time.perf_counter()
    for name, model in (("baseline", baseline), ("transfer", transfer)):
        print(name, model.evaluate(*test_b, verbose=0))
    steps["evaluate"] = time.perf_counter()
    before = began
    for name, at in steps.items():
        print(f"step {name} {at - before:.2f}")
        before = at


if __name__ == "__main__":
    main(Path(sys.argv[1]))
