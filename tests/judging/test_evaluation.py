"""Scores, intervals, tests and the verdict, against scikit-learn, SciPy and known values."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.judging import answers, scores, verdict

NAMES = ["sandal", "shirt"]
SIX_DIGITS = 5e-6


def binary(count: int, accuracy: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    actual = generator.integers(0, 2, count)
    right = generator.random(count) < accuracy
    sure = 0.5 + 0.5 * generator.random(count)
    return actual, np.where(right == (actual == 1), sure, 1 - sure)


def judged(
    actual: np.ndarray,
    baseline: np.ndarray,
    transfer: np.ndarray,
    *,
    losses: tuple[float, float] = (0.1, 0.1),
    alpha: float = 0.05,
) -> verdict.Verdict:
    both = answers.Answers(actual, baseline, transfer)
    scored = {
        arm: scores.scores(actual, probabilities, loss=loss)
        for (arm, probabilities), loss in zip(both.probabilities.items(), losses, strict=True)
    }
    return verdict.verdict(actual, both.classes, scored, alpha=alpha, classes=NAMES)


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


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_unit_answers_class_one_above_one_half_only(shape: tuple[int, ...]) -> None:
    probabilities = np.array([0.0, 0.5, np.nextafter(0.5, 1), 1.0]).reshape(shape)
    found = answers.answered_classes(probabilities)
    assert found.tolist() == [0, 0, 1, 1]
    assert found.dtype == np.int64


def test_several_units_answer_the_class_of_the_highest() -> None:
    assert answers.answered_classes(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])).tolist() == [1, 0]


def test_answered_probability_is_of_class_one_or_of_the_answered_class() -> None:
    assert answers.answered_probabilities(np.array([[0.2], [0.7]])).tolist() == [0.2, 0.7]
    assert answers.answered_probabilities(np.array([[0.2, 0.5, 0.3]])).tolist() == [0.5]


def test_binary_scores_agree_with_scikit_learn() -> None:
    actual, probabilities = binary(300, 0.8, seed=1)
    found = scores.scores(actual, probabilities[:, None], loss=0.25)
    answered = probabilities > 0.5
    assert found.accuracy == sklearn.metrics.accuracy_score(actual, answered)
    assert found.balanced_accuracy == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(actual, answered), rel=SIX_DIGITS
    )
    assert found.majority_rate == max(actual.mean(), 1 - actual.mean())
    assert found.loss == 0.25
    expected = sklearn.metrics.log_loss(actual, probabilities)
    assert found.log_loss == pytest.approx(expected, rel=SIX_DIGITS)
    expected = sklearn.metrics.roc_auc_score(actual, probabilities)
    assert found.auc == pytest.approx(expected, rel=SIX_DIGITS)


def test_scores_of_many_classes_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(2)
    actual = generator.integers(0, 4, 200)
    probabilities = generator.dirichlet(np.ones(4), 200)
    found = scores.scores(actual, probabilities, loss=1.0)
    expected = sklearn.metrics.log_loss(actual, probabilities)
    assert found.log_loss == pytest.approx(expected, rel=SIX_DIGITS)
    area = scores.auc(actual, probabilities)
    assert area == pytest.approx(
        sklearn.metrics.roc_auc_score(actual, probabilities, multi_class="ovr", average="macro")
    )
    rates = scores.roc_curve(actual, probabilities)
    assert sklearn.metrics.auc(*rates) == pytest.approx(area, abs=1e-9)


def test_scores_but_for_counts_divided_by_counts_have_six_digits() -> None:
    actual, probabilities = binary(300, 0.8, seed=1)
    found = scores.scores(actual, probabilities, loss=1 / 3)
    assert found.loss == 0.333333
    for value in (found.balanced_accuracy, found.log_loss, found.auc):
        assert value == float(f"{value:.6g}")


def test_accuracy_is_a_count_divided_by_n_in_float64() -> None:
    actual = np.r_[np.ones(482, int), np.zeros(485, int)]
    found = scores.scores(actual, np.ones((967, 1), np.float32), loss=0.02)
    assert found.accuracy == 482 / 967
    assert found.balanced_accuracy == 0.5
    assert found.majority_rate == 485 / 967


def test_certain_and_wrong_answers_have_a_huge_finite_log_loss() -> None:
    actual = np.array([0, 0, 1, 1])
    found = scores.log_loss(actual, np.ones((4, 1), np.float32))
    assert found == pytest.approx(0.5 * -math.log(np.finfo(float).eps))
    assert found == pytest.approx(sklearn.metrics.log_loss(actual, np.ones(4)))


def test_constant_probabilities_have_an_auc_of_one_half() -> None:
    assert scores.auc(np.array([0, 1, 1]), np.full((3, 1), 0.7)) == 0.5


def test_auc_is_undefined_where_a_class_is_missing_and_the_rest_is_not() -> None:
    binary_scores = scores.scores(np.ones(4, int), np.array([0.9, 0.8, 0.2, 0.6]), loss=0.4)
    assert binary_scores.auc is None
    assert binary_scores.balanced_accuracy == binary_scores.accuracy == 0.75
    three = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    found = scores.scores(np.array([0, 1, 1]), three, loss=0.4)
    assert found.auc is None
    assert found.balanced_accuracy == 0.75
    assert scores.roc_curve(np.array([0, 1, 1]), three)[0].size == 0


def test_a_diverged_model_has_undefined_scores_and_never_nan() -> None:
    actual = np.array([0, 1, 1])
    for probabilities in (np.full((3, 1), np.nan), np.full((3, 3), np.nan)):
        found = scores.scores(actual, probabilities, loss=math.nan)
        assert (found.loss, found.log_loss, found.auc) == (None, None, None)
        assert all(value is None or math.isfinite(value) for value in dict(found).values())


@pytest.mark.parametrize(
    ("only_baseline", "only_transfer", "p"),
    # Twice the binomial tail: 2 (C(10,0) + C(10,1)) / 2^10 for one against nine.
    [(0, 0, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (1, 9, 22 / 1024), (3, 3, 1.0)],
)
def test_mcnemar_gives_the_known_exact_values(
    only_baseline: int, only_transfer: int, p: float
) -> None:
    assert verdict.mcnemar(verdict.Paired(10, only_baseline, only_transfer, 2)) == pytest.approx(p)


def test_pairs_count_what_both_one_or_none_answer_right() -> None:
    found = verdict.paired(
        np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1]), np.array([0, 1, 0, 0, 1])
    )
    assert found == verdict.Paired(both_right=2, only_baseline=1, only_transfer=1, both_wrong=1)
    assert found.total == 5


def test_wilson_interval_covers_the_truth_as_often_as_it_claims() -> None:
    generator = np.random.default_rng(3)
    drawn, often = np.unique(generator.binomial(967, 0.99, 20_000), return_counts=True)
    covered = sum(
        count
        for correct, count in zip(drawn, often, strict=True)
        if (ends := scores.wilson(int(correct), 967, confidence=0.95))[0] <= 0.99 <= ends[1]
    )
    assert covered / 20_000 == pytest.approx(0.95, abs=0.02)


def test_wilson_interval_stays_within_zero_and_one() -> None:
    low, high = scores.wilson(10, 10, confidence=0.95)
    assert 0.7 < low < high <= 1
    low, high = scores.wilson(0, 10, confidence=0.95)
    assert 0 <= low < high < 0.3


def test_bootstrap_interval_agrees_with_scipy() -> None:
    pairs = verdict.Paired(both_right=180, only_baseline=14, only_transfer=4, both_wrong=2)
    found = verdict.gain_interval(pairs, confidence=0.9, samples=20_000, seed=5)
    differences = np.repeat([-1, 0, 1], [14, 182, 4])
    oracle = scipy.stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=20_000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(6),
    ).confidence_interval
    # Gains come in steps of 1/200: neighbouring steps may be hit.
    assert found == pytest.approx((oracle.low, oracle.high), abs=0.0051)
    assert found[0] < pairs.gain < found[1]


def test_bootstrap_interval_follows_its_seed_and_mirrors_with_the_arms() -> None:
    pairs = verdict.Paired(180, 14, 4, 2)

    def interval(pairs: verdict.Paired, seed: int = 1) -> tuple[float, float]:
        return verdict.gain_interval(pairs, confidence=0.95, samples=2000, seed=seed)

    assert interval(pairs) == interval(pairs)
    assert interval(verdict.Paired(10, 0, 0, 0)) == (0.0, 0.0)
    low, high = interval(verdict.Paired(180, 4, 14, 2))
    assert high > 0
    assert low > -0.02


def test_a_clear_difference_is_decided_by_its_sign() -> None:
    actual, baseline, transfer = with_discordant(14, 3)
    found = judged(actual, baseline, transfer)
    assert found.verdict == "baseline better"
    for part in ("14", "3", "67", "p = 0.0127", "below alpha = 0.05", "these two models only"):
        assert part in found.reason
    assert "not below" not in found.reason


def test_swapped_arms_swap_the_verdict_and_the_sign() -> None:
    actual, baseline, transfer = with_discordant(14, 3)
    assert judged(actual, transfer, baseline).verdict == "transfer better"
    left = verdict.paired(
        actual, answers.answered_classes(baseline), answers.answered_classes(transfer)
    )
    right = verdict.paired(
        actual, answers.answered_classes(transfer), answers.answered_classes(baseline)
    )
    assert left.gain == -right.gain == -11 / 67
    assert verdict.mcnemar(left) == verdict.mcnemar(right)


def test_a_p_value_that_is_not_below_alpha_detects_no_difference() -> None:
    actual, baseline, transfer = with_discordant(5, 0)
    assert judged(actual, baseline, transfer).verdict == "no difference detected"
    exactly = judged(actual, baseline, transfer, alpha=0.0625)
    assert exactly.verdict == "no difference detected"
    assert "not below alpha" in exactly.reason
    assert judged(actual, baseline, transfer, alpha=0.1).verdict == "baseline better"
    same = judged(actual, baseline, baseline)
    assert same.verdict == "no difference detected"
    assert "p = 1," in same.reason


def test_a_softmax_over_one_unit_is_invalid_and_the_contradiction_is_named() -> None:
    actual = np.r_[np.ones(482, int), np.zeros(485, int)]
    good = np.where(actual == 1, 0.99, 0.01)[:, None]
    found = judged(actual, np.ones((967, 1), np.float32), good, losses=(0.0213, 0.01))
    assert found.verdict == "invalid comparison"
    for part in (
        "The baseline answers 'shirt' for all 967",
        "0.0213",
        "18.08",
        "softmax",
        "logits",
    ):
        assert part in found.reason
    assert "transfer" not in found.reason


def test_a_degenerate_model_without_contradiction_is_invalid_for_its_constant_answers() -> None:
    actual = np.arange(20) % 2
    constant = np.full((20, 1), 0.4)
    good = np.where(actual == 1, 0.99, 0.01)
    found = judged(actual, good, constant, losses=(0.01, 0.71))
    assert found.verdict == "invalid comparison"
    assert "The transfer answers 'sandal' for all 20" in found.reason
    assert "contradict" not in found.reason


def test_both_degenerate_models_are_named() -> None:
    found = judged(np.arange(20) % 2, np.ones((20, 1)), np.zeros((20, 1)), losses=(0.7, 0.7))
    assert "baseline answers 'shirt'" in found.reason
    assert "transfer answers 'sandal'" in found.reason


def test_a_test_set_of_one_class_is_invalid_and_says_so() -> None:
    found = judged(np.ones(5, int), np.full(5, 0.9), np.full(5, 0.8))
    assert found.verdict == "invalid comparison"
    assert "one class only" in found.reason


def test_a_diverged_model_is_invalid() -> None:
    actual, baseline, _ = with_discordant(5, 5)
    transfer = baseline.copy()
    transfer[3] = math.nan
    found = judged(actual, baseline, transfer, losses=(0.1, math.nan))
    assert found.verdict == "invalid comparison"
    assert "diverged" in found.reason


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
    found = judged(actual, *(arms[::-1] if swapped else arms), losses=losses, alpha=1.0)
    assert found.verdict == "invalid comparison"
    assert "nan" not in found.reason


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
