"""Finished networks on disk, each under a key of all that fixes its bytes.

A killed study goes on with them. They lie in an ignored folder under the project and not in
a stage's outputs, which DVC deletes before it runs the stage.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts, code, runtime
from headstart.core.parts import Part
from headstart.data.raw_data import Raw

FOLDER = Path(".headstart/study")
CANNOT_ACT = {
    "core/artefacts.py": "reads and writes files; what they hold is in the keys",
    "core/errors.py": "words alone",
    "data/catalogue.py": "the images and labels are in the keys, wherever they come from",
    "data/idx.py": "the same",
    "params/strategies.py": "what an arm trains when, and from what, is in the keys",
    "params/sections.py": "the pipeline's parameters; the study's values are in the keys",
    "study/parameters.py": "types and refusals; the values are in the keys, one by one",
}
"""What trainings reach and their bytes do not depend on, nor on what only it imports, and why."""

# What NumPy and zipfile raise of a file that is not as it was written, besides that it is gone.
_DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
# Where the last record of a zip file without a comment says how many files are in it.
_COUNT_FROM_END = -12

# The libraries that compute; another version may round differently.
_LIBRARIES = ("numpy", "tensorflow", "keras")


def project(root: Path) -> Path:
    """Returns the folder that all experiments of a project share: DVC's root, else `root`."""
    return Path(os.environ.get("DVC_ROOT") or root)


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder of finished networks, a file each; `common` acts on the bytes of all.

    A grid of 3600 networks is read in two seconds.
    """

    folder: Path
    common: Mapping[str, Any]

    def key(self, about: Mapping[str, Any]) -> str:
        """Returns the key of a network: the hash of `about` and what all have in common."""
        text = json.dumps({"about": about, "common": self.common}, sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()

    def holds(self, key: str) -> bool:
        """Tells whether something is kept under `key`, whole or damaged."""
        return self._path(key).is_file()

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """Returns what is kept under `key`; None where nothing is, or where it is damaged."""
        try:
            with self._path(key).open("rb") as file, np.load(file, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
                # A damaged list of what is in a file may end early, and is then read without error.
                file.seek(_COUNT_FROM_END, os.SEEK_END)
                whole = int.from_bytes(file.read(2), "little") == len(arrays)
                return arrays if whole else None
        except _DAMAGED:
            # A damaged file is as good as none: the network is trained again.
            return None

    def keep(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps `arrays` under `key`, whole or not at all."""
        # What a power cut damages is found by the checksums of the file, and trained again.
        with artefacts.replacing(self._path(key), durable=False) as part, part.open("wb") as file:
            np.savez(file, **dict[str, Any](arrays))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"


def common(data: Raw, *, instructions: str) -> dict[str, Any]:
    """Returns what acts on the bytes of every network.

    `data` has the parts `train` and `test`, `instructions` as in `runtime.fix_for_replicas`.
    """
    return {
        "data": data_in_common(data),
        "code": numeric_code(),
        "libraries": libraries(),
        # ARM has other last digits than x86-64; none is mixed in.
        "machine": machine(),
        "instructions": runtime.kernels(instructions),
    }


def data_in_common(data: Raw) -> list[str]:
    """Returns what of the data acts on the bytes of every network."""
    return [str(data.white), *(digest(data.parts[name]) for name in ("train", "test"))]


def digest(part: Part) -> str:
    """Returns the hash of a part's images and labels."""
    hashed = hashlib.sha256()
    for array in (part.images, part.labels):
        hashed.update(f"{array.shape} {array.dtype}".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def numeric_code() -> dict[str, str]:
    """Returns the hashes of the modules whose code decides what a training computes."""
    roots = {"study/cells.py", "core/runtime.py"}
    reached = code.reached(*(code.LIBRARY / root for root in roots), idle=CANNOT_ACT)
    return code.hashes(reached | roots)


def libraries() -> dict[str, str]:
    """Returns the versions of the libraries that compute."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def machine() -> str:
    """Returns this machine's system and kind of processor, such as "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be part of a key")
