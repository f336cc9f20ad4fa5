"""Where published files come from, and how they are verified on the way in."""

import contextlib
import dataclasses
import errno
import gzip
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from urllib.parse import urljoin, urlsplit, urlunsplit

from headstart.artefacts import replacing, write_json
from headstart.catalogue import DATASETS, Dataset, PublishedFile
from headstart.errors import UserError

TIMEOUT = 10.0
"""Seconds that a server may take to accept a connection, and between two packets."""

# Pauses before the second, third and fourth attempt after a 5xx or a broken connection.
_BACKOFF_SECONDS = (0.25, 0.5, 1.0)
# A server that sends less than this within two timeouts only keeps us waiting.
_LEAST_BYTES = 128 * 1024
_WEB_CHUNK = 16 * 1024
_CHUNK = 1024 * 1024
# apt-get's own timeout holds for one connection; this many of them bound one command.
_APT_TIMEOUTS = 30
_GZIP_MAGIC = b"\x1f\x8b"
# What a server may answer for a file that it has not; S3 says 403 for it.
_NOT_THERE = (403, 404, 410)


@dataclass(frozen=True)
class Arrival:
    """One verified file: its name, its size in bytes and its source, None if it was there already.

    Credentials in the source are masked.
    """

    name: str
    bytes: int
    source: str | None


class _FileRefused(Exception):
    """This file cannot be had from this source."""


class _SourceRefused(Exception):
    """Nothing can be had from this source."""


# Writes the verified bytes of a published file to a path, or raises one of the two above.
_Fetch = Callable[[PublishedFile, Path], None]


def masked(text: str) -> str:
    """Returns `text` with the credentials and queries of the URLs in it replaced by `***`."""
    # The second form is a password with an unescaped slash, which no URL parser would find.
    text = re.sub(r"://(?:[^\s/?#]*|[^\s/:@]+:(?!\d+/)[^\s@]*)@", "://***@", text)
    return re.sub(r"(://[^\s?#]*)\?[^\s#]+", r"\1?***", text)


def download(
    dataset: Dataset,
    sources: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str],
    timeout: float | None = None,
    trusted: Path | None = None,
) -> list[Arrival]:
    """Puts the published files of `dataset`, decompressed and verified, into `folder`.

    Args:
      dataset: what to get.
      sources: tried in order, each a folder, `http(s)://BASE/` or `apt:PACKAGE`.
      folder: where the files go. Files that are there and verify are kept as they are.
      environment: `HEADSTART_MIRROR`, a source, is tried before all others;
        `HEADSTART_TIMEOUT` is the timeout in seconds where `timeout` is None.
      timeout: seconds for a connection and between two packets.
      trusted: the lock file with sums of files that nobody could verify beforehand. What first
        comes over https is written there, and enforced from then on.

    Returns:
      One `Arrival` per file in the order of `dataset.files`.

    Raises:
      UserError: when a file can be had from no source; it names each source with its reason.
        What did arrive stays, so that the next try goes on from there.
    """
    files = _with_trusted_sums(dataset, trusted)
    dataset = dataclasses.replace(dataset, files=files)
    seconds = _timeout(environment) if timeout is None else timeout
    mirror = environment.get("HEADSTART_MIRROR", "").strip()
    sources = [*([mirror] if mirror else []), *sources]
    _tidied(folder)
    arrivals = {
        file.name: Arrival(file.name, file.bytes, None)
        for file in dataset.files
        if file.sha256 is not None and _fault(folder / file.name, file) is None
    }
    failures: list[str] = []
    for source in sources:
        missing = [file for file in dataset.files if file.name not in arrivals]
        if not missing:
            break
        if failures:  # and the newest not told yet: only a source that failed has a next
            _say(f"warning: {failures[-1]}; trying the next source")
        refused: dict[str, list[str]] = {}
        try:
            with _opened(source, timeout=seconds) as fetch:
                for file in missing:
                    try:
                        if file.sha256 is None:
                            _refuse_unverifiable(source)
                        with replacing(folder / file.name) as part:
                            fetch(file, part)
                            if file.sha256 is None:
                                _trust(dataset, file, part, trusted)
                    except _FileRefused as error:
                        refused.setdefault(str(error), []).append(file.name)
                    else:
                        arrivals[file.name] = Arrival(file.name, file.bytes, masked(source))
        except _SourceRefused as error:
            refused.setdefault(str(error), [])
        if refused:
            reasons = [": ".join(filter(None, [", ".join(n), r])) for r, n in refused.items()]
            failures.append(f"{masked(source)}: {masked('; '.join(reasons))}")
    missing = [file for file in dataset.files if file.name not in arrivals]
    if missing:
        raise UserError(_nowhere(dataset, missing, failures))
    return [arrivals[file.name] for file in dataset.files]


