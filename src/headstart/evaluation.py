"""Accuracies, intervals, paired tests and the verdict: pure functions over arrays."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart import seeds

TRANSFER_BETTER = "transfer better"
BASELINE_BETTER = "baseline better"
NO_DIFFERENCE = "no difference detected"
INVALID = "invalid comparison"

# Probabilities are cut here before the logarithm: a wrong answer given with certainty costs 36.
_SMALLEST = float(np.finfo(np.float64).eps)
# Keras cuts at 1e-7 (a cost of 16.1), we at 2.2e-16 (36.0): for one and the same answer the two
# losses differ by 2.24 at most. A factor of three cannot come from rounding or cutting.
_CONTRADICTION = 3.0


@dataclasses.dataclass(frozen=True)
class Scores:
    """How well one model does on its test set; what is undefined is None.

    `majority_rate` is what always answering the commonest class would give. `loss` is the
    model's own compiled loss, `log_loss` comes from the answered probabilities (nats).
    """

    accuracy: float
    balanced_accuracy: float
    majority_rate: float
    loss: float | None
    log_loss: float | None
    auc: float | None


@dataclasses.dataclass(frozen=True)
class Paired:
    """On how many test images both, one or none of the two models are right."""

    both_right: int
    only_baseline: int
    only_transfer: int
    both_wrong: int

    @property
    def total(self) -> int:
        """The number of test images."""
        return self.both_right + self.only_baseline + self.only_transfer + self.both_wrong

    @property
    def gain(self) -> float:
        """The accuracy of transfer minus that of the baseline."""
        return (self.only_transfer - self.only_baseline) / self.total


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict on one pair of models, and the reason behind it in prose."""

    verdict: str
    reason: str


def answers(probabilities: np.ndarray) -> np.ndarray:
    """Returns the answered classes, int64 (n,).

    Args:
        probabilities: (n,) or (n, 1) from a single unit: class 1 above 0.5, as Keras has it;
            (n, k) from k units: the class of the highest, the first one of equals.
    """
    if _one_unit(probabilities):
        return (np.asarray(probabilities).reshape(-1) > 0.5).astype(np.int64)
    highest: np.ndarray = np.argmax(probabilities, axis=1).astype(np.int64)
    return highest


def answered_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Returns what predictions.csv holds, float64 (n,).

    The probability of class 1 in a binary task, of the answered class otherwise.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    answered: np.ndarray = values.reshape(-1) if _one_unit(values) else values.max(axis=1)
    return answered


def scores(actual: np.ndarray, probabilities: np.ndarray, *, loss: float) -> Scores:
    """Returns the scores of one model on its test set.

    Balanced accuracy is the mean recall of the classes that occur. The AUC of three or more
    classes is one-vs-rest, macro, and undefined where a class is missing from the test set.
    The log loss cuts probabilities at the epsilon of float64, as scikit-learn does for float64
    input: a one-unit softmax, wrong with certainty, gets 36 a wrong answer. What a model
    without numbers (a training that diverged) leaves undefined is None.

    Args:
        actual: classes from 0, int (n,), n > 0.
        probabilities: float (n,), (n, 1) or (n, k).
        loss: the compiled loss of the model on these images, from `model.evaluate`.
    """
    actual = np.asarray(actual)
    right = answers(probabilities) == actual
    classes, counts = np.unique(actual, return_counts=True)
    return Scores(
        accuracy=int(right.sum()) / len(actual),
        balanced_accuracy=float(np.mean([right[actual == one].mean() for one in classes])),
        majority_rate=int(counts.max()) / len(actual),
        loss=_number(loss),
        log_loss=log_loss(actual, probabilities),
        auc=auc(actual, probabilities),
    )


