"""The study's figures, drawn from its tables with matplotlib."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.params.strategies import ARMS, BASELINE
from headstart.reporting.study_tables import DerivedRow, InterimRow, SummaryRow, classes_of
from headstart.reporting.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, as in the pipeline's figures; markers tell arms apart without colour. The first
# is the baseline's.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F", "#E69F00", "#56B4E9")
_MARKERS = "os^DxvP"
# More panels than this are no picture any more.
_MOST_ROWS = 24
# Characters of a legend below a panel, and those that a line with its marker takes.
_LEGEND, _LINE = 64, 9

Rows = Sequence[SummaryRow | InterimRow]


def label_efficiency(summary: Rows) -> "Figure":
    """Returns accuracy by label budget with bands (t intervals over seeds), a panel a setting."""

    def draw(axes: "Axes", rows: Rows) -> None:
        for arm, own, look in _by_arm(rows):
            labels, mean, low, high = _columns(own, "labels", "mean", "low", "high")
            axes.plot(labels, mean, **look, label=arm)
            # No accuracy lies beyond, where an interval of Student's may.
            low, high = np.clip([low, high], 0, 1)
            axes.fill_between(labels, low, high, color=look["color"], alpha=0.15, lw=0)
        axes.set_ylabel("accuracy")

    return _panels(summary, draw)


def paired_differences(summary: Rows) -> "Figure":
    """Returns the mean paired gain over the baseline with intervals and a zero line."""

    def draw(axes: "Axes", rows: Rows) -> None:
        arms = [drawn for drawn in _by_arm(rows) if drawn[0] != BASELINE]
        axes.axhline(0, color=_COLOURS[0], lw=1.2, label=BASELINE)
        for number, (arm, own, look) in enumerate(arms):
            # Side by side on the logarithmic axis.
            offset = 1.06 ** (number - (len(arms) - 1) / 2)
            labels, gains, low, high = _columns(own, "labels", "gain", "gain_low", "gain_high")
            spread = np.nan_to_num([gains - low, high - gains])
            axes.errorbar(labels * offset, gains, yerr=spread, **look, lw=1, capsize=2, label=arm)
        axes.set_ylabel("gain in accuracy")

    return _panels(summary, draw)


def labels_saved(summary: Rows, derived: Sequence[DerivedRow]) -> "Figure":
    """Returns by which factor the baseline needs more labels, with intervals and a line at 1.

    Triangles are bounds, where the grid ends; hollow ones lack training rather than labels.
    """
    saved = [row for row in derived if row.quantity == "labels_saved" and row.value > 0]

    def draw(axes: "Axes", rows: Rows) -> None:
        axes.axhline(1, color=_COLOURS[0], lw=1.2, label=BASELINE)
        look = looks(row.arm for row in rows)
        arms = [arm for arm in dict.fromkeys(row.arm for row in rows) if arm != BASELINE]
        for number, arm in enumerate(arms):
            own = [row for row in saved if (row.setting, row.arm) == (rows[0].setting, arm)]
            colour, _ = look[arm]
            for row in own:
                at = int(row.at) * 1.06 ** (number - (len(arms) - 1) / 2)
                # An open end goes as far as the grid, which the axis shows.
                budgets = [other.labels for other in rows]
                ends = min(budgets) / int(row.at), max(budgets) / int(row.at)
                low, high = (
                    end if math.isnan(value) else value
                    for value, end in zip((row.low, row.high), ends, strict=True)
                )
                if not (math.isnan(row.low) and math.isnan(row.high)):
                    axes.plot([at, at], [low, high], color=colour, lw=1)
                marker = {"at least": "^", "at most": "v"}.get(row.kind, "o")
                face = "none" if row.lacks_steps else colour
                axes.plot(at, row.value, marker, color=colour, mfc=face, ms=4)
            axes.plot([], [], "o", color=colour, ms=4, label=arm)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel("labels that the baseline needs,\nover labels that the arm has")

    return _panels(summary, draw)


def cost_and_accuracy(summary: Rows) -> "Figure":
    """Returns mean accuracy by operations; dotted, with the source's training added."""

    def draw(axes: "Axes", rows: Rows) -> None:
        for arm, own, look in _by_arm(rows):
            alone, means, source = _columns(own, "flops", "mean", "source_flops")
            axes.plot(alone, means, **look, label=arm)
            # What learned elsewhere was not trained here.
            if source.any():
                label = f"{arm}, with the source"
                axes.plot(alone + source, means, ":", **look, mfc="none", label=label)
        # That of a logarithmic axis writes powers as TeX, which style.py leaves as it is.
        axes.xaxis.set_major_formatter("{x:.0e}")
        axes.set(ylabel="accuracy", xlabel="operations a training (FLOPs)")

    return _panels(summary, draw, labels=False)