def _with_trusted_sums(
    dataset: Dataset, lock: Path | None
) -> tuple[PublishedFile, PublishedFile, PublishedFile, PublishedFile]:
    """Returns the dataset's files with the sums that the lock file holds for unknown ones."""
    known = _locked(lock).get(dataset.name, {})
    train_images, train_labels, test_images, test_labels = (
        file if file.sha256 is not None else dataclasses.replace(file, sha256=known.get(file.name))
        for file in dataset.files
    )
    return train_images, train_labels, test_images, test_labels


def _locked(lock: Path | None) -> dict[str, dict[str, str]]:
    if lock is None or not lock.exists():
        return {}
    advice = "restore it from git (git checkout) or delete it to trust the next download anew"
    try:
        found = json.loads(lock.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{lock}: is not JSON ({error}); {advice}") from error
    sums = [
        value
        for files in (found.values() if isinstance(found, dict) else [None])
        for value in (files.values() if isinstance(files, dict) else [None])
    ]
    if not all(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) for value in sums):
        raise UserError(
            f"{lock}: holds other things than SHA-256 sums by dataset and file; {advice}"
        )
    return cast(dict[str, dict[str, str]], found)


def _refuse_unverifiable(source: str) -> None:
    if not source.startswith("https://"):
        raise _SourceRefused(
            "no checksum of these files is known, so that they are trusted on first use, over "
            "https:// only"
        )


def _trust(dataset: Dataset, file: PublishedFile, part: Path, lock: Path | None) -> None:
    """Writes the sum of a file that came over https into the lock file."""
    with part.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    for other in DATASETS.values():
        if other.name != dataset.name and found in {known.sha256 for known in other.files}:
            raise _FileRefused(
                f"holds the file of {other.name}; set dataset.sources in params.yaml to published"
            )
    if lock is None:
        return
    sums = _locked(lock)
    sums.setdefault(dataset.name, {})[file.name] = found
    write_json(lock, {name: dict(sorted(files.items())) for name, files in sorted(sums.items())})
    _say(f"{file.name}: trusted on first use (SHA-256 {found[:16]}...), see {lock}: commit it")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _timeout(environment: Mapping[str, str]) -> float:
    text = environment.get("HEADSTART_TIMEOUT", "").strip()
    if not text:
        return TIMEOUT
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 < seconds <= 3600:
            return seconds
    raise UserError(
        f"HEADSTART_TIMEOUT={text}: a number of seconds above 0 and up to 3600 is expected"
    )