def log_loss(actual: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Returns the mean negative logarithm of the probability given to the actual class, in nats."""
    given = _per_class(probabilities)[np.arange(len(actual)), actual].astype(np.float64)
    return _number(-np.log(np.clip(given, _SMALLEST, 1 - _SMALLEST)).mean())


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


def wilson(correct: int, total: int, *, confidence: float) -> tuple[float, float]:
    """Returns Wilson's score interval of an accuracy of `correct` in `total` answers."""
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def paired(actual: np.ndarray, baseline: np.ndarray, transfer: np.ndarray) -> Paired:
    """Returns how the answers of both models, int (n,) each, fall together."""
    left, right = np.asarray(baseline) == actual, np.asarray(transfer) == actual
    return Paired(
        both_right=int((left & right).sum()),
        only_baseline=int((left & ~right).sum()),
        only_transfer=int((~left & right).sum()),
        both_wrong=int((~left & ~right).sum()),
    )


def mcnemar(pairs: Paired) -> float:
    """Returns the p-value of the exact two-sided McNemar test; 1 where no answer is discordant."""
    from scipy.stats import binomtest

    discordant = pairs.only_baseline + pairs.only_transfer
    return float(binomtest(pairs.only_baseline, discordant).pvalue) if discordant else 1.0


def gain_interval(
    pairs: Paired, *, confidence: float, samples: int, seed: int
) -> tuple[float, float]:
    """Returns the paired percentile bootstrap interval of the gain.

    The difference on one image is -1, 0 or +1, so drawing n images with replacement is exactly
    one multinomial draw over the three counts: no resampling of images is needed.
    """
    counts = np.array([pairs.only_baseline, pairs.both_right + pairs.both_wrong])
    shares = np.append(counts, pairs.only_transfer) / pairs.total
    drawn = seeds.generator(seed, "evaluate", "bootstrap").multinomial(
        pairs.total, shares, size=samples
    )
    gains = (drawn[:, 2] - drawn[:, 0]) / pairs.total
    low, high = np.quantile(gains, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def degenerate(probabilities: np.ndarray) -> bool:
    """Tells whether a model answers one class for everything, or has no numbers for answers."""
    return constant(answers(probabilities)) or not np.isfinite(probabilities).all()


def constant(answered: np.ndarray) -> bool:
    """Tells whether all answers, int (n,), are one class."""
    return len(np.unique(answered)) == 1


def verdict(
    actual: np.ndarray,
    baseline_answers: np.ndarray,
    transfer_answers: np.ndarray,
    *,
    baseline_scores: Mapping[str, float | None],
    transfer_scores: Mapping[str, float | None],
    alpha: float,
    classes: Sequence[str],
) -> Verdict:
    """Returns the verdict on these two models, which says nothing about other seeds.

    A degenerate model makes the comparison invalid. Otherwise the sign of the difference
    decides where the exact two-sided McNemar p-value is below `alpha`. All it needs lies in
    git: metrics/predictions.csv and metrics/metrics.json.

    Args:
        actual: classes from 0, int (n,).
        baseline_answers: the same for the answered classes.
        transfer_answers: see above.
        baseline_scores: `loss` and `log_loss` on these images; a log loss of None means
            probabilities that are no numbers.
        transfer_scores: see above.
        alpha: between 0 and 1.
        classes: their names by number, for the reason.
    """
    defects = [
        sentence
        for arm, answered, scored in (
            ("baseline", baseline_answers, baseline_scores),
            ("transfer", transfer_answers, transfer_scores),
        )
        for sentence in _defects(arm, actual, answered, scored, classes)
    ]
    if defects:
        return Verdict(INVALID, " ".join(defects))
    pairs = paired(actual, baseline_answers, transfer_answers)
    p = mcnemar(pairs)
    if p >= alpha:
        decision, relation = NO_DIFFERENCE, "not below"
    else:
        decision = TRANSFER_BETTER if pairs.gain > 0 else BASELINE_BETTER
        relation = "below"
    return Verdict(
        decision,
        f"Of {pairs.total} test images, {pairs.only_baseline} are answered right by the baseline "
        f"alone and {pairs.only_transfer} by transfer alone: exact two-sided McNemar "
        f"p = {p:.3g}, {relation} alpha = {alpha:g}. This speaks of these two models only "
        "(one seed), not of the method.",
    )


@dataclasses.dataclass(frozen=True)
class Judgement:
    """All that the test answers say, as metrics/metrics.json has it, and in prose."""

    record: dict[str, Any]
    reason: str
    unfair: list[str]


def judge(
    actual: Mapping[str, np.ndarray],
    probabilities: Mapping[str, np.ndarray],
    losses: Mapping[str, float],
    *,
    arms: tuple[Mapping[str, Any], Mapping[str, Any]],
    alpha: float,
    confidence: float,
    samples: int,
    seed: int,
    classes: Sequence[str],
) -> Judgement:
    """Returns the comparison of both arms, and the scores of all models.

    Args:
        actual: classes from 0, int (n,), by model: baseline, transfer, and source unless the
            source network comes from elsewhere and has no task here.
        probabilities: what the models answer, by model.
        losses: their compiled losses on these images, by model.
        arms: what has to be equal for a fair comparison, of baseline and transfer.
        alpha: below this McNemar p-value a difference counts.
        confidence: of the interval of the gain.
        samples: of its bootstrap.
        seed: keys the bootstrap.
        classes: names of the target classes by number.
    """
    scored = {
        name: dataclasses.asdict(scores(labels, probabilities[name], loss=losses[name]))
        for name, labels in actual.items()
    }
    scored.setdefault("source", dict.fromkeys(scored["baseline"]))
    target = actual["baseline"]
    answered = [answers(probabilities[arm]) for arm in ("baseline", "transfer")]
    decided = verdict(
        target,
        *answered,
        baseline_scores=scored["baseline"],
        transfer_scores=scored["transfer"],
        alpha=alpha,
        classes=classes,
    )
    unfair = fairness(*arms)
    pairs = paired(target, *answered)
    low, high = gain_interval(pairs, confidence=confidence, samples=samples, seed=seed)
    comparison = {
        "accuracy_gain": pairs.gain,
        "accuracy_gain_low": low,
        "accuracy_gain_high": high,
        "mcnemar_p": mcnemar(pairs),
        "verdict": decided.verdict,
        "fair": not unfair,
    }
    return Judgement({"comparison": comparison} | scored, decided.reason, unfair)


def fairness(
    baseline_settings: Mapping[str, Any], transfer_settings: Mapping[str, Any]
) -> list[str]:
    """Returns a line for each setting in which the arms differ; none means a fair comparison.

    The caller hands in what has to be equal: data, epochs, batch size, optimiser, learning rate.
    Nested settings are compared leaf by leaf.
    """
    left, right = dict(leaves(baseline_settings)), dict(leaves(transfer_settings))
    return [
        f"{key}: baseline {left.get(key, 'none')}, transfer {right.get(key, 'none')}"
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    ]


def misclassified(
    actual: np.ndarray, baseline: np.ndarray, transfer: np.ndarray, *, limit: int
) -> np.ndarray:
    """Returns the images to show, int64 indices: both arms wrong first, then one, by index."""
    wrong = (np.asarray(baseline) != actual).astype(int) + (np.asarray(transfer) != actual)
    both, one = np.flatnonzero(wrong == 2), np.flatnonzero(wrong == 1)
    return np.concatenate([both, one])[:limit].astype(np.int64)


def prediction_rows(
    actual: np.ndarray, baseline_probabilities: np.ndarray, transfer_probabilities: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Yields the rows of metrics/predictions.csv: labels from 0, probabilities to six digits."""
    arms = (baseline_probabilities, transfer_probabilities)
    labels = [answers(arm) for arm in arms]
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


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the settings that are not groups of others, with keys joined by dots."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _defects(
    arm: str,
    actual: np.ndarray,
    answered: np.ndarray,
    scored: Mapping[str, float | None],
    classes: Sequence[str],
) -> Iterator[str]:
    """Yields a sentence for each thing that makes a model's accuracy meaningless."""
    loss, log_loss = scored["loss"], scored["log_loss"]
    if log_loss is None:
        yield (
            f"The {arm}'s probabilities are not all numbers: its training diverged, "
            "and a lower learning rate may mend it."
        )
        return
    if not constant(answered):
        return
    yield (
        f"The {arm} answers '{classes[int(answered[0])]}' for all {len(actual)} test images: its "
        f"accuracy of {np.mean(actual == answered):.4f} is the share of that class and shows no "
        "skill."
    )
    if constant(actual):
        yield "The test set holds one class only, so no model can show skill on it."
    if loss is not None and _contradicts(actual, loss, log_loss):
        yield (
            f"Its loss of {loss:.4g} and the log loss of its answers, {log_loss:.4g}, contradict "
            "each other: the weights learn and only the answers are constant. The likely cause is "
            "an output layer that is constant by construction, such as a softmax over one unit, "
            "which is 1 for every input, while Keras computes the loss from the logits."
        )


def _contradicts(actual: np.ndarray, loss: float, log_loss: float) -> bool:
    """Tells whether the loss claims knowledge that the answers lack.

    The entropy of the class frequencies is the log loss of knowing nothing else. A loss below
    it says that the model has learned, a log loss above it that the answers are worse than
    ignorance. Both numbers mean the same quantity, so that both at once, a factor of three
    apart, can only come from a broken output.
    """
    shares = np.unique(actual, return_counts=True)[1] / len(actual)
    entropy = float(-(shares * np.log(shares)).sum())
    return math.isfinite(loss) and loss < entropy < log_loss and log_loss > _CONTRADICTION * loss


def _one_unit(probabilities: np.ndarray) -> bool:
    shape = np.shape(probabilities)
    return len(shape) == 1 or shape[1] == 1


def _per_class(probabilities: np.ndarray) -> np.ndarray:
    """Returns a column for each class, float64 if from one unit, else as they came."""
    values = np.asarray(probabilities)
    if not _one_unit(values):
        return values
    one = values.reshape(-1).astype(np.float64)
    return np.stack([1 - one, one], axis=1)


def _rest_columns(
    actual: np.ndarray, probabilities: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (positive, score) for each class against the rest, for class 1 alone if binary.

    Nothing where a class is missing from `actual` or a score is no number.
    """
    values = _per_class(probabilities)
    count = values.shape[1]
    if len(np.unique(actual)) < count or not np.isfinite(values).all():
        return
    for number in range(1 if count == 2 else 0, count):
        yield np.asarray(actual) == number, values[:, number].astype(np.float64)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
