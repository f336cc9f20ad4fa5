"""The study's plain answer: what transfer is worth with few labels and with many, in sentences."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.params.strategies import ARMS, BASELINE
from headstart.reporting.study_tables import AreaRow, Setting, classes_of
from headstart.study import verdicts
from headstart.study.cells_table import Cells, Curve, Curves, resampling, unfit
from headstart.study.curves import FEW, UNDETERMINED, Best, Estimate, best_of, ranges
from headstart.study.derived_table import gains, lacks_steps
from headstart.study.parameters import Statistics

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
    unsearched: Sequence[AreaRow] = (),
) -> list[str]:
    """Returns what transfer is worth: all in short, then a text a setting.

    With few labels, with many, and the labels that are saved. Each range speaks of the
    transferred arm with the largest mean gain there, and its interval knows that it was chosen.
    `unsearched` are the same areas at the rates of no search: a verdict that is another there
    hangs on the rate, and says so. Empty where no arm is transferred; nothing in short where there
    is one setting.
    """
    rows = {(row.setting, row.arm, row.range): row for row in areas}
    before = {(row.setting, row.arm, row.range): row.verdict for row in unsearched}
    texts: list[str] = []
    judged: dict[str, list[str]] = {}
    hanging = 0
    for setting, arms in curves.items():
        transfers = {arm: own for arm, own in arms.items() if ARMS[arm].from_source}
        if not transfers:
            continue
        base, parts = arms[BASELINE], []
        names = list(ranges(base.labels))
        for name in names if len(names) == 1 else names[1:]:
            best = best_in(setting, name, transfers, base, settings)
            row = rows[setting, list(transfers)[best.place], name]
            judged.setdefault(name, []).append(row.verdict)
            other = before.get((setting, row.arm, name), row.verdict)
            hanging += other != row.verdict
            budgets = ranges(base.labels)[name]
            pair = {BASELINE: base, row.arm: transfers[row.arm]}
            if row.verdict == verdicts.INVALID:
                failed = [arm for arm in pair if unfit(pair[arm].among(budgets), settings)]
                parts.append(_unfit_in_words(row, failed, other))
                continue
            parts.append(_range_in_words(row, best, len(transfers), settings, other))
            parts += _failures_in_words({arm: pair[arm].among(budgets) for arm in pair})
            if row.from_labels == base.labels[0]:
                short = lacks_steps(curves, setting, row.from_labels, settings)
                parts.append(
                    saved_in_words(
                        best.saved, row.from_labels, verdict=row.verdict, lacks_steps=short
                    )
                )
        texts.append(f"{place(setting)}: {' '.join(parts)}")
    if len(texts) < 2:
        return texts
    return [_in_short(judged, hanging if unsearched else None), *texts]


def _in_short(judged: Mapping[str, Sequence[str]], hanging: int | None) -> str:
    """Returns how often the best transfer got which verdict, by range.

    And how many of the verdicts hang on the rate; None where no rate was searched.
    """
    parts = []
    for name, own in judged.items():
        counts = [f"{_WORDS[word]} in {own.count(word)}" for word in _WORDS if word in own]
        counts[0] += f" of {len(own)} settings"
        parts.append(f"{_RANGES[name]} {', '.join(counts)}")
    if hanging is not None:
        count = sum(map(len, judged.values()))
        parts.append(f"without a search for learning rates {hanging} of these {count} are others")
    return f"In short: {'; '.join(parts)}."


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
        base.accuracies,
        own=int(base.labels[first]),
        accuracies=np.array([own.accuracies[first] for own in transfers.values()]),
        resampling=resampling(settings, "best", *setting, name),
    )


def place(setting: Setting) -> str:
    """Returns a task, network, shift and training budget in words."""
    *names, last = (" ".join(name.split()) for name in classes_of(setting.task))
    task = f"{', '.join(names)} and {last}" if names else last
    kind, _, amount = setting.training.partition("=")
    moved = f", images shifted by up to {setting.shift} pixels" if setting.shift else ""
    return f"{task} ({setting.network}, {amount} {kind}{moved})"


def _span(row: AreaRow) -> str:
    few, many = row.from_labels, row.to_labels
    return f"With {few} labels" if few == many else f"With {few} to {many} labels"


def _unfit_in_words(row: AreaRow, failed: Sequence[str], before: str) -> str:
    who, have = " and ".join(failed), "have" if len(failed) > 1 else "has"
    hangs = _hangs(row, before)
    aside = f" ({hangs})" if hangs else ""
    return f"{_span(row)} {_WORDS[row.verdict]}: {who} {have} not learned the task{aside}."


def _hangs(row: AreaRow, before: str) -> str:
    """Returns what a verdict is at the rates of no search; empty where it is the same."""
    if before == row.verdict:
        return ""
    return f"hangs on the learning rate: without a search {_WORDS[before]}"


def _failures_in_words(cells: Mapping[str, Sequence[Cells]]) -> list[str]:
    """Returns how many trainings failed, a sentence; none where all arms failed alike.

    A gain then is one in failures too, of the kind whose p-value is to be trusted least.
    """
    counts = {arm: int(sum(own.degenerate.sum() for own in rows)) for arm, rows in cells.items()}
    if len(set(counts.values())) == 1:
        return []
    trainings = sum(len(own.degenerate) for own in cells[BASELINE])
    told = " and ".join(f"{count} of {arm}" for arm, count in counts.items())
    return [f"Of {trainings} trainings each {told} failed, and the gain counts that."]


def _range_in_words(row: AreaRow, best: Best, count: int, settings: Statistics, before: str) -> str:
    margin = f"{100 * settings.margin:g}"
    meaning = _MEANINGS[row.verdict].format(margin=margin)
    decided = row.verdict in (TRANSFER_BETTER, BASELINE_BETTER)
    if decided and max(-row.gain_low, row.gain_high) < settings.margin:
        meaning += f", by less than {margin} points"
    among = f", the best of {count}, chosen anew in every resample" if count > 1 else ""
    low, high = best.gain
    sure = (
        "one seed, no interval"
        if math.isnan(low)
        else f"{100 * settings.confidence:g} % interval {100 * low:+.2f} to {100 * high:+.2f}, "
        f"corrected p {row.p_adjusted:.2g}"
    )
    asides = []
    if row.verdict == verdicts.CANNOT_TELL and not math.isnan(row.detectable_gain):
        asides.append(f"{100 * row.detectable_gain:.2f} points would show in 4 of 5 such studies")
    if decided and low <= 0 <= high:
        asides.append("the interval holds 0 all the same: the test decides")
    if not decided and (low > 0 or high < 0):
        asides.append("the interval, not corrected, leaves 0 out all the same: the test decides")
    # Of the two one-sided tests each interval would hold 1 - 2 alpha, and this one holds more.
    beyond = {
        verdicts.NO_WORSE: low <= -settings.margin,
        verdicts.EQUIVALENT: low <= -settings.margin or high >= settings.margin,
    }
    if beyond.get(row.verdict, False):
        asides.append(f"the interval reaches {margin} points all the same: one-sided tests decide")
    aside = "".join(f"; {text}" for text in [*asides, _hangs(row, before)] if text)
    gain = f"{100 * row.gain:+.2f} points of accuracy"
    return f"{_span(row)} {meaning}: {gain} ({sure}; {row.arm}{among}{aside})."


def saved_in_words(saved: Estimate, own: int, *, verdict: str, lacks_steps: bool) -> str:
    """Returns what an estimate of labels saved says of an arm that has `own` labels.

    That labels are saved or cost is concluded where the arm's `verdict` is that it is better or
    worse: the interval alone is not corrected for the other arms.
    """
    if lacks_steps:
        return (
            f"With {own} labels more training helps the baseline more than ten times the labels, "
            "so that no labels saved are told."
        )
    if saved.kind == UNDETERMINED:
        return "How many labels that saves cannot be told on this grid."
    saves = saves_labels(saved)
    if saves is False and saved.kind == "at most" and saved.value == 1:
        return f"It saves no labels: with {own} the baseline is as good already."
    if saves is None and saved.kind == "at most" and saved.value == 1 <= saved.high < math.inf:
        return (
            f"Whether it saves labels cannot be told: with {own} the baseline is as good already, "
            f"and the interval allows for {saved.high:.2f} times as many."
        )
    opening = {
        (True, TRANSFER_BETTER): "It saves labels: the",
        (False, BASELINE_BETTER): "It costs labels: the",
        (None, verdict): "Whether it saves labels cannot be told: the",
    }.get((saves, verdict), "For the same accuracy the")
    bound = "" if saved.kind == "estimate" else f"{saved.kind} "
    interval = interval_in_words(saved)
    return (
        f"{opening} baseline needs {bound}{saved.value * own:.0f} labels in place of {own}, "
        f"{bound}{saved.value:.2f} times as many{f' (interval {interval})' if interval else ''}."
    )


def saves_labels(saved: Estimate) -> bool | None:
    """Tells whether an arm saves labels; None where its interval allows for both, or is none."""
    if saved.low > 1:
        return True
    return False if saved.high < 1 else None


def interval_in_words(saved: Estimate) -> str:
    """Returns the interval of a factor, an open end told by the other; empty where there is none.

    Where all resamples end where the grid ends, the bound itself says so.
    """
    if math.isnan(saved.low) or saved.low == math.inf or saved.high == 0:
        return ""
    if saved.low == 0:
        return f"{saved.high:.2f} or less"
    return (
        f"{saved.low:.2f} or more"
        if saved.high == math.inf
        else f"{saved.low:.2f} to {saved.high:.2f}"
    )
