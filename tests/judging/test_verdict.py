"""The verdict on made-up answers, at the edges of each of its words."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.judging import answers, scores, verdict
from headstart.judging.paired import Paired, paired
from headstart.params.sections import Evaluate

NAMES = ["sandal", "shirt"]


def judged(
    actual: np.ndarray,
    baseline: np.ndarray,
    transfer: np.ndarray,
    *,
    losses: tuple[float, float] = (0.1, 0.1),
    contender: str = "transfer",
    **rules: Any,
) -> verdict.Verdict:
    both = answers.Answers(actual, baseline, transfer)
    scored = {
        arm: scores.scores(actual, probabilities, loss=loss)
        for (arm, probabilities), loss in zip(both.probabilities.items(), losses, strict=True)
    }
    decisive = Evaluate(**{"alpha": 0.05, "confidence": 0.95, "margin": 0.005} | rules)
    return verdict.verdict(
        actual, both.classes, scored, rules=decisive, classes=NAMES, contender=contender
    )


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


def counted(
    only_baseline: int, only_transfer: int, both_right: int, both_wrong: int = 0, **rules: Any
) -> verdict.Verdict:
    """The verdict where so many answers fall together and apart."""
    cells = [only_baseline, only_transfer, both_right, both_wrong]
    actual = np.arange(sum(cells)) % 2
    right = np.where(actual == 1, 0.9, 0.1)
    cell = np.repeat(range(4), cells)
    return judged(
        actual,
        np.where(np.isin(cell, [1, 3]), 1 - right, right),
        np.where(np.isin(cell, [0, 3]), 1 - right, right),
        **rules,
    )


SWAPPED = {"transfer better": "baseline better", "baseline better": "transfer better"}


@pytest.mark.parametrize(
    ("discordant", "total", "rules", "word"),
    [
        # Mid-p 0.0625 and 0.03125; the exact p of the second is 0.0625.
        ((0, 4), 967, {}, "no difference detected"),
        ((0, 5), 967, {}, "transfer better"),
        ((0, 4), 967, {"alpha": 0.0625}, "no difference detected"),
        ((0, 4), 967, {"alpha": 0.0626}, "transfer better"),
        # Mid-p 0.0636 and 0.0490, whose exact p is 0.0768.
        ((5, 13), 967, {}, "no difference detected"),
        ((4, 12), 967, {}, "transfer better"),
        # Newcombe's 90 % interval reaches 0.00499999 at three to three, 0.00462 at none to one.
        ((3, 3), 967, {}, "equivalent"),
        ((3, 3), 966, {}, "no difference detected"),
        ((0, 1), 967, {}, "equivalent"),
        ((1, 2), 967, {}, "no difference detected"),
        ((3, 3), 967, {"margin": 0.004999}, "no difference detected"),
        ((3, 3), 967, {"margin": 0}, "no difference detected"),
        ((20, 22), 967, {"margin": 0.02}, "equivalent"),
        ((20, 22), 967, {"margin": 0.01}, "no difference detected"),
        # A wider interval, of 98 %.
        ((3, 3), 967, {"alpha": 0.01}, "no difference detected"),
        # However small: a difference that the test sees is one.
        ((0, 5), 100_000, {}, "transfer better"),
    ],
)
def test_each_word_begins_at_its_edge_and_swapped_arms_swap_it(
    discordant: tuple[int, int], total: int, rules: dict[str, Any], word: str
) -> None:
    both_right = total - sum(discordant)
    assert counted(*discordant, both_right, **rules).verdict == word
    assert counted(*discordant[::-1], both_right, **rules).verdict == SWAPPED.get(word, word)


@settings(max_examples=30, deadline=None)
@given(
    cells=st.tuples(*[st.integers(0, 30)] * 2, st.integers(200, 900), st.integers(0, 20)),
    alpha=st.sampled_from([0.001, 0.05, 0.2]),
    margin=st.sampled_from([0.0, 0.005, 0.03, 0.2]),
)
def test_words_follow_test_and_interval_alone(
    cells: tuple[int, int, int, int], alpha: float, margin: float
) -> None:
    only_baseline, only_transfer, both_right, both_wrong = cells
    decided = counted(*cells, alpha=alpha, margin=margin)
    swapped = counted(only_transfer, only_baseline, *cells[2:], alpha=alpha, margin=margin)
    assert swapped.verdict == SWAPPED.get(decided.verdict, decided.verdict)
    pairs = Paired(both_right, only_baseline, only_transfer, both_wrong)
    if pairs.mid_p < alpha:
        better = "transfer" if only_transfer > only_baseline else "baseline"
        assert decided.verdict == f"{better} better"
    else:
        low, high = pairs.gain_interval(1 - 2 * alpha)
        within = max(-low, high) < margin
        assert decided.verdict == ("equivalent" if within else "no difference detected")


def test_interval_that_contradicts_the_test_is_told_in_one_fixed_sentence() -> None:
    clear = counted(1, 9, 957)
    assert "all the same" not in clear.reason
    wide = counted(1, 9, 957, confidence=0.999)
    assert wide.verdict == "transfer better"
    assert "The 99.9% interval of the gain holds 0 all the same" in wide.reason
    narrow = counted(3, 6, 957, confidence=0.5)
    assert narrow.verdict == "no difference detected"
    assert "The 50% interval of the gain leaves 0 out all the same" in narrow.reason
    assert "and the test decides" in narrow.reason


def test_reason_gives_the_interval_that_equivalence_rests_on() -> None:
    assert "90% interval of the gain, -0.0050 to +0.0050, lies within the margin of 0.005" in (
        counted(3, 3, 961).reason
    )
    assert "does not lie within the margin" in counted(6, 6, 955).reason
    assert "margin" not in counted(0, 9, 955).reason


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


def test_control_is_called_so_in_every_sentence() -> None:
    actual = np.arange(20) % 2
    good = np.where(actual == 1, 0.99, 0.01)
    for answered in (np.zeros(20), np.full(20, 0.4), good):
        decided = judged(actual, good, answered, contender="the control")
        said = " ".join((decided.reason, *decided.warnings))
        assert "control" in said
        assert "transfer" not in said


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


def recalling(total: tuple[int, ...], right: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Classes with their numbers of images, and probabilities that answer so many right."""
    actual = np.repeat(range(len(total)), total)
    answered = actual.copy()
    for number, (of, some) in enumerate(zip(total, right, strict=True)):
        answered[np.flatnonzero(actual == number)[some:of]] = (number + 1) % len(total)
    return actual, np.eye(len(total))[answered] * 0.8 + 0.1