def _tidied(folder: Path) -> None:
    """Makes `folder`, without what a killed run left half-written: DVC would take it as data."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{folder}: something that is not a folder stands in the way; move it and run again"
        ) from error
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _nowhere(dataset: Dataset, missing: Iterable[PublishedFile], failures: Iterable[str]) -> str:
    names = ", ".join(file.name for file in missing)
    advice = (
        f"Put the {len(dataset.files)} published files (NAME or NAME.gz) into a folder and set "
        "HEADSTART_MIRROR=FOLDER, or add a source to dataset.sources in params.yaml."
    )
    return "\n".join(
        [
            f"dataset {dataset.name}: no source has {names}",
            *(f"  {failure}" for failure in failures),
            advice,
        ]
    )


def _opened(source: str, *, timeout: float) -> contextlib.AbstractContextManager[_Fetch]:
    kind, colon, rest = source.partition(":")
    if source.startswith(("http://", "https://")):
        return _web(source, timeout=timeout)
    if kind == "apt" and colon:
        return _apt(rest, timeout=timeout)
    return _folder(source)


# A folder


@contextlib.contextmanager
def _folder(source: str) -> Iterator[_Fetch]:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        raise _SourceRefused("a source is a folder, http(s)://BASE/ or apt:PACKAGE")
    try:
        root = Path(source).expanduser()
        there = root.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # no HOME, a NUL in the name, no access
        raise _SourceRefused(str(error)) from None
    if not there:
        raise _SourceRefused("there is no such folder")
    yield lambda file, to: _copied([root / file.name, root / f"{file.name}.gz"], file, to)


def _copied(candidates: Iterable[Path], file: PublishedFile, to: Path) -> None:
    """Writes to `to` what the first good one of `candidates` holds."""
    refused = []
    for candidate in candidates:
        try:
            if candidate.is_file():
                _unpack(candidate, file, to)
                return
        except (_FileRefused, PermissionError) as error:
            reason = error.strerror if isinstance(error, PermissionError) else error
            refused.append(f"{candidate.name} {reason}" if candidate.suffix else str(reason))
    raise _FileRefused("; ".join(refused) or "not there, neither as it is nor as .gz")


# The web


@contextlib.contextmanager
def _web(base: str, *, timeout: float) -> Iterator[_Fetch]:
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        packed = Path(folder, "packed")

        def fetch(file: PublishedFile, to: Path) -> None:
            url = _address(base, f"{file.name}.gz")
            if not _fetched(url, packed, file, timeout=timeout):
                url = _address(base, file.name)
                if not _fetched(url, packed, file, timeout=timeout):
                    raise _FileRefused("the server has it neither as .gz nor as it is (404)")
            _unpack(packed, file, to)

        yield fetch


def _address(base: str, name: str) -> str:
    try:
        parts = urlsplit(base)
    except ValueError as error:
        raise _SourceRefused(f"not a web address ({error})") from None
    # A query may carry a token: it stays behind the name.
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment=""))


def _fetched(url: str, to: Path, file: PublishedFile, *, timeout: float) -> bool:
    """Writes what `url` sends to `to`; returns False when the server has no such file."""
    _say(f"fetching {masked(url)}")
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
                raise _SourceRefused(answer.reason) from None
            if pause is None:
                attempts = len(_BACKOFF_SECONDS) + 1
                raise _SourceRefused(f"{answer.reason}, {attempts} times") from None
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
            raise _SourceRefused("given up")
        self.count += len(chunk)
        if self.count > self._limit:
            raise _FileRefused(f"the server sends more than {self._limit} bytes")
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
            raise _SourceRefused("sends on to an address without https, which cannot be trusted")

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


# A Debian or Ubuntu package


@contextlib.contextmanager
def _apt(package: str, *, timeout: float) -> Iterator[_Fetch]:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
        raise _SourceRefused("apt: is followed by the name of a Debian or Ubuntu package")
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise _SourceRefused(f"{tool} is not installed here (Debian and Ubuntu have it)")
    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        work = Path(name)
        archive = _package(package, work, timeout=timeout)
        content = work / "content"
        unpacked = _ran(["dpkg-deb", "-x", str(archive), str(content)], work, timeout=timeout)
        if unpacked.returncode:
            raise _SourceRefused(f"dpkg-deb: {_apt_reason(unpacked)}")

        def fetch(file: PublishedFile, to: Path) -> None:
            names = (file.name, f"{file.name}.gz")
            found = (path for name in names for path in sorted(content.rglob(name)))
            # A link in a package may lead out of it.
            _copied([path for path in found if not path.is_symlink()], file, to)

        yield fetch


def _package(package: str, work: Path, *, timeout: float) -> Path:
    """Downloads the package into `work`, first by the system's lists, then by lists of our own."""
    cache, state = work / "cache", work / "state"
    for folder in (cache / "archives" / "partial", state / "lists" / "partial"):
        folder.mkdir(parents=True)
    # A file, since #clear has no form on the command line: the system's hooks after an update
    # are about the system's lists. No folder of the system is written to, so root is not needed.
    common = (
        f'Dir::Cache "{cache}";\n'
        f'Acquire::http::Timeout "{math.ceil(timeout)}";\n'
        f'Acquire::https::Timeout "{math.ceil(timeout)}";\n'
        'Acquire::Retries "2";\n'
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n"
    )
    system, own = work / "system.conf", work / "own.conf"
    system.write_text(common)
    own.write_text(f'{common}Dir::State "{state}";\nDir::State::Lists "{state / "lists"}";\n')
    _say(f"fetching the package {package}")
    get = ["download", package]
    got = _ran(["apt-get", "-q", "-c", str(system), *get], work, timeout=timeout)
    if got.returncode:
        updated = _ran(["apt-get", "-q", "-c", str(own), "update"], work, timeout=timeout)
        got = _ran(["apt-get", "-q", "-c", str(own), *get], work, timeout=timeout)
        if got.returncode:
            reasons = [_apt_reason(got), *_apt_lines(updated, "Failed to fetch")[:1]]
            raise _SourceRefused(f"apt-get: {'; '.join(reasons)}")
    archives = sorted(work.glob("*.deb"))
    if not archives:
        raise _SourceRefused("apt-get left no package")
    return archives[0]


