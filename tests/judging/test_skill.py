"""The lower bound of a model's balanced accuracy, enumerated where that can be done."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.judging import skill


@st.composite
def counted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    total = np.array(draw(st.lists(st.integers(1, 3000), min_size=1, max_size=12)))
    return np.array([draw(st.integers(0, n)) for n in total]), total


def bound(right: list[int], total: list[int], confidence: float = 0.95) -> float:
    return float(skill.bound(np.array(right), np.array(total), confidence=confidence))


@pytest.mark.parametrize(("right", "total"), [(30, 50), (0, 7), (7, 7), (3, 4000)])
def test_one_class_has_the_limit_of_clopper_and_pearson(right: int, total: int) -> None:
    test = scipy.stats.binomtest(right, total, alternative="greater")
    assert bound([right], [total]) == pytest.approx(test.proportion_ci(0.95).low, rel=1e-9)


@pytest.mark.parametrize("classes", [2, 10])
def test_faultless_classes_of_one_size_have_a_bound_in_closed_form(classes: int) -> None:
    # All tails are recall ** 40, and equal shares of the budget are the least.
    budget = scipy.stats.chi2.ppf(0.95, 2 * classes) / 2
    assert bound([40] * classes, [40] * classes) == pytest.approx(np.exp(-budget / classes / 40))


@pytest.mark.parametrize(
    ("right", "total"), [((85, 6), (90, 10)), ((9, 1), (9, 1)), ((300, 20), (400, 400))]
)
def test_bound_is_the_least_of_all_shares_of_the_levels(
    right: tuple[int, int], total: tuple[int, int]
) -> None:
    budget = scipy.stats.chi2.ppf(0.95, 4) / 2
    share = np.linspace(0, budget, 20_001)[:, None]
    levels = np.exp(-np.hstack([share, budget - share]))
    a = np.array(right)
    limits = scipy.stats.beta.ppf(levels, a, np.array(total) - a + 1)
    assert bound(list(right), list(total)) == pytest.approx(limits.mean(axis=1).min(), abs=1e-7)


@pytest.mark.parametrize("total", [(6, 6), (18, 2), (30, 12), (5, 4, 3)])
def test_bound_is_above_the_true_mean_recall_in_at_most_five_percent_of_test_sets(
    total: tuple[int, ...],
) -> None:
    classes = len(total)
    outcomes = np.stack(np.meshgrid(*[np.arange(n + 1) for n in total], indexing="ij"), axis=-1)
    bounds = skill.bound(outcomes, np.array(total), confidence=0.95)
    for recalls in np.ndindex(*[13] * classes):
        recall = np.array(recalls) / 12
        likely = scipy.stats.binom.pmf(outcomes, total, recall).prod(axis=-1)
        assert likely[bounds > recall.mean() + 1e-12].sum() <= 0.05


@settings(max_examples=30, deadline=None)
@given(counted())
def test_bound_stays_below_what_was_seen_and_forgets_the_order_of_the_classes(
    counts: tuple[np.ndarray, np.ndarray],
) -> None:
    right, total = counts
    found = skill.bound(right, total, confidence=0.95)
    assert 0 <= found <= (right / total).mean()
    assert found == pytest.approx(skill.bound(right[::-1], total[::-1], confidence=0.95), abs=1e-9)
    assert found <= skill.bound(right, total, confidence=0.9) + 1e-9
    more = np.minimum(right + 1, total)
    assert found <= skill.bound(more, total, confidence=0.95) + 1e-9


def test_a_thousand_classes_of_few_images_are_bounded_too() -> None:
    assert 0.001 < bound([1] * 400 + [0] * 600, [2] * 1000) < 0.2
