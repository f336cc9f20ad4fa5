"""The study's tables: what each column holds, in the order of the files.

A number that is undefined is NaN here and an empty cell there. `low` of 0 and `high` of inf are
open ends.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from headstart.core import artefacts, digits


class Setting(NamedTuple):
    """What the arms of one panel have in common."""

    task: str
    shift: int
    network: str
    training: str


@dataclasses.dataclass(frozen=True)
class _Row:
    task: str
    network: str
    training: str
    shift: int

    @property
    def setting(self) -> Setting:
        """Where the row belongs."""
        return Setting(self.task, self.shift, self.network, self.training)


@dataclasses.dataclass(frozen=True)
class CellRow(_Row):
    """A row of cells.csv: one training. Seconds are left out."""

    labels: int
    arm: str
    seed: int
    accuracy: float
    right: int
    test_images: int
    degenerate: int
    diverged: int
    learning_rate: float
    validation_labels: int


@dataclasses.dataclass(frozen=True)
class SummaryRow(_Row):
    """A row of summary.csv: one arm with one label budget, all seeds."""

    labels: int
    arm: str
    seeds: int
    mean: float
    std: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    wins: float
    degenerate: int
    median: float
    median_low: float
    median_high: float
    iqm: float
    iqm_low: float
    iqm_high: float
    two_way_low: float
    two_way_high: float
    gain_two_way_low: float
    gain_two_way_high: float
    p: float
    p_adjusted: float
    diverged: int
    validation_labels: int
    trainable_parameters: int
    updates: int
    flops: int
    flops_as_notebook: int
    source_flops: int


@dataclasses.dataclass(frozen=True)
class VerdictRow(_Row):
    """A row of verdicts.csv: one arm over a range of neighbouring budgets."""

    arm: str
    from_labels: int
    to_labels: int
    verdict: str
    smallest_gain: float
    largest_gain: float


@dataclasses.dataclass(frozen=True)
class DerivedRow(_Row):
    """A row of derived.csv: labels needed and saved, crossovers, areas.

    `at` is a target accuracy for `labels_needed`, a label budget for `labels_saved`, else empty.
    """

    arm: str
    quantity: str
    at: str
    value: float
    low: float
    high: float
    kind: str


_Kind = TypeVar("_Kind", CellRow, SummaryRow, VerdictRow, DerivedRow)


def rounded(row: _Kind) -> _Kind:
    """Returns the row with its numbers as the file holds them, to six significant digits."""
    numbers: dict[str, Any] = {
        name: digits.rounded(value) for name, value in vars(row).items() if isinstance(value, float)
    }
    return dataclasses.replace(row, **numbers)


def write(path: Path, kind: type[_Kind], rows: Sequence[_Kind]) -> None:
    """Writes rows as CSV, the header alone where there are none."""

    def shown(value: Any) -> Any:
        return "" if isinstance(value, float) and math.isnan(value) else value

    filled = ({name: shown(value) for name, value in vars(row).items()} for row in rows)
    names = [field.name for field in dataclasses.fields(kind)]
    # The shift came after the tables' first readers.
    columns = [name for name in names if name != "shift"] + ["shift"]
    artefacts.write_table(path, filled, columns=columns)


def read(path: Path, kind: type[_Kind]) -> list[_Kind]:
    """Returns the rows of a CSV file that `write` wrote."""
    readers: dict[Any, Any] = {str: str, int: int, float: lambda text: float(text or "nan")}
    types = {field.name: readers[field.type] for field in dataclasses.fields(kind)}
    return [
        kind(**{name: types[name](text) for name, text in row.items()})
        for row in artefacts.read_table(path)
    ]
