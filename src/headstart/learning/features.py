"""What frozen layers make of images, computed once and kept on disk for all that trains on top."""

import hashlib
import inspect
import itertools
import json
import os
import platform
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core import artefacts, code, runtime
from headstart.core.errors import UserError, warn

if TYPE_CHECKING:
    import keras

FOLDER = Path(".headstart/features")
"""In a project; whatever lies there can go at any time."""

# Where the configuration of a model names its layers.
_NAMING = ("name", "keras_history", "input_layers", "output_layers")
# Images a forward pass. Large maps take megabytes an image, and another size may round otherwise.
_BATCH = 64
# What a file is read in when it is checked.
_BLOCK_BYTES = 1 << 20
# Ends each file: of its key and all that stands before.
_SEAL_BYTES = hashlib.sha256().digest_size


def shared(root: Path) -> Path:
    """Returns the folder of features that all experiments of the project at `root` share."""
    return Path(os.environ.get("DVC_ROOT") or root) / FOLDER


def features(
    below: "keras.Model",
    images: np.ndarray,
    folder: Path | None,
    *,
    threads: int = 1,
    told: bool = True,
) -> np.ndarray:
    """Returns what the model `below` makes of each of `images`: float32 (n, ...), in their order.

    They are computed with the weights of now, in batches of 64, and kept in `folder` under a key
    of all that acts on them: weights and layers, images, libraries, instructions. From there they
    are memory-mapped, read-only. A file that is damaged, or another's, is made again. Without a
    folder they are computed in memory, to the same bytes.

    Args:
        below: Frozen layers, from images to one output.
        images: (n, height, width[, channels]) float32; may be memory-mapped.
        folder: Where features are kept; made where there is none.
        threads: Batches that pass at the same time, which changes no byte: more than one where
            TensorFlow has one core for each operation.
        told: Whether it is printed where features come from.
    """
    if folder is None:
        return np.concatenate(list(_computed(below, images, threads)))
    key = _key(below, images)
    path = folder / f"{key}.npy"
    for place, right in ((folder, folder.is_dir()), (path, path.is_file())):
        if place.exists() and not right:
            raise UserError(f"{place}: stands where features are kept; remove it")
    if path.is_file():
        if _is_whole(path, key):
            if told:
                print(f"features of {len(images)} images: as kept in {FOLDER}")
            return artefacts.read_array(path)
        warn(f"{path}: is damaged; its features are computed again")
    blocks = _computed(below, images, threads)
    first = next(blocks)
    shape = (len(images), *first.shape[1:])
    # What a power cut damages is found by the seal.
    with artefacts.replacing(path, durable=False) as part:
        whole = itertools.chain([first], blocks)
        artefacts.write_blocks(part, whole, shape=shape, dtype=first.dtype)
        seal = _seal(part, key, part.stat().st_size)
        with part.open("ab") as file:
            file.write(seal)
    if told:
        print(f"features of {len(images)} images: computed, {_megabytes(path):.1f} MB in {FOLDER}")
    return artefacts.read_array(path)


def remembered(
    backbone: "keras.Model",
    images: np.ndarray,
    folder: Path,
    finding: Callable[["keras.Model", np.ndarray], str | None],
) -> str | None:
    """Returns what `finding` says of a backbone and images, which it is asked once.

    The answer lies beside the features, and is as old as what acts on them and its own code.
    """
    path = folder / f"{_key(backbone, images, _code_of(finding))}.json"
    try:
        said: str | None = json.loads(path.read_text(encoding="utf-8"))["said"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        said = finding(backbone, images)
        artefacts.write_json(path, {"said": said})
    return said


def disk_use(root: Path) -> str | None:
    """Returns how much features take in the project at `root`, and what frees it, in words."""
    files = [path for path in shared(root).glob("*.npy") if path.is_file()]
    if not files:
        return None
    return (
        f"features of networks from elsewhere: {sum(map(_megabytes, files)):.1f} MB in {FOLDER}; "
        f"`rm -r {FOLDER}` frees them (a run that needs some computes them again), and "
        "`dvc gc --workspace` what DVC keeps of other parameters"
    )


def _computed(below: "keras.Model", images: np.ndarray, threads: int) -> Iterator[np.ndarray]:
    """Yields the features of 64 images after 64.

    The last batch is filled up with black: one graph for all, and an image's features do not
    depend on how many others there are.
    """

    def passed(start: int) -> np.ndarray:
        some = np.asarray(images[start : start + _BATCH])
        filled = np.zeros((_BATCH, *some.shape[1:]), some.dtype)
        filled[: len(some)] = some
        return np.asarray(below.predict_on_batch(filled))[: len(some)]

    starts = range(0, len(images), _BATCH)
    # Alone, since it traces the graph.
    yield passed(starts[0])
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[np.ndarray]] = deque()
        for start in starts[1:]:
            ahead.append(pool.submit(passed, start))
            # So that no more of them lie in memory than pass.
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _key(below: "keras.Model", images: np.ndarray, acting: str = "") -> str:
    """Returns the hash of all that acts on the features' bytes, and of `acting`."""
    import keras
    import tensorflow as tf

    capped = "ONEDNN_MAX_CPU_ISA" in os.environ
    surroundings = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "machine": platform.machine(),
        "instructions": runtime.kernels(runtime.AVX2 if capped else runtime.NATIVE),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "batch": _BATCH,
        "code": [_code_of(_computed), acting],
        # Size, preprocessing and cut are layers.
        "layers": _numbered(below.get_config(), {}),
    }
    hashed = hashlib.sha256(json.dumps(surroundings, sort_keys=True, default=str).encode())
    for array in (*below.get_weights(), images):
        hashed.update(f"{array.shape} {array.dtype}".encode())
        rows = np.atleast_1d(array)
        # In pieces, since images may be mapped from a file larger than memory.
        for start in range(0, len(rows), _BATCH):
            hashed.update(np.ascontiguousarray(rows[start : start + _BATCH]).data)
    return hashed.hexdigest()


def _numbered(config: Any, numbers: Mapping[str, int], *, named: bool = False) -> Any:
    """Returns a model's configuration with the places of its layers for their names.

    Keras numbers layers without a name over the life of a process, so that a network has other
    names when it is built a second time. `numbers` are those of the model around, and `named` is
    whether a text here is the name of a layer.
    """
    if isinstance(config, Mapping):
        inside = numbers
        if isinstance(layers := config.get("layers"), list):
            inside = {layer["config"].get("name"): at for at, layer in enumerate(layers)}
        return {
            key: _numbered(value, numbers if key == "name" else inside, named=key in _NAMING)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [_numbered(value, numbers, named=named) for value in config]
    return numbers.get(config, config) if named and isinstance(config, str) else config


def _code_of(function: Callable[..., object]) -> str:
    """Returns the hash of what the module of a function does."""
    return code.hash_of(Path(inspect.getfile(function)).read_text(encoding="utf-8"))


def _is_whole(path: Path, key: str) -> bool:
    """Tells whether the file at `path` is, to the last byte, what was written for `key`."""
    length = path.stat().st_size - _SEAL_BYTES
    if length < 0:
        return False
    seal = _seal(path, key, length)
    with path.open("rb") as file:
        file.seek(length)
        return file.read() == seal


def _seal(path: Path, key: str, length: int) -> bytes:
    """Returns the hash of `key` and the first `length` bytes of a file."""
    hashed = hashlib.sha256(key.encode())
    with path.open("rb") as file:
        while length > 0 and (block := file.read(min(length, _BLOCK_BYTES))):
            hashed.update(block)
            length -= len(block)
    return hashed.digest()


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6
