"""The picture that people share: accuracy by labels, and an arrow for the labels saved."""

import dataclasses
import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.params.strategies import ARMS, BASELINE
from headstart.reporting.study_figures import looks
from headstart.reporting.study_tables import Setting, SummaryRow
from headstart.reporting.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More panels than this are no picture to share.
MOST_PANELS = 6
_ACROSS = 2
# Inches of a panel, and about what is left of it for the axes beside titles and names.
_PANEL = 7.4, 4.3
_AXES = 5.0, 2.75
# Characters that fit above the axes, into the names at the ends of the lines, and below a panel.
_TITLE, _ASIDE, _NAME, _READING = 66, 88, 24, 115
_SIZE = 9
# Inches of a line of text and, about, of a letter.
_LINE, _LETTER = 1.3 * _SIZE / 72, 0.6 * _SIZE / 72


@dataclasses.dataclass(frozen=True)
class Arrow:
    """The labels that an arm saves, all at its accuracy with `own` labels.

    Attributes:
        arm: Whose they are.
        own: The labels that the arm has.
        needed: Those that the baseline needs, where it gets there; else the end of the grid.
        low: The interval of `needed`, 0 where it is open.
        high: The same, infinity where it is open.
        open: Whether `needed` is a bound.
        words: The numbers, for the arrow.
    """

    arm: str
    own: int
    needed: float
    low: float
    high: float
    open: bool
    words: str


@dataclasses.dataclass(frozen=True)
class Headline:
    """What a panel says: the answer, what it is about, and the arrow where labels are saved.

    `untold` where it cannot be told whether they are.
    """

    title: str
    aside: str
    arrow: Arrow | None = None
    untold: bool = False


def pictured(summary: Sequence[SummaryRow]) -> list[Setting]:
    """Returns the settings that the picture has, at most `MOST_PANELS`.

    All, where they are no more. Else one a task: the first network and shift, and the training
    budget with the most updates at the fewest labels, where a short one lacks steps and not labels.
    """
    settings = list(dict.fromkeys(row.setting for row in summary))
    if len(settings) <= MOST_PANELS:
        return settings
    fewest = min(row.labels for row in summary)
    updates = {
        row.setting: row.updates
        for row in summary
        if (row.labels, row.arm) == (fewest, BASELINE)
        and (row.network, row.shift) == (settings[0].network, settings[0].shift)
    }
    # Of equals the first.
    chosen = [
        max((setting for setting in updates if setting.task == task), key=updates.__getitem__)
        for task in dict.fromkeys(setting.task for setting in updates)
    ]
    return chosen[:MOST_PANELS]


def answer(
    summary: Sequence[SummaryRow], headlines: Mapping[Setting, Headline], *, confidence: float
) -> "Figure":
    """Returns the picture: a panel for each of `pictured`, whose title is the answer."""
    settings = pictured(summary)
    across = min(len(settings), _ACROSS)
    down = math.ceil(len(settings) / across)
    look = looks(row.arm for row in summary)
    width, height = _PANEL
    with new_figure(width * across, height * down + 0.4) as figure:
        places = figure.subplots(down, across, squeeze=False).flat
        for axes, setting in itertools.zip_longest(places, settings):
            if setting is None:
                axes.set_axis_off()
                continue
            own = [row for row in summary if row.setting == setting]
            _panel(axes, own, headlines[setting], look)
        shown = [headlines[setting] for setting in settings]
        if len(shown) > 1:
            figure.suptitle(_in_short(shown), size=13, weight="bold", x=0.01, ha="left")
        reading = _reading(shown, summary, confidence)
        text = "\n".join(textwrap.fill(line, _READING * across) for line in reading)
        figure.supxlabel(text, size=8, color="0.35", x=0.01, ha="left")
    return figure


def _in_short(shown: Sequence[Headline]) -> str:
    saved = sum(headline.arrow is not None for headline in shown)
    untold = sum(headline.untold for headline in shown)
    if untold == len(shown):
        return f"In none of {len(shown)} settings can it be told whether labels are saved"
    aside = f", in {untold} it cannot be told" if untold else ""
    return f"Labels are saved in {saved} of {len(shown)} settings{aside}"


