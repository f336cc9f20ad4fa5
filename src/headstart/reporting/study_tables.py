"""The study's tables: what each column holds, in the order of the files.

A number that is undefined is NaN here and an empty cell there.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from headstart.core import artefacts, digits
from headstart.core.errors import UserError
from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER


class Setting(NamedTuple):
    """What the arms of one panel have in common."""

    task: str
    shift: int
    network: str
    training: str


def task_of(classes: Sequence[str]) -> str:
    r"""Returns what tables call a task: its classes joined by `_`; one in a name is `\_`."""
    return "_".join(re.sub(r"([\\_])", r"\\\1", name) for name in classes)


def classes_of(task: str) -> list[str]:
    """Returns the classes of a task as `task_of` named it."""
    names = re.findall(r"(?:^|_)((?:\\.|[^\\_])*)", task, re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL) for name in names]


@dataclasses.dataclass(frozen=True)
class _Row:
    task: str
    network: str
    training: str
    shift: int

    first: ClassVar[tuple[str, ...]] = ()
    """The columns that a table begins with, where those are not its first fields."""

    @classmethod
    def optional(cls) -> dict[str, Any]:
        """Returns the columns that a table has where some row has another value than this."""
        return {
            field.name: field.default
            for field in dataclasses.fields(cls)
            if field.default is not dataclasses.MISSING
        }

    @property
    def setting(self) -> Setting:
        """Where the row belongs."""
        return Setting(self.task, self.shift, self.network, self.training)


@dataclasses.dataclass(frozen=True)
class CellRow(_Row):
    """A row of cells.csv: one training. Seconds are left out.

    `chosen` is 0 for a training at the rates of no search that the search has not chosen.
    """

    labels: int
    arm: str
    seed: int
    chosen: int
    accuracy: float
    right: int
    test_images: int
    degenerate: int
    diverged: int
    learning_rate: float
    source_learning_rate: float
    split: int = 0


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What paired gains over the baseline say, one comparison of a family.

    `p_adjusted` is corrected within the family and decides; `detectable_gain` is what these seeds
    would have shown there with 80 % power.
    """

    gain: float
    gain_std: float
    gain_low: float
    gain_high: float
    p: float
    p_adjusted: float
    verdict: str
    detectable_gain: float


SHORT = {TRANSFER_BETTER: "better", BASELINE_BETTER: "worse"}
"""Verdicts as narrow columns have them; the others are short."""

ITSELF = Judgement(0.0, 0.0, 0.0, 0.0, math.nan, math.nan, "", math.nan)
"""What the baseline's own rows say."""


@dataclasses.dataclass(frozen=True)
class _Point(_Row):
    labels: int
    arm: str
    seeds: int


@dataclasses.dataclass(frozen=True)
class SummaryRow(Judgement, _Point):
    """A row of summary.csv: one arm with one label budget, all seeds."""

    first = (
        *("task", "network", "training", "labels", "arm", "seeds", "mean", "std", "low", "high"),
        *("gain", "gain_low", "gain_high", "wins", "degenerate"),
    )

    mean: float
    std: float
    low: float
    high: float
    wins: float
    balanced_accuracy: float
    untrained: int
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
    diverged: int
    learning_rate: float
    source_learning_rate: float
    rate_at_edge: int
    trainable_parameters: int
    updates: int
    flops: int
    flops_as_notebook: int
    source_flops: int
    search_updates: int
    search_flops: int
    splits: int = 1
    source_rate_at_edge: int = 0
    source_search_flops: int = 0


@dataclasses.dataclass(frozen=True)
class RateRow(Judgement, _Point):
    """A row of rates.csv: one arm with one label budget at one learning rate, all seeds.

    `chosen` is 1 for what the search chose, as in summary.csv, 0 for what no search would take.
    The gain is over the baseline of the same kind.
    """

    learning_rate: float
    source_learning_rate: float
    chosen: int
    mean: float
    std: float
    splits: int = 1


@dataclasses.dataclass(frozen=True)
class InterimRow(_Point):
    """What is there of a row of summary.csv while the study runs."""

    mean: float
    low: float
    high: float


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
class _Range(_Row):
    arm: str
    range: str
    chosen: int
    from_labels: int
    to_labels: int
    seeds: int


@dataclasses.dataclass(frozen=True)
class AreaRow(Judgement, _Range):
    """A row of areas.csv: one arm over a range of label budgets, `all`, `few` or `many`.

    The gain is the mean over the logarithm of the labels, the area between the two curves.
    `chosen` as in rates.csv.
    """

    splits: int = 1


@dataclasses.dataclass(frozen=True)
class DerivedRow(_Row):
    """A row of derived.csv: labels needed and saved, crossovers.

    `at` is a target accuracy for `labels_needed`, a label budget for `labels_saved`, else empty.
    An open end of an interval is NaN. `cubic` is the value along the monotone cubic, `number` how
    many labels more the baseline needs, and `lacks_steps` is 1 where it needs steps, not labels.
    """

    arm: str
    quantity: str
    at: str
    value: float
    low: float
    high: float
    kind: str
    cubic: float
    number: float
    lacks_steps: int


_Kind = TypeVar("_Kind", bound=_Row)


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

    everywhere = {
        name
        for name, value in kind.optional().items()
        if all(getattr(row, name) == value for row in rows)
    }
    names = [field.name for field in dataclasses.fields(kind) if field.name not in everywhere]
    # The shift came after the tables' first readers.
    columns = [*dict.fromkeys((*kind.first, *(name for name in names if name != "shift"))), "shift"]
    filled = ({name: shown(getattr(row, name)) for name in columns} for row in rows)
    artefacts.write_table(path, filled, columns=columns)


def read(path: Path, kind: type[_Kind]) -> list[_Kind]:
    """Returns the rows of a CSV file that `write` wrote.

    Raises:
        UserError: The file is missing, or has other columns than these rows.
    """
    readers: dict[Any, Any] = {str: str, int: int, float: lambda text: float(text or "nan")}
    types = {field.name: readers[field.type] for field in dataclasses.fields(kind)}
    rows = artefacts.read_table(path)
    missing = types.keys() - kind.optional().keys() - rows[0].keys() if rows else set()
    if rows and (missing or rows[0].keys() - types.keys()):
        other = ", ".join(sorted(missing | rows[0].keys() - types.keys()))
        raise UserError(
            f"{path}: another version wrote it, the columns differ in {other}; "
            "`dvc repro study/dvc.yaml` writes it anew"
        )
    return [kind(**{name: types[name](text) for name, text in row.items()}) for row in rows]
