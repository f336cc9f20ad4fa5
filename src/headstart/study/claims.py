"""docs/claims.md: the notebook's three claims, answered from the tables of `make claims`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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


def write(path: Path, folder: Path, grid: Grid, settings: Statistics) -> None:
    """Writes the page to `path` from the tables in `folder` alone; equal tables, equal page."""
    summary = study_tables.read(folder / "summary.csv", SummaryRow)
    cells = study_tables.read(folder / "cells.csv", CellRow)
    kinds = _kinds(cells, confidence=settings.confidence)
    page = render.text(
        "claims.md",
        tasks=list(dict.fromkeys(row.task for row in summary)),
        seeds=summary[0].seeds,
        budgets=sorted({row.labels for row in summary}),
        learning_rates=grid.learning_rates,
        confidence=settings.confidence,
        pictures=f"../{folder.as_posix()}",
        claimed_gain=_CLAIMED_GAIN,
        vastly=_VASTLY,
        much=_MUCH,
        as_the_notebook=_as_the_notebook(summary),
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


def _as_the_notebook(summary: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    """Returns frozen transfer against its baseline with all labels, unshifted, in 5 epochs.

    With the first claim's judgement, and for the second the baseline's cost in transfer's.
    """
    rows = {(row.setting, row.labels, row.arm): row for row in summary}
    most = {row.task: row.labels for row in sorted(summary, key=lambda row: row.labels)}
    cases = []
    for (setting, labels, arm), row in rows.items():
        if (arm, row.shift, row.training, labels) == (_FROZEN, 0, _NOTEBOOK, most[row.task]):
            base = rows[setting, labels, BASELINE]
            cases.append(
                {
                    "row": row,
                    "base": base,
                    "judgement": judged(row.gain_low, row.gain_high, wanted=_CLAIMED_GAIN),
                    "weights": base.trainable_parameters / row.trainable_parameters,
                    "once": base.flops / row.flops,
                    "notebook": base.flops / row.flops_as_notebook,
                    "source": base.flops / (row.flops + row.source_flops),
                }
            )
    return cases


def _kinds(cells: Sequence[CellRow], *, confidence: float) -> list[dict[str, Any]]:
    """Returns the third claim's cases: the CNN's gain less the MLP's, paired by seed.

    Cases of one kind of network only are left out.
    """
    accuracies = {(row.setting, row.labels, row.seed, row.arm): row.accuracy for row in cells}
    seeds = sorted({row.seed for row in cells})

    def gains(setting: Setting, labels: int) -> np.ndarray:
        places = [(setting, labels, seed) for seed in seeds]
        return np.array([accuracies[*at, _FROZEN] - accuracies[*at, BASELINE] for at in places])

    cases = []
    for setting, labels in dict.fromkeys(
        (row.setting._replace(network=""), row.labels) for row in cells
    ):
        try:
            mlp, cnn = (gains(setting._replace(network=kind), labels) for kind in ("mlp", "cnn"))
        except KeyError:
            continue
        low, high = map(float, statistics.t_interval(cnn - mlp, confidence=confidence))
        cases.append(
            {
                "setting": setting,
                "labels": labels,
                "gains": (mlp.mean(), cnn.mean(), (cnn - mlp).mean(), low, high),
                "judgement": judged(low, high, wanted=_MUCH),
            }
        )
    return cases


def _kinds_answer(cases: Sequence[dict[str, Any]]) -> str:
    answers = []
    for shift in sorted({case["setting"].shift for case in cases}):
        own = [case["judgement"] for case in cases if case["setting"].shift == shift]
        where = f"shifted by up to {shift}" if shift else "where images stay"
        words = (SUPPORTED, NOT_SUPPORTED, UNDETERMINED)
        counts = ", ".join(f"{word} in {own.count(word)}" for word in words)
        answers.append(f"{overall(own)} {where} ({counts} of {len(own)} cases)")
    return "; ".join(answers) or f"{UNDETERMINED}: one kind of network only"
