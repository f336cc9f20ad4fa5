"""The verdict on one pair of models: pure functions over arrays."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from headstart.core.artefacts import flat
from headstart.core.digits import rounded
from headstart.core.errors import UserError
from headstart.judging import scores, skill
from headstart.judging.answers import ARMS, Answers, answered_classes
from headstart.judging.metrics import Comparison, Scores
from headstart.judging.paired import paired
from headstart.params.sections import Evaluate

TRANSFER_BETTER = "transfer better"
BASELINE_BETTER = "baseline better"
EQUIVALENT = "equivalent"
NO_DIFFERENCE = "no difference detected"
INVALID = "invalid comparison"
_BEST = {
    TRANSFER_BETTER: "transfer",
    **dict.fromkeys((BASELINE_BETTER, EQUIVALENT, NO_DIFFERENCE), "baseline"),
}

# The confidence, one-sided, with which a model has learned something.
_SKILLED = 0.95
# Keras cuts at 1e-7 (a cost of 16.1), we at 2.2e-16 (36.0): for one and the same answer the two
# losses differ by 2.24 at most. A factor of three cannot come from rounding or cutting.
_CONTRADICTION = 3.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict on one pair of models, the reason behind it and warnings beside it in prose."""

    verdict: str
    reason: str
    warnings: tuple[str, ...] = ()


def constant(answered: np.ndarray) -> bool:
    """Tells whether all answers, int (n,), are one class."""
    return len(np.unique(answered)) == 1


def verdict(
    actual: np.ndarray,
    answered: Mapping[str, np.ndarray],
    scored: Mapping[str, Scores],
    *,
    rules: Evaluate,
    classes: Sequence[str],
    contender: str = "transfer",
) -> Verdict:
    """Returns the verdict on these two models, which says nothing about other seeds.

    A degenerate model or an untrained baseline makes the comparison invalid; an untrained transfer
    is a warning. Where the McNemar mid-p is below
    `rules.alpha`, the sign of the difference decides; else the two are equivalent where
    Newcombe's 1 - 2 alpha interval lies within the margin (two one-sided tests: Schuirmann 1987).
    All it needs lies in git: metrics/predictions.csv and metrics/metrics.json. `actual` and each
    arm's `answered` are classes from 0, int (n,); a log loss of None means probabilities that are
    no numbers. `contender` is the transfer arm in a sentence, as `Compared` has it.
    """
    called = dict(zip(ARMS, ("baseline", contender.removeprefix("the ")), strict=True))
    defects = {
        arm: list(_defects(called[arm], actual, answered[arm], scored[arm], classes))
        for arm in ARMS
    }
    untrained = {
        arm: list(_untrained(called[arm], actual, answered[arm]))
        for arm in ARMS
        if not defects[arm]
    }
    warnings = tuple(untrained.get("transfer", ()))
    reasons = [*chain.from_iterable(defects.values()), *untrained.get("baseline", ())]
    if constant(actual):
        reasons.append("The test set holds one class only, so no model can show skill on it.")
    if reasons:
        return Verdict(INVALID, " ".join(reasons), warnings)
    pairs = paired(actual, *(answered[arm] for arm in ARMS))
    # What metrics.json holds decides: the same on every processor.
    p, alpha = rounded(pairs.mid_p), rules.alpha
    decided = p < alpha
    counted = (
        f"Of {pairs.total} test images, {pairs.only_baseline} are answered right by the baseline "
        f"alone and {pairs.only_transfer} by {contender} alone: McNemar mid-p = {p:.3g} (exact "
        f"two-sided p = {pairs.exact_p:.3g}), {'below' if decided else 'not below'} "
        f"alpha = {alpha:g}."
    )
    sentences = [counted]
    if decided:
        decision = TRANSFER_BETTER if pairs.gain > 0 else BASELINE_BETTER
    else:
        confidence = max(1 - 2 * alpha, 0)
        low, high = map(rounded, pairs.gain_interval(confidence))
        within = -rules.margin < low and high < rules.margin
        decision = EQUIVALENT if within else NO_DIFFERENCE
        sentences.append(
            f"The {100 * confidence:g}% interval of the gain, {low:+.4f} to {high:+.4f}, "
            f"{'lies' if within else 'does not lie'} within the margin of {rules.margin:g}."
        )
    low, high = map(rounded, pairs.gain_interval(rules.confidence))
    if decided != (low > 0 or high < 0):
        sentences.append(
            f"The {100 * rules.confidence:g}% interval of the gain "
            f"{'holds 0' if decided else 'leaves 0 out'} all the same: it is computed in another "
            "way than the test, and the test decides."
        )
    sentences.append("This speaks of these two models only (one seed), not of the method.")
    return Verdict(decision, " ".join(sentences), warnings)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The comparison as metrics/metrics.json has it, and what is told beside it."""

    comparison: Comparison
    reason: str
    unfair: list[str]
    warnings: Sequence[str]


def judge(
    answers: Answers,
    scored: Mapping[str, Scores],
    *,
    arms: tuple[Mapping[str, Any], Mapping[str, Any]],
    rules: Evaluate,
    classes: Sequence[str],
    contender: str = "transfer",
) -> Judgement:
    """Returns the comparison of both arms, which answered and `scored` on the same images.

    `arms` is what has to be equal for a fair comparison, of baseline and transfer, which is called
    `contender`, as in `verdict`.
    """
    decided = verdict(
        answers.actual,
        answers.classes,
        scored,
        rules=rules,
        classes=classes,
        contender=contender,
    )
    unfair = fairness(*arms)
    pairs = paired(answers.actual, *answers.classes.values())
    low, high = pairs.gain_interval(rules.confidence)
    apart = scores.log_loss_gain(answers, confidence=rules.confidence)
    comparison = Comparison(
        accuracy_gain=pairs.gain,
        accuracy_gain_low=low,
        accuracy_gain_high=high,
        mcnemar_p=pairs.exact_p,
        mcnemar_mid_p=pairs.mid_p,
        log_loss_gain=apart[0],
        log_loss_gain_low=apart[1],
        log_loss_gain_high=apart[2],
        verdict=decided.verdict,
        fair=not unfair,
    )
    return Judgement(comparison, decided.reason, unfair, decided.warnings)


def fairness(baseline: Mapping[str, Any], transfer: Mapping[str, Any]) -> list[str]:
    """Returns a line for each setting, leaf by leaf, in which the arms differ; none means fair."""
    left, right = flat(baseline), flat(transfer)
    return [
        f"{key}: baseline {left.get(key, 'none')}, transfer {right.get(key, 'none')}"
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    ]


def _defects(
    arm: str, actual: np.ndarray, answered: np.ndarray, scored: Scores, classes: Sequence[str]
) -> Iterator[str]:
    """Yields a sentence for each thing that makes a model's accuracy meaningless."""
    loss, log_loss = scored.loss, scored.log_loss
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
    if loss is not None and _contradicts(actual, loss, log_loss):
        yield (
            f"Its loss of {loss:.4g} and the log loss of its answers, {log_loss:.4g}, contradict "
            "each other: the weights learn and only the answers are constant. The likely cause is "
            "an output layer that is constant by construction, such as a softmax over one unit, "
            "which is 1 for every input, while Keras computes the loss from the logits."
        )


