"""The study of a project: the richest grid of a ladder that ends in reasonable time."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError, located
from headstart.data import raw_data, selection, weights
from headstart.data.survey import Survey
from headstart.learning.features import FOLDER
from headstart.params import reading, yaml_text
from headstart.params.sections import Params
from headstart.params.strategies import ARMS, BASELINE, OF, of_arm
from headstart.project.report import Data
from headstart.project.trainings import duration
from headstart.study import forecast, parameters, prepare, stopwatch

# A coffee, and no working day.
SECONDS = 30 * 60
# A grid that takes less than this of another is cheaper: what measuring is off by is smaller.
_CHEAPER = 0.8
# To start, to judge, and to draw.
_AROUND = 20.0
_FEW = ("baseline", "frozen", "random_frozen")
# So few images of the target task that which of them test matters as much as the seeds.
_SMALL = 1000
_SPLITS = 5
# What trains a network from elsewhere, of which it is told what it would take.
_LARGE = ("finetune", "scratch_same")
# Pixels a side at which such networks see well, and pass in a fifth of the time of 224.
_SMALLER = 96
_GRID = "study/params.yaml: grid."
_RATES = {1: "[0.001]", 3: "[0.0001, 0.001, 0.01]"}


@dataclass(frozen=True)
class Rung:
    """What one grid of the ladder has otherwise than the others."""

    arms: tuple[str, ...]
    rates: int
    steps: int
    most_seeds: int | None = None

    def values(self, settings: Params) -> dict[str, str]:
        """Returns the same as YAML by dotted key, without the arms that a project cannot have."""
        elsewhere = settings.source_training.from_ is not None
        sourceless = settings.tasks.source_classes == "none" and not elsewhere
        arms = [
            arm
            for arm in self.arms
            if not (sourceless and ARMS[arm].from_source)
            # All layers of a large network take hours on a processor.
            and not (elsewhere and arm != BASELINE and not ARMS[arm].head_alone)
        ]
        return {
            "grid.arms": f"[{', '.join(arms)}]",
            "grid.learning_rates": _RATES[self.rates],
            "grid.training": f"- steps: {self.steps}",
        }


LADDER = (
    Rung((*_FEW[:2], "finetune", *_FEW[2:]), rates=3, steps=500),
    Rung(_FEW, rates=3, steps=500),
    Rung(_FEW, rates=1, steps=500),
    Rung(_FEW, rates=1, steps=200),
    # Fewer than six can decide nothing at 0.05.
    Rung(_FEW, rates=1, steps=200, most_seeds=6),
)
"""From the richest: an arm, which is given up first, is easily asked for by hand."""


def text(template: str, settings: Params, survey: Survey, *, size: tuple[int, int]) -> str:
    """Returns study/params.yaml for a project whose `params.yaml` and data are these.

    `template` is the text of which values are changed, `size` the height and width of images.
    """
    template = yaml_text.edited(template, {"grid.splits": str(_splits(settings, survey))})
    shape = (*size, *([] if survey.channels == 1 else [survey.channels]))
    data = Data(survey.classes, survey.aliases, survey.labels(), shape, counted=True)
    chosen, *_ = rungs = _texts(template, settings)
    # What cannot make a study is told when one is asked for: it stops no project.
    for chosen in _possible(rungs, settings, data):
        if forecast.seconds(_prepared(chosen, settings, data)) <= SECONDS:
            break
    return chosen


def outlook(path: Path, settings: Params, data: Data, *, cheaper: bool) -> list[str]:
    """Returns lines that say what the study in the file `path` takes here, arm by arm, measured.

    With `cheaper` the richest of the grids of a fresh project that takes less, trains no longer,
    and ends in reasonable time, is written to `path`, else the cheapest of them.

    Raises:
        UserError: The parameters and the data do not make a study.
    """
    own = reading.read(path)
    prepared = _prepared(own, settings, data)
    grid = prepared.grid
    left_out = tuple(_left_out(grid))
    rungs = [
        rung
        for rung in (_possible(_texts(own, settings), settings, data) if cheaper else ())
        if not _trains_longer(_grid(rung, settings), grid)
    ]
    arms = [arm for rung in rungs for arm in _grid(rung, settings).arms]
    every = dict.fromkeys((*grid.arms, *left_out, *arms))
    wider = yaml_text.edited(own, {"grid.arms": f"[{', '.join(every)}]"})
    would, speeds = measured(wider, settings, data)
    spent = forecast.by_arm(prepared, speeds)
    takes_now = whole(spent)
    lines = [
        f"{arm}: {duration(seconds)}{' (what the others start from)' * (arm == forecast.SOURCE)}"
        for arm, seconds in spent.items()
    ]
    lines.append(f"the study from nothing: about {duration(takes_now)}, measured on this machine")
    if kept := forecast.features_bytes(prepared, speeds):
        lines.append(f"features of networks from elsewhere: {kept / 1e6:,.1f} MB in {FOLDER}")
    lines += [
        f"{arm}, which the grid leaves out: {duration(seconds)} more"
        for arm, seconds in would.items()
        if OF in arm and arm.partition(OF)[0] in left_out
    ]
    if takes_now > SECONDS:
        lines += _large(grid)
        if not cheaper:
            lines.append("`headstart check --study --cheaper` writes a cheaper grid")
    if not cheaper:
        return lines
    takes = takes_now
    for rung in rungs:
        takes = whole(forecast.by_arm(_prepared(rung, settings, data), speeds))
        if takes < _CHEAPER * takes_now and takes <= SECONDS:
            break
    if takes >= _CHEAPER * takes_now:
        return [*lines, "no grid of a fresh project is cheaper: fewer seeds or labels would be"]
    with artefacts.replacing(path) as part:
        part.write_text(rung, encoding="utf-8")
    grid = _grid(rung, settings)
    rates = ", ".join(f"{rate:g}" for rate in grid.learning_rates)
    chosen = (
        f"{', '.join(grid.arms)}; {grid.training[0]}; learning rates {rates}; {grid.seeds} seeds"
    )
    return [*lines, f"{path}: written, about {duration(takes)}: {chosen}"]


def _trains_longer(one: parameters.Grid, other: parameters.Grid) -> bool:
    """Tells whether a grid has more steps than any training budget of one that counts in steps."""
    steps = [own.steps for own in other.training if own.steps]
    return bool(steps) and any((own.steps or 0) > max(steps) for own in one.training)


def _large(grid: parameters.Grid) -> Iterator[str]:
    """Yields what would shorten the passes through networks that see more pixels than they must."""
    for source in grid.elsewhere:
        network = weights.named(source.from_)
        if network and isinstance(source.input_size, str):
            side, _ = network.seen(source.input_size)
            fewer = round((side / _SMALLER) ** 2)
            yield (
                f"{source.label} sees {side} x {side} pixels: `input_size: [{_SMALLER}, "
                f"{_SMALLER}]` where it is named takes about {fewer} times fewer operations an "
                "image, and may cost accuracy"
            )


def measured(
    text: str, settings: Params, data: Data
) -> tuple[dict[str, float], dict[stopwatch.Kind, stopwatch.Speed]]:
    """Returns the seconds that each arm of a study takes here from nothing, and what they rest on.

    Raises:
        UserError: The parameters and the data do not make a study.
    """
    prepared = _prepared(text, settings, data)
    with located(_GRID):
        speeds = stopwatch.speeds(prepared)
    return forecast.by_arm(prepared, speeds), speeds


def _left_out(grid: parameters.Grid) -> Iterator[str]:
    """Yields the arms that train networks from elsewhere whole and that a grid could have too."""
    ours = parameters.TRAINED in grid.sources and grid.source_classes == "none"
    for arm in _LARGE if grid.elsewhere else ():
        if arm not in grid.arms and not (ours and of_arm(arm).from_source):
            yield arm


def _texts(text: str, settings: Params) -> list[str]:
    """Returns study/params.yaml with every grid of the ladder."""
    seeds = _grid(text, settings).seeds
    return [
        yaml_text.edited(
            text,
            rung.values(settings) | {"grid.seeds": str(min(seeds, rung.most_seeds or seeds))},
        )
        for rung in LADDER
    ]


def _possible(texts: Iterable[str], settings: Params, data: Data) -> Iterator[str]:
    """Yields those of some grids that make a study: few labels may be too few to search rates."""
    for text in texts:
        with contextlib.suppress(UserError):
            _prepared(text, settings, data)
            yield text


def _splits(settings: Params, survey: Survey) -> int:
    """Returns in how many splits a fresh study trains: several where the data are small.

    One where the data come with a test part of their own: who made it may have kept something
    apart, such as other photographers, that a draw would mix.
    """
    if raw_data.ALL not in survey.totals:
        return 1
    try:
        _, target = selection.source_and_target(settings.tasks, survey.classes, survey.aliases)
    except UserError:
        return 1
    return _SPLITS if np.isin(survey.labels()[raw_data.ALL], target.numbers).sum() < _SMALL else 1


def whole(spent: Mapping[str, float]) -> float:
    """Returns the seconds of a whole study, whose arms take `spent`."""
    return sum(spent.values()) + _AROUND


def _grid(text: str, settings: Params) -> parameters.Grid:
    return _parsed(text, settings).grid


def _prepared(text: str, settings: Params, data: Data) -> prepare.Prepared:
    """Returns what a text of study/params.yaml asks for, with images that take no memory."""
    study = _parsed(text, settings)
    rows = selection.draw(settings.dataset, data.labels)
    raw = forecast.data(tuple(data.classes), data.aliases, data.labels, rows, data.shape)
    names = {"target_classes": "target_tasks", "network.filters": "networks"}
    with located(_GRID, **names):
        return prepare.prepare(study.grid, study.replicas, raw)


def _parsed(text: str, settings: Params) -> parameters.Study:
    return parameters.parse(text, "study/params.yaml", project=lambda: settings)
