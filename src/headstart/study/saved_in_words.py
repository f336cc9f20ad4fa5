"""Labels saved in words: a sentence, an interval, and whether it says that labels are saved."""

import math
from collections.abc import Callable

from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.study import verdicts
from headstart.study.cells_table import Curve
from headstart.study.curves import UNDETERMINED, Estimate, saved_by_medians

SAVES_NONE = (BASELINE_BETTER, verdicts.EQUIVALENT, verdicts.NO_WORSE)
"""Verdicts about an arm with which it is concluded that it saves no labels."""

# Of fewer seeds a median is no better than a mean.
_MEDIANS = 5


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
        good = f"with {own} the baseline is as good already"
        if verdict in SAVES_NONE:
            return f"It saves no labels: {good}."
        return f"That it saves no labels is not concluded; read off the curves, {good}."
    if saves is None and saved.kind == "at most" and saved.value == 1 <= saved.high < math.inf:
        return (
            f"Whether it saves labels cannot be told: with {own} the baseline is as good already, "
            f"and the interval allows for {saved.high:.2f} times as many."
        )
    opening = {
        (True, TRANSFER_BETTER): "It saves labels: the",
        (False, BASELINE_BETTER): "It costs labels: the",
        (None, verdict): "Whether it saves labels cannot be told: the",
    }.get(
        (saves, verdict),
        f"That labels are {'saved' if saves else 'lost'} is not concluded; read off the curves, "
        "the",
    )
    bound = "" if saved.kind == "estimate" else f"{saved.kind} "
    interval = interval_in_words(saved)
    return (
        f"{opening} baseline needs {bound}{saved.value * own:.0f} labels in place of {own}, "
        f"{bound}{saved.value:.2f} times as many{f' (interval {interval})' if interval else ''}."
    )


def apart_by_medians(saved: Estimate, base: Curve, own: Curve) -> str:
    """Returns the factor of labels saved by medians over seeds, in words; mostly empty.

    Told where it lies beyond the interval of the means: a few trainings that fail, or nearly, can
    bend a mean curve. Of several splits, or a few seeds, there are no medians.
    """
    few = base.sampling.splits > 1 or base.accuracies.shape[1] < _MEDIANS
    if few or saved.kind not in ("estimate", "at least"):
        return ""
    other = saved_by_medians(base.labels, base.accuracies, int(own.labels[0]), own.accuracies[0])
    if math.isnan(other.value) or saved.low <= other.value <= saved.high:
        return ""
    return f"{'' if other.kind == 'estimate' else f'{other.kind} '}{other.value:.2f}"


def saves_labels(saved: Estimate) -> bool | None:
    """Tells whether an arm saves labels; None where its interval allows for both, or is none.

    An arm with fewer labels than the baseline ever had may save up to so many, or cost.
    """
    if saved.low > 1:
        return True
    unseen = saved.kind == "at most" and saved.value > 1
    return False if saved.high < 1 and not unseen else None


def interval_in_words(saved: Estimate, *, form: Callable[[float], str] = "{:.2f}".format) -> str:
    """Returns the interval of a factor, an open end told by the other; empty where there is none.

    Where all resamples end where the grid ends, the bound itself says so.
    """
    if math.isnan(saved.low) or saved.low == math.inf or saved.high == 0:
        return ""
    if saved.low == 0:
        return f"{form(saved.high)} or less"
    return (
        f"{form(saved.low)} or more"
        if saved.high == math.inf
        else f"{form(saved.low)} to {form(saved.high)}"
    )
