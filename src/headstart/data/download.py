"""Where published files come from, and how they are verified on the way in."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from headstart.core.artefacts import replacing, write_json
from headstart.core.errors import UserError, WrongValue
from headstart.core.masking import masked
from headstart.data.apt import apt
from headstart.data.catalogue import DATASETS, Published, PublishedFile
from headstart.data.verify import Fetch, FileRefused, SourceRefused, copied, say, sha256, verified
from headstart.data.web import TIMEOUT, web

_SUMS = TypeAdapter(
    dict[str, dict[str, Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]]],
    config=ConfigDict(strict=True),
)
_UNTRUSTED = (
    "no checksum of these files is known, so that they are trusted on first use, over https:// only"
)
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Arrival:
    """One verified file: its name, its size in bytes and its source, None if it was there already.

    Credentials in the source are masked.
    """

    name: str
    bytes: int
    source: str | None


def download(
    dataset: Published,
    sources: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str],
    timeout: float | None = None,
    trusted: Path | None = None,
    key: str = "sources",
    advice: str = "",
) -> list[Arrival]:
    """Puts the published files of `dataset`, decompressed and verified, into `folder`.

    Returns one `Arrival` per file, in their order.

    Args:
      sources: tried in order, each a folder, `http(s)://BASE/` or `apt:PACKAGE`.
      folder: where the files go. Files that are there and verify are kept as they are.
      environment: `HEADSTART_MIRROR`, a source, is tried before all others;
        `HEADSTART_TIMEOUT` is the timeout in seconds where `timeout` is None.
      timeout: seconds for a connection and between two packets.
      trusted: the lock file with sums of files that nobody could verify beforehand. What first
        comes over https is written there, and enforced from then on.
      key: the parameter to name where no source has a file, and in `advice` what helps then, if
        not another source.

    Raises:
      WrongValue: when a file can be had from no source; it names each source with its reason.
        What did arrive stays, so that the next try goes on from there.
      UserError: when the lock file, the timeout or `folder` is not as it has to be.
    """
    dataset = _with_trusted_sums(dataset, trusted)
    seconds = _timeout(environment) if timeout is None else timeout
    mirror = environment.get("HEADSTART_MIRROR", "").strip()
    sources = [*([mirror] if mirror else []), *sources]
    _tidied(folder)
    arrivals = {
        file.name: _arrived(folder / file.name, None)
        for file in dataset.files
        if verified(folder / file.name, file)
    }
    failures: list[str] = []
    for source in sources:
        missing = [file for file in dataset.files if file.name not in arrivals]
        if not missing:
            break
        if failures:  # and the newest not told yet: only a source that failed has a next
            say(f"warning: {failures[-1]}; trying the next source")
        refused: dict[str, list[str]] = {}
        try:
            with _opened(source, timeout=seconds) as fetch:
                for file in missing:
                    try:
                        if not file.sums and source.startswith(("http://", "apt:")):
                            raise SourceRefused(_UNTRUSTED)
                        with replacing(folder / file.name) as part:
                            fetch(file, part)
                            if not file.sums:
                                _trust(dataset, file, part, trusted)
                    except FileRefused as error:
                        refused.setdefault(str(error), []).append(file.name)
                    else:
                        arrivals[file.name] = _arrived(folder / file.name, masked(source))
        except SourceRefused as error:
            refused.setdefault(str(error), [])
        if refused:
            reasons = [": ".join(filter(None, [", ".join(n), r])) for r, n in refused.items()]
            failures.append(f"{masked(source)}: {masked('; '.join(reasons))}")
    missing = [file for file in dataset.files if file.name not in arrivals]
    if missing:
        names = ", ".join(file.name for file in missing)
        by_source = "".join(f"  {failure}\n" for failure in failures)
        raise WrongValue(
            key,
            f"no source has {names} of {dataset.name}\n{by_source}"
            + (
                advice
                or f"Put the {len(dataset.files)} published files (NAME or NAME.gz) into a folder "
                "and set HEADSTART_MIRROR=FOLDER, or add another source."
            ),
        )
    return [arrivals[file.name] for file in dataset.files]


def _arrived(path: Path, source: str | None) -> Arrival:
    return Arrival(path.name, path.stat().st_size, source)


def _with_trusted_sums(dataset: Published, lock: Path | None) -> Published:
    """Returns the dataset with the sums that the lock file holds for unknown ones."""
    known = _locked(lock).get(dataset.name, {})
    return dataclasses.replace(
        dataset,
        files=tuple(
            dataclasses.replace(file, sha256=file.sha256 or known.get(file.name))
            for file in dataset.files
        ),
    )


def _locked(lock: Path | None) -> dict[str, dict[str, str]]:
    if lock is None or not lock.exists():
        return {}
    advice = "restore it from git (git checkout) or delete it to trust the next download anew"
    try:
        return _SUMS.validate_json(lock.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{lock}: holds other things than SHA-256 sums by dataset and file; {advice}"
        ) from error


def _trust(dataset: Published, file: PublishedFile, part: Path, lock: Path | None) -> None:
    """Writes the sum of a file that came over https into the lock file."""
    with part.open("rb") as content:
        is_hdf5 = content.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC
    if (file.hdf5 and not is_hdf5) or part.stat().st_size < file.least:
        raise FileRefused(
            "is something else than the file, a web page or a part of it: take another address"
        )
    digest = sha256(part)
    for other in DATASETS.values():
        if other.name != dataset.name and digest in {known.sha256 for known in other.files}:
            raise FileRefused(f"holds the file of {other.name}: take another address")
    if lock is None:
        return
    sums = _locked(lock)
    sums.setdefault(dataset.name, {})[file.name] = digest
    write_json(lock, {name: dict(sorted(files.items())) for name, files in sorted(sums.items())})
    say(f"{file.name}: trusted on first use (SHA-256 {digest[:16]}...), see {lock}: commit it")


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


def _opened(source: str, *, timeout: float) -> contextlib.AbstractContextManager[Fetch]:
    kind, colon, rest = source.partition(":")
    if source.startswith(("http://", "https://")):
        return web(source, timeout=timeout)
    if kind == "apt" and colon:
        return apt(rest, timeout=timeout)
    return _folder(source)


@contextlib.contextmanager
def _folder(source: str) -> Iterator[Fetch]:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        raise SourceRefused("a source is a folder, http(s)://BASE/ or apt:PACKAGE")
    try:
        root = Path(source).expanduser()
        there = root.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # no HOME, a NUL in the name, no access
        raise SourceRefused(str(error)) from None
    if not there:
        raise SourceRefused("there is no such folder")

    def fetch(file: PublishedFile, to: Path) -> None:
        copied([root / file.name, root / f"{file.name}.gz"], file, to)
        if not file.sums:  # After the look whether it is there at all.
            raise SourceRefused(_UNTRUSTED)

    yield fetch
