"""The page of a study that is not finished: curves over the seeds that are there, no judgement.

The stage leaves after every group what the page shows. It is there within a second of being asked
for, since neither TensorFlow nor the networks in the store are read.
"""

import contextlib
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.params import yaml_text
from headstart.reporting import render, study_figures, study_tables, style
from headstart.reporting.study_tables import InterimRow
from headstart.study import plan, statistics
from headstart.study.parameters import Grid, of_project

FOLDER = Path(".headstart")
# Tasks and networks in the picture: forty panels take matplotlib seconds.
_DRAWN = 2
_LOCK = Path("study/dvc.lock")
_PARAMETERS = "study/params.yaml"


@dataclass
class Progress:
    """What of a grid is finished: `folder` keeps it for the page while its stage runs."""

    folder: Path
    grid: Grid
    confidence: float
    process: tuple[int, float] | None
    """The process that trains, by its number and start; None where it has ended."""
    seconds_left: float | None = None
    told: float = 0.0
    """When, in seconds since 1970."""
    rows: dict[str, InterimRow] = field(default_factory=dict)
    _accuracies: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)

    def add(self, row: plan.Row, accuracies: np.ndarray, *, split: int = 0) -> None:
        """Takes the accuracies (seeds,) of those seeds of a row in a split that are there.

        Of several splits no interval is told before all are there.
        """
        by_split = self._accuracies.setdefault(row.name, {})
        by_split[split] = accuracies
        accuracies = np.concatenate(list(by_split.values()))
        mean, bounds = math.nan, (math.nan, math.nan)
        if len(accuracies):
            mean = float(accuracies.mean())
            if self.grid.splits == 1:
                low, high = statistics.t_interval(accuracies, confidence=self.confidence)
                bounds = float(low), float(high)
        self.rows[row.name] = InterimRow(
            **asdict(row), seeds=len(accuracies), mean=mean, low=bounds[0], high=bounds[1]
        )

    def write(self, seconds_left: float | None = None) -> None:
        """Keeps what is there by now."""
        self.told, self.seconds_left = time.time(), seconds_left
        study_tables.write(self.folder / "rows.csv", InterimRow, list(self.rows.values()))
        kept = ("confidence", "process", "seconds_left", "told")
        record = {"grid": _plain(self.grid)} | {name: getattr(self, name) for name in kept}
        artefacts.write_json(self.folder / "progress.json", record)

    @property
    def running(self) -> bool:
        """Whether the process that trains is there still."""
        return self.process is not None and self.process == _process(self.process[0])

    def newer_than(self, record: Path) -> bool:
        """Whether a stage trains, or has stopped, after the file `record` of tables came there.

        Tables of the last stage that ended stay until another ends.
        """
        return self.running or self.told > record.stat().st_mtime

    @property
    def done(self) -> int:
        """The networks of the grid that are there, without those of a search."""
        return sum(row.seeds for row in self.rows.values())

    @property
    def asked(self) -> int:
        """The networks of the whole grid."""
        return self.trainings * len(self.rows)

    @property
    def trainings(self) -> int:
        """The networks of a row of the grid."""
        return self.grid.seeds * self.grid.splits


def folder_of(section: str) -> Path:
    """Returns where a section's progress is kept, out of git's and DVC's sight."""
    return FOLDER / f"study-{section}"


@contextlib.contextmanager
def kept(section: str, grid: Grid, *, confidence: float) -> Iterator[Progress]:
    """Yields what a stage tells its progress; it stays where the stage does not come to its end."""
    folder = folder_of(section)
    progress = Progress(folder, grid, confidence, _process(os.getpid()))
    try:
        yield progress
    except BaseException:
        progress.process = None
        progress.write()
        raise
    (folder / "progress.json").unlink(missing_ok=True)


def unfinished(section: str, grid: Grid, tables: Path) -> Progress | None:
    """Returns the progress of a section where no tables in `tables` answer its grid by now.

    Raises:
        UserError: There are neither tables nor any progress for the grid that is asked for.
    """
    folder = folder_of(section)
    asked = _plain(grid)
    progress = None
    if (folder / "progress.json").is_file():
        record = artefacts.read_json(folder / "progress.json")
        if record.pop("grid") == asked:
            process = record.pop("process")
            rows = study_tables.read(folder / "rows.csv", InterimRow)
            progress = Progress(
                folder,
                grid,
                process=process and tuple(process),
                rows={str(place): row for place, row in enumerate(rows)},
                **record,
            )
    record_of_last = tables / "study.json"
    answered = record_of_last.is_file() and _answered(section) in (None, asked)
    if answered and not (progress and progress.newer_than(record_of_last)):
        return None
    if progress is None:
        raise UserError(
            f"{tables}: holds no answer to the grid that {_PARAMETERS} asks for, and none is on "
            f"its way here; `dvc repro study/dvc.yaml:{section}` trains what is missing"
        )
    return progress


def write_page(progress: Progress) -> Path:
    """Writes interim.md and its picture beside the progress; returns its path."""
    rows = [row for row in progress.rows.values() if row.seeds]
    picture = progress.folder / "label_efficiency.png"
    places = list(dict.fromkeys((row.task, row.network, row.shift) for row in rows))
    drawn = places[-_DRAWN:]
    if rows:
        shown = [row for row in rows if (row.task, row.network, row.shift) in drawn]
        style.write_png(picture, study_figures.label_efficiency(shown))
    left = progress.seconds_left
    if left is not None:
        left = max(0.0, left - (time.time() - progress.told))
    missing: dict[tuple[str, str], dict[int, list[int]]] = {}
    for row in progress.rows.values():
        counts = missing.setdefault((row.training, row.arm), {}).setdefault(row.labels, [0, 0])
        counts[0] += row.seeds
        counts[1] += progress.trainings
    page = render.text(
        "interim.md",
        progress=progress,
        minutes=None if left is None else math.ceil(left / 60),
        missing=missing,
        labels=sorted({row.labels for row in progress.rows.values()}),
        rows=rows,
        picture=picture.name,
        drawn=len(drawn),
        places=len(places),
    )
    path = progress.folder / "interim.md"
    render.write(path, page)
    return path


def _answered(section: str) -> object:
    """Returns the grid that DVC saw answered last, as JSON has it; None where it saw none."""
    if not _LOCK.is_file():
        return None
    text = _LOCK.read_text(encoding="utf-8")
    stage = yaml_text.written_by_dvc(text, str(_LOCK))["stages"].get(section, {})
    seen = stage.get("params", {})
    values = seen.get(_PARAMETERS, {}).get(section)
    try:
        return values and _plain(
            Grid.model_validate(of_project(values, seen.get("params.yaml", {})))
        )
    except (ValueError, KeyError):
        return values


def _plain(grid: Grid) -> object:
    """Returns a grid as JSON has it."""
    # Values read by our own validators are lists where pydantic expects tuples.
    return grid.model_dump(mode="json", warnings=False)


def _process(number: int) -> tuple[int, float] | None:
    with contextlib.suppress(psutil.Error):
        return number, psutil.Process(number).create_time()
    return None
