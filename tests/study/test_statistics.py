import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from headstart.judging.verdict import BASELINE_BETTER, INVALID, NO_DIFFERENCE, TRANSFER_BETTER
from headstart.study import curves, statistics

LABELS = np.array([10, 100, 1000])


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
    assert math.isnan(statistics.paired_p(np.array([0.1])))


def test_ties_count_half_a_win() -> None:
    assert statistics.wins(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0])) == 1.5


def test_paired_p_is_the_t_test_and_survives_gains_without_spread() -> None:
    gains = np.array([0.01, 0.02, -0.005, 0.03])
    assert statistics.paired_p(gains) == pytest.approx(scipy.stats.ttest_1samp(gains, 0).pvalue)
    assert statistics.paired_p(np.zeros(5)) == 1
    assert statistics.paired_p(np.full(5, 0.25)) == pytest.approx(
        scipy.stats.binomtest(5, 5).pvalue
    )


def test_holm_adjusts_step_by_step_and_leaves_undefined_out() -> None:
    assert statistics.holm([0.01, 0.04, math.nan, 0.03])[:2] == pytest.approx([0.03, 0.06])
    assert math.isnan(statistics.holm([0.01, math.nan])[1])


def test_interquartile_mean_cuts_a_quarter_at_each_end() -> None:
    values = generator().normal(size=(3, 21))
    assert statistics.interquartile_mean(values) == pytest.approx(
        scipy.stats.trim_mean(values, 0.25, axis=1)
    )


def test_bootstrap_of_the_median_agrees_with_scipy() -> None:
    values = generator().normal(size=20)
    ours = statistics.bootstrap(values, lambda drawn: np.median(drawn, axis=1), resampling(20_000))
    theirs = scipy.stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=20_000, random_state=1
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.1)


def two_way(right: Any, *, samples: int, draws: Any) -> Any:
    drawn = resampling(samples, draws)
    weights = drawn.shares(len(right)), drawn.shares(right.shape[1])
    return statistics.two_way_interval(right, weights, confidence=0.95)


def test_two_way_interval_is_wider_than_that_over_seeds_alone() -> None:
    draws = generator()
    right = (draws.random((20, 100)) < draws.random(100)).astype(int)
    low, high = two_way(right, samples=4000, draws=generator())
    seeds = statistics.t_interval(right.mean(axis=1), confidence=0.95)
    assert low < seeds[0] < right.mean() < seeds[1] < high


def test_two_way_interval_covers_new_seeds_and_new_images() -> None:
    draws, covered = generator(5), 0
    for _ in range(200):
        logits = 1.0 + draws.normal(0, 0.5, (20, 1)) + draws.normal(0, 1, (1, 80))
        right = (logits + draws.normal(0, 0.5, (20, 80)) > 0).astype(int)
        low, high = two_way(right, samples=300, draws=draws)
        covered += low <= scipy.stats.norm.cdf(1 / math.sqrt(1.5)) <= high
    assert covered / 200 > 0.9


def test_labels_needed_are_interpolated_over_the_logarithm() -> None:
    curve = np.array([0.5, 0.7, 0.9])
    assert curves.labels_needed(LABELS, curve, np.asarray(0.8)) == pytest.approx(10**2.5)
    assert curves.labels_needed(LABELS, curve, np.asarray(0.4)) == 0
    assert curves.labels_needed(LABELS, curve, np.asarray(0.95)) == math.inf
    assert curves.labels_needed(LABELS, curve, np.asarray(0.7)) == pytest.approx(100)


def test_single_budget_gives_bounds_alone() -> None:
    budget, low, high = LABELS[:1], constant(0.6), constant(0.8)
    enough = curves.needed(budget, high, target=0.7, resampling=resampling(100))
    short = curves.needed(budget, low, target=0.7, resampling=resampling(100))
    assert (enough.kind, enough.value) == ("at most", 10)
    assert (short.kind, short.value) == ("at least", 10)
    ahead = curves.labels_saved(budget, high, low, at=0, resampling=resampling(100))
    behind = curves.labels_saved(budget, low, high, at=0, resampling=resampling(100))
    assert (ahead.kind, behind.kind) == ("at least", "at most")
    assert curves.crossover(budget, high, low, resampling=resampling(100)).kind == "undetermined"


