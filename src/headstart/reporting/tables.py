"""The tables in metrics/ beside metrics.json: history, answers, ROC curves."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts, digits
from headstart.judging import scores
from headstart.judging.answers import ARMS, Answers, answered_probabilities

# A curve of more points than this looks no different on paper or screen.
_ROC_POINTS = 200
_MISTAKES = ("file", "actual", *ARMS, *(f"{arm}_probability" for arm in ARMS))


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of metrics/history.csv from the histories beside the models in `folder`."""
    return [
        {"arm": model, **row}
        for model in ("source", *ARMS)
        for row in artefacts.read_history(folder / f"{model}.history.csv")
    ]


def write(
    folder: Path,
    *,
    history: Sequence[Mapping[str, Any]],
    answers: Answers,
    files: Sequence[str],
    classes: Sequence[str],
) -> None:
    """Writes history.csv, predictions.csv, mistakes.csv and roc.csv into `folder`.

    The folder is made if missing. `files` are the files that the test images were, [] for images
    that had none: mistakes.csv is then a header alone.
    """
    artefacts.write_history(folder / "history.csv", history)
    artefacts.write_table(folder / "predictions.csv", prediction_rows(answers))
    mistakes = mistake_rows(answers, files=files, classes=classes)
    artefacts.write_table(folder / "mistakes.csv", mistakes, columns=_MISTAKES)
    artefacts.write_table(folder / "roc.csv", roc_rows(answers))


def prediction_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    """Yields the rows of metrics/predictions.csv: labels from 0, probabilities to six digits."""
    shares = {arm: answered_probabilities(own) for arm, own in answers.probabilities.items()}
    for index, actual in enumerate(answers.actual):
        yield {
            "index": index,
            "actual": int(actual),
            **{arm: int(answers.classes[arm][index]) for arm in ARMS},
            **{f"{arm}_probability": f"{shares[arm][index]:.6f}" for arm in ARMS},
        }


def mistake_rows(
    answers: Answers, *, files: Sequence[str], classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yields the rows of metrics/mistakes.csv: of predictions.csv those that an arm has wrong.

    The file stands in place of the index, names of classes in place of numbers.
    """
    for file, row in zip(files, prediction_rows(answers), strict=bool(files)):
        answered = {key: row[key] for key in ("actual", *ARMS)}
        if len(set(answered.values())) > 1:
            named = {key: classes[number] for key, number in answered.items()}
            yield {"file": file, **{key: named.get(key, row[key]) for key in _MISTAKES[1:]}}


def read_predictions(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the actual classes in predictions.csv and the answered ones by arm, int64 (n,)."""
    rows = artefacts.read_table(path)
    actual, *answered = (
        np.array([int(row[column]) for row in rows]) for column in ("actual", *ARMS)
    )
    return actual, dict(zip(ARMS, answered, strict=True))


def roc_rows(answers: Answers) -> list[dict[str, Any]]:
    """Returns the rows of metrics/roc.csv, at most 200 an arm, rates to six significant digits.

    An arm whose curve is undefined (a class without test images) has one row without rates.
    """
    rows: list[dict[str, Any]] = []
    for arm, probabilities in answers.probabilities.items():
        false, true = thinned(*scores.roc_curve(answers.actual, probabilities))
        points = zip(map(digits.rounded, false), map(digits.rounded, true), strict=True)
        rows += [
            {"arm": arm, "false_positive_rate": x, "true_positive_rate": y}
            for x, y in (points if len(false) else [(None, None)])
        ]
    return rows


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
