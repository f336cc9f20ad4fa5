"""Feeds spoiled files to every reader of raw data: the right kind of array, or a clean refusal.

    python scripts/fuzz.py [--inputs 10000] [--seed 7] [--write]

Shows for each reader: inputs tried, refused, read, the slowest, and the most memory that Python
held; --write puts that into docs/reliability.md. Ends with status 1 and the input on disk if a
reader raises anything but UserError, takes more than five seconds, or more than 256 MB.
"""

import io
import random
import struct
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.core.errors import UserError
from headstart.data import idx, images, own, raw_data

_PIXELS = np.random.default_rng(1).integers(0, 256, (6, 9, 7), dtype=np.uint8)
_LABELS = np.arange(6) % 3
_SLOWEST_SECONDS = 5.0
_MOST_BYTES = 256 * 2**20


def idx_bytes() -> bytes:
    return struct.pack(">HBB3I", 0, 8, 3, *_PIXELS.shape) + _PIXELS.tobytes()


def image(kind: str, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.fromarray(_PIXELS[0]).convert(mode).save(file, format=kind)
    return file.getvalue()


def npz(*, packed: bool) -> bytes:
    file = io.BytesIO()
    names = np.array(["ant", "bee", "cat"])
    save = np.savez_compressed if packed else np.savez
    save(file, images=_PIXELS, labels=_LABELS, classes=names)
    return file.getvalue()


def read_image(path: Path) -> None:
    pixels = images.read(path, shape=(9, 7))
    if pixels.shape != (9, 7) or pixels.dtype != np.uint8:
        raise AssertionError(f"an image became {pixels.dtype} {pixels.shape}")


def read_npz(path: Path) -> None:
    own.write(path, path.parent / "raw", classes="auto", image_size="auto")
    part = raw_data.read("own", path.parent / "raw", classes="auto").parts["all"]
    if len(part.images) != len(part.labels):
        raise AssertionError("not as many labels as images")


def read_idx(path: Path) -> None:
    if idx.read_idx(path).dtype != np.uint8:
        raise AssertionError("an IDX file became something else than uint8")


READERS: dict[str, tuple[str, Callable[[Path], None], list[bytes]]] = {
    "IDX": ("raw-idx", read_idx, [idx_bytes()]),
    "npz": ("own.npz", read_npz, [npz(packed=False), npz(packed=True)]),
    "PNG": ("a.png", read_image, [image("PNG"), image("PNG", "P"), image("PNG", "RGBA")]),
    "JPEG": ("a.jpg", read_image, [image("JPEG"), image("JPEG", "CMYK")]),
}


def spoiled(good: bytes, chance: random.Random) -> bytes:
    """Returns `good` with one to eight spots changed, cut out or put in."""
    content = bytearray(good)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(content) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(content):
            content[at] = chance.randrange(256)
        elif kind == 1 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del content[at : at + chance.randint(1, 60)]
        elif kind == 3:
            content[at:at] = chance.randbytes(chance.randint(1, 30))
        elif kind == 4:
            content[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        elif chance.random() < 0.2:
            del content[at:]
    return bytes(content)


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    # In memory where there is such a place: each input is written and synced.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    readers = {}
    for reader in READERS:
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            readers[reader] = fed(reader, Path(folder), inputs=asked.inputs, seed=asked.seed)
        print(reader, readers[reader], flush=True)
    measured = {"seed": asked.seed, "readers": readers}
    sittings.finish("fuzz", measured, parts, write=asked.write, packages=("numpy", "pillow"))


def fed(reader: str, folder: Path, *, inputs: int, seed: int) -> dict[str, float]:
    """Feeds a reader; returns inputs, the refused ones, most seconds and megabytes."""
    name, read, goods = READERS[reader]
    chance = random.Random(f"{seed} {reader}")  # noqa: S311 (repeatable, no secret)
    path = folder / name
    refused, slowest, most = 0, 0.0, 0
    for number in range(inputs):
        path.write_bytes(spoiled(chance.choice(goods), chance))
        watched = number % 20 == 0  # Watching memory makes it ten times slower.
        if watched:
            tracemalloc.start()
        start = time.perf_counter()
        try:
            read(path)
        except UserError:
            refused += 1
        except BaseException:
            kept = Path(f"fuzz-{reader}-{number}")
            kept.write_bytes(path.read_bytes())
            print(f"{reader}: input {number}, kept as {kept}, was not refused cleanly")
            raise
        slowest = max(slowest, time.perf_counter() - start)
        if watched:
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        if slowest > _SLOWEST_SECONDS or most > _MOST_BYTES:
            raise SystemExit(f"{reader}: input {number}: {slowest:.1f} s, {most} bytes")
    return {
        "inputs": inputs,
        "refused": refused,
        "seconds": round(slowest, 4),
        "megabytes": round(most / 1e6, 2),
    }


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    readers = sitting.measured["readers"]
    rows = [
        (
            reader,
            f"{own['inputs']:,}",
            f"{own['refused']:,}",
            f"{own['inputs'] - own['refused']:,}",
            f"{1000 * own['seconds']:.1f} ms",
            f"{own['megabytes']:.2f} MB",
        )
        for reader, own in readers.items()
    ]
    inputs = sum(own["inputs"] for own in readers.values())
    head = ["reader", "inputs", "refused", "read", "slowest", "most memory held by Python"]
    return {
        "fuzz": f"{sitting.opening}. Seed {sitting.measured['seed']}, {inputs:,} inputs, all "
        f"refused cleanly or read as they are, no crash, no hang:\n\n{sittings.table(head, rows)}"
    }


if __name__ == "__main__":
    main()
