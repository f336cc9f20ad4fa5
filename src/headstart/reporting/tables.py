"""The numbers of a run as tables: files in metrics/, rows of text for terminal and page."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.artefacts import write_json, write_table
from headstart.judging import scores
from headstart.judging.answers import answered_classes, answered_probabilities
from headstart.judging.verdict import BASELINE_BETTER, INVALID, NO_DIFFERENCE, TRANSFER_BETTER

if TYPE_CHECKING:
    pass
from headstart.reporting.style import ARMS

# A curve of more points than this looks no different on paper or screen.
_ROC_POINTS = 200


# Label, and cells by arm.
Row = tuple[str, dict[str, str]]


def write_tables(
    folder: Path,
    *,
    record: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    actual: np.ndarray,
    baseline_probabilities: np.ndarray,
    transfer_probabilities: np.ndarray,
) -> None:
    """Writes metrics.json, history.csv, predictions.csv and roc.csv into `folder`.

    Args:
        folder: made if missing.
        record: what metrics.json holds.
        history: rows of history.csv.
        actual: classes from 0, int (n,).
        baseline_probabilities: float (n,), (n, 1) or (n, k); so are the other arm's.
        transfer_probabilities: see above.
    """
    arms = baseline_probabilities, transfer_probabilities
    write_json(folder / "metrics.json", record)
    write_table(folder / "history.csv", history)
    write_table(folder / "predictions.csv", prediction_rows(actual, *arms))
    write_table(folder / "roc.csv", roc_rows(actual, *arms))


def roc_rows(
    actual: np.ndarray, baseline_probabilities: np.ndarray, transfer_probabilities: np.ndarray
) -> list[dict[str, Any]]:
    """Returns the rows of metrics/roc.csv, at most 200 an arm, rates to six digits.

    An arm whose curve is undefined (a class without test images) has one row without rates.
    """
    rows: list[dict[str, Any]] = []
    for arm, probabilities in zip(
        ARMS, (baseline_probabilities, transfer_probabilities), strict=True
    ):
        false, true = thinned(*scores.roc_curve(actual, probabilities))
        points: list[tuple[float | None, float | None]] = [
            (round(float(x), 6), round(float(y), 6)) for x, y in zip(false, true, strict=True)
        ]
        rows += [
            {"arm": arm, "false_positive_rate": x, "true_positive_rate": y}
            for x, y in points or [(None, None)]
        ]
    return rows


def arms_in(record: Mapping[str, Any]) -> list[str]:
    """Returns the arms that the record tells of: baseline, transfer and, where there, source."""
    return [arm for arm in (*ARMS, "source") if arm in record]


def score_rows(
    record: Mapping[str, Any], *, test_images: Mapping[str, int], confidence: float
) -> list[Row]:
    """Returns the accuracies, their intervals and the other scores in `record` as text."""
    arms = arms_in(record)

    def score(key: str) -> dict[str, str]:
        return {arm: text(record[arm].get(key), "{:.4f}") for arm in arms}

    def interval(arm: str) -> str:
        total, accuracy = test_images.get(arm), record[arm].get("accuracy")
        if not total or accuracy is None:
            return "unknown"
        low, high = scores.wilson(round(accuracy * total), total, confidence=confidence)
        return f"{low:.4f} to {high:.4f}"

    return [
        ("accuracy", score("accuracy")),
        (f"  {confidence:.0%} interval", {arm: interval(arm) for arm in arms}),
        ("balanced accuracy", score("balanced_accuracy")),
        ("always the commonest", score("majority_rate")),
        ("loss", score("loss")),
        ("log loss of answers", score("log_loss")),
        ("area under ROC", score("auc")),
    ]


def cost_rows(record: Mapping[str, Any]) -> list[Row]:
    """Returns what each arm cost, as text; rows of which the record tells nothing are left out."""
    cost: Mapping[str, Any] = record.get("cost") or {}

    def spent(key: str, show: Callable[[Any], str]) -> dict[str, str]:
        return {
            arm: show(cost[arm][key])
            for arm in arms_in(record)
            if isinstance(cost.get(arm), Mapping) and key in cost[arm]
        }

    def whole(value: Any) -> str:
        return text(value, "{:,}")

    rows = [
        ("trainable parameters", spent("trainable_parameters", whole)),
        ("total parameters", spent("total_parameters", whole)),
        ("updates", spent("updates", whole)),
        ("FLOPs", spent("flops", in_words)),
        ("  with the source's", spent("flops_with_source", in_words)),
        ("FLOPs as notebook", spent("flops_as_notebook", in_words)),
        ("  with the source's", spent("flops_as_notebook_with_source", in_words)),
    ]
    return [(label, cells) for label, cells in rows if cells]


def gain_sentence(comparison: Mapping[str, Any], *, confidence: float) -> str:
    """Returns the gain in accuracy with its interval and the McNemar p-value."""
    gain, low, high = (
        text(comparison.get(f"accuracy_gain{end}"), "{:+.4f}") for end in ("", "_low", "_high")
    )
    p = text(comparison.get("mcnemar_p"), "{:.3g}")
    return (
        f"Gain in accuracy by transfer: {gain} ({confidence:.0%} interval {low} to {high}), "
        f"McNemar p = {p}"
    )


def verdict_sentence(verdict: str) -> str:
    """Returns the verdict with what it means."""
    meanings = {
        TRANSFER_BETTER: "what the source task taught gives a head start.",
        BASELINE_BETTER: "training from scratch beats transfer on this target task.",
        NO_DIFFERENCE: "the test answers do not tell the two models apart.",
        INVALID: "at least one model is broken, so its accuracy proves nothing.",
    }
    return f"Verdict: {verdict}: {meanings[verdict]}"


def in_words(number: float | None) -> str:
    """Returns a large number as people say it, "213 billion"; None is "unknown"."""
    if number is None:
        return "unknown"
    for size, word in (
        (1e15, "quadrillion"),
        (1e12, "trillion"),
        (1e9, "billion"),
        (1e6, "million"),
    ):
        if abs(number) >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,}"


def thinned(false: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most 200 of the points, evenly along the curve and with both ends."""
    if len(false) <= _ROC_POINTS:
        return false, true
    # City blocks, not straight lines: a curve from corner to corner has the length 2.
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(false)) + np.abs(np.diff(true)))])
    kept = np.searchsorted(along, np.linspace(0, along[-1], _ROC_POINTS))
    # The ends first: the last point may not be the first to reach the whole length.
    kept = np.unique(np.append(kept[:-1], len(false) - 1))
    return false[kept], true[kept]


def text(value: float | None, pattern: str) -> str:
    """Returns the value by the pattern, `unknown` for none."""
    return "unknown" if value is None or math.isnan(value) else pattern.format(value)


def prediction_rows(
    actual: np.ndarray, baseline_probabilities: np.ndarray, transfer_probabilities: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Yields the rows of metrics/predictions.csv: labels from 0, probabilities to six digits."""
    arms = (baseline_probabilities, transfer_probabilities)
    labels = [answered_classes(arm) for arm in arms]
    shares = [answered_probabilities(arm) for arm in arms]
    for index in range(len(actual)):
        yield {
            "index": index,
            "actual": int(actual[index]),
            "baseline": int(labels[0][index]),
            "transfer": int(labels[1][index]),
            "baseline_probability": f"{shares[0][index]:.6f}",
            "transfer_probability": f"{shares[1][index]:.6f}",
        }
