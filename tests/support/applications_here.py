"""Keras' published networks without the web: untrained ones, in files as Keras publishes them."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils
from projects import ROOT
from published import Answer, Handler, missing

from headstart.data import verify, weights

MODULES = {
    "MobileNetV2_0.35": keras.applications.mobilenet_v2,
    "MobileNetV2": keras.applications.mobilenet_v2,
    "MobileNetV3Small": keras.applications.mobilenet_v3,
    "EfficientNetB0": keras.applications.efficientnet,
    "EfficientNetV2B0": keras.applications.efficientnet_v2,
    "ResNet50": keras.applications.resnet,
    "ResNet50V2": keras.applications.resnet_v2,
    "DenseNet121": keras.applications.densenet,
    "ConvNeXtTiny": keras.applications.convnext,
}


def write_weights(folder: Path, name: str, *, size: int = 32) -> Path:
    """Writes the weights of the network `name`, untrained, as Keras publishes them.

    The statistics of its normalisations are not those of an untrained network.
    """
    network = weights.NETWORKS[name]
    shape = (size, size, 3)
    make = getattr(keras.applications, network.application)
    model = make(weights=None, include_top=False, input_shape=shape, **network.options)
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            drawn = generator.uniform(0.5, 1.5, layer.moving_variance.shape)
            layer.moving_variance.assign(drawn)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / network.published((size, size)).name
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def mirror(folder: Path, name: str, *, size: int = 32) -> Path:
    """Returns `folder`, where the same weights lie as `headstart networks fetch` leaves them."""
    file = write_weights(folder, name, size=size)
    file.with_name(f"{file.name}.sha256").write_text(f"{verify.sha256(file)}  {file.name}\n")
    return folder


def plain_features(name: str, file: Path, images: np.ndarray, *, size: int = 32) -> np.ndarray:
    """Returns the features (n, k) of images (n, height, width, 3) in [0, 1] by Keras' code alone.

    `file` holds the weights, and counts as what Keras would have fetched.
    """
    network = weights.NETWORKS[name]
    make = getattr(keras.applications, network.application)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Of sizes that have no weights of their own.
        warnings.filterwarnings("ignore", "`input_shape` is undefined")
        patch.setattr(file_utils, "get_file", lambda *_, **__: str(file))
        model = make(
            weights="imagenet", include_top=False, input_shape=(size, size, 3), **network.options
        )
    pixels = np.array(keras.ops.image.resize(images * 255, (size, size)))
    seen = MODULES[name].preprocess_input(pixels)
    return np.asarray(model.predict_on_batch(seen).mean(axis=(1, 2)))


def sums(name: str, file: Path) -> dict[str, str]:
    """Returns the sums of `file` of those kinds that Keras publishes for the network `name`."""
    kinds = weights.NETWORKS[name].published().sums
    return {
        kind: hashlib.new(kind, file.read_bytes(), usedforsecurity=False).hexdigest()
        for kind in kinds
    }


def sends(files: Mapping[str, Path]) -> Answer:
    """Returns what serves `files`, by the names in their addresses, as they are."""

    def answer(handler: Handler, name: str, compressed: bool) -> None:
        if compressed or name not in files:
            missing(handler, name, compressed)
        else:
            handler.send(files[name].read_bytes())

    return answer


def surroundings(folder: Path, known: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Returns the environment of commands for which only this machine exists.

    `known` are the sums of published networks, by name; who tries to reach another machine is
    noted in `folder`/attempts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sums.json").write_text(json.dumps(known))
    path = f"{ROOT / 'tests/support/loopback'}:{ROOT / 'src'}"
    return {"LOOPBACK": str(folder), "PYTHONPATH": path, "HEADSTART_TIMEOUT": "5"}
