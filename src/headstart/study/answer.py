"""The study's plain answer: what transfer is worth with few labels and with many, in sentences."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.params.strategies import BASELINE, OF, control_of, of_arm
from headstart.reporting.study_tables import AreaRow, RateRow, Setting, classes_of
from headstart.reporting.words import points
from headstart.study import verdicts
from headstart.study.cells_table import Cells, Curve, Curves, resampling, unfit
from headstart.study.curves import FEW, Best, Estimate, best_of, ranges
from headstart.study.derived_table import gains, lacks_steps
from headstart.study.parameters import Statistics
from headstart.study.saved_in_words import apart_by_medians, saved_in_words

# In short, and as the meaning of one verdict.
_WORDS = {
    TRANSFER_BETTER: "transfer is better",
    BASELINE_BETTER: "training from scratch is better",
    verdicts.EQUIVALENT: "the two are equivalent",
    verdicts.NO_WORSE: "transfer is no worse",
    verdicts.CANNOT_TELL: "the seeds cannot tell",
    verdicts.INVALID: "there is nothing to compare",
}
_MEANINGS = _WORDS | {
    verdicts.EQUIVALENT: "the two are equivalent, less than {margin} points apart",
    verdicts.NO_WORSE: "transfer is no worse by {margin} points or more",
    verdicts.CANNOT_TELL: "these seeds cannot tell which is better",
}

_LEAVES_OUT = "the interval, not corrected, leaves 0 out all the same: the test decides"
_RANGES = {
    "all": "with these labels",
    "few": f"with few labels (up to {FEW})",
    "many": "with many labels",
}


def sentences(
    curves: Curves,
    areas: Sequence[AreaRow],
    settings: Statistics,
    *,
    controls: Sequence[AreaRow] = (),
    before: Curves | None = None,
    areas_before: Sequence[AreaRow] = (),
) -> list[str]:
    """Returns what transfer is worth: all in short, then a text a setting, with a line a range.

    With few labels, with many, and the labels that are saved. Each range speaks of the
    transferred arm with the largest mean gain there, and its interval and its verdict know that it
    was chosen; and of its untrained control, over which `controls` are the areas.
    `before` and `areas_before` are the same at the rates of no search: where the best arm there has
    another verdict, this one hangs on the rate, and says so. Empty where no arm is transferred;
    nothing in short where there is one setting.
    """
    rows = {(row.setting, row.arm, row.range): row for row in areas}
    learned = {(row.setting, row.arm, row.range): row for row in controls}
    unsearched = {(row.setting, row.arm, row.range): row for row in areas_before}
    texts: list[str] = []
    judged: dict[str, list[AreaRow]] = {}
    hanging = 0
    for setting, arms in curves.items():
        transfers = {arm: own for arm, own in arms.items() if of_arm(arm).from_source}
        if not transfers:
            continue
        base, lines = arms[BASELINE], [f"{place(setting)}:"]
        for name in spoken_of(base.labels):
            best, alone, row = _best_row(setting, name, arms, rows, settings)
            budgets = ranges(base.labels)[name]
            pair = {BASELINE: base, row.arm: transfers[row.arm]}
            judged.setdefault(name, []).append(row)
            other = row
            if before:
                other = _best_row(setting, name, before[setting], unsearched, settings)[-1]
            hanging += other.verdict != row.verdict
            others = _others_in_words(
                [rows[setting, arm, name] for arm in transfers if arm != row.arm]
            )
            if row.verdict == verdicts.INVALID:
                failed = [arm for arm in pair if unfit(pair[arm].among(budgets), settings)]
                parts = [_unfit_in_words(row, failed, other), *others]
                if (own := control_of(row.arm)) in arms:
                    word = "not " if unfit(arms[own].among(budgets), settings) else ""
                    parts.append(f"{_untrained(own)} is {word}shown to learn the task.")
                lines.append(" ".join(parts))
                continue
            parts = [_range_in_words(row, best, settings, other, alone=alone.verdict)]
            parts += _failures_in_words({arm: pair[arm].among(budgets) for arm in pair})
            fewest, short = row.from_labels == base.labels[0], False
            if fewest and (reason := unlearned(pair, settings)):
                fewest = False
                parts.append(f"{reason}, so that no labels saved are told.")
            if fewest:
                short = lacks_steps(curves, setting, row.from_labels, settings)
                parts.append(
                    saved_in_words(
                        best.saved, row.from_labels, verdict=row.verdict, lacks_steps=short
                    )
                )
                if not short and (factor := apart_by_medians(best.saved, base, pair[row.arm])):
                    parts.append(
                        f"By medians over seeds it is {factor} times as many: a few trainings "
                        "carry the means."
                    )
            if over := learned.get((setting, row.arm, name)):
                control = rows[setting, str(control_of(row.arm)), name]
                only = best_in(setting, name, {control.arm: arms[control.arm]}, base, settings)
                untold = short or unlearned({control.arm: arms[control.arm]}, settings)
                saved = only.saved if fewest and not untold else None
                parts.append(control_in_words(control, over, saved, settings))
            parts += others
            lines.append(" ".join(parts))
        texts.append("\n  ".join(lines))
    if len(texts) < 2:
        return texts
    return [_in_short(judged, hanging if before else None, settings), *texts]


def spoken_of(labels: np.ndarray) -> list[str]:
    """Returns the ranges of label budgets that the answer speaks of, the fewest labels first."""
    names = list(ranges(labels))
    return names if len(names) == 1 else names[1:]


def _in_short(
    judged: Mapping[str, Sequence[AreaRow]], hanging: int | None, settings: Statistics
) -> str:
    """Returns how often the best transfer got which verdict, by range.

    And how many of the verdicts hang on the rate; None where no rate was searched.
    """
    parts = []
    for name, rows in judged.items():
        counts: list[str] = []
        for word in _WORDS:
            if own := [row for row in rows if row.verdict == word]:
                among = "" if counts else f" of {len(rows)} settings"
                small = sum(slight(row, settings) for row in own)
                of_them = "" if small == len(own) else f"{small} of them "
                aside = f" ({of_them}by {_less(settings)})" if small else ""
                counts.append(f"{_WORDS[word]} in {len(own)}{among}{aside}")
        parts.append(f"{_RANGES[name]} {', '.join(counts)}")
    if hanging is not None:
        count = sum(map(len, judged.values()))
        parts.append(f"without a search for learning rates {hanging} of these {count} are others")
    return f"In short: {'; '.join(parts)}."


def _best_row(
    setting: Setting,
    name: str,
    arms: Mapping[str, Curve],
    rows: Mapping[tuple[Setting, str, str], AreaRow],
    settings: Statistics,
) -> tuple[Best, AreaRow, AreaRow]:
    """Returns the best transfer over a range, its row by itself, and as the best of several."""
    base = arms[BASELINE]
    transfers = {arm: own for arm, own in arms.items() if of_arm(arm).from_source}
    best = best_in(setting, name, transfers, base, settings)
    row = rows[setting, list(transfers)[best.place], name]
    gain = gains(transfers[row.arm], base, ranges(base.labels)[name])
    return best, row, _as_best(row, gain, base, best, settings)


def _as_best(
    row: AreaRow, gain: np.ndarray, base: Curve, best: Best, settings: Statistics
) -> AreaRow:
    """Returns the row of the best of several arms with the verdict that its choice leaves it.

    Which of two is better is corrected over all arms. That an arm is equivalent or no worse is
    not, and the largest of several gains (as scores) is too large: its lower bound is asked for at
    alpha shared among them, its upper one needs no more.
    """
    if best.among == 1 or row.verdict not in (verdicts.EQUIVALENT, verdicts.NO_WORSE):
        return row
    low, _ = base.sampling.bounds(gain, alpha=settings.alpha / best.among)
    _, high = base.sampling.bounds(gain, alpha=settings.alpha)
    word = verdicts.verdict(
        row.gain, (low, high), row.p_adjusted, alpha=settings.alpha, margin=settings.margin
    )
    return dataclasses.replace(row, verdict=word)


def unlearned(curves: Mapping[str, Curve], settings: Statistics) -> str:
    """Returns which arms have not learned the task with their fewest labels; empty where all have.

    A phrase, as of labels saved nothing can be told there.
    """
    first = {arm: own.rows[:1] for arm, own in curves.items()}
    failed = [arm for arm, rows in first.items() if unfit(rows, settings)]
    if not failed:
        return ""
    labels = next(iter(first.values()))[0].row.labels
    return f"With {labels} labels {_not_shown(failed)}"


def best_in(
    setting: Setting,
    name: str,
    transfers: Mapping[str, Curve],
    base: Curve,
    settings: Statistics,
) -> Best:
    """Returns the best of several arms over a range of labels, chosen anew in every resample."""
    budgets = ranges(base.labels)[name]
    first = int(np.flatnonzero(budgets)[0])
    return best_of(
        np.array([gains(own, base, budgets) for own in transfers.values()]),
        base.labels,
        base.scores,
        own=int(base.labels[first]),
        accuracies=np.array([own.scores[first] for own in transfers.values()]),
        resampling=resampling(settings, "best", *setting, name, sampling=base.sampling),
    )


def place(setting: Setting) -> str:
    """Returns a task, network, shift and training budget in words."""
    *names, last = (" ".join(name.split()) for name in classes_of(setting.task))
    task = f"{', '.join(names)} and {last}" if names else last
    kind, _, amount = setting.training.partition("=")
    moved = f", images shifted by up to {setting.shift} pixels" if setting.shift else ""
    return f"{task} ({setting.network}, {amount} {kind}{moved})"


def slight(row: AreaRow | RateRow, settings: Statistics) -> bool:
    """Tells whether a difference that was found is smaller than the margin, all its interval."""
    decided = row.verdict in (TRANSFER_BETTER, BASELINE_BETTER)
    return decided and max(-row.gain_low, row.gain_high) < settings.margin


def _less(settings: Statistics) -> str:
    return f"less than {100 * settings.margin:g} points"


def _span(row: AreaRow) -> str:
    few, many = row.from_labels, row.to_labels
    return f"With {few} labels" if few == many else f"With {few} to {many} labels"


def _unfit_in_words(row: AreaRow, failed: Sequence[str], before: AreaRow) -> str:
    hangs = _hangs(row, before)
    aside = f" ({hangs})" if hangs else ""
    return f"{_span(row)} {_WORDS[row.verdict]}: {_not_shown(failed)}{aside}."


def _not_shown(arms: Sequence[str]) -> str:
    """Returns that arms may be at chance: few seeds may not tell more from it."""
    return f"{' and '.join(arms)} {'are' if len(arms) > 1 else 'is'} not shown to learn the task"


def _hangs(row: AreaRow, before: AreaRow) -> str:
    """Returns what the verdict is at the rates of no search; empty where it is the same."""
    if before.verdict == row.verdict:
        return ""
    whose = f" ({before.arm})" if before.arm != row.arm else ""
    return f"hangs on the learning rate: without a search {_WORDS[before.verdict]}{whose}"


def _failures_in_words(cells: Mapping[str, Sequence[Cells]]) -> list[str]:
    """Returns how many trainings failed, a sentence; none where all arms failed alike.

    A gain then is one in failures too, of the kind whose p-value is to be trusted least. One that
    is near chance, and answers more than one class, is none of them.
    """
    counts = {arm: int(sum(own.degenerate.sum() for own in rows)) for arm, rows in cells.items()}
    if len(set(counts.values())) == 1:
        return []
    trainings = sum(len(own.degenerate) for own in cells[BASELINE])
    told = " and ".join(f"{count} of {arm}" for arm, count in counts.items())
    counted = "failed: they answer one class for everything. All numbers here count them"
    return [f"Of {trainings} trainings each {told} {counted}."]


def _range_in_words(
    row: AreaRow, best: Best, settings: Statistics, before: AreaRow, *, alone: str
) -> str:
    margin = f"{100 * settings.margin:g}"
    meaning = _MEANINGS[row.verdict].format(margin=margin)
    decided = row.verdict in (TRANSFER_BETTER, BASELINE_BETTER)
    if slight(row, settings):
        meaning += f", by {_less(settings)}"
    among = f", the best of {best.among}, chosen anew in every resample" if best.among > 1 else ""
    low, high = best.gain
    sure = _sure(best.gain, row.p_adjusted, settings)
    asides = []
    if row.verdict != alone:
        asides.append(f"by itself {_WORDS[alone]}, and the best of several has to be so by more")
    if row.verdict == verdicts.CANNOT_TELL and not math.isnan(row.detectable_gain):
        asides.append(f"{100 * row.detectable_gain:.2f} points would show in 4 of 5 such studies")
    if decided and low <= 0 <= high:
        asides.append(
            "the interval holds 0 all the same: the test finds that the two differ, which need "
            "not be in their means"
        )
    if not decided and (low > 0 or high < 0):
        asides.append(_LEAVES_OUT)
    # Of the two one-sided tests each interval would hold 1 - 2 alpha, and this one holds more.
    beyond = {
        verdicts.NO_WORSE: low <= -settings.margin,
        verdicts.EQUIVALENT: low <= -settings.margin or high >= settings.margin,
    }
    if beyond.get(row.verdict, False):
        asides.append(f"the interval reaches {margin} points all the same: one-sided tests decide")
    aside = "".join(f"; {text}" for text in [*asides, _hangs(row, before)] if text)
    gain = f"{points(row.gain)} points of accuracy"
    return f"{_span(row)} {meaning}: {gain} ({sure}; {row.arm}{among}{aside})."


def control_in_words(
    control: AreaRow, over: AreaRow, saved: Estimate | None, settings: Statistics
) -> str:
    """Returns what an untrained network does in an arm's place, and so what was learned gives.

    `control` is its row over the baseline, `over` the arm's row over it, `saved` what it saves.
    """
    who = _untrained(control.arm)
    if over.verdict == verdicts.INVALID:
        return f"{who} is not shown to learn the task."
    side = "above" if control.gain >= 0 else "below"
    low, high = control.gain_low, control.gain_high
    interval = "" if math.isnan(low) else f" ({points(low)} to {points(high)})"
    parts = [f"{who} is {100 * abs(control.gain):.2f} points {side} the baseline{interval}."]
    if saved:
        parts.append(
            saved_in_words(saved, control.from_labels, verdict=control.verdict, lacks_steps=False)
        )
    margin = f"{100 * settings.margin:g}"
    meaning = {
        TRANSFER_BETTER: "what was learned gains",
        BASELINE_BETTER: "what was learned loses",
        verdicts.EQUIVALENT: f"what was learned makes no difference of {margin} points",
        verdicts.NO_WORSE: f"what was learned loses less than {margin} points, if any",
        verdicts.CANNOT_TELL: "whether what was learned gains cannot be told",
    }[over.verdict]
    sure = _sure((over.gain_low, over.gain_high), over.p_adjusted, settings)
    if over.verdict == verdicts.CANNOT_TELL and (over.gain_low > 0 or over.gain_high < 0):
        sure += f"; {_LEAVES_OUT}"
    return (
        f"{' '.join(parts)} Over the untrained network {meaning}: {points(over.gain)} points "
        f"({sure})."
    )


def _untrained(arm: str) -> str:
    return f"An untrained network of the same shape ({arm})"


def _others_in_words(others: Sequence[AreaRow]) -> list[str]:
    """Returns what the other arms gain, a sentence; none where no network is from elsewhere.

    Who compares networks wants to know of each.
    """
    if not any(OF in row.arm for row in others):
        return []
    told = (f"{row.arm} {points(row.gain)} points ({_WORDS[row.verdict]})" for row in others)
    return [f"The others: {', '.join(told)}."]


def _sure(interval: tuple[float, float], p: float, settings: Statistics) -> str:
    low, high = interval
    if math.isnan(low):
        return "one seed, no interval"
    width = f"{100 * settings.confidence:g} % interval"
    return f"{width} {points(low)} to {points(high)}, corrected p {p:.2g}"
