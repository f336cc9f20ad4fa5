"""What a stage of the study writes: tables, record, pictures, and a page."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core import artefacts
from headstart.reporting import study_figures, style
from headstart.study import cells_table, derived_table
from headstart.study.parameters import ALL_PAIRS, Grid, Statistics
from headstart.transfer.strategies import BASELINE

TITLES = {
    "label_efficiency.png": "Accuracy by label budget",
    "paired_differences.png": "Gain over the baseline of the same seed, with intervals",
    "cost.png": "Cost against accuracy",
    "pairs.png": "Gain over all pairs of classes",
}

Rows = Sequence[Mapping[str, Any]]


def write(
    folder: Path, cells: Sequence[cells_table.Cells], grid: Grid, settings: Statistics
) -> list[str]:
    """Writes everything that the cells have to say into `folder`; returns the plain answer.

    Files: cells.csv, summary.csv, verdicts.csv, derived.csv, study.json, *.png.
    """
    found = cells_table.curves(cells)
    summary = cells_table.summary_rows(found, settings)
    derived = derived_table.derived_rows(found, settings)
    verdicts = derived_table.verdict_rows(found, summary, settings)
    answer = derived_table.sentences(found, derived, confidence=settings.confidence)
    record = {
        "answer": answer,
        **derived_table.record(summary, derived),
        "coverage_on_resampled_cells": derived_table.coverage(found, settings),
    }
    artefacts.write_table(folder / "cells.csv", cells_table.cell_rows(cells))
    artefacts.write_table(folder / "summary.csv", summary)
    artefacts.write_table(folder / "verdicts.csv", verdicts or [derived_table.NO_VERDICT])
    artefacts.write_table(folder / "derived.csv", derived)
    artefacts.write_json(folder / "study.json", record)
    for name, figure in _figures(summary, grid).items():
        style.write_png(folder / f"{name}.png", figure)
    return answer


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of one of the study's tables with numbers as numbers."""
    return [{key: _typed(text) for key, text in row.items()} for row in artefacts.read_table(path)]


def write_page(folder: Path, settings: Statistics) -> Path:
    """Writes study.md, drawn from the tables in `folder` alone; returns its path."""
    path = folder / "study.md"
    text = _page(
        artefacts.read_json(folder / "study.json"),
        read(folder / "verdicts.csv"),
        read(folder / "derived.csv"),
        [file.name for file in sorted(folder.glob("*.png"))],
        settings,
    )
    with artefacts.replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _figures(summary: Rows, grid: Grid) -> dict[str, Any]:
    figures = {
        "label_efficiency": study_figures.label_efficiency(summary),
        "paired_differences": study_figures.paired_differences(summary),
        "cost": study_figures.cost_and_accuracy(summary),
    }
    arms = [arm for arm in grid.arms if arm != BASELINE]
    if grid.target_tasks == ALL_PAIRS and arms:
        fewest = min(row["labels"] for row in summary)
        figures["pairs"] = study_figures.pairs(summary, arm=arms[0], labels=fewest)
    return figures


def _typed(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _page(
    record: Mapping[str, Any],
    verdicts: Rows,
    derived: Rows,
    drawn: Sequence[str],
    settings: Statistics,
) -> str:
    """Returns study.md: the answer first, then verdicts, labels saved and pictures."""
    lines = ["# The study", ""]
    lines += [f"**{sentence}**\n" for sentence in record["answer"]] or [
        "No transferred arm was asked for.\n"
    ]
    lines += [
        (
            f"{record['cells']} cells, {record['seeds']} paired seeds a row; "
            f"{record['degenerate']} cells answer one class for everything, "
            f"{record['diverged']} diverged; both stay in all means."
        ),
        "",
        "## Verdicts",
        "",
        (
            f"Paired t-tests over seeds, Holm's correction over arms and budgets, alpha "
            f"{settings.alpha:g}. They speak of the method on this data, not of other data."
        ),
        "",
    ]
    heading = None
    for row in verdicts if verdicts != [derived_table.NO_VERDICT] else []:
        here = tuple(row[key] for key in ("task", "network", "training", "shift"))
        if here != heading:
            heading = here
            shift = f", shifted by up to {row['shift']} pixels" if row["shift"] else ""
            lines += ["", f"### {row['task']}, {row['network']}, {row['training']}{shift}", ""]
        lines.append(f"- {derived_table.verdict_sentence(row)}")
    lines += ["", "## Labels saved", ""]
    lines += [
        "By which factor the baseline needs more labels for the same accuracy (below 1: fewer).",
        "",
        "| task | network | shift | training | arm | labels | factor | interval | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in derived:
        if row["quantity"] == "labels_saved":
            lines.append(
                f"| {row['task']} | {row['network']} | {row['shift']} | {row['training']} "
                f"| {row['arm']} | {row['at']} | {_short(row['value'])} "
                f"| {_short(row['low'])} to {_short(row['high'])} | {row['kind']} |"
            )
    lines += ["", "## Pictures", ""]
    lines += [f"![{TITLES[name]}]({name})\n" for name in drawn]
    coverage = record["coverage_on_resampled_cells"]
    lines += [
        "## How far the intervals can be trusted",
        "",
        (
            f"On seeds resampled from the real cells, {100 * settings.confidence:g} % t intervals "
            f"hold the real mean in {_share(coverage['mean'])} and the real gain in "
            f"{_share(coverage['gain'])} of the cases: accuracies near 1 are skewed and come in "
            "steps of one test image."
        ),
    ]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    return "none" if value == "" else f"{float(value):.3g}"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.1f} %"
