"""The study of a project: the richest grid of a ladder that ends in reasonable time."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.core import artefacts
from headstart.core.errors import UserError, located
from headstart.data import selection
from headstart.data.survey import Survey
from headstart.params import reading, yaml_text
from headstart.params.sections import Params
from headstart.params.strategies import ARMS
from headstart.project.report import Data
from headstart.project.trainings import duration
from headstart.study import forecast, parameters, prepare, stopwatch

# A coffee, and no working day.
SECONDS = 30 * 60
# To start, to judge, and to draw.
_AROUND = 20.0
_FEW = ("baseline", "frozen", "random_frozen")
_RATES = {1: "[0.001]", 3: "[0.0001, 0.001, 0.01]"}


@dataclass(frozen=True)
class Rung:
    """What one grid of the ladder has otherwise than the others."""

    arms: tuple[str, ...]
    rates: int
    steps: int

    def values(self, *, sourceless: bool) -> dict[str, str]:
        """Returns the same as YAML by dotted key; `sourceless` leaves out what needs a source."""
        arms = [arm for arm in self.arms if not (sourceless and ARMS[arm].from_source)]
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
)
"""From the richest: an arm, which is given up first, is easily asked for by hand."""


def text(template: str, settings: Params, survey: Survey, *, size: tuple[int, int]) -> str:
    """Returns study/params.yaml for a project whose `params.yaml` and data are these.

    `template` is the text of which values are changed, `size` the height and width of images.
    """
    shape = (*size, *([] if survey.channels == 1 else [survey.channels]))
    data = Data(survey.classes, survey.aliases, survey.labels(), shape, counted=True)
    for rung in _texts(template, settings):
        # What cannot make a study is told when one is asked for: it stops no project.
        with contextlib.suppress(UserError):
            if forecast.seconds(_prepared(rung, settings, data)) <= SECONDS:
                return rung
    return rung


def outlook(path: Path, settings: Params, data: Data, *, cheaper: bool) -> list[str]:
    """Returns lines that say what the study in the file `path` takes here, arm by arm, measured.

    With `cheaper` the richest of the grids of a fresh project that takes less, and ends in
    reasonable time, is written to `path`, else the cheapest of them.

    Raises:
        UserError: The parameters and the data do not make a study.
    """
    own = reading.read(path)
    prepared = _prepared(own, settings, data)
    speeds = stopwatch.speeds(prepared)
    spent = forecast.by_arm(prepared, speeds)
    whole = _whole(spent)
    lines = [
        f"{arm}: {duration(seconds)}{' (what the others start from)' * (arm == forecast.SOURCE)}"
        for arm, seconds in spent.items()
    ]
    lines.append(f"the study from nothing: about {duration(whole)}, measured on this machine")
    if not cheaper:
        if whole > SECONDS:
            lines.append("`headstart check --study --cheaper` writes a cheaper grid")
        return lines
    for rung in _texts(own, settings):
        takes = _whole(forecast.by_arm(_prepared(rung, settings, data), speeds))
        if takes < whole and takes <= SECONDS:
            break
    if takes >= whole:
        return [*lines, "no grid of a fresh project is cheaper: fewer seeds or labels would be"]
    with artefacts.replacing(path) as part:
        part.write_text(rung, encoding="utf-8")
    grid = parameters.parse(rung, str(path), project=lambda: settings).grid
    rates = ", ".join(f"{rate:g}" for rate in grid.learning_rates)
    chosen = f"{', '.join(grid.arms)}; {grid.training[0]}; learning rates {rates}"
    return [*lines, f"{path}: written, about {duration(takes)}: {chosen}"]


def _texts(text: str, settings: Params) -> list[str]:
    """Returns study/params.yaml with every grid of the ladder."""
    sourceless = settings.tasks.source_classes == "none"
    return [yaml_text.edited(text, rung.values(sourceless=sourceless)) for rung in LADDER]


def _whole(spent: Mapping[str, float]) -> float:
    return sum(spent.values()) + _AROUND


def _prepared(text: str, settings: Params, data: Data) -> prepare.Prepared:
    """Returns what a text of study/params.yaml asks for, with images that take no memory."""
    study = parameters.parse(text, "study/params.yaml", project=lambda: settings)
    rows = selection.draw(settings.dataset, data.labels)
    raw = forecast.data(tuple(data.classes), data.aliases, data.labels, rows, data.shape)
    with located("study/params.yaml: grid.", target_classes="target_tasks"):
        return prepare.prepare(study.grid, study.replicas, raw)
