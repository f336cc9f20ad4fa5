"""Paired tests and intervals, against published values, other libraries and their own symmetry."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from headstart.judging.paired import Paired, mcnemar, newcombe, paired

COUNTS = st.tuples(*[st.integers(0, 400)] * 4).filter(any)


@pytest.mark.parametrize(
    ("only_baseline", "only_transfer", "exact", "mid"),
    # Twice the binomial tail: 2 (C(10,0) + C(10,1)) / 2^10 for one against nine. The mid-p leaves
    # out one tail's share of the outcome itself: C(10,1) / 2^10.
    [
        (0, 0, 1.0, 1.0),
        (5, 0, 0.0625, 0.03125),
        (0, 6, 0.03125, 0.015625),
        (1, 9, 22 / 1024, 12 / 1024),
        (3, 3, 1.0, 1.0),
    ],
)
def test_mcnemar_gives_the_known_values(
    only_baseline: int, only_transfer: int, exact: float, mid: float
) -> None:
    pairs = Paired(10, only_baseline, only_transfer, 2)
    assert (pairs.exact_p, pairs.mid_p) == pytest.approx((exact, mid))


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_agrees_with_scipy_and_statsmodels(left: int, right: int) -> None:
    if left + right:
        ours = mcnemar(left, right)
        assert ours == pytest.approx(scipy.stats.binomtest(left, left + right).pvalue, rel=1e-9)
        theirs = statsmodels_mcnemar([[7, left], [right, 9]], exact=True).pvalue
        assert ours == pytest.approx(theirs, rel=1e-9)
    assert 0 < mcnemar(left, right, mid=True) <= mcnemar(left, right) <= 1


def test_fagerlands_mid_p_is_met() -> None:
    # Their airway data of Bentur et al.: 1 against 7 of 21 pairs; exact 0.070, mid-p 0.039.
    pairs = Paired(1, 1, 7, 12)
    assert (round(pairs.exact_p, 3), round(pairs.mid_p, 3)) == (0.070, 0.039)


@pytest.mark.parametrize(
    ("cells", "limits"),
    [
        # Newcombe (1998), method 10: his cells e, f, g, h, without the correction of phi
        # 0.0618 to 0.3242.
        ((20, 12, 2, 16), (0.0562, 0.3292)),
        # Fagerland, Lydersen, Laake (2014), of Bentur et al.
        ((1, 1, 7, 12), (-0.507, -0.026)),
    ],
)
def test_newcombes_interval_gives_the_published_values(
    cells: tuple[int, int, int, int], limits: tuple[float, float]
) -> None:
    both, first, second, none = cells
    digits = 4 if both == 20 else 3
    # Their difference is the first minus the second, ours transfer minus baseline.
    low, high = Paired(both, second, first, none).gain_interval(0.95)
    assert (round(low, digits), round(high, digits)) == limits


def test_newcombes_interval_without_correlation_is_the_one_of_unpaired_answers() -> None:
    # With n/2 below e h - f g below n/2 the corrected correlation is 0.
    low, high = Paired(11, 10, 10, 10).gain_interval(0.9)
    theirs = confint_proportions_2indep(21, 41, 21, 41, method="newcomb", alpha=0.1)
    assert (low, high) == pytest.approx(theirs, abs=1e-12)


@settings(deadline=None)
@example((0, 7, 0, 0), 0.95)
@given(COUNTS, st.floats(0.5, 0.999))
def test_newcombes_interval_mirrors_with_the_arms_and_holds_the_gain(
    counts: tuple[int, int, int, int], confidence: float
) -> None:
    both, baseline, transfer, none = counts
    ours = Paired(both, baseline, transfer, none)
    low, high = ours.gain_interval(confidence)
    mirrored = Paired(both, transfer, baseline, none).gain_interval(confidence)
    assert (-high, -low) == pytest.approx(mirrored, abs=1e-12)
    assert -1 <= low <= ours.gain <= high <= 1
    # Whether right or wrong is counted changes the sign alone.
    wrong = Paired(none, baseline, transfer, both).gain_interval(confidence)
    assert wrong == pytest.approx((low, high), abs=1e-12)
    assert high > low
    wider = ours.gain_interval((1 + confidence) / 2)
    assert wider[0] <= low
    assert high <= wider[1]


def test_tables_of_counts_give_tables_of_values() -> None:
    baseline, transfer = np.array([[0, 5], [2, 6]]), np.array([[0, 0], [9, 8]])
    both = 100_000_000 - baseline - transfer - 7
    low, high = newcombe(both, baseline, transfer, 7, confidence=0.95)
    p = mcnemar(baseline, transfer, mid=True)
    for at in np.ndindex(2, 2):
        one = Paired(int(both[at]), int(baseline[at]), int(transfer[at]), 7)
        assert one.mid_p == p[at]
        assert one.gain_interval(0.95) == pytest.approx((low[at], high[at]), abs=1e-15)


def test_pairs_count_what_both_one_or_none_answer_right() -> None:
    pairs = paired(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1]), np.array([0, 1, 0, 0, 1]))
    assert pairs == Paired(both_right=2, only_baseline=1, only_transfer=1, both_wrong=1)
    assert pairs.total == 5
