"""A run's numbers as text, for terminal, page and README alike."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headstart.judging import scores
from headstart.judging.compared import Compared
from headstart.judging.metrics import Comparison, Outcome, Record
from headstart.judging.verdict import (
    BASELINE_BETTER,
    EQUIVALENT,
    INVALID,
    NO_DIFFERENCE,
    TRANSFER_BETTER,
)

# Label, and cells by model.
Row = tuple[str, Mapping[str, str]]

_MEANINGS = {
    TRANSFER_BETTER: "what the source task taught gives a head start.",
    BASELINE_BETTER: "training from scratch beats transfer on this target task.",
    EQUIVALENT: "if the accuracies differ, then by less than the margin.",
    NO_DIFFERENCE: "the test answers do not tell the two models apart.",
    INVALID: "a model is broken or has not learned, so the accuracies prove nothing.",
}
# The baseline is of another architecture then.
_MEANINGS_OF_NETWORK = _MEANINGS | {
    TRANSFER_BETTER: "the network from elsewhere beats the baseline; how much of that it has "
    "learned, and how much is its architecture, the controls tell.",
    BASELINE_BETTER: "the baseline, from scratch, beats the network from elsewhere.",
}
# Where the transfer arm is a control, a gain is not of anything learned elsewhere.
_MEANINGS_OF_CONTROL = _MEANINGS | {
    TRANSFER_BETTER: "a network that has learned nothing elsewhere beats the baseline, so that a "
    "gain of transfer is to be measured against this one.",
    BASELINE_BETTER: "the baseline beats a network that has learned nothing elsewhere.",
}
_LARGE = ((1e15, "quadrillion"), (1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def points(value: float) -> str:
    """Returns a difference of accuracies in points, with its sign; 0 is nothing below 0."""
    return f"{round(100 * value, 2) + 0.0:+.2f}"


def score_rows(outcome: Outcome) -> list[Row]:
    """Returns the accuracies, their intervals and the other scores as text."""
    scored = outcome.record.scores

    def shown(key: str) -> dict[str, str]:
        return {model: number(getattr(own, key), "{:.4f}") for model, own in scored.items()}

    def interval(model: str) -> str:
        total, accuracy = outcome.test_images.get(model), scored[model].accuracy
        if not total or accuracy is None:
            return "unknown"
        right = round(accuracy * total)
        low, high = scores.wilson(right, total, confidence=outcome.confidence)
        return f"{low:.4f} to {high:.4f}"

    return [
        ("accuracy", shown("accuracy")),
        (f"  {outcome.confidence:.0%} interval", {model: interval(model) for model in scored}),
        ("balanced accuracy", shown("balanced_accuracy")),
        ("always the commonest", shown("majority_rate")),
        ("loss", shown("loss")),
        ("log loss of answers", shown("log_loss")),
        ("area under ROC", shown("auc")),
        ("Brier score", shown("brier")),
        ("calibration error", shown("calibration_error")),
    ]


def cost_rows(record: Record) -> list[Row]:
    """Returns what each model cost, as text."""

    def spent(key: str, show: Callable[[Any], str]) -> dict[str, str]:
        return {
            model: show(getattr(cost, key))
            for model, cost in record.costs.items()
            if hasattr(cost, key)
        }

    def whole(value: int | None) -> str:
        return number(value, "{:,}")

    return [
        *_chosen_rows(record),
        ("trainable parameters", spent("trainable_parameters", whole)),
        ("total parameters", spent("total_parameters", whole)),
        ("updates", spent("updates", whole)),
        ("FLOPs", spent("flops", large)),
        ("  with the source's", spent("flops_with_source", large)),
        ("FLOPs as notebook", spent("flops_as_notebook", large)),
        ("  with the source's", spent("flops_as_notebook_with_source", large)),
    ]


def _chosen_rows(record: Record) -> list[Row]:
    """Returns the learning rates that were chosen from lists; no row where there were none."""
    first = {"learning_rate": "", "unfrozen_learning_rate": "then "}
    cells = {
        arm: ", ".join(f"{first[key]}{rate:g}" for key, rate in rates.items())
        for arm, rates in record.chosen.items()
    }
    return [("chosen learning rate", cells)] if cells else []


def image_rows(outcome: Outcome) -> list[Row]:
    """Returns what one image costs each model, as text; nothing where that is not known here."""
    return [
        (label, {model: large(getattr(own, key)) for model, own in outcome.per_image.items()})
        for label, key in (
            ("FLOPs of one image, forward", "forward"),
            ("  a training step", "step"),
        )
        if outcome.per_image
    ]


def differences(outcome: Outcome) -> list[str]:
    """Returns what makes the comparison unfair, a line each; none means that it is fair."""
    if outcome.record.comparison.fair or outcome.unfair:
        return list(outcome.unfair)
    return ["the record does not say in what the arms differ"]


def question(compared: Compared, *, taught: Sequence[str], classes: Sequence[str]) -> str:
    """Returns what a run asks, where the source task had the classes `taught`."""
    told = " from ".join(classes)
    if compared.control:
        return f"A control: how does a network that has learned nothing elsewhere tell {told}?"
    known = compared.network or f"a network trained on {', '.join(taught)}"
    return f"Does {known} have a head start on telling {told}?"


def gain_sentence(comparison: Comparison, compared: Compared, *, confidence: float) -> str:
    """Returns the gain in accuracy with interval and McNemar p-values, and that in log loss."""
    sentence = (
        f"Gain in accuracy by {compared.contender}: {comparison.accuracy_gain:+.4f} "
        f"({confidence:.0%} interval {comparison.accuracy_gain_low:+.4f} to "
        f"{comparison.accuracy_gain_high:+.4f}), "
        f"McNemar mid-p = {number(comparison.mcnemar_mid_p, '{:.3g}')} "
        f"(exact p = {comparison.mcnemar_p:.3g})"
    )
    if comparison.log_loss_gain is None:
        return sentence
    ends = comparison.log_loss_gain_low, comparison.log_loss_gain_high
    low, high = (number(end, "{:+.4f}") for end in ends)
    return (
        f"{sentence}. Log loss of {compared.contender} minus that of the baseline: "
        f"{comparison.log_loss_gain:+.4f} ({confidence:.0%} interval {low} to {high}; lower is "
        "better)"
    )


def verdict_sentence(comparison: Comparison, compared: Compared) -> str:
    """Returns the verdict with what it means, and the log loss where that says something else.

    Where the transfer arm is a control, it is called so.
    """
    verdict = comparison.verdict
    head = "Verdict on the control" if compared.control else "Verdict"
    meaning = _MEANINGS[verdict]
    if compared.control:
        meaning = _MEANINGS_OF_CONTROL[verdict]
    elif compared.network:
        meaning = _MEANINGS_OF_NETWORK[verdict]
    aside = log_loss_aside(
        verdict,
        comparison.log_loss_gain,
        comparison.log_loss_gain_low,
        comparison.log_loss_gain_high,
    )
    if aside is None:
        return f"{head}: {verdict}: {meaning}"
    return f"{head}: {verdict} in accuracy: {meaning.removesuffix('.')}; {aside}."


def log_loss_aside(
    verdict: str | None, gain: float | None, low: float | None, high: float | None
) -> str | None:
    """Returns what the log loss says where it is not what the verdict on the accuracy says.

    `gain` is that of transfer minus that of the baseline, in its interval from `low` to `high`.
    """
    if verdict == INVALID or gain is None or low is None or high is None:
        return None
    better = TRANSFER_BETTER if high < 0 else BASELINE_BETTER if low > 0 else None
    if better == (verdict if verdict in (TRANSFER_BETTER, BASELINE_BETTER) else None):
        return None
    if better is None:
        return f"the log loss does not tell them apart ({gain:+.3g}, {low:+.3g} to {high:+.3g})"
    small, large = sorted(map(abs, (low, high)))
    side, means = ("lower", "better") if gain < 0 else ("higher", "worse")
    return (
        f"transfer's log loss is {side} by {abs(gain):.3g} ({small:.3g} to {large:.3g}), its "
        f"probabilities {means}"
    )


def number(value: float | None, pattern: str) -> str:
    """Returns a number by a pattern of `str.format`; None and NaN are "unknown"."""
    return "unknown" if value is None or math.isnan(value) else pattern.format(value)


def large(value: float | None) -> str:
    """Returns a large number as people say it, "213 billion"; None is "unknown"."""
    if value is None:
        return "unknown"
    for size, word in _LARGE:
        if abs(value) >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,}"
