"""docs/claims.md: the notebook's three claims, answered from the tables of `make claims`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core import artefacts
from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.params.strategies import BASELINE
from headstart.reporting import render, study_tables
from headstart.reporting.study_tables import CellRow, Setting, SummaryRow
from headstart.study import statistics, verdicts
from headstart.study.parameters import Grid, Statistics

SUPPORTED, NOT_SUPPORTED, UNDETERMINED = "supported", "not supported", "undetermined"
NOT_JUDGED = "not judged"
# Half of the gap that the notebook saw between 0.50 and 0.99: a smaller one is another claim.
_CLAIMED_GAIN = 0.245
# "Vastly reduced": ten times fewer. "Much better": five points of accuracy.
_VASTLY = 10.0
_MUCH = 0.05
_NOTEBOOK = "epochs=5"
_FROZEN = "frozen"
_KINDS = ("mlp", "cnn")
# Kept by benchmarks/claims.py --write: every round of one sitting.
SECONDS = Path("benchmarks/results/claims.json")


@dataclass(frozen=True)
class Case:
    """One case of a claim: the mean and t interval of what it is about, and what comes of it."""

    mean: float
    low: float
    high: float
    p: float
    judgement: str


@dataclass(frozen=True)
class Setup:
    """Frozen transfer as the notebook has it: its rows, and the baseline's cost in transfer's."""

    row: SummaryRow
    base: SummaryRow

    @property
    def ratios(self) -> dict[str, float]:
        """How many times transfer's the baseline's weights and operations are."""
        row, flops = self.row, self.base.flops
        return {
            "weights": self.base.trainable_parameters / row.trainable_parameters,
            "once": flops / row.flops,
            "notebook": flops / row.flops_as_notebook,
            "source": flops / (row.flops + row.source_flops),
        }


def write(path: Path, folder: Path, grid: Grid, settings: Statistics) -> None:
    """Writes the page to `path` from the tables in `folder` alone; equal tables, equal page.

    Seconds are judged where SECONDS were kept.
    """
    summary = study_tables.read(folder / "summary.csv", SummaryRow)
    cells = study_tables.read(folder / "cells.csv", CellRow)
    rows = {(row.setting, row.labels, row.arm): row for row in summary}
    setups = _setups(rows)
    first = [setup for setup in setups if setup.row.network == _KINDS[0]]
    kinds, kinds_judged = _kinds(rows, cells, settings)
    page = render.text(
        "claims.md",
        tasks=list(dict.fromkeys(row.task for row in summary)),
        seeds=summary[0].seeds,
        budgets=sorted({row.labels for row in summary}),
        learning_rates=grid.learning_rates,
        settings=settings,
        pictures=f"../{folder.as_posix()}",
        claimed_gain=_CLAIMED_GAIN,
        vastly=_VASTLY,
        much=_MUCH,
        setups=setups,
        gains=list(zip(first, _gains(first, cells, settings), strict=True)),
        counts={word: [setup.row.verdict for setup in first].count(word) for word in _SIDES},
        costs={name: _share([setup.ratios[name] for setup in setups]) for name in _COSTS},
        seconds=_seconds(),
        kinds=list(zip(kinds, kinds_judged, strict=True)),
        kinds_answer=_kinds_answer(kinds, kinds_judged),
        much_better=[case.judgement for case in kinds_judged].count(SUPPORTED),
        overall=overall,
    )
    render.write(path, page)


_SIDES = (TRANSFER_BETTER, BASELINE_BETTER)
_COSTS = ("weights", "once", "notebook", "source")


def judged(
    values: Sequence[np.ndarray], untrained: Sequence[bool], *, wanted: float, settings: Statistics
) -> list[Case]:
    """Returns the cases of one claim, which is that values (seeds,) have a mean of `wanted`.

    All cases of a claim are one family: step-down max-T of the values less what is wanted. A case
    in which an arm is untrained belongs to it and is not judged.
    """
    if not values:
        return []
    cases = []
    adjusted = verdicts.max_t(np.array(values) - wanted)
    for own, p, refused in zip(values, adjusted.tolist(), untrained, strict=True):
        low, high = statistics.t_interval(own, confidence=settings.confidence)
        mean = float(own.mean())
        word = UNDETERMINED
        if p < settings.alpha:
            word = SUPPORTED if mean > wanted else NOT_SUPPORTED
        cases.append(Case(mean, float(low), float(high), p, NOT_JUDGED if refused else word))
    return cases


def overall(judgements: Iterable[str]) -> str:
    """Returns the judgement that all share; a claim without limits fails with one case."""
    words = [word for word in judgements if word != NOT_JUDGED]
    if words and all(word == SUPPORTED for word in words):
        return SUPPORTED
    return NOT_SUPPORTED if NOT_SUPPORTED in words else UNDETERMINED


Rows = dict[tuple[Setting, int, str], SummaryRow]


def _setups(rows: Rows) -> list[Setup]:
    """Returns frozen transfer with all labels, unshifted, in the notebook's epochs."""
    most: dict[str, int] = {}
    for setting, labels, _ in rows:
        most[setting.task] = max(labels, most.get(setting.task, 0))
    return [
        Setup(row, rows[setting, labels, BASELINE])
        for (setting, labels, arm), row in rows.items()
        if (arm, setting.shift, setting.training, labels)
        == (_FROZEN, 0, _NOTEBOOK, most[setting.task])
    ]


