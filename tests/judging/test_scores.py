"""Answers, scores and their intervals, against scikit-learn, SciPy and known values."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from headstart.judging import answers, scores
from headstart.judging.answers import Answers

SIX_DIGITS = 5e-6


def binary(count: int, accuracy: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    actual = generator.integers(0, 2, count)
    right = generator.random(count) < accuracy
    sure = 0.5 + 0.5 * generator.random(count)
    return actual, np.where(right == (actual == 1), sure, 1 - sure)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_unit_answers_class_one_above_one_half_only(shape: tuple[int, ...]) -> None:
    probabilities = np.array([0.0, 0.5, np.nextafter(0.5, 1), 1.0]).reshape(shape)
    scored = answers.answered_classes(probabilities)
    assert scored.tolist() == [0, 0, 1, 1]
    assert scored.dtype == np.int64


def test_several_units_answer_the_class_of_the_highest() -> None:
    assert answers.answered_classes(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])).tolist() == [1, 0]


def test_answered_probability_is_of_class_one_or_of_the_answered_class() -> None:
    assert answers.answered_probabilities(np.array([[0.2], [0.7]])).tolist() == [0.2, 0.7]
    assert answers.answered_probabilities(np.array([[0.2, 0.5, 0.3]])).tolist() == [0.5]


def test_binary_scores_agree_with_scikit_learn() -> None:
    actual, probabilities = binary(300, 0.8, seed=1)
    scored = scores.scores(actual, probabilities[:, None], loss=0.25)
    answered = probabilities > 0.5
    assert scored.accuracy == sklearn.metrics.accuracy_score(actual, answered)
    assert scored.balanced_accuracy == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(actual, answered), rel=SIX_DIGITS
    )
    assert scored.majority_rate == max(actual.mean(), 1 - actual.mean())
    assert scored.loss == 0.25
    expected = sklearn.metrics.log_loss(actual, probabilities)
    assert scored.log_loss == pytest.approx(expected, rel=SIX_DIGITS)
    expected = sklearn.metrics.roc_auc_score(actual, probabilities)
    assert scored.auc == pytest.approx(expected, rel=SIX_DIGITS)
    expected = sklearn.metrics.brier_score_loss(actual, probabilities)
    assert scored.brier == pytest.approx(expected, rel=SIX_DIGITS)
    assert scores.brier(actual, np.stack([1 - probabilities, probabilities], 1)) == (
        pytest.approx(expected)
    )


def test_scores_of_many_classes_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(2)
    actual = generator.integers(0, 4, 200)
    probabilities = generator.dirichlet(np.ones(4), 200)
    scored = scores.scores(actual, probabilities, loss=1.0)
    expected = sklearn.metrics.log_loss(actual, probabilities)
    assert scored.log_loss == pytest.approx(expected, rel=SIX_DIGITS)
    expected = sklearn.metrics.brier_score_loss(actual, probabilities)
    assert scored.brier == pytest.approx(expected, rel=SIX_DIGITS)
    area = scores.auc(actual, probabilities)
    assert area == pytest.approx(
        sklearn.metrics.roc_auc_score(actual, probabilities, multi_class="ovr", average="macro")
    )
    rates = scores.roc_curve(actual, probabilities)
    assert sklearn.metrics.auc(*rates) == pytest.approx(area, abs=1e-9)


def test_scores_but_for_counts_divided_by_counts_have_six_digits() -> None:
    actual, probabilities = binary(300, 0.8, seed=1)
    scored = scores.scores(actual, probabilities, loss=1 / 3)
    assert scored.loss == 0.333333
    exact = ("accuracy", "majority_rate")
    for value in (value for key, value in scored if key not in exact):
        assert value == float(f"{value:.6g}")


def test_accuracy_is_a_count_divided_by_n_in_float64() -> None:
    actual = np.r_[np.ones(482, int), np.zeros(485, int)]
    scored = scores.scores(actual, np.ones((967, 1), np.float32), loss=0.02)
    assert scored.accuracy == 482 / 967
    assert scored.balanced_accuracy == 0.5
    assert scored.majority_rate == 485 / 967


def test_certain_and_wrong_answers_have_a_huge_finite_log_loss() -> None:
    actual = np.array([0, 0, 1, 1])
    scored = scores.log_loss(actual, np.ones((4, 1), np.float32))
    assert scored == pytest.approx(0.5 * -math.log(np.finfo(float).eps))
    assert scored == pytest.approx(sklearn.metrics.log_loss(actual, np.ones(4)))


def test_log_loss_does_not_depend_on_the_order_of_the_images() -> None:
    actual, probabilities = binary(5000, 0.9, seed=4)
    probabilities = probabilities.astype(np.float32)
    expected = scores.log_loss(actual, probabilities)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(actual))
        assert scores.log_loss(actual[order], probabilities[order]) == expected


def both_arms(count: int = 500) -> Answers:
    """Transfer is a little less sure than the baseline, on images that are hard for both."""
    actual, baseline = binary(count, 0.9, seed=5)
    return Answers(actual, baseline, 0.5 + (baseline - 0.5) * 0.9)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_log_loss_is_compared_image_by_image_as_a_paired_t_test_does(confidence: float) -> None:
    pair = both_arms()
    gain, low, high = scores.log_loss_gain(pair, confidence=confidence)
    losses = [
        [sklearn.metrics.log_loss([own], [share], labels=[0, 1]) for own, share in
         zip(pair.actual, arm, strict=True)]
        for arm in (pair.transfer, pair.baseline)
    ]  # fmt: skip
    expected = scipy.stats.ttest_rel(*losses).confidence_interval(confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert gain == pytest.approx(np.mean(losses[0]) - np.mean(losses[1]))
    unpaired = scipy.stats.ttest_ind(*losses).confidence_interval(confidence)
    assert expected.high - expected.low < (unpaired.high - unpaired.low) / 4


def test_swapped_arms_swap_the_sign_of_the_log_loss_gain() -> None:
    pair = both_arms()
    gain, low, high = scores.log_loss_gain(pair, confidence=0.95)
    swapped = Answers(pair.actual, pair.transfer, pair.baseline)
    assert None not in (gain, low, high)
    assert scores.log_loss_gain(swapped, confidence=0.95) == (-gain, -high, -low)  # type: ignore[operator]


def test_log_loss_gain_does_not_depend_on_the_order_of_the_images() -> None:
    pair = both_arms()
    expected = scores.log_loss_gain(pair, confidence=0.95)
    order = np.random.default_rng(0).permutation(len(pair.actual))
    mixed = Answers(*(own[order] for own in (pair.actual, pair.baseline, pair.transfer)))
    assert scores.log_loss_gain(mixed, confidence=0.95) == expected


def test_log_loss_gain_has_no_interval_where_nothing_tells_of_its_spread() -> None:
    sure = np.array([0.5, 0.5, 0.5])
    same = Answers(np.array([0, 1, 1]), sure, sure)
    assert scores.log_loss_gain(same, confidence=0.95) == (0, None, None)
    one = Answers(np.array([1]), np.array([0.5]), np.array([0.25]))
    gain, *ends = scores.log_loss_gain(one, confidence=0.95)
    assert gain == pytest.approx(math.log(2))
    assert ends == [None, None]
    diverged = Answers(np.array([0, 1, 1]), sure, np.array([0.5, math.nan, 0.5]))
    assert scores.log_loss_gain(diverged, confidence=0.95) == (None, None, None)


def test_constant_probabilities_have_an_auc_of_one_half() -> None:
    assert scores.auc(np.array([0, 1, 1]), np.full((3, 1), 0.7)) == 0.5


def test_auc_is_undefined_where_a_class_is_missing_and_the_rest_is_not() -> None:
    binary_scores = scores.scores(np.ones(4, int), np.array([0.9, 0.8, 0.2, 0.6]), loss=0.4)
    assert binary_scores.auc is None
    assert binary_scores.balanced_accuracy == binary_scores.accuracy == 0.75
    three = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    scored = scores.scores(np.array([0, 1, 1]), three, loss=0.4)
    assert scored.auc is None
    assert scored.balanced_accuracy == 0.75
    assert scores.roc_curve(np.array([0, 1, 1]), three)[0].size == 0


def test_a_diverged_model_has_undefined_scores_and_never_nan() -> None:
    actual = np.array([0, 1, 1])
    for probabilities in (np.full((3, 1), np.nan), np.full((3, 3), np.nan)):
        scored = scores.scores(actual, probabilities, loss=math.nan)
        assert (scored.loss, scored.log_loss, scored.auc) == (None, None, None)
        assert all(value is None or math.isfinite(value) for value in dict(scored).values())


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
