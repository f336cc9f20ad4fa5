"""How many seeds it takes to show a gain, by the spread over seeds that a study has seen."""

import math
from collections.abc import Sequence

from headstart.core.errors import UserError
from headstart.params.strategies import BASELINE
from headstart.reporting.study_tables import Setting, SummaryRow
from headstart.study import verdicts
from headstart.study.parameters import Statistics

Cells = dict[str, dict[int, str]]


def seeds(summary: Sequence[SummaryRow], gain: float, settings: Statistics) -> dict[Setting, Cells]:
    """Returns by setting, arm and labels how many seeds show `gain` with 80 % power.

    Such as `49 (92)`: in a paired t-test of its own, and corrected for the comparisons of its
    family (at alpha divided by them, a little stricter than max-T), never fewer than give enough
    flips of signs. Nothing is told of invalid rows: their spread is that of chance.

    Raises:
        UserError: The study has several splits, where seeds are not all that makes the spread.
    """
    if any(row.splits > 1 for row in summary):
        raise UserError(
            "how many seeds would show a gain is told where splits is 1: of several splits the "
            "images make a part of the spread, and more seeds take nothing of that away"
        )
    family: dict[Setting, list[SummaryRow]] = {}
    for row in summary:
        if row.arm != BASELINE:
            family.setdefault(row.setting, []).append(row)
    cells: dict[Setting, Cells] = {}
    for setting, rows in family.items():
        for row in rows:
            if row.verdict == verdicts.INVALID:
                cells.setdefault(setting, {}).setdefault(row.arm, {})[row.labels] = row.verdict
                continue
            alone, corrected = (
                verdicts.seeds_needed(gain, row.gain_std, level=settings.alpha / comparisons)
                for comparisons in (1, len(rows))
            )
            # With as many as can decide at all, and one more, the power is less (simulated).
            corrected = max(corrected, verdicts.fewest_seeds(settings.alpha) + 2)
            shown = (
                f"{_count(alone)} ({_count(corrected)})" if math.isfinite(alone) else _count(alone)
            )
            cells.setdefault(setting, {}).setdefault(row.arm, {})[row.labels] = shown
    return cells


def _count(seeds: float) -> str:
    if math.isnan(seeds):
        return "unknown"
    return f"{seeds:.0f}" if math.isfinite(seeds) else f">{verdicts.MOST_SEEDS}"
