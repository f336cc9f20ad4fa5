"""What a benchmark measured: kept in benchmarks/results/, shown in docs/ by scripts/docs.py.

A benchmark benchmarks/NAME.py

- takes its options from `parser`, and measures every round as it is, no medians, into plain
  values of JSON;
- hands them to `finish`, which prints what the pages will show and, with `--write`, keeps them in
  benchmarks/results/NAME.json with date, machine and versions, and writes the pages;
- has `parts(sitting)`: Markdown of a `Sitting` by the name of the place where a page shows it,
  tables and all sentences with numbers. A place is `<!-- PLACE: start -->` to
  `<!-- PLACE: end -->`; scripts/docs.py (BENCHMARKS) lists which benchmark fills it.

No measured number is typed into a page by hand: tests/house/test_docs.py.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks/results"


@dataclass(frozen=True)
class Sitting:
    """One sitting: the day, the machine in words, the versions, and what was measured."""

    date: str
    machine: str
    versions: dict[str, str]
    measured: Any

    @property
    def opening(self) -> str:
        """The day, the machine and the versions as the beginning of a sentence."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"Measured {self.date}, {self.machine}, {versions}"


Parts = Callable[[Sitting], dict[str, str]]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that knows --write."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--write", action="store_true", help="keep the figures, and write them into docs/"
    )
    return made


def finish(
    name: str,
    measured: Any,
    parts: Parts,
    *,
    write: bool,
    packages: Iterable[str] = ("numpy", "tensorflow", "keras", "dvc", "mlflow"),
) -> None:
    """Prints what was measured; with `write` keeps it and writes it into the pages.

    `packages` are those whose versions matter.
    """
    versions = {"Python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in packages
    }
    sitting = Sitting(datetime.date.today().isoformat(), _machine(), versions, measured)
    print("\n".join(parts(sitting).values()))
    if write:
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(dataclasses.asdict(sitting), indent=1)
        # Rows of numbers stay in one line: a person reads them as rounds.
        text = re.sub(r"\[[^][{}]*\]", lambda row: re.sub(r"\s+", " ", row[0]), text)
        (FOLDER / f"{name}.json").write_text(text + "\n")
        subprocess.run([sys.executable, str(ROOT / "scripts/docs.py")], check=True)


def read(name: str) -> Sitting | None:
    """Returns what benchmarks/results/ holds for a benchmark; nothing, if nobody measured yet."""
    path = FOLDER / f"{name}.json"
    return Sitting(**json.loads(path.read_text())) if path.is_file() else None


def _machine() -> str:
    """Names the processor, its cores and memory, and a graphics card; no host, no path."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    processor = model[1] if model else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Returns the median with the least and the most, as in `1.75 (1.74 to 1.92)`."""
    middle, least, most = (format(f(values), form) for f in (statistics.median, min, max))
    return f"{middle} ({least} to {most})"
