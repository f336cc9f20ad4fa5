"""What passes between stages: arrays, tables, JSON and models, written whole or not at all."""

import contextlib
import csv
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import types
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import UserError
from headstart.core.parts import Part


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a path beside `path` to write to, and renames it into place when all went well.

    The name keeps the suffix of `path`, since Keras and NumPy choose the format by it.
    A failure leaves what was at `path` as it was and nothing beside it. With `durable` the bytes
    are on the disk before the name is: a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    part = path.parent / f".{os.getpid()}-{uuid.uuid4().hex}.part{path.suffix}"
    try:
        part.touch()
        yield part
        if durable:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Removes what killed processes left half-written; another that lives goes on undisturbed."""
    for part in folder.glob(".*-*.part*"):
        pid = part.name[1:].partition("-")[0]
        if not pid.isdecimal() or int(pid) == os.getpid():
            continue
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, OverflowError):
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(True)
        except PermissionError:  # It lives, and is another user's.
            continue


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes `array` as `.npy`."""
    # Not np.save, whose error on a full disk does not say that it is full.
    write_blocks(path, [array], shape=array.shape, dtype=array.dtype)


def write_blocks(
    path: Path, blocks: Iterable[np.ndarray], *, shape: tuple[int, ...], dtype: Any
) -> None:
    """Writes `blocks`, one after another along the first axis, as one `.npy` array.

    Memory holds one block at a time, and the bytes are those that `np.save` writes.
    """
    kind = np.dtype(dtype)
    rows = 0
    with replacing(path) as part, part.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
        for block in blocks:
            if block.dtype != kind or block.shape[1:] != shape[1:]:
                raise ValueError(f"a block of {block.dtype} {block.shape} in {kind} {shape}")
            rows += len(block)
            file.write(np.ascontiguousarray(block).data)
        if rows != shape[0]:
            raise ValueError(f"{rows} rows for an array of shape {shape}")


def read_array(path: Path) -> np.ndarray:
    """Returns the array in the `.npy` file `path`, memory-mapped and read-only."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError) as error:
        raise UserError(f"{path}: {_reason(error)}; `dvc repro` makes it again") from error


def read_part(folder: Path, name: str) -> Part:
    """Returns the images and labels of the part `name` ("train", "valid" or "test") in `folder`."""
    return Part(*(read_array(folder / f"{name}_{kind}.npy") for kind in ("images", "labels")))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes `value` as indented JSON, keys in their order, NaN refused."""
    with replacing(path) as part:
        text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Returns what the JSON file `path` holds."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{path}: {_reason(error)}; `dvc repro` makes it again") from error


def write_table(
    path: Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str] = ()
) -> None:
    """Writes `rows` as CSV with the first row's keys as header, or `columns` where given."""
    left = iter(rows)
    first = list(itertools.islice(left, 1))
    names = list(columns or first[0])
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        # Python quotes what holds a character that ends rows, before 3.13 no other. File names may
        # hold "\r", which readers take for an end.
        lines = types.SimpleNamespace(write=lambda row: file.write(row[:-2] + "\n"))
        writer = csv.DictWriter(lines, fieldnames=names, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(itertools.chain(first, left))


def read_table(path: Path) -> list[dict[str, str]]:
    """Returns the rows of the CSV file `path` as text by column."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise UserError(f"{path}: {_reason(error)}; `dvc repro` makes it again") from error


def write_history(path: Path, history: Iterable[Mapping[str, float]]) -> None:
    """Writes a training history, a row per epoch: epoch, loss, accuracy, val_loss, val_accuracy.

    What some rows alone have is a column that the others leave empty.
    """
    rows = list(history)
    # A network from elsewhere has no history: the header alone.
    columns = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
    write_table(path, rows, columns=tuple(dict.fromkeys(itertools.chain(*rows))) or columns)


def read_history(path: Path) -> list[dict[str, float]]:
    """Returns the rows of a training history with `epoch` as int and the rest as float.

    A row lacks what it leaves empty.
    """
    return [
        {key: int(text) if key == "epoch" else float(text) for key, text in row.items() if text}
        for row in read_table(path)
    ]


def write_model(path: Path, model: Any) -> None:
    """Writes a Keras model as `.keras` such that equal weights and layers give equal bytes.

    Keras puts dates into the zip, `date_saved` into metadata.json and Python's `id()` as
    `shared_object_id` into config.json: all three are replaced by fixed values.
    """
    suffix, prefix = ".part", f".{os.getpid()}-"
    # Made after `replacing` has made the folder that both lie in.
    with (
        replacing(path) as part,
        tempfile.TemporaryDirectory(suffix, prefix, path.parent) as folder,
    ):
        saved = Path(folder) / path.name
        model.save(saved)
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(part, "w") as new:
            for name in sorted(old.namelist()):
                member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                member.external_attr = 0o644 << 16
                new.writestr(member, _without_chance(name, old.read(name)))


def _without_chance(name: str, content: bytes) -> bytes:
    if name not in ("metadata.json", "config.json"):
        return content
    ids: dict[int, int] = {}

    def clean(node: Any) -> Any:
        if isinstance(node, list):
            return [clean(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {
            key: ids.setdefault(value, len(ids)) if key == "shared_object_id" else clean(value)
            for key, value in node.items()
            if key != "date_saved"
        }

    return json.dumps(clean(json.loads(content))).encode()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested sections as keys joined by dots; an empty section stays as {}."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flattened |= flat(value, f"{prefix}{key}.")
        else:
            flattened[f"{prefix}{key}"] = value
    return flattened


def md5(path: Path) -> str:
    """Returns the MD5 of a file's bytes in hex, the hash by which DVC knows it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    return "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