def _accuracies(cells: Sequence[CellRow]) -> dict[tuple[Setting, int, str], np.ndarray]:
    """Returns accuracies (seeds,) by setting, labels and arm."""
    sorted_in: dict[tuple[Setting, int, str], dict[int, float]] = {}
    for row in cells:
        sorted_in.setdefault((row.setting, row.labels, row.arm), {})[row.seed] = row.accuracy
    return {key: np.array([own[seed] for seed in sorted(own)]) for key, own in sorted_in.items()}


def _gains(setups: Sequence[Setup], cells: Sequence[CellRow], settings: Statistics) -> list[Case]:
    accuracies = _accuracies(cells)
    values = [
        accuracies[setup.row.setting, setup.row.labels, _FROZEN]
        - accuracies[setup.row.setting, setup.row.labels, BASELINE]
        for setup in setups
    ]
    untrained = [bool(setup.row.untrained or setup.base.untrained) for setup in setups]
    return judged(values, untrained, wanted=_CLAIMED_GAIN, settings=settings)


def _share(ratios: Sequence[float]) -> tuple[str, float, float]:
    """Returns whether costs are vastly reduced, and the smallest and the largest ratio."""
    if not ratios:
        return UNDETERMINED, 1.0, 1.0
    reduced = [ratio >= _VASTLY for ratio in ratios]
    word = SUPPORTED if all(reduced) else NOT_SUPPORTED
    return word, min(ratios), max(ratios)


def _seconds() -> dict[str, tuple[str, float, float]]:
    """Returns for each way of training how many times its seconds the baseline takes.

    As all rounds have it: where they differ about a vast reduction it is undetermined. Empty where
    nothing was measured.
    """
    if not SECONDS.is_file():
        return {}
    rounds = {name: np.array(own) for name, own in artefacts.read_json(SECONDS)["measured"].items()}
    base, source = rounds.pop(BASELINE), rounds.pop("source network")
    ways = {**rounds, "with the source network": next(iter(rounds.values())) + source}
    told = {}
    for name, own in ways.items():
        ratios = base / own
        word, low, high = _share(ratios.tolist())
        told[name] = (UNDETERMINED if low < _VASTLY <= high else word, low, high)
    return told


@dataclass(frozen=True)
class Kinds:
    """A case of the third claim: where, and the mean gains of both kinds of network."""

    setting: Setting
    labels: int
    gains: tuple[float, float]


def _kinds(
    rows: Rows, cells: Sequence[CellRow], settings: Statistics
) -> tuple[list[Kinds], list[Case]]:
    """Returns the third claim's cases: the CNN's gain less the MLP's, paired by seed.

    Cases of one kind of network only are left out.
    """
    accuracies = _accuracies(cells)
    places = dict.fromkeys((setting._replace(network=""), labels) for setting, labels, _ in rows)
    kinds, values, untrained = [], [], []
    for setting, labels in places:
        keys = [
            [(setting._replace(network=kind), labels, arm) for arm in (_FROZEN, BASELINE)]
            for kind in _KINDS
        ]
        if not all(key in rows for pair in keys for key in pair):
            continue
        mlp, cnn = (accuracies[own] - accuracies[base] for own, base in keys)
        kinds.append(Kinds(setting, labels, (float(mlp.mean()), float(cnn.mean()))))
        values.append(cnn - mlp)
        untrained.append(any(rows[key].untrained for pair in keys for key in pair))
    return kinds, judged(values, untrained, wanted=_MUCH, settings=settings)


def _kinds_answer(kinds: Sequence[Kinds], cases: Sequence[Case]) -> str:
    answers = []
    for shift in sorted({kind.setting.shift for kind in kinds}):
        own = [
            case.judgement
            for kind, case in zip(kinds, cases, strict=True)
            if kind.setting.shift == shift
        ]
        where = f"shifted by up to {shift}" if shift else "where images stay"
        words = (SUPPORTED, NOT_SUPPORTED, UNDETERMINED, NOT_JUDGED)
        counts = ", ".join(f"{word} in {own.count(word)}" for word in words)
        answers.append(f"{overall(own)} {where} ({counts} of {len(own)} cases)")
    return "; ".join(answers) or f"{UNDETERMINED}: one kind of network only"
