"""Images of one's own as people have them, for tests to write, spoil and read."""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, pixels: np.ndarray) -> Path:
    """Writes pixels (height, width[, 3]) uint8 as PNG or JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def blobs(
    folder: Path,
    classes: Iterable[str],
    *,
    each: int = 12,
    size: tuple[int, ...] = (12, 12),
    seed: int = 0,
) -> Path:
    """Writes photos that can be told apart: a bright square whose place is the class's own."""
    random = np.random.default_rng(seed)
    for number, name in enumerate(classes):
        for index in range(each):
            pixels = random.integers(0, 60, size, dtype=np.uint8)
            row, column = divmod(number, 3)
            side = max(size[0] // 4, 1)
            pixels[row * side : (row + 1) * side, column * side : (column + 1) * side] += 180
            save(folder / name / f"{name[:20]} {index:03}.png", pixels)
    return folder


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises `width` x `height` grey pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
