"""Small studies for the tests, and what they write."""

import hashlib
from typing import Any

import yaml
from projects import ROOT

NETWORK = {"name": "mlp", "units": [16, 8], "activation": "selu"}
GRID = {
    "labels": [10, 40, "all"],
    "seeds": 4,
    "training": [{"epochs": 2}, {"steps": 30}],
    "networks": [NETWORK],
    "learning_rates": [0.01],
    "source_training": {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.01},
}


def values(**grid: Any) -> Any:
    made = yaml.safe_load((ROOT / "study/params.yaml").read_text())
    made["dataset"] |= {"train_size": 1500, "valid_size": 100, "test_size": 600}
    made["replicas"] |= {"group_size": 2}
    made["statistics"] |= {"bootstrap_samples": 200}
    made["grid"] |= GRID | grid
    return made


def digests(folder: Any) -> Any:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
