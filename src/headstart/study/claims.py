"""docs/claims.md: the notebook's three claims, answered from the tables of `make claims`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts
from headstart.params.strategies import BASELINE
from headstart.reporting import render, study_tables
from headstart.reporting.study_tables import CellRow, Setting, SummaryRow
from headstart.study import statistics
from headstart.study.parameters import Grid, Statistics

SUPPORTED, NOT_SUPPORTED, UNDETERMINED = "supported", "not supported", "undetermined"
# Half of the gap that the notebook saw between 0.50 and 0.99: a smaller one is another claim.
_CLAIMED_GAIN = 0.245
# "Vastly reduced": ten times fewer. "Much better": five points of accuracy.
_VASTLY = 10.0
_MUCH = 0.05
_NOTEBOOK = "epochs=5"
_FROZEN = "frozen"
# Written by benchmarks/claims.py: seconds belong to a machine and a day, not to the tables.
SECONDS = Path("docs/claims-seconds.json")


def write(path: Path, folder: Path, grid: Grid, settings: Statistics) -> None:
    """Writes the page to `path` from the tables in `folder` alone; equal tables, equal page.

    Seconds are told where SECONDS lies beside `path`.
    """
    summary = study_tables.read(folder / "summary.csv", SummaryRow)
    cells = study_tables.read(folder / "cells.csv", CellRow)
    seconds = path.parent / SECONDS.name
    kinds = _kinds(cells, confidence=settings.confidence)
    page = render.text(
        "claims.md",
        tasks=list(dict.fromkeys(row.task for row in summary)),
        seeds=summary[0].seeds,
        budgets=sorted({row.labels for row in summary}),
        learning_rates=grid.learning_rates,
        confidence=settings.confidence,
        seconds=artefacts.read_json(seconds) if seconds.is_file() else None,
        pictures=f"../{folder.as_posix()}",
        claimed_gain=_CLAIMED_GAIN,
        vastly=_VASTLY,
        much=_MUCH,
        gains=_gains(summary),
        costs=_costs(summary),
        kinds=kinds,
        kinds_answer=_kinds_answer(kinds),
        overall=overall,
        least=lambda ratios: SUPPORTED if min(ratios) >= _VASTLY else NOT_SUPPORTED,
    )
    render.write(path, page)


def judged(low: float, high: float, *, wanted: float) -> str:
    """Returns whether an interval lies above what a claim wants, below it, or across it."""
    if math.isnan(low) or math.isnan(high):
        return UNDETERMINED
    if low >= wanted:
        return SUPPORTED
    return NOT_SUPPORTED if high < wanted else UNDETERMINED


def overall(judgements: Sequence[str]) -> str:
    """Returns the judgement that all share; a claim without limits fails with one case."""
    if all(judgement == SUPPORTED for judgement in judgements):
        return SUPPORTED
    return NOT_SUPPORTED if NOT_SUPPORTED in judgements else UNDETERMINED


def _gains(summary: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    """Returns the first claim's cases: the notebook's setting with all labels, by task."""
    return [
        {
            "row": row,
            "base": base,
            "judgement": judged(row.gain_low, row.gain_high, wanted=_CLAIMED_GAIN),
        }
        for row, base in _as_the_notebook(summary)
        if row.network == "mlp"
    ]


def _costs(summary: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    """Returns the second claim's cases: how many times the baseline's cost is transfer's."""
    return [
        {
            "row": row,
            "base": base,
            "weights": base.trainable_parameters / row.trainable_parameters,
            "once": base.flops / row.flops,
            "notebook": base.flops / row.flops_as_notebook,
            "source": base.flops / (row.flops + row.source_flops),
        }
        for row, base in _as_the_notebook(summary)
    ]


def _as_the_notebook(summary: Sequence[SummaryRow]) -> list[tuple[SummaryRow, SummaryRow]]:
    """Returns frozen transfer and its baseline with all labels, unshifted, in 5 epochs."""
    rows = {(row.setting, row.labels, row.arm): row for row in summary}
    most = {
        task: max(row.labels for row in summary if row.task == task)
        for task in {row.task for row in summary}
    }
    return [
        (row, rows[row.setting, row.labels, BASELINE])
        for row in summary
        if (row.arm, row.shift, row.training) == (_FROZEN, 0, _NOTEBOOK)
        and row.labels == most[row.task]
    ]


def _kinds(cells: Sequence[CellRow], *, confidence: float) -> list[dict[str, Any]]:
    """Returns the third claim's cases: the CNN's gain less the MLP's, paired by seed.

    Cases of one kind of network only are left out.
    """
    accuracies: dict[tuple[Setting, int, str], dict[int, float]] = {}
    for cell in cells:
        place = cell.setting, cell.labels, cell.arm
        accuracies.setdefault(place, {})[cell.seed] = cell.accuracy
    seeds = sorted({cell.seed for cell in cells})

    def gain(setting: Setting, labels: int, network: str) -> np.ndarray:
        arm, base = (
            np.array(
                [accuracies[setting._replace(network=network), labels, name][s] for s in seeds]
            )
            for name in (_FROZEN, BASELINE)
        )
        return arm - base

    places = dict.fromkeys((cell.setting._replace(network=""), cell.labels) for cell in cells)
    cases = []
    for setting, labels in places:
        try:
            mlp, cnn = (gain(setting, labels, network) for network in ("mlp", "cnn"))
        except KeyError:
            continue
        low, high = map(float, statistics.t_interval(cnn - mlp, confidence=confidence))
        cases.append(
            {
                "setting": setting,
                "labels": labels,
                "mlp": mlp.mean(),
                "cnn": cnn.mean(),
                "difference": (cnn - mlp).mean(),
                "low": low,
                "high": high,
                "judgement": judged(low, high, wanted=_MUCH),
            }
        )
    return cases


def _kinds_answer(cases: Sequence[dict[str, Any]]) -> str:
    by_shift: dict[int, list[str]] = {}
    for case in cases:
        by_shift.setdefault(case["setting"].shift, []).append(case["judgement"])
    words = (SUPPORTED, NOT_SUPPORTED, UNDETERMINED)
    answers = []
    for shift, judgements in sorted(by_shift.items()):
        where = f"shifted by up to {shift}" if shift else "where images stay"
        counts = ", ".join(f"{word} in {judgements.count(word)}" for word in words)
        answers.append(f"{overall(judgements)} {where} ({counts} of {len(judgements)} cases)")
    return "; ".join(answers) or f"{UNDETERMINED}: one kind of network only"
