import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.study import statistics


def generator(seed: Any = 0) -> Any:
    return np.random.default_rng(seed)


def resampling(samples: int, draws: Any = None) -> statistics.Resampling:
    return statistics.Resampling(0.95, samples, generator() if draws is None else draws)


def test_t_interval_agrees_with_scipy() -> None:
    values = generator().normal(0.9, 0.05, 20)
    low, high = statistics.t_interval(values, confidence=0.95)
    ours = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((ours.low, ours.high))


def test_intervals_of_mean_and_paired_gain_cover_in_simulation() -> None:
    simulations, seeds = 40_000, 20
    draws = generator(1)
    baseline = draws.normal(0.90, 0.03, (simulations, seeds))
    arm = 0.5 * baseline + draws.normal(0.47, 0.02, (simulations, seeds))
    low, high = statistics.t_interval(baseline, confidence=0.95)
    assert 0.94 < ((low < 0.90) & (high > 0.90)).mean() < 0.96
    low, high = statistics.t_interval(arm - baseline, confidence=0.95)
    gain = 0.5 * 0.90 + 0.47 - 0.90
    assert 0.94 < ((low < gain) & (high > gain)).mean() < 0.96


def test_one_seed_has_no_interval_and_no_p_value() -> None:
    low, high = statistics.t_interval(np.array([0.9]), confidence=0.95)
    assert np.isnan(low)
    assert np.isnan(high)
    assert math.isnan(statistics.one_sample_p(np.array([0.1])))


def test_ties_count_half_a_win() -> None:
    assert statistics.wins(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0])) == 1.5


def test_p_is_that_of_the_t_test_and_survives_gains_without_spread() -> None:
    gains = np.array([0.01, 0.02, -0.005, 0.03])
    assert statistics.one_sample_p(gains) == pytest.approx(scipy.stats.ttest_1samp(gains, 0).pvalue)
    assert statistics.one_sample_p(np.zeros(5)) == 1
    assert statistics.one_sample_p(np.full(5, 0.25)) == pytest.approx(
        scipy.stats.binomtest(5, 5).pvalue
    )


def test_one_sided_p_asks_for_one_side() -> None:
    gains = np.array([0.01, 0.02, -0.005, 0.03])
    theirs = scipy.stats.ttest_1samp(gains, 0, alternative="greater").pvalue
    assert statistics.one_sample_p(gains, alternative="greater") == pytest.approx(theirs)
    assert statistics.one_sample_p(-gains, alternative="greater") == pytest.approx(1 - theirs)
    # Two seeds that learned, both to the same accuracy, did learn.
    assert statistics.one_sample_p(np.full(2, 0.25), alternative="greater") == 0
    assert statistics.one_sample_p(np.full(5, -0.25), alternative="greater") == 1


def test_interquartile_mean_cuts_a_quarter_at_each_end() -> None:
    values = generator().normal(size=(3, 21))
    assert statistics.interquartile_mean(values) == pytest.approx(
        scipy.stats.trim_mean(values, 0.25, axis=1)
    )


def test_bootstrap_of_the_mean_is_as_wide_as_students_interval() -> None:
    values = generator().normal(size=8)
    ours = statistics.bootstrap(values, lambda drawn: drawn.mean(axis=1), resampling(50_000))
    low, high = statistics.t_interval(values, confidence=0.95)
    # The tails of a bootstrap of eight values are shorter than those of t.
    assert ours == pytest.approx((low, high), abs=0.12 * (high - low))
    plain = np.quantile(resampling(50_000).draws(values).mean(axis=1), [0.025, 0.975])
    assert ours[1] - ours[0] > 1.1 * (plain[1] - plain[0])
    median = statistics.bootstrap(values, lambda drawn: np.median(drawn, axis=1), resampling(100))
    assert median[0] < np.median(values) < median[1]


def test_one_seed_has_no_bootstrap_interval() -> None:
    of_one = statistics.bootstrap(np.ones(1), lambda drawn: drawn.mean(axis=1), resampling(100))
    assert np.isnan(of_one).all()


def test_two_way_interval_is_that_of_the_variance_components() -> None:
    """Three seeds and four images, worked out by hand with the two-way table of variance."""
    right = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], dtype=float)
    seeds, images = right.shape
    by_seed, by_image = right.mean(axis=1), right.mean(axis=0)
    rest = right - by_seed[:, None] - by_image + right.mean()
    squares = images * by_seed.var(ddof=1), seeds * by_image.var(ddof=1), (rest**2).sum() / 6
    variance = squares[0] + squares[1] - squares[2]
    freedom = variance**2 / (squares[0] ** 2 / 2 + squares[1] ** 2 / 3 + squares[2] ** 2 / 6)
    half = scipy.stats.t.ppf(0.975, freedom) * math.sqrt(variance / 12)
    low, high = statistics.two_way_interval(right, confidence=0.95)
    _, over_seeds = statistics.t_interval(by_seed, confidence=0.95)
    half = max(half, over_seeds - right.mean())
    assert (low, high) == pytest.approx((right.mean() - half, right.mean() + half))


@settings(deadline=None)
@given(
    arrays.arrays(
        bool, st.tuples(st.integers(2, 6), st.integers(2, 8)), elements=st.booleans(), fill=None
    )
)
def test_two_way_interval_is_never_narrower_than_that_over_seeds(right: Any) -> None:
    low, high = statistics.two_way_interval(right, confidence=0.95)
    seeds = statistics.t_interval(right.mean(axis=1), confidence=0.95)
    assert low <= seeds[0] + 1e-12
    assert high >= seeds[1] - 1e-12


def test_one_seed_or_image_has_no_two_way_interval() -> None:
    for shape in ((1, 5), (5, 1)):
        assert np.isnan(statistics.two_way_interval(np.ones(shape), confidence=0.95)).all()


def test_neighbouring_budgets_with_one_verdict_make_a_range() -> None:
    assert statistics.ranges(["a", "a", "b", "a"]) == [(0, 1, "a"), (2, 2, "b"), (3, 3, "a")]


def test_coverage_on_resampled_seeds_is_near_its_level_for_normal_ones() -> None:
    values = generator().normal(0.9, 0.02, 20)
    assert 0.9 < statistics.resampled_coverage(values, resampling(5000)) < 0.97
    assert statistics.resampled_coverage(np.full(20, 0.9), resampling(100)) == 1
