"""The study's figures, drawn from its tables with matplotlib."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.transfer.strategies import BASELINE, TRANSFERRED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from headstart.reporting.style import new_figure

# Okabe and Ito, as in the pipeline's figures; markers tell arms apart without colour.
LOOKS: dict[str, tuple[str, str]] = {
    "baseline": ("#0072B2", "o"),
    "frozen": ("#D55E00", "s"),
    "finetune": ("#009E73", "^"),
    "gradual": ("#CC79A7", "D"),
    "random_frozen": ("#7F7F7F", "x"),
}


# More panels than this are no picture any more.
_MOST_ROWS = 24


Rows = Sequence[Mapping[str, Any]]


def label_efficiency(summary: Rows) -> "Figure":
    """Returns accuracy by label budget with bands (t intervals over seeds), a panel a setting."""

    def draw(axes: "Axes", rows: Rows) -> None:
        for arm, own in _by_arm(rows):
            colour, marker = LOOKS[arm]
            labels = [row["labels"] for row in own]
            axes.plot(labels, _column(own, "mean"), color=colour, marker=marker, ms=4, label=arm)
            axes.fill_between(
                labels, _column(own, "low"), _column(own, "high"), color=colour, alpha=0.15, lw=0
            )
        axes.set_ylabel("accuracy")

    return _panels(summary, draw)


def paired_differences(summary: Rows) -> "Figure":
    """Returns the mean paired gain over the baseline with intervals and a zero line."""

    def draw(axes: "Axes", rows: Rows) -> None:
        arms = [(arm, own) for arm, own in _by_arm(rows) if arm != BASELINE]
        axes.axhline(0, color="#0072B2", lw=1.2, label="baseline")
        for number, (arm, own) in enumerate(arms):
            colour, marker = LOOKS[arm]
            # Side by side on the logarithmic axis.
            offset = 1.06 ** (number - (len(arms) - 1) / 2)
            gains = _column(own, "gain")
            axes.errorbar(
                [row["labels"] * offset for row in own],
                gains,
                yerr=np.nan_to_num(
                    [gains - _column(own, "gain_low"), _column(own, "gain_high") - gains]
                ),
                color=colour,
                marker=marker,
                ms=4,
                lw=1,
                capsize=2,
                label=arm,
            )
        axes.set_ylabel("gain in accuracy")

    return _panels(summary, draw)


def cost_and_accuracy(summary: Rows) -> "Figure":
    """Returns mean accuracy by operations; dotted, with the source's training added."""

    def draw(axes: "Axes", rows: Rows) -> None:
        for arm, own in _by_arm(rows):
            colour, marker = LOOKS[arm]
            alone = _column(own, "flops")
            axes.plot(alone, _column(own, "mean"), color=colour, marker=marker, ms=4, label=arm)
            if arm in TRANSFERRED:
                axes.plot(
                    alone + _column(own, "source_flops"),
                    _column(own, "mean"),
                    ":",
                    color=colour,
                    marker=marker,
                    mfc="none",
                    ms=4,
                    label=f"{arm}, with the source",
                )
        axes.set(ylabel="accuracy", xlabel="operations a training (FLOPs)")

    return _panels(summary, draw, labels=False)


def pairs(summary: Rows, *, arm: str, labels: int) -> "Figure":
    """Returns a heat map of the mean gain of `arm` over all pairs of classes, with `labels`.

    One panel a training budget; rows of the first network and shift.
    """
    first = summary[0]
    rows = [
        row
        for row in summary
        if (row["arm"], row["labels"]) == (arm, labels)
        and (row["network"], row["shift"]) == (first["network"], first["shift"])
    ]
    classes = sorted({name for row in rows for name in row["task"].split("_")})
    trainings = list(dict.fromkeys(row["training"] for row in rows))
    largest = max(abs(float(row["gain"])) for row in rows) or 1.0
    with new_figure(5.4 * len(trainings) + 0.6, 5) as figure:
        every = figure.subplots(1, len(trainings), squeeze=False)[0]
        for axes, training in zip(every, trainings, strict=True):
            gains = np.full((len(classes), len(classes)), np.nan)
            for row in rows:
                if row["training"] == training:
                    one, two = (classes.index(name) for name in row["task"].split("_"))
                    gains[one, two] = gains[two, one] = row["gain"]
            image = axes.imshow(gains, cmap="RdBu_r", vmin=-largest, vmax=largest)
            for (one, two), gain in np.ndenumerate(gains):
                if math.isfinite(gain):
                    axes.text(two, one, f"{100 * gain:+.0f}", ha="center", va="center", size=7)
            axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
            axes.set_yticks(range(len(classes)), classes)
            axes.set_title(f"{arm}, {labels} labels, {training}: gain in points", size=9)
            axes.tick_params(length=0)
        figure.colorbar(image, ax=every, shrink=0.8)
    return figure


def _panels(summary: Rows, draw: Any, *, labels: bool = True) -> "Figure":
    """Returns one panel a setting: task, network and shift down, training budgets across."""
    trainings = list(dict.fromkeys(row["training"] for row in summary))
    settings = list(dict.fromkeys((row["task"], row["network"], row["shift"]) for row in summary))[
        :_MOST_ROWS
    ]
    with new_figure(5.2 * len(trainings), 3.3 * len(settings) + 0.5) as figure:
        grid = figure.subplots(len(settings), len(trainings), squeeze=False)
        for (row, column), axes in np.ndenumerate(grid):
            setting, training = settings[row], trainings[column]
            own = [
                line
                for line in summary
                if (line["task"], line["network"], line["shift"]) == setting
                and line["training"] == training
            ]
            axes.set_xscale("log")
            if labels:
                axes.set_xlabel("labels")
            draw(axes, own)
            if labels:
                budgets = sorted({line["labels"] for line in own})
                axes.set_xticks(budgets, [str(budget) for budget in budgets], size=8)
                axes.minorticks_off()
            shift = f", shift {setting[2]}" if setting[2] else ""
            axes.set_title(f"{setting[0]}, {setting[1]}{shift}, {training}", size=10)
            axes.grid(alpha=0.25)
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 5))
    return figure


def _by_arm(rows: Rows) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for arm in dict.fromkeys(row["arm"] for row in rows):
        yield arm, sorted((r for r in rows if r["arm"] == arm), key=lambda row: row["labels"])


def _column(rows: Rows, name: str) -> np.ndarray:
    """Returns a column as float64, NaN where it is empty."""
    return np.array([math.nan if row[name] == "" else float(row[name]) for row in rows])
