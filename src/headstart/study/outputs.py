"""What a stage of the study writes: tables, record, pictures, and a page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core import artefacts, runtime
from headstart.params.strategies import BASELINE
from headstart.reporting import render, study_figures, study_tables, style
from headstart.reporting.study_tables import CellRow, DerivedRow, SummaryRow, VerdictRow
from headstart.study import cells_table, derived_table
from headstart.study.parameters import ALL_PAIRS, Grid, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "label_efficiency.png": "Accuracy by label budget",
    "paired_differences.png": "Gain over the baseline of the same seed, with intervals",
    "cost.png": "Cost against accuracy",
    "pairs.png": "Gain over all pairs of classes",
}


def write(
    folder: Path,
    cells: Sequence[cells_table.Cells],
    grid: Grid,
    settings: Statistics,
    *,
    instructions: str = runtime.AVX2,
) -> list[str]:
    """Writes everything that the cells have to say into `folder`; returns the plain answer.

    `instructions` are those that the networks were trained with, for the record.
    Files: cells.csv, summary.csv, verdicts.csv, derived.csv, study.json, *.png.
    """
    curves = cells_table.curves(cells)
    summary = cells_table.summary_rows(curves, settings)
    derived = derived_table.derived_rows(curves, settings)
    verdicts = derived_table.verdict_rows(curves, summary, settings)
    answer = derived_table.sentences(curves, derived, confidence=settings.confidence)
    record = {
        "answer": answer,
        **derived_table.record(summary, derived),
        "coverage_on_resampled_cells": derived_table.coverage(curves, settings),
        "instructions": instructions,
    }
    study_tables.write(folder / "cells.csv", CellRow, cells_table.cell_rows(cells))
    study_tables.write(folder / "summary.csv", SummaryRow, summary)
    study_tables.write(folder / "verdicts.csv", VerdictRow, verdicts)
    study_tables.write(folder / "derived.csv", DerivedRow, derived)
    artefacts.write_json(folder / "study.json", record)
    for name, figure in _figures(summary, grid).items():
        style.write_png(folder / name, figure)
    return answer


def write_page(folder: Path, settings: Statistics) -> Path:
    """Writes study.md, drawn from the tables in `folder` alone; returns its path."""
    verdicts: dict[study_tables.Setting, list[str]] = {}
    for row in study_tables.read(folder / "verdicts.csv", VerdictRow):
        verdicts.setdefault(row.setting, []).append(derived_table.verdict_sentence(row))
    derived = study_tables.read(folder / "derived.csv", DerivedRow)
    page = render.text(
        "study.md",
        record=artefacts.read_json(folder / "study.json"),
        verdicts=verdicts,
        saved=[row for row in derived if row.quantity == "labels_saved"],
        pictures={file.name: TITLES[file.name] for file in sorted(folder.glob("*.png"))},
        settings=settings,
        short=lambda value: "none" if math.isnan(value) else f"{value:.3g}",
        share=lambda value: "an unknown share" if value is None else f"{100 * value:.1f} %",
    )
    path = folder / "study.md"
    render.write(path, page)
    return path


def _figures(summary: Sequence[SummaryRow], grid: Grid) -> dict[str, "Figure"]:
    figures = {
        "label_efficiency.png": study_figures.label_efficiency(summary),
        "paired_differences.png": study_figures.paired_differences(summary),
        "cost.png": study_figures.cost_and_accuracy(summary),
    }
    arms = [arm for arm in grid.arms if arm != BASELINE]
    # Where a class has the separator in its name, its pairs cannot be told from their names.
    if grid.target_tasks == ALL_PAIRS and arms and all(r.task.count("_") == 1 for r in summary):
        fewest = min(row.labels for row in summary)
        figures["pairs.png"] = study_figures.pairs(summary, arm=arms[0], labels=fewest)
    return figures
