"""What a stage of the study writes: tables, record, pictures, and a page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import artefacts, runtime
from headstart.params.strategies import BASELINE
from headstart.reporting import render, study_figures, study_tables, style
from headstart.reporting.study_tables import (
    AreaRow,
    CellRow,
    DerivedRow,
    RateRow,
    SummaryRow,
    VerdictRow,
)
from headstart.study import answer, cells_table, derived_table, power, rates
from headstart.study.parameters import ALL_PAIRS, Grid, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "label_efficiency.png": "Accuracy by label budget",
    "labels_saved.png": "Labels saved, as a factor",
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
    unsearched: Sequence[cells_table.Cells] = (),
    instructions: str = runtime.AVX2,
) -> list[str]:
    """Writes everything that the cells have to say into `folder`; returns the plain answer.

    `unsearched` are the same rows at the rates taken without a search, where one chose those of
    `cells`; `instructions` are those that the networks were trained with, for the record.
    Files: cells.csv, summary.csv, rates.csv, areas.csv, verdicts.csv, derived.csv, study.json and
    *.png.
    """
    curves = cells_table.curves(cells)
    summary = cells_table.summary_rows(curves, settings)
    curves_before = cells_table.curves(unsearched)
    before = cells_table.summary_rows(curves_before, settings)
    areas_before = derived_table.area_rows(curves_before, settings, chosen=0)
    areas = derived_table.area_rows(curves, settings)
    derived = derived_table.derived_rows(curves, settings)
    told = answer.sentences(curves, areas, settings, unsearched=areas_before)
    record = {
        "answer": told,
        **derived_table.record(summary, areas, derived),
        "coverage_on_resampled_cells": derived_table.coverage(curves, settings),
        "instructions": instructions,
    }
    study_tables.write(folder / "cells.csv", CellRow, cells_table.cell_rows(cells, unsearched))
    study_tables.write(folder / "summary.csv", SummaryRow, summary)
    study_tables.write(folder / "rates.csv", RateRow, rates.rows(before, summary))
    study_tables.write(folder / "areas.csv", AreaRow, [*areas_before, *areas])
    study_tables.write(folder / "verdicts.csv", VerdictRow, derived_table.verdict_rows(summary))
    study_tables.write(folder / "derived.csv", DerivedRow, derived)
    artefacts.write_json(folder / "study.json", record)
    for name, figure in _figures(summary, derived, grid).items():
        style.write_png(folder / name, figure)
    return told


def write_page(folder: Path, settings: Statistics) -> Path:
    """Writes study.md, drawn from the tables in `folder` alone; returns its path."""
    summary = study_tables.read(folder / "summary.csv", SummaryRow)
    areas: dict[study_tables.Setting, dict[str, dict[str, AreaRow]]] = {}
    rows = study_tables.read(folder / "areas.csv", AreaRow)
    for row in rows:
        if row.chosen:
            areas.setdefault(row.setting, {}).setdefault(row.arm, {})[row.range] = row
    page = render.text(
        "study.md",
        **curves_of(summary, folder),
        record=artefacts.read_json(folder / "study.json"),
        areas=areas,
        hanging=rates.hanging(study_tables.read(folder / "rates.csv", RateRow), rows),
        power=power.seeds(summary, settings.margin, settings),
        settings=settings,
        words=study_tables.SHORT,
    )
    path = folder / "study.md"
    render.write(path, page)
    return path


def curves_of(summary: Sequence[SummaryRow], folder: Path) -> dict[str, Any]:
    """Returns what the template study_curves.md shows: means by labels and pictures, no verdict."""
    curves: dict[study_tables.Setting, dict[str, dict[int, SummaryRow]]] = {}
    for row in summary:
        curves.setdefault(row.setting, {}).setdefault(row.arm, {})[row.labels] = row
    return {
        "curves": curves,
        "pictures": {name: title for name, title in TITLES.items() if (folder / name).is_file()},
        "place": answer.place,
        "baseline": BASELINE,
        "points": lambda value: "" if math.isnan(value) else f"{100 * value:+.2f}",
    }


def _figures(
    summary: Sequence[SummaryRow], derived: Sequence[DerivedRow], grid: Grid
) -> dict[str, "Figure"]:
    figures = {
        "label_efficiency.png": study_figures.label_efficiency(summary),
        "labels_saved.png": study_figures.labels_saved(summary, derived),
        "paired_differences.png": study_figures.paired_differences(summary),
        "cost.png": study_figures.cost_and_accuracy(summary),
    }
    arms = [arm for arm in grid.arms if arm != BASELINE]
    if grid.target_tasks == ALL_PAIRS and arms:
        fewest = min(row.labels for row in summary)
        figures["pairs.png"] = study_figures.pairs(summary, arm=arms[0], labels=fewest)
    return figures