def _ran(
    command: Sequence[str], folder: Path, *, timeout: float
) -> subprocess.CompletedProcess[str]:
    seconds = _APT_TIMEOUTS * timeout
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _SourceRefused(f"{command[0]} did not end within {seconds:g} s") from None


def _apt_reason(result: subprocess.CompletedProcess[str]) -> str:
    lines = _apt_lines(result, "E: ") or result.stderr.strip().splitlines()[-1:]
    return "; ".join(lines) or f"exit status {result.returncode}"


def _apt_lines(result: subprocess.CompletedProcess[str], mark: str) -> list[str]:
    lines = f"{result.stdout}\n{result.stderr}".splitlines()
    return [line.removeprefix("E: ").removeprefix("W: ") for line in lines if mark in line]


# Verifying


def _fault(path: Path, file: PublishedFile) -> str | None:
    """Returns why `path` does not hold the published bytes, or None if it does."""
    if not path.is_file():
        return "is not there"
    size = path.stat().st_size
    if size != file.bytes:
        return f"holds {size} bytes instead of {file.bytes}"
    with path.open("rb") as content:
        return _sum_fault(hashlib.file_digest(content, "sha256").hexdigest(), file)


def _sum_fault(found: str, file: PublishedFile) -> str | None:
    if file.sha256 is None or found == file.sha256:
        return None
    return f"has SHA-256 {found[:16]}... instead of the published {file.sha256[:16]}..."


def _unpack(packed: Path, file: PublishedFile, to: Path) -> None:
    """Writes the decompressed bytes of `packed` to `to`, verified.

    Whether they are compressed is seen from the bytes: some servers decompress on the way.
    No more than the published size is ever inflated, whatever the archive claims.
    """
    total = 0
    digest = hashlib.sha256()
    with packed.open("rb") as raw, to.open("wb") as out:
        is_gzip = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        content = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_gzip else raw
        while chunk := _read(content, min(_CHUNK, file.bytes + 1 - total)):
            total += len(chunk)
            if total > file.bytes:
                raise _FileRefused(f"holds more than the published {file.bytes} bytes")
            digest.update(chunk)
            out.write(chunk)
    if total != file.bytes:
        raise _FileRefused(f"holds {total} bytes instead of {file.bytes}")
    fault = _sum_fault(digest.hexdigest(), file)
    if fault:
        raise _FileRefused(fault)


def _read(content: IO[bytes], count: int) -> bytes:
    try:
        return content.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _FileRefused(f"is damaged ({error})") from None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise _FileRefused(f"cannot be read ({error.strerror})") from None