def _panel(
    axes: "Axes", rows: Sequence[SummaryRow], headline: Headline, look: Mapping[str, Any]
) -> None:
    arrow = headline.arrow
    stressed = {BASELINE, arrow.arm} if arrow else {BASELINE}
    curves: dict[str, np.ndarray] = {}
    for arm in dict.fromkeys(row.arm for row in rows):
        own = sorted((row for row in rows if row.arm == arm), key=lambda row: row.labels)
        labels, mean, low, high = curves[arm] = np.array(
            [(row.labels, row.mean, row.low, row.high) for row in own], dtype=np.float64
        ).T
        colour, marker = look[arm]
        thick = 2.4 if arm in stressed else 1.3
        axes.plot(labels, mean, color=colour, marker=marker, ms=4, lw=thick, gid=arm)
        # No accuracy lies beyond, where an interval of Student's may.
        axes.fill_between(labels, *np.clip([low, high], 0, 1), color=colour, alpha=0.13, lw=0)
    budgets = sorted({row.labels for row in rows})
    axes.set_xscale("log")
    # Room for an open end.
    axes.set_xlim(budgets[0] / 1.12, budgets[-1] * (1.5 if arrow and arrow.open else 1.12))
    axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets], size=8)
    axes.minorticks_off()
    means = np.concatenate([curve[1] for curve in curves.values()])
    room = 0.08 * max(means.max() - means.min(), 0.01)
    axes.set_ylim(means.min() - 2 * room, means.max() + room)
    axes.set(xlabel="labels of the target task", ylabel="accuracy on test images")
    axes.grid(alpha=0.2)
    aside = textwrap.fill(headline.aside, _ASIDE)
    axes.set_title(aside, loc="left", size=_SIZE, color="0.35")
    claim, _, numbers = headline.title.partition(": ")
    at_colon = len(headline.title) > _TITLE >= max(len(claim) + 1, len(numbers))
    title = f"{claim}:\n{numbers}" if at_colon else textwrap.fill(headline.title, _TITLE)
    axes.annotate(
        title,
        (0, 1),
        (0, 10 + 72 * _LINE * (aside.count("\n") + 1)),
        xycoords="axes fraction",
        textcoords="offset points",
        size=11,
        weight="bold",
        annotation_clip=False,
    )
    _name_lines(axes, curves, look, stressed)
    if arrow:
        _draw(axes, arrow, curves, look[arrow.arm][0])


def _name_lines(
    axes: "Axes", curves: Mapping[str, np.ndarray], look: Mapping[str, Any], stressed: set[str]
) -> None:
    """Writes each arm's name beside the end of its line, moved up or down where two would meet."""
    from scipy.optimize import isotonic_regression

    ends = {arm: (curve[0, -1], curve[1, -1]) for arm, curve in curves.items()}
    arms = sorted(curves, key=lambda arm: ends[arm][1])
    texts = [textwrap.fill(arm, _NAME, break_on_hyphens=False) for arm in arms]
    heights = np.array([(text.count("\n") + 1.25) * _LINE for text in texts]) / _AXES[1]
    wanted = np.array([_within(axes, *ends[arm])[1] for arm in arms])
    # How far each lies above the first, where all are packed: what is left has to ascend.
    packed = np.cumsum(heights) - heights / 2
    room = max(1.0, heights.sum()) - heights.sum()
    free = np.clip(isotonic_regression(wanted - packed).x, 0, room)
    for arm, text, y in zip(arms, texts, packed + free, strict=True):
        colour, _ = look[arm]
        axes.annotate(
            text,
            ends[arm],
            (1.05, y),
            textcoords="axes fraction",
            color=_dark(colour),
            size=_SIZE,
            weight="bold" if arm in stressed else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.9,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )


def _draw(axes: "Axes", arrow: Arrow, curves: Mapping[str, np.ndarray], colour: str) -> None:
    """Draws the arrow from the labels that the baseline needs to those that the arm has."""
    from matplotlib.patheffects import withStroke

    labels, mean, *_ = curves[arrow.arm]
    y = float(mean[labels == arrow.own][0])
    left, right = axes.get_xlim()
    ink, halo = _dark(colour), [withStroke(linewidth=4.5, foreground="white")]
    open_right = arrow.open and arrow.needed > arrow.own
    tail = right / 1.06 if open_right else arrow.needed
    ends = max(arrow.low, left), min(arrow.high, tail if open_right else right)
    if ends[0] < ends[1] and not (arrow.low == 0 and math.isinf(arrow.high)):
        axes.plot(ends, (y, y), color=ink, alpha=0.3, lw=7, solid_capstyle="butt", gid="interval")
        closed = [end for end in (arrow.low, arrow.high) if left < end < right]
        axes.plot(closed, [y] * len(closed), "|", color=ink, ms=11, mew=1.6, gid="interval ends")
    axes.annotate(
        "",
        (arrow.own, y),
        (tail, y),
        arrowprops={"arrowstyle": "-|>,head_width=.35,head_length=.7", "color": ink, "lw": 2.2}
        | {"shrinkA": 0, "shrinkB": 3},
        path_effects=halo,
        gid="labels saved",
        zorder=5,
    )
    if arrow.open:
        # Hollow: the grid ends, the need does not.
        pointing = ">" if open_right else "<"
        axes.plot(tail, y, pointing, color=ink, mfc="white", ms=9, mew=1.6, zorder=6, gid="open")
    else:
        axes.plot(tail, y, "o", color=ink, ms=6, zorder=6)
    _write(axes, arrow, curves, y=y, tail=tail, high=ends[1], ink=ink)


