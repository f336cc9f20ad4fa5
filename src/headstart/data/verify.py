"""What arrives is what was published: bytes unpacked, counted and hashed on the way in."""

import errno
import gzip
import hashlib
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, cast

from headstart.data.catalogue import PublishedFile

_CHUNK = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


class FileRefused(Exception):
    """This file cannot be had from this source."""


class SourceRefused(Exception):
    """Nothing can be had from this source."""


# Writes the verified bytes of a published file to a path, or raises one of the two above.
Fetch = Callable[[PublishedFile, Path], None]


def say(message: str) -> None:
    """Tells a line on standard error at once."""
    print(message, file=sys.stderr, flush=True)


def copied(candidates: Iterable[Path], file: PublishedFile, to: Path) -> None:
    """Writes to `to` what the first good one of `candidates` holds."""
    refused = []
    for candidate in candidates:
        try:
            if candidate.is_file():
                unpack(candidate, file, to)
                return
        except (FileRefused, PermissionError) as error:
            reason = error.strerror if isinstance(error, PermissionError) else error
            refused.append(f"{candidate.name} {reason}" if candidate.suffix else str(reason))
    raise FileRefused("; ".join(refused) or "not there, neither as it is nor as .gz")


def verified(path: Path, file: PublishedFile) -> bool:
    """Tells whether `path` holds the published bytes; what has no known sum, it does not."""
    if not path.is_file() or file.bytes not in (None, path.stat().st_size):
        return False
    sums = {algorithm: _sum(path, algorithm) for algorithm in file.sums}
    return bool(sums) and sums == file.sums


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes in hex."""
    return _sum(path, "sha256")


def _sum(path: Path, algorithm: str) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, lambda: _digest(algorithm)).hexdigest()


def _digest(algorithm: str) -> "hashlib._Hash":
    # MD5 guards against accidents; whoever publishes it alone gives nothing better.
    return hashlib.new(algorithm, usedforsecurity=False)


def unpack(packed: Path, file: PublishedFile, to: Path) -> None:
    """Writes the decompressed bytes of `packed` to `to`, verified, and never more than published.

    Whether they are compressed is seen from the bytes: some servers decompress on the way.
    """
    total = 0
    digests = {algorithm: _digest(algorithm) for algorithm in file.sums}
    with packed.open("rb") as raw, to.open("wb") as out:
        is_gzip = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        content = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_gzip else raw
        while chunk := _read(content, min(_CHUNK, file.limit + 1 - total)):
            total += len(chunk)
            if total > file.limit:
                published = "published" if file.bytes else "possible"
                raise FileRefused(f"holds more than the {published} {file.limit} bytes")
            for digest in digests.values():
                digest.update(chunk)
            out.write(chunk)
    if file.bytes not in (None, total):
        raise FileRefused(f"holds {total} bytes instead of {file.bytes}")
    for algorithm, digest in digests.items():
        if (has := digest.hexdigest()) != (known := file.sums[algorithm]):
            name = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
            raise FileRefused(f"has {name} {has[:16]}... instead of the published {known[:16]}...")


def _read(content: IO[bytes], count: int) -> bytes:
    try:
        return content.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileRefused(f"is damaged ({error})") from None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise FileRefused(f"cannot be read ({error.strerror})") from None
