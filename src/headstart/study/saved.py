"""Labels saved on anybody's learning curves: `headstart study saved FILE.csv`."""

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import seeds
from headstart.core.errors import UserError
from headstart.study import verdicts
from headstart.study.curves import UNDETERMINED, Estimate, accuracies_at, labels_saved
from headstart.study.saved_in_words import interval_in_words, saves_labels
from headstart.study.statistics import Resampling

_SAMPLES = 2000
_MOST_LABELS = 1e12
_HEADER = ("arm", "labels", "accuracy", "factor", "interval", "labels saved", "cubic", "")
_VERDICTS = {True: "saves labels", False: "costs labels", None: "cannot tell"}


@dataclass
class _Curve:
    """One arm: accuracy by label budget and seed, and the line on which each stands."""

    accuracies: dict[float, dict[str, float]] = field(default_factory=dict)
    lines: dict[tuple[float, str], int] = field(default_factory=dict)

    @property
    def labels(self) -> list[float]:
        return sorted(self.accuracies)

    def array(self, names: list[str]) -> np.ndarray:
        """(b, seeds), by ascending labels."""
        rows = (self.accuracies[own] for own in self.labels)
        return np.array([[row[name] for name in names] for row in rows])


def rows(path: Path, *, baseline: str, confidence: float) -> list[tuple[str, ...]]:
    """Returns how many labels each arm of a table saves, as cells of text below a header.

    The table has the columns `labels`, `arm`, `accuracy` or `error`, and where curves were
    measured several times `seed`; intervals are over seeds, the same for arm and baseline. As in
    the study, labels are called saved or lost where the gain with so many labels says so too,
    corrected for all points of the table, which fewer than six seeds cannot.

    Raises:
        UserError: The file is no such table; the message names the line.
    """
    curves = _read(path)
    if baseline not in curves or len(curves) < 2:
        raise UserError(
            f"{path}: needs an arm called {baseline} and another to hold against it, and has "
            f"{', '.join(curves)}; `--baseline NAME` names the baseline"
        )
    base = curves.pop(baseline)
    # Rows come in any order, and what is drawn of seeds goes by their places.
    names = sorted(next(iter(base.accuracies.values())), key=_in_order)
    for arm, curve in ((baseline, base), *curves.items()):
        for labels, own in curve.accuracies.items():
            if own.keys() != set(names):
                raise UserError(
                    f"{path}: {arm} with {_whole(labels)} labels has the seeds {', '.join(own)}, "
                    f"and {baseline} begins with {', '.join(names)}; every point needs the same"
                )
    made: list[tuple[str, ...]] = [_HEADER]
    better = iter(_better(base, curves.values(), names, alpha=1 - confidence))
    for arm, curve in curves.items():
        for labels, accuracies in zip(curve.labels, curve.array(names), strict=True):
            generator = seeds.generator(0, "saved", arm, _whole(labels))
            estimate = labels_saved(
                np.array(base.labels),
                base.array(names),
                own=labels,
                accuracies=accuracies,
                resampling=Resampling(confidence, _SAMPLES, generator),
            )
            saves = saves_labels(estimate)
            word = _VERDICTS[saves if saves is next(better) else None]
            point = arm, _whole(labels), f"{accuracies.mean():.4f}"
            made.append((*point, *_cells(estimate, labels), word if len(names) > 1 else ""))
    return made


def _better(
    base: _Curve, curves: Iterable[_Curve], names: list[str], *, alpha: float
) -> list[bool | None]:
    """Returns of each point of the curves whether it is better than the baseline, or worse.

    None where the seeds cannot tell, or where the baseline was not seen with as many or as few
    labels: beyond its ends it is taken to be as good as there, which is more below than it is, and
    less above.
    """
    points = [
        (labels, accuracies - accuracies_at(np.array(base.labels), base.array(names), labels))
        for curve in curves
        for labels, accuracies in zip(curve.labels, curve.array(names), strict=True)
    ]
    adjusted = verdicts.max_t(np.array([gain for _, gain in points]))
    told: list[bool | None] = []
    for (labels, gain), p in zip(points, adjusted.tolist(), strict=True):
        above = bool(gain.mean() > 0)
        unseen = labels > base.labels[-1] if above else labels < base.labels[0]
        told.append(above if p < alpha and not unseen else None)
    return told


