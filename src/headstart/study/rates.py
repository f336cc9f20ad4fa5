"""The learning rate of a row, chosen for every arm by the same rule, and what it changes."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from headstart.core import digits
from headstart.reporting.study_tables import AreaRow, RateRow, Setting, SummaryRow
from headstart.study.parameters import Grid

_POINT = 0.01
# By seed, the losses of all labels that validate.
Losses = Sequence[Iterable[float]]


def criterion(losses: Losses) -> float:
    """Returns the mean loss over labels, then over seeds, to six significant digits.

    What is not a number, as of a training that diverged, counts as infinite.
    """
    means = [math.fsum(own) / len(own) for own in map(list, losses)]
    mean = digits.rounded(math.fsum(means) / len(means))
    return math.inf if math.isnan(mean) else mean


def best(losses: Mapping[float, Losses]) -> float:
    """Returns the rate with the lowest criterion, of equals the lower rate."""
    return min(losses, key=lambda rate: (criterion(losses[rate]), rate))


def at_edge(grid: Grid, rate: float) -> bool:
    """Tells whether a searched rate stands at an end of the list: a better one may lie beyond."""
    return grid.searched and rate in (min(grid.learning_rates), max(grid.learning_rates))


def rows(unsearched: Sequence[SummaryRow], chosen: Sequence[SummaryRow]) -> list[RateRow]:
    """Returns the rows of rates.csv: each row of the grid unsearched, then at the rates chosen.

    Where nothing was searched `unsearched` is empty, and each row stands there once.
    """
    before = {(row.setting, row.arm, row.labels): row for row in unsearched}
    names = [field.name for field in dataclasses.fields(RateRow) if field.name != "chosen"]
    return [
        RateRow(**{name: getattr(row, name) for name in names}, chosen=int(row is own))
        for own in chosen
        for row in (before.get((own.setting, own.arm, own.labels)), own)
        if row is not None
    ]


@dataclasses.dataclass(frozen=True)
class Moved:
    """Of how many rows a search raises or lowers the mean accuracy by more than one point."""

    rows: int
    higher: int
    lower: int


def moved(rows: Sequence[RateRow]) -> Moved:
    """Returns how far the mean accuracies at the rates chosen are from those of no search."""
    means: dict[tuple[Setting, str, int], dict[int, float]] = {}
    for row in rows:
        means.setdefault((row.setting, row.arm, row.labels), {})[row.chosen] = row.mean
    gains = [own[1] - own[0] for own in means.values() if len(own) > 1]
    return Moved(
        len(gains), sum(gain > _POINT for gain in gains), sum(gain < -_POINT for gain in gains)
    )


@dataclasses.dataclass(frozen=True)
class Hanging:
    """A verdict at the rates of no search, at those chosen, and whether it hangs on the rate."""

    before: str
    after: str

    @property
    def hangs(self) -> bool:
        """Whether the two differ."""
        return self.before != self.after


def hanging(
    rows: Sequence[RateRow], areas: Sequence[AreaRow]
) -> dict[Setting, dict[str, dict[str, Hanging]]]:
    """Returns by setting, arm, and range or label budget both verdicts; empty without a search."""
    pairs: dict[tuple[Setting, str, str], dict[int, str]] = {}
    for area in areas:
        pairs.setdefault((area.setting, area.arm, area.range), {})[area.chosen] = area.verdict
    for row in rows:
        if row.verdict:
            pairs.setdefault((row.setting, row.arm, str(row.labels)), {})[row.chosen] = row.verdict
    told: dict[Setting, dict[str, dict[str, Hanging]]] = {}
    for (setting, arm, where), words in pairs.items():
        if len(words) > 1:
            told.setdefault(setting, {}).setdefault(arm, {})[where] = Hanging(words[0], words[1])
    return told