@pytest.mark.parametrize(
    ("total", "right", "word"),
    [
        # Useful models of imbalanced tasks: their accuracy is below the share of the common class.
        ((90, 10), (80, 7), "baseline better"),
        ((90, 10), (88, 3), "baseline better"),
        ((870, 97), (700, 70), "baseline better"),
        ((900, 80, 2), (882, 40, 0), "baseline better"),
        # One rare image by luck, or a coin.
        ((90, 10), (89, 1), "invalid comparison"),
        ((90, 10), (45, 5), "invalid comparison"),
        ((485, 482), (250, 240), "invalid comparison"),
        # At the edge: bounds of 0.4967 and 0.5068.
        ((50, 50), (30, 30), "invalid comparison"),
        ((50, 50), (31, 30), "baseline better"),
        ((40, 40, 40), (14, 13, 13), "invalid comparison"),
    ],
)
def test_baseline_has_to_show_that_it_learned(
    total: tuple[int, ...], right: tuple[int, ...], word: str
) -> None:
    actual, baseline = recalling(total, right)
    # Worse than the baseline, and useful where the baseline is.
    _, transfer = recalling(
        total, tuple(some - min(some, of // 9) for some, of in zip(right, total, strict=True))
    )
    decided = judged(actual, baseline, transfer)
    assert decided.verdict == word
    learned = "The baseline has not shown that it learned anything" not in decided.reason
    assert learned == (word != "invalid comparison")


def test_untrained_transfer_is_a_warning() -> None:
    actual, baseline = recalling((60, 60), (58, 57))
    _, transfer = recalling((60, 60), (31, 30))
    decided = judged(actual, baseline, transfer)
    assert decided.verdict == "baseline better"
    (warning,) = decided.warnings
    assert warning.startswith("The transfer has not shown that it learned anything: its balanced")
    assert "accuracy is 0.5083, whose lower bound of 0.4" in warning
    assert "not above the 0.5000 of guessing" in warning
    assert judged(actual, baseline, baseline).warnings == ()
    both = judged(actual, transfer, transfer)
    assert both.verdict == "invalid comparison"
    assert "The baseline has not" in both.reason
    assert len(both.warnings) == 1


def test_each_model_that_is_wrong_gets_the_right_word() -> None:
    actual, useful = recalling((90, 10), (80, 7))
    _, untrained = recalling((90, 10), (89, 1))
    constant = np.tile([0.9, 0.1], (100, 1))
    broken = useful.copy()
    broken[5] = math.nan
    for model, word in (
        (useful, "interval of the gain"),
        (untrained, "has not shown that it learned"),
        (constant, "answers 'sandal' for all 100 test images"),
        (broken, "are not all numbers: its training diverged"),
    ):
        loss = math.nan if model is broken else 0.3
        decided = judged(actual, model, useful, losses=(loss, 0.3))
        assert word in decided.reason
        assert (decided.verdict == "invalid comparison") == (model is not useful)
        assert not decided.warnings
        # One sentence is enough for a model that answers one class.
        assert ("has not shown" in decided.reason) == (model is untrained)


@settings(deadline=None)
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