def _cells(saved: Estimate, own: float) -> tuple[str, str, str, str]:
    """Factor, interval, number of labels, and the factor along the monotone cubic."""
    if saved.kind == UNDETERMINED:
        return "", "", "", ""
    bound = "" if saved.kind == "estimate" else f"{saved.kind} "
    number = f"{bound}{round((saved.value - 1) * own)}"
    cubic = "" if math.isnan(saved.cubic) else f"{saved.cubic:.2f}"
    return f"{bound}{saved.value:.2f}", interval_in_words(saved), number, cubic


def _read(path: Path) -> dict[str, _Curve]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: is not a CSV file that can be read, with the columns labels, arm, accuracy "
            f"or error, and perhaps seed ({error})"
        ) from error
    table = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = [name.strip() for name in table.fieldnames or ()]
    table.fieldnames = columns
    measures = [name for name in ("accuracy", "error") if name in columns]
    missing = [name for name in ("labels", "arm") if name not in columns]
    if missing or len(measures) != 1 or len(set(columns)) < len(columns):
        raise UserError(
            f"{path}, line 1: the columns are {', '.join(columns) or 'missing'}; expected are "
            "labels, arm, either accuracy or error, and perhaps seed, separated by commas"
        )
    curves: dict[str, _Curve] = {}
    for line, arm, labels, seed, value in _points(path, table, measures[0]):
        curve = curves.setdefault(arm, _Curve())
        first = curve.lines.setdefault((labels, seed), line)
        if first != line:
            raise UserError(
                f"{path}, line {line}: {arm} with {_whole(labels)} labels stands in line {first} "
                "already; a column seed tells repetitions apart"
            )
        curve.accuracies.setdefault(labels, {})[seed] = value
    if not curves:
        raise UserError(f"{path}: has no rows below its header")
    return curves


def _points(
    path: Path, table: "csv.DictReader[str]", measure: str
) -> Iterator[tuple[int, str, float, str, float]]:
    """Yields line, arm, labels, seed and accuracy of each row, checked."""
    names = list(table.fieldnames or ())
    for row in _whole_rows(path, table):
        place = f"{path}, line {table.line_num}"
        cells = {name: (row[name] or "").strip() for name in names}
        labels = _number(cells["labels"], f"{place}: labels", 1, _MOST_LABELS)
        value = _number(cells[measure], f"{place}: {measure}", 0, 1)
        if None in row or not all(cells.get(name, "-") for name in ("arm", "seed")):
            raise UserError(f"{place}: expected is one value for each of {', '.join(names)}")
        accuracy = value if measure == "accuracy" else 1 - value
        yield table.line_num, cells["arm"], labels, cells.get("seed", ""), accuracy


def _whole_rows(path: Path, table: "csv.DictReader[str]") -> Iterator[dict[Any, Any]]:
    try:
        yield from table
    except csv.Error as error:
        raise UserError(
            f"{path}, line {table.line_num}: cannot be read as CSV ({error}); is a quote not "
            "closed?"
        ) from error


def _number(text: str, what: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if low <= value <= high:
        return value
    share = "a share from 0 to 1, a percentage divided by 100"
    allowed = share if high == 1 else f"a number from {low} to {high:g}"
    raise UserError(f"{what} is {text!r}; expected is {allowed}")


def _whole(labels: float) -> str:
    """Returns a number of labels with all its digits; few where it is no whole one."""
    return f"{labels:.0f}" if labels.is_integer() else f"{labels:g}"


def _in_order(seed: str) -> tuple[float, str]:
    try:
        return float(seed), seed
    except ValueError:
        return math.inf, seed