def _untrained(arm: str, actual: np.ndarray, answered: np.ndarray) -> Iterator[str]:
    """Yields a sentence where the answers do not show that the model has learned anything."""
    total = np.bincount(actual)
    right = np.bincount(actual[answered == actual], minlength=len(total))[total > 0]
    total = total[total > 0]
    # What answers that do not depend on the image give, whichever classes they prefer.
    bound, chance = rounded(skill.bound(right, total, confidence=_SKILLED)), 1 / len(total)
    if bound <= chance < 1:
        yield (
            f"The {arm} has not shown that it learned anything: its balanced accuracy is "
            f"{np.mean(right / total):.4f}, whose lower bound of {bound:.4f} ({_SKILLED:.0%}, "
            f"one-sided) is not above the {chance:.4f} of guessing. More epochs, more labels or "
            "another learning rate may mend it."
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


def arm_to_serve(verdict: str) -> str:
    """Returns the arm that the verdict recommends, the baseline where neither is better.

    The baseline needs no source model.

    Raises:
        UserError: The comparison was invalid, so that neither arm can be recommended.
    """
    if verdict not in _BEST:
        raise UserError(
            f"metrics/metrics.json: comparison.verdict is {verdict!r}, so no model can be "
            "recommended; the report (reports/index.html) says why. Mend the cause and run "
            "`dvc repro`"
        )
    return _BEST[verdict]


def succeeds(
    actual: np.ndarray, incumbent: np.ndarray, challenger: np.ndarray, *, alpha: float
) -> tuple[bool, str]:
    """Tells whether a challenger beats the incumbent by the verdict's rule, and why.

    The McNemar mid-p on the same test images has to be below `alpha` and the challenger right
    more often; constant answers make the comparison invalid. `actual` are classes
    from 0, int (n,), the others probabilities, float (n,) of class 1 or (n, k).
    """
    models = {"incumbent": incumbent, "challenger": challenger}
    answered = {name: answered_classes(own) for name, own in models.items()}
    for name, probabilities in models.items():
        if constant(answered[name]) or not np.isfinite(probabilities).all():
            return False, (
                f"the {name} gives one and the same answer to all {len(actual)} test images, "
                "which makes the comparison invalid"
            )
    pairs = paired(actual, *answered.values())
    p = rounded(pairs.mid_p)
    counted = (
        f"of {pairs.total} test images {pairs.only_transfer} are answered right by the "
        f"challenger alone and {pairs.only_baseline} by the incumbent alone (McNemar "
        f"mid-p = {p:.3g}, alpha = {alpha:g})"
    )
    if p >= alpha:
        return False, f"no difference detected: {counted}"
    better = pairs.gain > 0
    return better, f"the {'challenger' if better else 'incumbent'} is better: {counted}"
