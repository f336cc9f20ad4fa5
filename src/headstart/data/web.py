"""Published files over http and https."""

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import tqdm
import urllib3

from headstart.core.masking import masked
from headstart.data.catalogue import PublishedFile
from headstart.data.verify import Fetch, FileRefused, SourceRefused, say, unpack

TIMEOUT = 10.0
"""Seconds that a server may take to accept a connection, and between two packets."""

# Pauses before the second, third and fourth attempt after a 5xx or a broken connection.
_BACKOFF_SECONDS = (0.25, 0.5, 1.0)
# A server that sends less than this within two timeouts only keeps us waiting.
_LEAST_BYTES = 128 * 1024
_WEB_CHUNK = 16 * 1024
# What a server may answer for a file that it has not; S3 says 403 for it.
_NOT_THERE = (403, 404, 410)


@contextlib.contextmanager
def web(base: str, *, timeout: float) -> Iterator[Fetch]:
    """Yields what fetches published files below the address `base`."""
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        packed = Path(folder, "packed")

        def fetch(file: PublishedFile, to: Path) -> None:
            names = (f"{file.name}.gz", file.name)
            if not any(_fetched(_address(base, n), packed, file, timeout=timeout) for n in names):
                raise FileRefused(
                    "the server has it neither as .gz nor as it is (404, or 403 or 410)"
                )
            unpack(packed, file, to)

        yield fetch


def _address(base: str, name: str) -> str:
    try:
        parts = urlsplit(base)
    except ValueError:  # whose text may hold user and password
        raise SourceRefused("not a web address") from None
    # A query may carry a token: it stays behind the name.
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment=""))


def _fetched(url: str, to: Path, file: PublishedFile, *, timeout: float) -> bool:
    """Writes what `url` sends to `to`; returns False when the server has no such file."""
    say(f"fetching {masked(url)}")
    to.unlink(missing_ok=True)
    for pause in (*_BACKOFF_SECONDS, None):
        had = _size(to)
        try:
            _request(url, to, file, timeout=timeout)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            response = getattr(error, "response", None)
            if response is not None and response.status_code in _NOT_THERE:
                return False
            reason, passing = _reason(error, timeout=timeout)
            # A server that sent something and fell silent may go on; one that sent nothing is dead.
            stalled = _is_timeout(error) and _size(to) > had
            if not passing and not stalled:
                raise SourceRefused(reason) from None
            if pause is None:
                raise SourceRefused(f"{reason}, {len(_BACKOFF_SECONDS) + 1} times") from None
            time.sleep(pause)
        else:
            return True
    raise AssertionError("the last attempt returns or raises")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _request(url: str, to: Path, file: PublishedFile, *, timeout: float) -> None:
    """Adds to `to` what of `url` it lacks, by one GET, giving up on a server that only drips.

    The timeouts of requests start anew with each packet, so a byte a second would hold us for
    weeks: the request has a thread of its own, and this one watches what comes.
    """
    failures: list[Exception] = []
    window = 2 * timeout
    # Closed when this gives up, which ends the other thread at its next write.
    with to.open("ab") as out:

        def work() -> None:
            try:
                _receive(url, out, file, timeout=timeout)
            except Exception as error:
                failures.append(error)

        worker = threading.Thread(target=work, name="download", daemon=True)
        worker.start()
        worker.join(window)
        seen = 0
        while worker.is_alive():
            came = out.tell() - seen
            if came < _LEAST_BYTES:
                raise SourceRefused(f"too slow: {came} bytes within {window:g} s")
            seen += came
            worker.join(window)
    if failures:
        raise failures[0]


def _receive(url: str, out: BinaryIO, file: PublishedFile, *, timeout: float) -> None:
    def arrived(response: requests.Response, **_: Any) -> None:
        onward = urljoin(response.url, response.headers.get("location", ""))
        if not file.sums and not onward.startswith("https://"):
            response.close()
            raise SourceRefused("sends on to an address without https, which cannot be trusted")

    # What an honest server sends at most: gzip hardly ever lengthens.
    most = file.limit + file.limit // 64 + 64 * 1024
    begun = out.tell()
    headers = {"Accept-Encoding": "identity"}
    if begun:  # a connection broke
        headers["Range"] = f"bytes={begun}-"
    asked = requests.get(
        url, stream=True, timeout=timeout, headers=headers, hooks={"response": arrived}
    )
    with asked as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial:
            begun = out.seek(0)
            out.truncate()
        left = int(response.headers.get("content-length", 0))
        total = begun + left if left else None
        hidden = not sys.stderr.isatty()
        with tqdm.tqdm(
            total=total, initial=begun, unit="B", unit_scale=True, disable=hidden
        ) as progress:
            for chunk in response.iter_content(_WEB_CHUNK):
                if out.tell() + len(chunk) > most:
                    raise FileRefused(f"the server sends more than {most} bytes")
                progress.update(out.write(chunk))


def _reason(error: Exception, *, timeout: float) -> tuple[str, bool]:
    """Returns why a request failed, in words that hold no address, and whether that may pass."""
    response = getattr(error, "response", None)
    if response is not None:
        status = response.status_code
        return f"{status} {response.reason}".strip(), status >= 500 or status == 429
    via = "the proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
    causes = _causes(error)
    if _is_timeout(error):
        return f"{via}no answer within {timeout:g} s", False
    for cause in causes:
        if isinstance(cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
            return f"{via}the connection was reset", True
        # The text of an exception of requests holds the address with all that is in it.
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return f"{via}{cause.strerror or cause}", False
    if isinstance(error, ValueError):
        return f"not a web address ({type(error).__name__})", False
    broken = (requests.exceptions.ChunkedEncodingError, requests.ConnectionError)
    if isinstance(error, broken) and not via:
        return "the connection ended before the whole file had come", True
    return f"{via}{type(error).__name__}", False


def _causes(error: BaseException) -> list[BaseException]:
    causes = [error]
    while deeper := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(deeper)
    return causes


def _is_timeout(error: BaseException) -> bool:
    return any(isinstance(cause, requests.Timeout | TimeoutError) for cause in _causes(error))
