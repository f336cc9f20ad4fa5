"""What a stage of the study writes: tables, record, pictures, and a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart import artefacts
from headstart.study import pictures, tables
from headstart.study.parameters import ALL_PAIRS, BASELINE, Grid, Statistics

Rows = Sequence[Mapping[str, Any]]


def write(folder: Path, cells: Sequence[tables.Cells], grid: Grid, settings: Statistics) -> str:
    """Writes everything that the cells have to say into `folder`; returns the plain answer.

    Files: cells.csv, summary.csv, verdicts.csv, derived.csv, study.json, study.md, *.png.
    """
    found = tables.curves(cells)
    summary = tables.summary_rows(found, settings)
    verdicts = tables.verdict_rows(found, summary, settings)
    derived = tables.derived_rows(found, settings)
    record = tables.record(found, summary, derived)
    record["coverage_on_resampled_cells"] = tables.coverage(found, settings)
    answer = tables.sentences(found, derived, confidence=settings.confidence)

    artefacts.write_table(folder / "cells.csv", tables.cell_rows(cells))
    artefacts.write_table(folder / "summary.csv", summary)
    artefacts.write_table(folder / "verdicts.csv", verdicts or [{"verdict": "nothing to compare"}])
    artefacts.write_table(folder / "derived.csv", derived)
    artefacts.write_json(folder / "study.json", record)
    drawn = _draw(folder, summary, grid)
    page = _page(answer, verdicts, derived, record, drawn, grid, settings)
    with artefacts.replacing(folder / "study.md") as part:
        part.write_text(page, encoding="utf-8")
    return "\n".join(answer)


def _draw(folder: Path, summary: Rows, grid: Grid) -> dict[str, str]:
    figures = {
        "label_efficiency": (pictures.label_efficiency(summary), "Accuracy by label budget"),
        "paired_differences": (
            pictures.paired_differences(summary),
            "Gain over the baseline of the same seed, with intervals",
        ),
        "cost": (pictures.cost_and_accuracy(summary), "Cost against accuracy"),
    }
    arms = [arm for arm in grid.arms if arm != BASELINE]
    if grid.target_tasks == ALL_PAIRS and arms:
        fewest = min(row["labels"] for row in summary)
        figures["pairs"] = (
            pictures.pairs(summary, arm=arms[0], labels=fewest),
            f"Gain of {arms[0]} over all pairs of classes",
        )
    for name, (figure, _) in figures.items():
        pictures.write_png(folder / f"{name}.png", figure)
    return {f"{name}.png": title for name, (_, title) in figures.items()}


def _page(
    answer: Sequence[str],
    verdicts: Rows,
    derived: Rows,
    record: Mapping[str, Any],
    drawn: Mapping[str, str],
    grid: Grid,
    settings: Statistics,
) -> str:
    """Returns study.md: the answer first, then verdicts, pictures and what the grid cannot tell."""
    lines = ["# The study", ""]
    lines += [f"**{sentence}**\n" for sentence in answer] or ["No transferred arm was asked for.\n"]
    lines += [
        (
            f"{record['cells']} cells, {grid.seeds} paired seeds a row; {record['degenerate']} "
            f"cells answer one class for everything, {record['diverged']} diverged; both stay in "
            "all means."
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
    for row in verdicts:
        here = tuple(row[key] for key in ("task", "network", "training", "shift"))
        if here != heading:
            heading = here
            shift = f", shifted by up to {row['shift']} pixels" if row["shift"] else ""
            lines += ["", f"### {row['task']}, {row['network']}, {row['training']}{shift}", ""]
        lines.append(f"- {tables.verdict_sentence(row)}")
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
    lines += [f"![{title}]({name})\n" for name, title in drawn.items()]
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