def constant(*means: Any, seeds: Any = 20, spread: Any = 0.001) -> Any:
    return np.array(means)[:, None] + generator(9).normal(0, spread, (len(means), seeds))


def saved(arm: Any, baseline: Any, at: Any) -> Any:
    return curves.labels_saved(LABELS, arm, baseline, at=at, resampling=resampling(500))


def test_labels_saved_is_a_ratio_with_an_interval() -> None:
    estimate = saved(constant(0.8, 0.85, 0.9), constant(0.6, 0.8, 0.9), at=0)
    assert estimate.kind == "estimate"
    assert estimate.value == pytest.approx(10, rel=0.1)
    assert estimate.low <= estimate.value <= estimate.high


def test_labels_saved_is_bounded_where_the_grid_ends() -> None:
    ahead = saved(constant(0.95, 0.96, 0.97), constant(0.6, 0.8, 0.9), at=0)
    assert (ahead.kind, ahead.value) == ("at least", 100)
    behind = saved(constant(0.3, 0.4, 0.5), constant(0.6, 0.8, 0.9), at=2)
    assert (behind.kind, behind.value) == ("at most", 0.01)


def test_labels_saved_is_undetermined_where_seeds_allow_for_both_ends() -> None:
    flat = constant(0.5, 0.5, 0.5, spread=0.1)
    assert saved(flat, flat[:, ::-1], at=1).kind == "undetermined"


def crossing(arm: Any, baseline: Any) -> Any:
    return curves.crossover(LABELS, arm, baseline, resampling=resampling(500))


def test_crossover_is_where_the_baseline_overtakes() -> None:
    estimate = crossing(constant(0.8, 0.85, 0.87), constant(0.6, 0.8, 0.92))
    assert estimate.kind == "estimate"
    assert estimate.value == pytest.approx(10**2.5, rel=0.05)
    assert estimate.low <= estimate.value <= estimate.high


def test_crossover_beyond_the_grid_is_a_bound_and_before_it_undetermined() -> None:
    ahead = crossing(constant(0.8, 0.9, 0.95), constant(0.6, 0.8, 0.9))
    assert (ahead.kind, ahead.value) == ("at least", 1000)
    assert crossing(constant(0.5, 0.7, 0.8), constant(0.6, 0.8, 0.9)).kind == "undetermined"


def test_area_of_a_constant_gain_is_that_gain() -> None:
    estimate = curves.area(
        LABELS,
        constant(0.7, 0.8, 0.9, spread=0),
        constant(0.6, 0.7, 0.8, spread=0),
        confidence=0.95,
    )
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize(
    ("gain", "p", "degenerate", "expected"),
    [
        (0.1, 0.01, (0, 0), TRANSFER_BETTER),
        (-0.1, 0.01, (0, 0), BASELINE_BETTER),
        (0.1, 0.05, (9, 9), NO_DIFFERENCE),
        (0.1, math.nan, (0, 0), NO_DIFFERENCE),
        (0.1, 0.01, (10, 0), INVALID),
        (0.1, 0.01, (0, 10), INVALID),
    ],
)
def test_verdict(gain: Any, p: Any, degenerate: Any, expected: Any) -> None:
    verdict = statistics.verdict(
        gain=gain, adjusted_p=p, alpha=0.05, seeds=20, degenerate=degenerate
    )
    assert verdict == expected


def test_neighbouring_budgets_with_one_verdict_make_a_range() -> None:
    assert statistics.ranges(["a", "a", "b", "a"]) == [(0, 1, "a"), (2, 2, "b"), (3, 3, "a")]


def test_coverage_on_resampled_seeds_is_near_its_level_for_normal_ones() -> None:
    values = generator().normal(0.9, 0.02, 20)
    assert 0.9 < statistics.resampled_coverage(values, resampling(5000)) < 0.97
    assert statistics.resampled_coverage(np.full(20, 0.9), resampling(100)) == 1
