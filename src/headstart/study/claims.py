"""docs/claims.md: the notebook's three claims, answered from the tables of `make claims`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts
from headstart.study import outputs, statistics
from headstart.study.parameters import Grid, Statistics
from headstart.transfer.strategies import BASELINE

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

Rows = Sequence[Mapping[str, Any]]


def write(path: Path, folder: Path, grid: Grid, settings: Statistics) -> None:
    """Writes the page to `path` from the tables in `folder` alone.

    Seconds are told where SECONDS lies beside `path`.
    """
    summary = outputs.read(folder / "summary.csv")
    cells = outputs.read(folder / "cells.csv")
    seconds = path.parent / SECONDS.name
    text = page(
        summary,
        cells,
        seconds=artefacts.read_json(seconds) if seconds.is_file() else None,
        pictures=f"../{folder.as_posix()}",
        learning_rates=grid.learning_rates,
        confidence=settings.confidence,
    )
    with artefacts.replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def page(
    summary: Rows,
    cells: Rows,
    *,
    seconds: Mapping[str, Any] | None,
    pictures: str,
    learning_rates: Sequence[float],
    confidence: float,
) -> str:
    """Returns the page; equal tables give an equal page."""
    tasks = list(dict.fromkeys(row["task"] for row in summary))
    seeds = summary[0]["seeds"]
    budgets = sorted({row["labels"] for row in summary})
    lines = [
        "# The notebook's claims",
        "",
        "Written by `headstart study claims` from `metrics/study/claims/`; do not edit by hand.",
        "",
        (
            f"{len(tasks)} target tasks ({', '.join(tasks)}), {seeds} paired seeds, a reduced grid "
            f"of label budgets from {budgets[0]} to {budgets[-1]} (all there are), learning rates "
            f"{', '.join(f'{rate:g}' for rate in learning_rates)}. Intervals hold {confidence:.0%} "
            "over seeds. The source task is always made of all other classes."
        ),
        "",
    ]
    lines += _first(summary)
    lines += _second(summary, seconds)
    lines += _third(cells, confidence=confidence)
    lines += [
        "## Pictures",
        "",
        f"![Accuracy by label budget]({pictures}/label_efficiency.png)",
        "",
        f"![Gain over the baseline of the same seed]({pictures}/paired_differences.png)",
        "",
        f"![Cost against accuracy]({pictures}/cost.png)",
        "",
        "## What the study cannot tell",
        "",
        "- Whether this holds for other data: all tasks are cut from Fashion-MNIST, and sources",
        "  and targets look alike.",
        "- Whether it holds for larger networks, longer source trainings or other optimisers: each",
        "  was tried at one setting, without a search.",
        "- Whether a source closer to or farther from the target would change it: the source is",
        "  all that is not the target.",
        "- Anything between the label budgets, or below the smallest.",
        "- Which part of a gain is the source's features and which the source's scale of weights;",
        "  `random_frozen` in the grid of `make study` is a first control only.",
    ]
    return "\n".join(lines) + "\n"


def judged(low: float, high: float, *, wanted: float) -> str:
    """Returns whether an interval lies above what a claim wants, below it, or across it."""
    if math.isnan(low) or math.isnan(high):
        return UNDETERMINED
    if low >= wanted:
        return SUPPORTED
    return NOT_SUPPORTED if high < wanted else UNDETERMINED


def overall(judgements: Sequence[str]) -> str:
    """Returns the judgement that all share; a claim without limits fails with one case."""
    if all(one == SUPPORTED for one in judgements):
        return SUPPORTED
    return NOT_SUPPORTED if NOT_SUPPORTED in judgements else UNDETERMINED


def _first(summary: Rows) -> list[str]:
    most = _all_labels(summary)
    rows = [
        row
        for row in summary
        if row["arm"] == _FROZEN
        and (row["network"], row["shift"], row["training"]) == ("mlp", 0, _NOTEBOOK)
        and row["labels"] == most[row["task"]]
    ]
    table, judgements = [], []
    for row in rows:
        base = _other(summary, row, arm=BASELINE)
        judgement = judged(_float(row["gain_low"]), _float(row["gain_high"]), wanted=_CLAIMED_GAIN)
        judgements.append(judgement)
        table.append(
            f"| {row['task']} | {row['labels']} | {base['mean']:.4f} | {row['mean']:.4f} "
            f"| {_gain(row)} | {judgement} |"
        )
    return [
        "## 1. Transfer gives 0.99 where normal training gives 0.50",
        "",
        (
            f"**{overall(judgements).capitalize()}.** The notebook's setting (MLP, frozen layers, "
            "all labels, 5 epochs), with an output that fits the task:"
        ),
        "",
        "| target task | labels | baseline | transfer | gain | |",
        "|---|---|---|---|---|---|",
        *table,
        "",
        f"Supported would be a gain of at least {_CLAIMED_GAIN:g}, half of the notebook's. Its",
        "0.50 is the share of shirts: a softmax over one unit is 1 for every image, so that its",
        "baseline answers `shirt` whatever it has learned. With a sigmoid it shows what it has.",
        "",
    ]


def _second(summary: Rows, seconds: Mapping[str, Any] | None) -> list[str]:
    most = _all_labels(summary)
    rows = [
        row
        for row in summary
        if row["arm"] == _FROZEN
        and (row["shift"], row["training"]) == (0, _NOTEBOOK)
        and row["labels"] == most[row["task"]]
    ]
    table = []
    ratios: dict[str, list[float]] = {"weights": [], "once": [], "notebook": [], "source": []}
    for row in rows:
        base = _other(summary, row, arm=BASELINE)
        own = {
            "weights": base["trainable_parameters"] / row["trainable_parameters"],
            "once": base["flops"] / row["flops"],
            "notebook": base["flops"] / row["flops_as_notebook"],
            "source": base["flops"] / (row["flops"] + row["source_flops"]),
        }
        for key, ratio in own.items():
            ratios[key].append(ratio)
        table.append(
            f"| {row['task']} | {row['network']} | {base['trainable_parameters']} : "
            f"{row['trainable_parameters']} | {own['once']:.3g} | {own['notebook']:.3g} "
            f"| {own['source']:.3g} |"
        )

    def verdict(key: str) -> str:
        return SUPPORTED if min(ratios[key]) >= _VASTLY else NOT_SUPPORTED

    lines = [
        "## 2. Training time and resources are vastly reduced",
        "",
        (
            f"**Trainable parameters: {verdict('weights')}. Operations of the target's training: "
            f"{verdict('once')} with features computed once, {verdict('notebook')} as the notebook "
            f"runs it. With the source's training counted: {verdict('source')}.** Vastly means at "
            f"least {_VASTLY:g} times fewer. How many times the operations of the baseline are "
            "those of frozen transfer:"
        ),
        "",
        "| target task | network | trainable | features once | as the notebook | with the source |",
        "|---|---|---|---|---|---|",
        *table,
        "",
        "Below 1 the transfer costs more. The source pays only where it is trained for something",
        "else anyway, or for many target tasks.",
        "",
    ]
    if seconds is None:
        return [*lines, "Seconds: not measured yet (`python benchmarks/claims.py`).", ""]
    return [
        *lines,
        f"Seconds on {seconds['machine']}, {seconds['date']}, the notebook's task and setting:",
        "",
        "| | seconds |",
        "|---|---|",
        *[f"| {name} | {value:.2f} |" for name, value in seconds["seconds"].items()],
        "",
    ]


def _third(cells: Rows, *, confidence: float) -> list[str]:
    accuracy = {
        (r["task"], r["shift"], r["network"], r["training"], r["labels"], r["arm"], r["seed"]): r[
            "accuracy"
        ]
        for r in cells
    }
    seeds = sorted({row["seed"] for row in cells})
    settings = list(
        dict.fromkeys((r["task"], r["shift"], r["training"], r["labels"]) for r in cells)
    )
    table = []
    judgements: dict[int, list[str]] = {}
    for task, shift, training, labels in settings:

        def column(network: str, arm: str, place: tuple[Any, ...]) -> np.ndarray:
            task, shift, training, labels = place
            key = task, shift, network, training, labels, arm
            return np.array([accuracy[(*key, seed)] for seed in seeds])

        place = task, shift, training, labels
        try:
            gains = {
                network: column(network, _FROZEN, place) - column(network, BASELINE, place)
                for network in ("mlp", "cnn")
            }
        except KeyError:
            continue
        difference = gains["cnn"] - gains["mlp"]
        low, high = statistics.t_interval(difference, confidence=confidence)
        judgement = judged(float(low), float(high), wanted=_MUCH)
        judgements.setdefault(shift, []).append(judgement)
        table.append(
            f"| {task} | {shift} | {training} | {labels} | {gains['mlp'].mean():+.3f} "
            f"| {gains['cnn'].mean():+.3f} | {difference.mean():+.3f} ({float(low):+.3f} to "
            f"{float(high):+.3f}) | {judgement} |"
        )
    said = [
        f"{overall(found)} {'where images stay' if not shift else f'shifted by up to {shift}'} "
        f"(supported in {found.count(SUPPORTED)}, not supported in {found.count(NOT_SUPPORTED)}, "
        f"undetermined in {found.count(UNDETERMINED)} of {len(found)} cases)"
        for shift, found in sorted(judgements.items())
    ]
    return [
        "## 3. Convolutional layers transfer much better, since patterns can be detected anywhere",
        "",
        (
            f"**{'; '.join(said).capitalize() or 'Undetermined: one kind of network only'}.** Much "
            f"better means {100 * _MUCH:g} points of accuracy more gain of frozen transfer over "
            "the network's own baseline, CNN against MLP, paired by seed. Shifted target images, "
            "up to so many pixels each way, put the reason that the notebook gives to the test."
        ),
        "",
        "| target task | shift | training | labels | gain MLP | gain CNN | difference | |",
        "|---|---|---|---|---|---|---|---|",
        *table,
        "",
    ]


def _all_labels(summary: Rows) -> dict[str, int]:
    most: dict[str, int] = {}
    for row in summary:
        most[row["task"]] = max(most.get(row["task"], 0), row["labels"])
    return most


def _other(summary: Rows, row: Mapping[str, Any], *, arm: str) -> Mapping[str, Any]:
    keys = ("task", "network", "training", "labels", "shift")
    return next(
        other
        for other in summary
        if other["arm"] == arm and all(other[key] == row[key] for key in keys)
    )


def _gain(row: Mapping[str, Any]) -> str:
    return f"{row['gain']:+.4f} ({_float(row['gain_low']):+.4f} to {_float(row['gain_high']):+.4f})"


def _float(value: Any) -> float:
    return math.nan if value == "" else float(value)
