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
                raise FileRefused("the server has it neither as .gz nor as it is (404)")
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
    for pause in (*_BACKOFF_SECONDS, None):
        try:
            with to.open("wb") as out:
                _request(
                    url,
                    _Sink(out, limit=_most_packed(file)),
                    timeout=timeout,
                    https_only=file.sha256 is None,
                )
        except _Web as answer:
            if answer.status in _NOT_THERE:
                return False
            if not answer.passing:
                raise SourceRefused(answer.reason) from None
            if pause is None:
                attempts = len(_BACKOFF_SECONDS) + 1
                raise SourceRefused(f"{answer.reason}, {attempts} times") from None
            time.sleep(pause)
        else:
            return True
    raise AssertionError("the last attempt returns or raises")


def _most_packed(file: PublishedFile) -> int:
    """Returns the bytes that an honest server sends at most: gzip hardly ever lengthens."""
    return file.bytes + file.bytes // 64 + 64 * 1024


class _Web(Exception):
    """A request that failed: why, whether it may pass, and the HTTP status if there was one."""

    def __init__(self, reason: str, *, passing: bool, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        self.status = status


class _Sink:
    """The file that pooch writes to: counts, refuses what is too long, and can be shut."""

    def __init__(self, file: BinaryIO, *, limit: int) -> None:
        self.count = 0
        self.shut = False
        self._file = file
        self._limit = limit

    def write(self, chunk: bytes) -> None:
        if self.shut:
            raise SourceRefused("given up")
        self.count += len(chunk)
        if self.count > self._limit:
            raise FileRefused(f"the server sends more than {self._limit} bytes")
        self._file.write(chunk)

    def flush(self) -> None:
        """Pooch flushes after each chunk; once, on closing, is enough."""


def _request(url: str, sink: _Sink, *, timeout: float, https_only: bool) -> None:
    """Sends what one GET of `url` answers to `sink`, giving up on a server that only drips.

    The timeouts of requests start anew with each packet, so a byte a second would hold us for
    weeks: the request has a thread of its own, and this one watches what comes.
    """
    import pooch

    responses: list[Any] = []

    def arrived(response: Any, **_: Any) -> None:
        responses.append(response)
        onward = urljoin(response.url, response.headers.get("location", ""))
        if https_only and not onward.startswith("https://"):
            raise SourceRefused("sends on to an address without https, which cannot be trusted")

    fetch = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=_WEB_CHUNK,
        timeout=timeout,
        headers={"Accept-Encoding": "identity"},
        hooks={"response": arrived},
    )
    failure: list[Exception] = []

    def work() -> None:
        try:
            fetch(url, sink, None)
        except Exception as error:
            failure.append(error)
        finally:
            for response in responses:  # pooch leaves them open
                response.close()

    worker = threading.Thread(target=work, name="download", daemon=True)
    worker.start()
    try:
        seen = 0
        window = 2 * timeout
        while True:
            worker.join(window)
            if not worker.is_alive():
                break
            if sink.count - seen < _LEAST_BYTES:
                raise _Web(
                    f"too slow: {sink.count - seen} bytes within {window:g} s", passing=False
                )
            seen = sink.count
    finally:
        sink.shut = True
    if failure:
        raise _why(failure[0], timeout=timeout) from None


def _why(error: Exception, *, timeout: float) -> Exception:
    """Returns what to raise for an exception of requests, in words that hold no address."""
    import requests
    import urllib3

    ours_to_tell = (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)
    if not isinstance(error, ours_to_tell):
        return error  # one of this module, or a full disk
    response = getattr(error, "response", None)
    if response is not None:
        status = int(response.status_code)
        passing = status >= 500 or status == 429
        return _Web(f"{status} {response.reason}".strip(), passing=passing, status=status)
    via = "the proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
    causes = list(_causes(error))
    if any(isinstance(cause, requests.Timeout | TimeoutError) for cause in causes):
        return _Web(f"{via}no answer within {timeout:g} s", passing=False)
    for cause in causes:
        if isinstance(cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
            return _Web(f"{via}the connection was reset", passing=True)
        # The text of an exception of requests holds the address with all that is in it.
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return _Web(f"{via}{cause.strerror or cause}", passing=False)
    if isinstance(error, ValueError):
        return _Web(f"not a web address ({type(error).__name__})", passing=False)
    broken = (requests.exceptions.ChunkedEncodingError, requests.ConnectionError)
    if isinstance(error, broken) and not via:
        return _Web("the connection ended before the whole file had come", passing=True)
    return _Web(f"{via}{type(error).__name__}", passing=False)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields `error` and all that it wraps, by whichever way requests and urllib3 wrap it."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
            waiting += cause.args
