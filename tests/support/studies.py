"""Small studies for the tests, and what they write."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from projects import ROOT, edit_params

from headstart.data import raw_data, selection
from headstart.params import reading
from headstart.study import parameters, prepare

NETWORK = {"name": "mlp", "units": [16, 8], "activation": "selu"}
GRID = {
    "labels": [10, 40, "all"],
    "seeds": 4,
    "training": [{"epochs": 2}, {"steps": 30}],
    "networks": [NETWORK],
    "learning_rates": [0.01],
    "source_training": {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.01},
}
DIGITS = {
    "name": "digits",
    "sources": "published",
    "split": "stratified",
    "train_size": "0.5",
    "valid_size": "0.1",
    "test_size": "0.2",
}
TINY: dict[str, Any] = {
    "arms": ["baseline", "frozen"],
    "labels": [4, 8],
    "seeds": 2,
    "training": [{"steps": 5}],
}
SIZES = {"train_size": 1500, "valid_size": 100, "test_size": 600}


class Here(ThreadPoolExecutor):
    """Does in this process what others would be started for."""

    def __init__(self, *_: Any) -> None:
        super().__init__(1)


def values(**grid: Any) -> Any:
    """study/params.yaml with a small grid, changed by `grid`."""
    made = yaml.safe_load((ROOT / "study/params.yaml").read_text())
    made["replicas"] |= {"group_size": 2}
    made["statistics"] |= {"bootstrap_samples": 200}
    made["grid"] |= GRID | grid
    return made


def study(**grid: Any) -> parameters.Study:
    """The same as typed values."""
    return parameters.parse(yaml.safe_dump(values(**grid)), "study/params.yaml")


def data(folder: Path, **dataset: Any) -> raw_data.Raw:
    """The few images that small studies train and test on; `folder` is data/raw/NAME."""
    settings = reading.load(ROOT / "params.yaml").dataset
    chosen = settings.model_copy(update={"name": folder.name} | SIZES | dataset)
    raw, rows = selection.select(chosen, folder.parent)
    return raw.drawn({name: rows[name] for name in ("train", "valid", "test")})


def prepared(folder: Path, replicas: Any = (), **grid: Any) -> prepare.Prepared:
    """A small grid on those images, trained together as `replicas` says."""
    made = study(**grid)
    how = made.replicas.model_copy(update=dict(replicas))
    return prepare.prepare(made.grid, how, data(folder))


def write_parameters(root: Path, dataset: Mapping[str, str] | None = None, **grid: Any) -> None:
    """Writes both files of parameters of a small study, its dataset as YAML by key, into `root`."""
    (root / "study").mkdir(parents=True, exist_ok=True)
    (root / "study/params.yaml").write_text(yaml.safe_dump(values(**grid)))
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    chosen = {key: str(size) for key, size in SIZES.items()} | dict(dataset or {})
    edit_params(root / "params.yaml", {f"dataset.{key}": value for key, value in chosen.items()})


def write_network(path: Path, seed: int) -> None:
    """Writes a small convolutional network, as if it had learned from other images."""
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            keras.layers.Conv2D(6, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


def digests(folder: Any) -> Any:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
