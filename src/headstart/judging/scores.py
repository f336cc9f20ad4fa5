"""How well one model does on its test set: pure functions over arrays."""

import math
from collections.abc import Iterator

import numpy as np

from headstart.judging import calibration
from headstart.judging.answers import Answers, answered_classes, per_class
from headstart.judging.metrics import Scores

# Probabilities are cut here before the logarithm: a wrong answer given with certainty costs 36.
_SMALLEST = float(np.finfo(np.float64).eps)


def scores(actual: np.ndarray, probabilities: np.ndarray, *, loss: float) -> Scores:
    """Returns the scores of one model on its test set.

    Balanced accuracy is the mean recall of the classes that occur. The AUC of three or more
    classes is one-vs-rest, macro, and undefined where a class is missing from the test set.
    The log loss cuts probabilities at the epsilon of float64, as scikit-learn does for float64
    input: a one-unit softmax, wrong with certainty, gets 36 a wrong answer. What a model
    without numbers (a training that diverged) leaves undefined is None. `actual` are classes from
    0, int (n,), n > 0; `probabilities` float (n,), (n, 1) or (n, k); `loss` is the model's
    compiled loss on these images, from `fit.score`.
    """
    from sklearn.metrics import recall_score

    actual, answered = np.asarray(actual), answered_classes(probabilities)
    classes, counts = np.unique(actual, return_counts=True)
    return Scores(
        accuracy=int((answered == actual).sum()) / len(actual),
        balanced_accuracy=float(recall_score(actual, answered, labels=classes, average="macro")),
        majority_rate=int(counts.max()) / len(actual),
        loss=_number(loss),
        log_loss=log_loss(actual, probabilities),
        auc=auc(actual, probabilities),
        brier=brier(actual, probabilities),
        calibration_error=calibration.calibration_error(calibration.bins(actual, probabilities)),
    )


def log_loss(actual: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Returns the mean negative logarithm of the probability given to the actual class, in nats."""
    # Summed exactly, the order of the images is no part of the result.
    losses = _log_losses(actual, probabilities)
    return _number(math.fsum(losses) / len(losses))


def log_loss_gain(
    answers: Answers, *, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Returns the log loss of transfer minus that of the baseline, and both ends of its interval.

    Both models answer the same images, so the interval is Student's t of the mean difference on
    an image. It has no ends where one image, or one and the same difference on all, tells nothing
    of the spread, and where probabilities are no numbers there is nothing at all.
    """
    from scipy.stats import t

    baseline, transfer = (
        _log_losses(answers.actual, own) for own in answers.probabilities.values()
    )
    apart = [right - left for left, right in zip(baseline, transfer, strict=True)]
    gain = _number(math.fsum(apart) / len(apart))
    if gain is None or len(set(apart)) == 1:
        return gain, None, None
    freedom = len(apart) - 1
    variance = math.fsum((own - gain) ** 2 for own in apart) / freedom
    half = float(t.isf((1 - confidence) / 2, freedom)) * math.sqrt(variance / len(apart))
    return gain, gain - half, gain + half


def brier(actual: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Returns the Brier score, the mean squared error of the probabilities; None if undefined.

    As scikit-learn has it: of class 1 in a binary task (0 to 1), summed over the classes
    otherwise (0 to 2, as Brier had it).

    References:
        Brier 1950, "Verification of Forecasts Expressed in Terms of Probability".
    """
    values = per_class(probabilities)
    squares = np.zeros(len(actual))
    # One class after another, so that no processor sums them in an order of its own.
    for number in range(1 if values.shape[1] == 2 else 0, values.shape[1]):
        squares += (values[:, number].astype(np.float64) - (actual == number)) ** 2
    return _number(math.fsum(squares) / len(squares))


def _log_losses(actual: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """Returns each image's negative logarithm of the probability given to its actual class."""
    # Not scikit-learn's, which cuts float32 at 1.2e-7 and warns where rows of float64 made of it
    # miss a sum of 1. Nor NumPy's logarithm, which follows the processor's vectors.
    given = per_class(probabilities)[np.arange(len(actual)), actual].astype(np.float64)
    return [-math.log(own) for own in np.clip(given, _SMALLEST, 1 - _SMALLEST).tolist()]


def auc(actual: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Returns the area under the ROC curve, macro one-vs-rest over k > 2, None if undefined."""
    from sklearn.metrics import roc_auc_score

    # One class after another: the columns of all of them are many times the probabilities.
    areas = [roc_auc_score(*column) for column in _rest_columns(actual, probabilities)]
    return float(np.mean(areas)) if areas else None


def roc_curve(actual: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns false and true positive rates, float64 (m,) each; empty where undefined.

    Three or more classes: the mean of the one-vs-rest curves over all their false positive rates.
    """
    from sklearn.metrics import roc_curve as sklearn_roc_curve

    curves = [
        sklearn_roc_curve(positive, score)[:2]
        for positive, score in _rest_columns(actual, probabilities)
    ]
    if not curves:
        return np.empty(0), np.empty(0)
    if len(curves) == 1:
        false, true = curves[0]
        return false, true
    grid = np.unique(np.concatenate([rate for rate, _ in curves]))
    # A curve rises in steps: each rate has a value from the left and one from the right.
    left = np.mean([np.interp(-grid, -false[::-1], true[::-1]) for false, true in curves], axis=0)
    right = np.mean([np.interp(grid, false, true) for false, true in curves], axis=0)
    return np.repeat(grid, 2), np.stack([left, right], axis=1).reshape(-1)


def right_by_class(
    actual: np.ndarray, answered: np.ndarray, *, classes: int
) -> list[tuple[int, int]]:
    """Returns of each class how many of its images are answered right, and how many there are."""
    actual = np.asarray(actual)
    right = np.bincount(actual[answered == actual], minlength=classes)
    return list(zip(right.tolist(), np.bincount(actual, minlength=classes).tolist(), strict=True))


def wilson(correct: int, total: int, *, confidence: float) -> tuple[float, float]:
    """Returns Wilson's score interval of an accuracy of `correct` in `total` answers."""
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _rest_columns(
    actual: np.ndarray, probabilities: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (positive, score) for each class against the rest, for class 1 alone if binary.

    Nothing where a class is missing from `actual` or a score is no number.
    """
    values = per_class(probabilities)
    count = values.shape[1]
    if len(np.unique(actual)) < count or not np.isfinite(values).all():
        return
    for number in range(1 if count == 2 else 0, count):
        yield np.asarray(actual) == number, values[:, number].astype(np.float64)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
