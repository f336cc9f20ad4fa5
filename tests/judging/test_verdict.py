"""The verdict on made-up answers, at the edges of each of its words."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.judging import answers, scores, verdict
from headstart.judging.paired import paired
from headstart.params.sections import Evaluate

NAMES = ["sandal", "shirt"]


def judged(
    actual: np.ndarray,
    baseline: np.ndarray,
    transfer: np.ndarray,
    *,
    losses: tuple[float, float] = (0.1, 0.1),
    **rules: float,
) -> verdict.Verdict:
    both = answers.Answers(actual, baseline, transfer)
    scored = {
        arm: scores.scores(actual, probabilities, loss=loss)
        for (arm, probabilities), loss in zip(both.probabilities.items(), losses, strict=True)
    }
    decisive = Evaluate(**{"alpha": 0.05, "confidence": 0.95, "margin": 0.005} | rules)
    return verdict.verdict(actual, both.classes, scored, rules=decisive, classes=NAMES)


def with_discordant(
    only_baseline: int, only_transfer: int, both_right: int = 50
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = only_baseline + only_transfer + both_right
    actual = np.arange(count) % 2
    right = np.where(actual == 1, 0.9, 0.1)
    baseline, transfer = right.copy(), right.copy()
    transfer[:only_baseline] = 1 - right[:only_baseline]
    end = only_baseline + only_transfer
    baseline[only_baseline:end] = 1 - right[only_baseline:end]
    return actual, baseline, transfer


def test_a_clear_difference_is_decided_by_its_sign() -> None:
    actual, baseline, transfer = with_discordant(14, 3)
    decided = judged(actual, baseline, transfer)
    assert decided.verdict == "baseline better"
    for part in (
        "14",
        "3",
        "67",
        "mid-p = 0.00754",
        "p = 0.0127",
        "below alpha = 0.05",
        "these two models only",
    ):
        assert part in decided.reason
    assert "not below" not in decided.reason


def test_swapped_arms_swap_the_verdict_and_the_sign() -> None:
    actual, baseline, transfer = with_discordant(14, 3)
    assert judged(actual, transfer, baseline).verdict == "transfer better"
    left = paired(actual, answers.answered_classes(baseline), answers.answered_classes(transfer))
    right = paired(actual, answers.answered_classes(transfer), answers.answered_classes(baseline))
    assert left.gain == -right.gain == -11 / 67


def test_a_p_value_that_is_not_below_alpha_detects_no_difference() -> None:
    actual, baseline, transfer = with_discordant(4, 0)
    assert judged(actual, baseline, transfer).verdict == "no difference detected"
    exactly = judged(actual, baseline, transfer, alpha=0.0625)
    assert exactly.verdict == "no difference detected"
    assert "not below alpha" in exactly.reason
    assert judged(actual, baseline, transfer, alpha=0.1).verdict == "baseline better"
    same = judged(actual, baseline, baseline)
    assert same.verdict == "no difference detected"
    assert "mid-p = 1 (" in same.reason


def test_a_softmax_over_one_unit_is_invalid_and_the_contradiction_is_named() -> None:
    actual = np.r_[np.ones(482, int), np.zeros(485, int)]
    good = np.where(actual == 1, 0.99, 0.01)[:, None]
    decided = judged(actual, np.ones((967, 1), np.float32), good, losses=(0.0213, 0.01))
    assert decided.verdict == "invalid comparison"
    for part in (
        "The baseline answers 'shirt' for all 967",
        "0.0213",
        "18.08",
        "softmax",
        "logits",
    ):
        assert part in decided.reason
    assert "transfer" not in decided.reason


def test_a_degenerate_model_without_contradiction_is_invalid_for_its_constant_answers() -> None:
    actual = np.arange(20) % 2
    constant = np.full((20, 1), 0.4)
    good = np.where(actual == 1, 0.99, 0.01)
    decided = judged(actual, good, constant, losses=(0.01, 0.71))
    assert decided.verdict == "invalid comparison"
    assert "The transfer answers 'sandal' for all 20" in decided.reason
    assert "contradict" not in decided.reason


def test_both_degenerate_models_are_named() -> None:
    decided = judged(np.arange(20) % 2, np.ones((20, 1)), np.zeros((20, 1)), losses=(0.7, 0.7))
    assert "baseline answers 'shirt'" in decided.reason
    assert "transfer answers 'sandal'" in decided.reason


def test_a_test_set_of_one_class_is_invalid_and_says_so() -> None:
    decided = judged(np.ones(5, int), np.full(5, 0.9), np.full(5, 0.8))
    assert decided.verdict == "invalid comparison"
    assert "one class only" in decided.reason


def test_a_diverged_model_is_invalid() -> None:
    actual, baseline, _ = with_discordant(5, 5)
    transfer = baseline.copy()
    transfer[3] = math.nan
    decided = judged(actual, baseline, transfer, losses=(0.1, math.nan))
    assert decided.verdict == "invalid comparison"
    assert "diverged" in decided.reason


@given(
    actual=arrays.arrays(np.int64, 12, elements=st.integers(0, 1)),
    other=arrays.arrays(np.float64, 12, elements=st.floats(0, 1)),
    constant=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
    losses=st.tuples(st.floats(0, 40), st.floats(0, 40)),
    swapped=st.booleans(),
)
def test_a_degenerate_model_never_makes_a_winner(
    actual: np.ndarray,
    other: np.ndarray,
    constant: float,
    losses: tuple[float, float],
    swapped: bool,
) -> None:
    arms = (np.full((12, 1), constant), other)
    decided = judged(actual, *(arms[::-1] if swapped else arms), losses=losses, alpha=0.999)
    assert decided.verdict == "invalid comparison"
    assert "nan" not in decided.reason


def test_equal_settings_are_fair_and_each_difference_is_a_line() -> None:
    baseline = {"data": {"train": "ab", "valid": "cd"}, "epochs": 5, "learning_rate": 0.001}
    assert verdict.fairness(baseline, dict(baseline)) == []
    transfer = {"data": {"train": "ab", "valid": "ef"}, "epochs": 10, "batch_size": 32}
    assert verdict.fairness(baseline, transfer) == [
        "data.valid: baseline cd, transfer ef",
        "epochs: baseline 5, transfer 10",
        "learning_rate: baseline 0.001, transfer none",
        "batch_size: baseline none, transfer 32",
    ]
