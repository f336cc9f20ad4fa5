"""Verdicts over paired seeds: correction within a family, equivalence, power; and simulations."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from projects import ROOT

from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.study import statistics, verdicts

ALPHA, MARGIN = 0.05, 0.005


def generator(*seed: Any) -> Any:
    return np.random.default_rng(seed)


def judged(gains: Any, p: float, *, margin: float = MARGIN) -> str:
    low, high = statistics.t_interval(gains, confidence=1 - 2 * ALPHA)
    return verdicts.verdict(gains.mean(), (float(low), float(high)), p, alpha=ALPHA, margin=margin)


def studentised(gains: Any) -> Any:
    return np.abs(gains.mean(axis=-1) / scipy.stats.sem(gains, axis=-1))


def test_adjusted_p_is_that_of_westfall_and_young_worked_out_flip_by_flip() -> None:
    gains = generator(1).normal([[0.9], [2.5], [0.4]], 1.0, (3, 6))
    observed = studentised(gains)
    order = np.argsort(-observed)
    signs = np.array(list(itertools.product((1, -1), repeat=6)))
    every = np.array([studentised(gains * own) for own in signs])
    expected, last = np.empty(3), 0.0
    for place, one in enumerate(order):
        left = every[:, order[place:]].max(axis=1)
        last = max(last, (left >= observed[one] - 1e-9).mean())
        expected[one] = last
    np.testing.assert_allclose(verdicts.max_t(gains), expected)
    assert len(set(expected)) == 3


def test_one_comparison_has_the_p_value_of_the_sign_flip_test() -> None:
    gains = generator(2).normal(0.5, 1.0, (1, 9))
    theirs = scipy.stats.permutation_test(
        (gains[0], np.zeros(9)),
        lambda own, zeros: own.mean() - zeros.mean(),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert verdicts.max_t(gains) == pytest.approx([theirs.pvalue])


def test_gains_without_spread_have_the_p_value_of_the_sign_test() -> None:
    p = verdicts.max_t(np.array([[0.25] * 6, [0.0] * 6, [-0.25] * 6]))
    assert p == pytest.approx([2**-5, 1.0, 2**-5])


def test_flips_are_all_of_them_where_they_are_few_and_else_drawn_once() -> None:
    assert verdicts.sign_flips(13).shape == (2**12, 13)
    assert len({tuple(signs) for signs in verdicts.sign_flips(5)}) == 16
    many = verdicts.sign_flips(20)
    assert many.shape == (10_000, 20)
    assert (many[0] == 1).all()
    assert abs(many[1:].mean()) < 0.01
    # Equal gains are as extreme as themselves: no p-value is 0.
    assert verdicts.max_t(np.ones((1, 20))) == pytest.approx([1 / 10_000])


@settings(deadline=None)
@given(
    arrays.arrays(float, (4, 7), elements=st.integers(-3, 3).map(lambda whole: whole / 967)),
    st.permutations(range(4)),
)
def test_order_of_the_comparisons_and_the_sign_of_all_gains_change_nothing(
    gains: Any, order: Any
) -> None:
    p = verdicts.max_t(gains)
    np.testing.assert_allclose(verdicts.max_t(gains[order]), p[order])
    np.testing.assert_allclose(verdicts.max_t(-gains), p)
    np.testing.assert_allclose(verdicts.max_t(1000 * gains), p)
    # A comparison alone is never less certain than in a family, and twice is as good as once.
    assert all(p[one] >= verdicts.max_t(gains[one : one + 1]) - 1e-12 for one in range(len(gains)))
    np.testing.assert_allclose(verdicts.max_t(np.concatenate([gains, gains]))[:4], p)


def test_one_seed_has_no_adjusted_p_value() -> None:
    assert np.isnan(verdicts.max_t(np.ones((2, 1)))).all()
    assert verdicts.max_t(np.empty((0, 5))).shape == (0,)


def around(mean: float, half: float) -> Any:
    """Gains of 20 seeds with a two-sided 90 % t interval from mean - half to mean + half."""
    values = generator(3).normal(size=20)
    values -= values.mean()
    _, high = statistics.t_interval(values, confidence=0.9)
    return mean + values * half / high


@pytest.mark.parametrize(
    ("mean", "half", "p", "expected"),
    [
        (0.02, 0.01, 0.049, TRANSFER_BETTER),
        (-0.02, 0.01, 0.049, BASELINE_BETTER),
        # Decided comes before equivalent.
        (0.001, 0.0005, 0.01, TRANSFER_BETTER),
        (0.001, 0.0039, 0.05, verdicts.EQUIVALENT),
        (-0.001, 0.0039, 0.3, verdicts.EQUIVALENT),
        (0.001, 0.0041, 0.3, verdicts.NO_WORSE),
        (-0.001, 0.0041, 0.3, verdicts.CANNOT_TELL),
        (0.02, 0.0249, 0.051, verdicts.NO_WORSE),
        (0.02, 0.0251, 0.051, verdicts.CANNOT_TELL),
        (-0.02, 0.001, 0.051, verdicts.CANNOT_TELL),
    ],
)
def test_verdicts_are_tried_in_their_order(
    mean: float, half: float, p: float, expected: str
) -> None:
    assert judged(around(mean, half), p) == expected


def test_one_seed_cannot_tell() -> None:
    assert judged(np.array([0.1]), math.nan) == verdicts.CANNOT_TELL


def test_half_of_the_seeds_constant_or_an_untrained_arm_is_unfit() -> None:
    assert verdicts.unfit(0.5, untrained=False)
    assert verdicts.unfit(0.0, untrained=True)
    assert not verdicts.unfit(0.49, untrained=False)


def test_untrained_is_an_arm_whose_balanced_accuracy_is_not_above_chance() -> None:
    draws = generator(6).normal(0, 0.05, 10)
    draws -= draws.mean()
    high = scipy.stats.t.ppf(0.95, 9) * scipy.stats.sem(draws)
    # One-sided: a two-sided test would ask for more.

    def untrained(above_chance: Any) -> bool:
        p = statistics.one_sample_p(above_chance, alternative="greater")
        return verdicts.untrained(p, alpha=ALPHA)

    assert not untrained(draws + 1.01 * high)
    assert untrained(draws + 0.99 * high)
    assert untrained(draws - 0.3)
    assert untrained(np.zeros(10))
    assert not untrained(np.zeros(1))


def test_fewest_seeds_that_can_decide_are_told() -> None:
    assert verdicts.fewest_seeds(0.05) == 6
    for alpha in (0.2, 0.0625, 0.05, 0.01):
        count = verdicts.fewest_seeds(alpha)
        least, short = (verdicts.max_t(np.ones((1, n)))[0] for n in (count, count - 1))
        assert least < alpha <= short


def test_seeds_needed_have_the_power_that_simulation_shows() -> None:
    seeds = verdicts.seeds_needed(0.005, 0.01, level=ALPHA)
    assert seeds == 34  # Cohen's d of 0.5, as tables of power have it
    for count, enough in ((34, True), (32, False)):
        gains = generator(7, count).normal(0.005, 0.01, (40_000, count))
        power = (scipy.stats.ttest_1samp(gains, 0, axis=1).pvalue < ALPHA).mean()
        assert (power > 0.795) == enough
    assert verdicts.seeds_needed(0.005, 0.0, level=ALPHA) == 2
    assert math.isinf(verdicts.seeds_needed(0.0001, 1.0, level=ALPHA))
    assert math.isnan(verdicts.seeds_needed(0.005, math.nan, level=ALPHA))


def test_detectable_gain_is_the_one_for_which_these_seeds_are_needed() -> None:
    gain = verdicts.detectable_gain(0.01, 20, alpha=ALPHA, comparisons=36)
    level = ALPHA / 36
    assert verdicts.seeds_needed(1.0001 * gain, 0.01, level=level) == 20
    assert verdicts.seeds_needed(0.9999 * gain, 0.01, level=level) == 21
    assert math.isnan(verdicts.detectable_gain(0.01, 5, alpha=ALPHA, comparisons=1))


# What arms' accuracies are distributed like, from normal values with a correlation of 0.5.
SHAPES: dict[str, Callable[[Any], Any]] = {
    "normal": lambda normal: normal,
    "exponential": lambda normal: -np.log(scipy.stats.norm.sf(normal)),
    "log-normal": np.exp,
    "one seed in ten fails": lambda normal: normal - 8 * (normal < scipy.stats.norm.ppf(0.1)),
}
BUDGETS = 9


def correlated(draws: Any, runs: int, seeds: int) -> Any:
    shared = draws.normal(size=(runs, 1, seeds))
    return (shared + draws.normal(size=(runs, BUDGETS, seeds))) / math.sqrt(2)


def differences(shape: str, *, runs: int, seeds: int) -> Any:
    """Gains (runs, budgets, seeds) of two exchangeable arms, standard deviation about 1."""
    draws = generator(8, seeds, list(SHAPES).index(shape))
    gains = np.subtract(*(SHAPES[shape](correlated(draws, runs, seeds)) for _ in range(2)))
    return gains / gains.std()


def adjusted(gains: Any) -> Any:
    """Adjusted p-values (runs, budgets), a hundred runs at a time."""
    parts = np.array_split(gains, math.ceil(len(gains) / 100))
    return np.concatenate([verdicts.max_t(own) for own in parts])


def family_wise_error(gains: Any) -> float:
    return float((adjusted(gains).min(axis=1) < ALPHA).mean())


def equivalence_error(gains: Any) -> float:
    """How often a gain of exactly the margin is called equivalent, the spread being small."""
    own = gains[:, 0] - gains[:, 0].mean() + 3.0
    words = [judged(one, 1.0, margin=3.0) for one in own]
    return words.count(verdicts.EQUIVALENT) / len(words)


def check_errors(shape: str, *, runs: int, seeds: int, slack: float) -> None:
    gains = differences(shape, runs=runs, seeds=seeds)
    assert family_wise_error(gains) <= 0.065 + slack
    assert equivalence_error(gains) <= 0.065 + slack


@pytest.mark.parametrize("shape", SHAPES)
def test_errors_of_families_and_of_equivalence_are_held(shape: str) -> None:
    check_errors(shape, runs=200, seeds=10, slack=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [10, 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_errors_of_families_and_of_equivalence_are_held_in_2000_runs(
    shape: str, seeds: int
) -> None:
    check_errors(shape, runs=2000, seeds=seeds, slack=0.0)


def powers(*, runs: int, seeds: int) -> tuple[float, float]:
    """The share of true gains that max-T finds, and that Holm's correction of t-tests finds."""
    gains = differences("normal", runs=runs, seeds=seeds) + 3.2 / math.sqrt(seeds)
    ours = (adjusted(gains) < ALPHA).mean()
    p = scipy.stats.ttest_1samp(gains, 0, axis=2).pvalue
    # Holm: the smallest against alpha / 9, the next against alpha / 8, until one is too large.
    passed = np.sort(p, axis=1) * np.arange(BUDGETS, 0, -1) < ALPHA
    return float(ours), float(np.cumprod(passed, axis=1).mean())


