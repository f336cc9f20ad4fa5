"""docs/claims.md: the notebook's three claims, answered from the tables of `make claims`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core import artefacts
from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.params.strategies import BASELINE
from headstart.reporting import render, study_tables
from headstart.reporting.study_tables import CellRow, RateRow, Setting, SummaryRow
from headstart.study import statistics, verdicts
from headstart.study.parameters import Grid, Statistics

SUPPORTED, NOT_SUPPORTED, UNDETERMINED = "supported", "not supported", "undetermined"
NOT_JUDGED = "not judged"
_JUDGEMENTS = (SUPPORTED, NOT_SUPPORTED, UNDETERMINED, NOT_JUDGED)
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
    rates = study_tables.read(folder / "rates.csv", RateRow)
    rows = {(row.setting, row.labels, row.arm): row for row in summary}
    setups = _setups(rows)
    first = [setup for setup in setups if setup.row.network == _KINDS[0]]
    kinds = _kinds(rows)
    # At the rates of no search, where there are some, and at those chosen.
    each = sorted({row.chosen for row in rates})
    told = [Told(rates, cells, chosen) for chosen in each]
    gains = [one.gains(first, settings) for one in told]
    differences = [one.differences(kinds, settings) for one in told]
    # What the judgements that hang on the rate are without a search.
    hanging = [
        before.judgement
        for claim in (gains, differences)
        for before, after in zip(claim[0], claim[-1], strict=True)
        if before.judgement != after.judgement
    ]
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
        gains=list(zip(first, *gains, strict=True)),
        counts={word: [setup.row.verdict for setup in first].count(word) for word in _SIDES},
        costs={name: _share([setup.ratios[name] for setup in setups]) for name in _COSTS},
        seconds=_seconds(),
        kinds=list(zip(kinds, *differences, strict=True)),
        kinds_answer=_kinds_answer(kinds, differences[-1]),
        kind_counts={
            word: [case.judgement for case in differences[-1]].count(word) for word in _JUDGEMENTS
        },
        hanging=len(hanging),
        untold=hanging.count(NOT_JUDGED),
        searched=len(each) > 1,
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


Key = tuple[Setting, int, str]
Rows = dict[Key, SummaryRow]


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


class Told:
    """The claims' cases at the rates of no search (`chosen` 0) or at those chosen (1)."""

    def __init__(self, rates: Sequence[RateRow], cells: Sequence[CellRow], chosen: int) -> None:
        self._verdicts = {
            (row.setting, row.labels, row.arm): row.verdict for row in rates if row.chosen == chosen
        }
        by_seed: dict[Key, dict[int, float]] = {}
        # A training that is both stands in the table once, as chosen.
        for row in sorted(cells, key=lambda row: row.chosen == chosen):
            by_seed.setdefault((row.setting, row.labels, row.arm), {})[row.seed] = row.accuracy
        self._accuracies = {
            key: np.array([own[seed] for seed in sorted(own)]) for key, own in by_seed.items()
        }

    def gain(self, setting: Setting, labels: int) -> np.ndarray:
        """Returns what frozen transfer gains over the baseline, (seeds,)."""
        gain: np.ndarray = (
            self._accuracies[setting, labels, _FROZEN] - self._accuracies[setting, labels, BASELINE]
        )
        return gain

    def unfit(self, setting: Setting, labels: int) -> bool:
        """Tells whether the two cannot be compared."""
        return self._verdicts[setting, labels, _FROZEN] == verdicts.INVALID

    def gains(self, setups: Sequence[Setup], settings: Statistics) -> list[Case]:
        """Returns the first claim's cases."""
        places = [(setup.row.setting, setup.row.labels) for setup in setups]
        return judged(
            [self.gain(*place) for place in places],
            [self.unfit(*place) for place in places],
            wanted=_CLAIMED_GAIN,
            settings=settings,
        )

    def differences(self, kinds: Sequence["Kinds"], settings: Statistics) -> list["Difference"]:
        """Returns the third claim's cases: the CNN's gain less the MLP's, paired by seed."""
        places = [[(own, kind.labels) for own in kind.settings] for kind in kinds]
        gains = [[self.gain(*place) for place in pair] for pair in places]
        cases = judged(
            [cnn - mlp for mlp, cnn in gains],
            [any(self.unfit(*place) for place in pair) for pair in places],
            wanted=_MUCH,
            settings=settings,
        )
        return [
            Difference(**vars(case), gains=(float(mlp.mean()), float(cnn.mean())))
            for case, (mlp, cnn) in zip(cases, gains, strict=True)
        ]


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
    """Where the third claim has a case: `setting` is of no network, since it holds for two."""

    setting: Setting
    labels: int

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The same of each kind of network."""
        return tuple(self.setting._replace(network=kind) for kind in _KINDS)


@dataclass(frozen=True)
class Difference(Case):
    """A case of the third claim, with the mean gains of both kinds of network."""

    gains: tuple[float, float]


def _kinds(rows: Rows) -> list[Kinds]:
    """Returns where there are both kinds of network, with frozen layers and from scratch."""
    places = dict.fromkeys(
        Kinds(setting._replace(network=""), labels) for setting, labels, _ in rows
    )
    return [
        kind
        for kind in places
        if all(
            (own, kind.labels, arm) in rows for own in kind.settings for arm in (_FROZEN, BASELINE)
        )
    ]


def _kinds_answer(kinds: Sequence[Kinds], cases: Sequence[Case]) -> str:
    answers = []
    for shift in sorted({kind.setting.shift for kind in kinds}):
        own = [
            case.judgement
            for kind, case in zip(kinds, cases, strict=True)
            if kind.setting.shift == shift
        ]
        where = f"shifted by up to {shift}" if shift else "where images stay"
        counts = ", ".join(f"{word} in {own.count(word)}" for word in _JUDGEMENTS)
        answers.append(f"{overall(own)} {where} ({counts} of {len(own)} cases)")
    return "; ".join(answers) or f"{UNDETERMINED}: one kind of network only"
