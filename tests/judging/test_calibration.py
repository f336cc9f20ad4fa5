"""Bins of equal counts and the expected calibration error, against the definition written out."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.judging import calibration, scores
from headstart.judging.calibration import Bin


def error(actual: np.ndarray, probabilities: np.ndarray) -> float | None:
    return calibration.calibration_error(calibration.bins(actual, probabilities))


def drawn(count: int, classes: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities (count, classes) of a model that is surer than it is right."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(classes, 0.3), count)
    return generator.integers(0, classes, count), probabilities


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("count", [300, 307])
def test_bins_hold_equal_counts_and_their_error_is_as_defined(count: int, classes: int) -> None:
    actual, probabilities = drawn(count, classes, seed=classes)
    binned = calibration.bins(actual, probabilities)
    assert len(binned) == 15
    assert {own.images for own in binned} <= {count // 15, count // 15 + 1}
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == actual
    expected = sum(
        len(part) / count * abs(right[part].mean() - sure[part].mean())
        for part in np.array_split(np.argsort(sure), 15)
    )
    assert error(actual, probabilities) == pytest.approx(expected)


def test_one_unit_and_two_are_the_same_model() -> None:
    actual, probabilities = drawn(200, 2, seed=1)
    for one in (probabilities[:, 1], probabilities[:, 1:]):
        assert error(actual, one) == pytest.approx(error(actual, probabilities))
    assert calibration.bins(actual, probabilities[:, 1])[0].confidence >= 0.5


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=80), st.randoms())
def test_order_of_the_images_is_no_part_of_the_bins_whatever_the_ties(
    answers: list[tuple[int, bool]], random: Random
) -> None:
    def binned() -> list[Bin]:
        eighths, right = (np.array(column) for column in zip(*answers, strict=True))
        probabilities = eighths / 8
        return calibration.bins((probabilities > 0.5) == right, probabilities)

    before = binned()
    random.shuffle(answers)
    assert binned() == before
    assert sum(own.images for own in before) == len(answers)
    assert [own.confidence for own in before] == sorted({own.confidence for own in before})


def test_equal_confidences_share_a_bin() -> None:
    actual = np.r_[np.ones(60, int), np.zeros(30, int)]
    binned = calibration.bins(actual, np.r_[np.full(45, 0.875), np.full(45, 0.75)])
    assert binned == [Bin(45, 15, 0.75), Bin(45, 45, 0.875)]
    assert calibration.calibration_error(binned) == pytest.approx((0.75 - 1 / 3 + 0.125) / 2)


def test_broken_softmax_over_one_unit_is_as_wrong_as_it_is_sure() -> None:
    actual = np.r_[np.ones(482, int), np.zeros(485, int)]
    assert calibration.bins(actual, np.ones((967, 1), np.float32)) == [Bin(967, 482, 1.0)]
    assert error(actual, np.ones(967)) == pytest.approx(485 / 967)


def test_few_images_make_bins_of_one_and_no_numbers_none() -> None:
    assert len(calibration.bins(np.zeros(4, int), np.array([0.1, 0.2, 0.3, 0.4]))) == 4
    assert error(np.zeros(1, int), np.array([0.25])) == 0.25
    assert calibration.bins(np.array([0, 1]), np.array([0.5, math.nan])) == []
    scored = scores.scores(np.array([0, 1]), np.array([0.5, math.nan]), loss=math.nan)
    assert (scored.brier, scored.calibration_error) == (None, None)