def _write(
    axes: "Axes",
    arrow: Arrow,
    curves: Mapping[str, np.ndarray],
    *,
    y: float,
    tail: float,
    high: float,
    ink: Any,
) -> None:
    """Writes the arrow's numbers as near to it as lines leave room."""
    lines = arrow.words.split("\n")
    width = (max(map(len, lines)) * _LETTER + 0.1) / _AXES[0]
    height = (len(lines) * _LINE + 0.06) / _AXES[1]
    head, end = (_within(axes, at, y) for at in (arrow.own, max(tail, high)))
    drawn = [*(_within(axes, curve[0], curve[1]) for curve in curves.values())]
    points = np.concatenate([_along(*line) for line in drawn], axis=1)
    # The arrow has a thickness.
    shaft = _along(*np.c_[head, end])
    thick = np.array([[0], [0.12 / _AXES[1]]])
    points = np.concatenate([points, shaft + thick, shaft - thick], axis=1)
    middle = (head + _within(axes, tail, y)) / 2

    def cost(place: tuple[float, float]) -> float:
        size = np.array((width, height))
        away = points.T - place
        inside = (away >= 0) & (away <= size)
        distance = (place + size / 2 - middle) * _AXES
        return float(inside.all(axis=1).sum() + 8 * math.hypot(*distance))

    steps = np.linspace(0.01, 0.99, 50)
    x, bottom = min(itertools.product(steps * (1 - width), steps * (1 - height)), key=cost)
    axes.annotate(
        arrow.words,
        middle,
        (x + width / 2, bottom + height / 2),
        xycoords="axes fraction",
        textcoords="axes fraction",
        size=_SIZE,
        weight="bold",
        color=ink,
        ha="center",
        va="center",
        zorder=7,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
        arrowprops={"arrowstyle": "-", "color": ink, "lw": 0.9, "ls": ":", "shrinkB": 4},
        gid="numbers",
    )


def _along(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns places along a line, (2, places)."""
    at = np.linspace(0, len(x) - 1, 40 * len(x))
    return np.stack([np.interp(at, np.arange(len(x)), own) for own in (x, y)])


def _within(axes: "Axes", x: Any, y: Any) -> np.ndarray:
    """Returns places of the data as shares of the axes, (2, ...)."""
    (left, right), (bottom, top) = np.log(axes.get_xlim()), axes.get_ylim()
    return np.array([(np.log(x) - left) / (right - left), (y - bottom) / (top - bottom)])


def _dark(colour: str) -> tuple[float, ...]:
    """Returns a colour in which thin letters can be read on white."""
    from matplotlib.colors import to_rgb

    return tuple(0.7 * part for part in to_rgb(colour))


def _reading(
    headlines: Sequence[Headline], summary: Sequence[SummaryRow], confidence: float
) -> Iterator[str]:
    """Yields how the picture is read, and what of the study it has."""
    seeds, splits = summary[0].seeds, summary[0].splits
    over = f"{splits} splits, each with {seeds} seeds" if splits > 1 else f"{seeds} seeds"
    bands = f"Bands: {100 * confidence:g} % intervals over {over}."
    yield bands if splits * seeds > 1 else "One seed: no intervals."
    arrows = [headline.arrow for headline in headlines if headline.arrow]
    if arrows:
        yield (
            "Arrow: from the labels that the baseline needs to those that the arm has, for the "
            "same accuracy; the bar is its interval"
            f"{', the hollow end one beyond the grid' if any(own.open for own in arrows) else ''}."
        )
        # Of an arm with a source of its own the first word is the strategy.
        drawn = dict.fromkeys((BASELINE, *(own.arm.partition(" ")[0] for own in arrows)))
        yield "; ".join(f"{name}: {ARMS[name].words}" for name in drawn if name in ARMS) + "."
    settings = len({row.setting for row in summary})
    if settings > len(headlines):
        yield (
            f"{len(headlines)} of {settings} settings: one a task, of the first network and the "
            "longest training with few labels."
        )