def pairs(summary: Sequence[SummaryRow], *, arm: str, labels: int) -> "Figure":
    """Returns a heat map of the mean gain of `arm` over all pairs of classes, with `labels`.

    One panel a training budget; rows of the first network and shift.
    """
    first = summary[0]
    rows = [
        row
        for row in summary
        if (row.arm, row.labels) == (arm, labels)
        and (row.network, row.shift) == (first.network, first.shift)
    ]
    classes = sorted({name for row in rows for name in classes_of(row.task)})
    trainings = list(dict.fromkeys(row.training for row in rows))
    largest = max(abs(row.gain) for row in rows) or 1.0
    with new_figure(5.4 * len(trainings) + 0.6, 5) as figure:
        panels = figure.subplots(1, len(trainings), squeeze=False)[0]
        for axes, training in zip(panels, trainings, strict=True):
            gains = np.full((len(classes), len(classes)), np.nan)
            for row in rows:
                if row.training == training:
                    left, right = (classes.index(name) for name in classes_of(row.task))
                    gains[left, right] = gains[right, left] = row.gain
            image = axes.imshow(gains, cmap="RdBu_r", vmin=-largest, vmax=largest)
            for (left, right), gain in np.ndenumerate(gains):
                if math.isfinite(gain):
                    shown = f"{100 * gain:+.0f}"
                    axes.text(right, left, shown, ha="center", va="center", size=7)
            axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
            axes.set_yticks(range(len(classes)), classes)
            axes.set_title(f"{arm}, {labels} labels, {training}: gain in points", size=9)
            axes.tick_params(length=0)
        figure.colorbar(image, ax=panels, shrink=0.8)
    return figure


def looks(arms: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Returns the colour and the marker of each arm.

    By its place in the table of strategies, so that it looks alike in every study; an arm that is
    not there has the first place that no other has. Where the colours begin anew the markers go on
    by one, so that no two of 49 arms look alike.
    """
    asked = list(dict.fromkeys(arms))
    places = {arm: place for place, arm in enumerate(ARMS) if arm in asked}
    free = (place for place in itertools.count() if place not in places.values())
    for arm in asked:
        if arm not in places:
            places[arm] = next(free)
    return {
        arm: (
            _COLOURS[place % len(_COLOURS)],
            _MARKERS[(place + place // len(_COLOURS)) % len(_MARKERS)],
        )
        for arm, place in places.items()
    }


def _panels(
    summary: Rows, draw: Callable[["Axes", Rows], None], *, labels: bool = True
) -> "Figure":
    """Returns one panel a setting: task, network and shift down, training budgets across."""
    trainings = list(dict.fromkeys(row.training for row in summary))
    places = list(dict.fromkeys((row.task, row.network, row.shift) for row in summary))[:_MOST_ROWS]
    with new_figure(5.2 * len(trainings), 3.3 * len(places) + 0.5) as figure:
        grid = figure.subplots(len(places), len(trainings), squeeze=False)
        for axes, ((task, network, shift), training) in zip(
            grid.flat, itertools.product(places, trainings), strict=True
        ):
            own = [row for row in summary if row.setting == (task, shift, network, training)]
            axes.set_xscale("log")
            draw(axes, own)
            if labels:
                axes.set_xlabel("labels")
                budgets = sorted({row.labels for row in own})
                axes.set_xticks(budgets, [str(budget) for budget in budgets], size=8)
                axes.minorticks_off()
            shifted = f", shift {shift}" if shift else ""
            axes.set_title(f"{task}, {network}{shifted}, {training}", size=10)
            axes.grid(alpha=0.25)
        handles, names = grid[0, 0].get_legend_handles_labels()
        across = max(1, int(len(trainings) * _LEGEND // (max(map(len, names)) + _LINE)))
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), across))
    return figure


def _by_arm(rows: Rows) -> Iterator[tuple[str, Rows, dict[str, Any]]]:
    """Yields each arm with its rows by labels, and what sets its lines apart."""
    look = looks(row.arm for row in rows)
    for arm in dict.fromkeys(row.arm for row in rows):
        own = sorted((row for row in rows if row.arm == arm), key=lambda row: row.labels)
        yield arm, own, dict(zip(("color", "marker"), look[arm], strict=True), ms=4)


def _columns(rows: Rows, *names: str) -> np.ndarray:
    return np.array([[getattr(row, name) for row in rows] for name in names], dtype=np.float64)
