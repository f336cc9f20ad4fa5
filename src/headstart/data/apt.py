"""Published files from a Debian or Ubuntu package."""

import contextlib
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from headstart.data.catalogue import PublishedFile
from headstart.data.verify import Fetch, SourceRefused, copied, say

# apt-get's own timeout holds for one connection; this many of them bound one command.
_APT_TIMEOUTS = 30
# A file, since #clear has no form on the command line: the system's hooks after an update
# are about the system's lists. No folder of the system is written to, so root is not needed.
_CONFIGURATION = """Dir::Cache "{cache}";
Acquire {{ http::Timeout "{seconds}"; https::Timeout "{seconds}"; Retries "2"; }};
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


@contextlib.contextmanager
def apt(package: str, *, timeout: float) -> Iterator[Fetch]:
    """Yields what fetches files out of a package that `apt-get download` brings."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
        raise SourceRefused("apt: is followed by the name of a Debian or Ubuntu package")
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise SourceRefused(f"{tool} is not installed here (Debian and Ubuntu have it)")
    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        work = Path(name)
        archive = _package(package, work, timeout=timeout)
        content = work / "content"
        unpacked = _ran(["dpkg-deb", "-x", str(archive), str(content)], work, timeout=timeout)
        if unpacked.returncode:
            raise SourceRefused(f"dpkg-deb: {_apt_reason(unpacked)}")

        def fetch(file: PublishedFile, to: Path) -> None:
            names = (file.name, f"{file.name}.gz")
            candidates = [path for name in names for path in sorted(content.rglob(name))]
            # A link in a package may lead out of it.
            copied([path for path in candidates if not path.is_symlink()], file, to)

        yield fetch


def _package(package: str, work: Path, *, timeout: float) -> Path:
    """Downloads the package into `work`, first by the system's lists, then by lists of our own."""
    cache, state = work / "cache", work / "state"
    for folder in (cache / "archives" / "partial", state / "lists" / "partial"):
        folder.mkdir(parents=True)
    system, own = work / "system.conf", work / "own.conf"
    common = _CONFIGURATION.format(cache=cache, seconds=math.ceil(timeout))
    system.write_text(common)
    own.write_text(f'{common}Dir::State "{state}";\nDir::State::Lists "{state / "lists"}";\n')
    say(f"fetching the package {package}")
    get = ["download", package]
    got = _ran(["apt-get", "-q", "-c", str(system), *get], work, timeout=timeout)
    if got.returncode:
        updated = _ran(["apt-get", "-q", "-c", str(own), "update"], work, timeout=timeout)
        got = _ran(["apt-get", "-q", "-c", str(own), *get], work, timeout=timeout)
        if got.returncode:
            reasons = [_apt_reason(got), *_apt_lines(updated, "Failed to fetch")[:1]]
            raise SourceRefused(f"apt-get: {'; '.join(reasons)}")
    archives = sorted(work.glob("*.deb"))
    if not archives:
        raise SourceRefused("apt-get left no package")
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
        raise SourceRefused(f"{command[0]} did not end within {seconds:g} s") from None


def _apt_reason(result: subprocess.CompletedProcess[str]) -> str:
    lines = _apt_lines(result, "E: ") or result.stderr.strip().splitlines()[-1:]
    return "; ".join(lines) or f"exit status {result.returncode}"


def _apt_lines(result: subprocess.CompletedProcess[str], mark: str) -> list[str]:
    lines = f"{result.stdout}\n{result.stderr}".splitlines()
    return [line.removeprefix("E: ").removeprefix("W: ") for line in lines if mark in line]