def test_max_t_finds_more_than_holm() -> None:
    ours, holm = powers(runs=200, seeds=20)
    assert 0.3 < holm < ours < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [10, 20])
def test_max_t_finds_more_than_holm_in_2000_runs(seeds: int) -> None:
    ours, holm = powers(runs=2000, seeds=seeds)
    assert 0.3 < holm < ours < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [10, 20])
def test_error_for_one_sidedly_skewed_gains_is_told_in_the_docs(seeds: int) -> None:
    told = []
    for shape in ("exponential", "log-normal"):
        draws = generator(9, seeds)
        gains = SHAPES[shape](correlated(draws, 2000, seeds))
        error = family_wise_error(gains - gains.mean(axis=(0, 2), keepdims=True))
        told.append(f"{error:.3f}")
    line = f"| {seeds} | {told[0]} | {told[1]} |"
    assert line in (ROOT / "docs/study.md").read_text()


# The share of the variance of the mean that comes from the images.
SHARES = [0.0, 0.1, 0.5, 0.9]


def coverage(share: float, *, runs: int, seeds: int = 20, images: int = 100) -> float:
    """How often the two-way interval holds the mean over seeds and images that are all drawn."""
    draws = generator(10, round(10 * share))
    spread = math.sqrt((1 - share) * seeds), math.sqrt(share * images)
    values = (
        draws.normal(0, spread[0], (runs, seeds, 1))
        + draws.normal(0, spread[1], (runs, 1, images))
        + draws.normal(0, 1, (runs, seeds, images))
    )
    low, high = statistics.two_way_interval(values, confidence=0.95)
    return float(((low < 0) & (high > 0)).mean())


@pytest.mark.parametrize("share", SHARES)
def test_two_way_interval_covers_new_seeds_and_new_images(share: float) -> None:
    assert 0.89 < coverage(share, runs=200) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("seeds", [10, 20])
def test_two_way_interval_covers_new_seeds_and_new_images_in_2000_runs(
    share: float, seeds: int
) -> None:
    assert 0.92 <= coverage(share, runs=2000, seeds=seeds) <= 0.99


def test_detectable_gain_shows_in_four_of_five_where_there_are_flips_enough() -> None:
    least = verdicts.fewest_seeds(ALPHA)
    powers = {}
    for count in (least, least + 2):
        gain = verdicts.detectable_gain(0.01, count, alpha=ALPHA, comparisons=3)
        # One of three that gains, as the level divided by three has it.
        gains = generator(8, count).normal(0, 0.01, (1000, 3, count))
        gains[:, 0] += gain
        powers[count] = (verdicts.max_t(gains)[:, 0] < ALPHA).mean()
    assert powers[least] < 0.75 < powers[least + 2]
