"""What a stage of the study writes: tables, record, pictures, and a page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import artefacts, runtime
from headstart.params.strategies import BASELINE
from headstart.reporting import answer_figure, render, study_figures, study_tables, style, words
from headstart.reporting.study_tables import (
    AreaRow,
    CellRow,
    DerivedRow,
    RateRow,
    SummaryRow,
    VerdictRow,
)
from headstart.study import answer, cells_table, derived_table, headlines, power, rates
from headstart.study.parameters import ALL_PAIRS, Grid, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "label_efficiency.png": "Accuracy by label budget, and the labels saved",
    "labels_saved.png": "Labels saved, as a factor",
    "paired_differences.png": "Gain over the baseline of the same seed, with intervals",
    "cost.png": "Cost against accuracy",
    "all_settings.png": "Accuracy by label budget, every setting",
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
    controls = derived_table.control_rows(curves, settings)
    derived = derived_table.derived_rows(curves, settings)
    told = answer.sentences(
        curves,
        areas,
        settings,
        controls=controls,
        before=curves_before,
        areas_before=areas_before,
    )
    record = {
        "answer": told,
        **derived_table.record(summary, areas, controls, derived),
        "coverage_on_resampled_cells": derived_table.coverage(curves, settings),
        "instructions": instructions,
    }
    study_tables.write(folder / "cells.csv", CellRow, cells_table.cell_rows(cells, unsearched))
    study_tables.write(folder / "summary.csv", SummaryRow, summary)
    study_tables.write(folder / "rates.csv", RateRow, rates.rows(before, summary))
    study_tables.write(folder / "areas.csv", AreaRow, [*areas_before, *areas])
    study_tables.write(folder / "verdicts.csv", VerdictRow, derived_table.verdict_rows(summary))
    study_tables.write(folder / "derived.csv", DerivedRow, derived)
    titled = headlines.headlines(curves, areas, settings)
    shared = answer_figure.answer(summary, titled, confidence=settings.confidence)
    pictures = {"label_efficiency.png": shared} | _figures(summary, derived, grid)
    for name, figure in pictures.items():
        style.write_png(folder / name, figure)
    # One of a grid that was another.
    for name in TITLES.keys() - pictures.keys():
        (folder / name).unlink(missing_ok=True)
    # Last: with it all of them are those of this study.
    artefacts.write_json(folder / "study.json", record)
    return told


def write_page(folder: Path, settings: Statistics) -> Path:
    """Writes study.md, drawn from the tables in `folder` alone; returns its path."""
    summary = study_tables.read(folder / "summary.csv", SummaryRow)
    areas: dict[study_tables.Setting, dict[str, dict[str, AreaRow]]] = {}
    rows = study_tables.read(folder / "areas.csv", AreaRow)
    for row in rows:
        if row.chosen:
            areas.setdefault(row.setting, {}).setdefault(row.arm, {})[row.range] = row
    by_rate = study_tables.read(folder / "rates.csv", RateRow)
    record = artefacts.read_json(folder / "study.json")
    page = render.text(
        "study.md",
        **curves_of(summary, folder),
        record=record,
        areas=areas,
        learned={setting: derived_table.over_controls(record, setting) for setting in areas},
        hanging=rates.hanging(by_rate, rows),
        moved=rates.moved(by_rate),
        power={} if summary[0].splits > 1 else power.seeds(summary, settings.margin, settings),
        splits=summary[0].splits,
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
        "points": lambda value: "" if math.isnan(value) else words.points(value),
    }


def _figures(
    summary: Sequence[SummaryRow], derived: Sequence[DerivedRow], grid: Grid
) -> dict[str, "Figure"]:
    figures = {
        "labels_saved.png": study_figures.labels_saved(summary, derived),
        "paired_differences.png": study_figures.paired_differences(summary),
        "cost.png": study_figures.cost_and_accuracy(summary),
    }
    if len(answer_figure.pictured(summary)) < len({row.setting for row in summary}):
        figures["all_settings.png"] = study_figures.label_efficiency(summary)
    # As rows are called: of networks from elsewhere `frozen of X`, in no list of arms.
    arms = [row.arm for row in summary if row.arm != BASELINE]
    if grid.target_tasks == ALL_PAIRS and arms:
        fewest = min(row.labels for row in summary)
        figures["pairs.png"] = study_figures.pairs(summary, arm=arms[0], labels=fewest)
    return figures
