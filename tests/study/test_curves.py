"""Curves by label budget: means over labels, labels needed and saved, crossovers."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from headstart.study import curves, statistics

LABELS = np.array([10, 100, 1000])


def generator(seed: Any = 0) -> Any:
    return np.random.default_rng(seed)


def resampling(samples: int) -> statistics.Resampling:
    return statistics.Resampling(0.95, samples, generator())


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
    ahead, behind = saved(high, low, 0, budget), saved(low, high, 0, budget)
    assert (ahead.kind, behind.kind) == ("at least", "at most")
    assert curves.crossover(budget, high, low, resampling=resampling(100)).kind == "undetermined"


def constant(*means: Any, seeds: Any = 20, spread: Any = 0.001) -> Any:
    return np.array(means)[:, None] + generator(9).normal(0, spread, (len(means), seeds))


def saved(arm: Any, baseline: Any, at: Any, labels: Any = LABELS) -> Any:
    return curves.labels_saved(
        labels, baseline, own=labels[at], accuracies=arm[at], resampling=resampling(500)
    )


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


def test_mean_over_labels_of_a_constant_gain_is_that_gain() -> None:
    gains = np.full((3, 4), 0.1)
    np.testing.assert_allclose(curves.mean_over_labels(LABELS, gains), 0.1)
    np.testing.assert_allclose(curves.mean_over_labels(LABELS[:1], gains[:1]), 0.1)


def test_mean_over_labels_weighs_budgets_by_their_share_of_the_logarithm() -> None:
    labels = np.array([10, 20, 1000])
    by_hand = ((0 + 1) / 2 * math.log(2) + (1 + 1) / 2 * math.log(50)) / math.log(100)
    mean = curves.mean_over_labels(labels, np.array([[0.0], [1.0], [1.0]]))
    assert mean == pytest.approx([by_hand])


def test_few_labels_are_those_up_to_a_hundred() -> None:
    parts = curves.ranges(np.array([10, 100, 101, 5000]))
    assert {name: own.tolist() for name, own in parts.items()} == {
        "all": [True] * 4,
        "few": [True, True, False, False],
        "many": [False, False, True, True],
    }
    assert list(curves.ranges(np.array([10, 100]))) == ["all"]
    assert list(curves.ranges(np.array([200]))) == ["all"]


def test_monotone_cubic_stands_beside_the_straight_lines() -> None:
    estimate = saved(constant(0.75, 0.85, 0.9, spread=0), constant(0.6, 0.8, 0.9, spread=0), at=0)
    cubic = PchipInterpolator(np.log(LABELS), [0.6, 0.8, 0.9])
    assert cubic(math.log(10 * estimate.cubic)) == pytest.approx(0.75, abs=1e-6)
    assert estimate.value == pytest.approx(10**0.75)
    assert estimate.cubic != pytest.approx(estimate.value, rel=0.01)


def test_bounds_have_no_cubic_and_one_seed_no_interval() -> None:
    ahead = saved(constant(0.95, 0.96, 0.97), constant(0.6, 0.8, 0.9), at=0)
    assert math.isnan(ahead.cubic)
    one = saved(constant(0.7, 0.8, 0.9)[:, :1], constant(0.6, 0.8, 0.9)[:, :1], at=0)
    assert one.kind == "estimate"
    assert np.isnan([one.low, one.high]).all()


@settings(deadline=None)
@given(
    st.lists(st.floats(0.5, 0.95), min_size=3, max_size=3),
    st.integers(0, 2),
    st.floats(0.001, 0.04),
)
def test_a_better_arm_never_saves_fewer_labels(means: Any, at: int, more: float) -> None:
    baseline = np.array(means)[:, None] + np.zeros((3, 2))
    order = {"at most": 0, "estimate": 1, "at least": 2}
    worse, better = saved(baseline, baseline, at), saved(baseline + more, baseline, at)
    assert (order[better.kind], better.value) >= (order[worse.kind], worse.value)
    if worse.kind == "estimate":
        assert worse.value <= 1 + 1e-9


def test_best_arm_is_chosen_anew_in_every_resample() -> None:
    draws = generator(4)
    gains = draws.normal(0, 0.01, (4, 12))
    baseline, labels = constant(0.6, 0.8, 0.9, seeds=12), LABELS
    best = curves.best_of(
        gains,
        labels,
        baseline,
        own=10,
        accuracies=baseline[0] + gains,
        resampling=resampling(2000),
    )
    place = int(gains.mean(axis=1).argmax())
    assert best.place == place
    assert 0.3 < best.share < 1
    # Another arm is the best where this one is not, so that more lies above; below, the error is
    # shared among the four.
    _, high = statistics.t_interval(gains[place], confidence=0.95)
    low, _ = statistics.t_interval(gains[place], confidence=1 - 0.05 / 4)
    alone = resampling(2000)
    _, without_choice = alone.interval(alone.shares(12) @ gains[place], count=12)
    assert best.gain[0] == pytest.approx(low)
    assert best.gain[1] > max(float(high), without_choice)
    assert best.saved.low < best.saved.value < best.saved.high


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_interval_of_the_best_arm_is_not_above_its_gain_more_often_than_told(
    correlation: float,
) -> None:
    draws, rounds = generator(5), 300
    shared = draws.normal(0, 1, (rounds, 1, 20))
    own = draws.normal(0, 1, (rounds, 6, 20))
    gains = 0.01 * (math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own)
    baseline = constant(0.6, 0.8, 0.9)
    lows = [
        curves.best_of(
            one,
            LABELS,
            baseline,
            own=10,
            accuracies=baseline[0] + one,
            resampling=resampling(200),
        ).gain[0]
        for one in gains
    ]
    # 2.5 % of 300, and as much by chance. Resampled alone it was 12 and 9 %.
    assert np.mean(np.array(lows) > 0) < 0.05


def test_accuracies_between_budgets_are_straight_over_the_logarithm() -> None:
    curve = np.array([[0.5, 0.6], [0.7, 0.8], [0.9, 0.9]])
    np.testing.assert_allclose(curves.accuracies_at(LABELS, curve, 10**1.5), [0.6, 0.7])
