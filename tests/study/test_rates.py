"""The rule that chooses a learning rate, on losses made up here."""

import itertools
import math

import pytest
from studies import study

from headstart.study import rates


@pytest.mark.parametrize("order", list(itertools.permutations([0.001, 0.01, 0.1])))
def test_lowest_loss_wins_and_of_equals_the_lower_rate_in_any_order(order: tuple[float]) -> None:
    def best(**losses: float) -> float:
        by_name = dict(zip((0.001, 0.01, 0.1), losses.values(), strict=True))
        return rates.best({rate: [[by_name[rate]]] for rate in order})

    assert best(a=0.3, b=0.2, c=0.4) == 0.01
    assert best(a=0.3, b=0.2, c=0.2) == 0.01
    assert best(a=0.2, b=0.2, c=0.2) == 0.001
    # Equal to six significant digits.
    assert best(a=0.2000001, b=0.2, c=0.2) == 0.001
    assert best(a=0.200001, b=0.2, c=0.3) == 0.01
    assert best(a=math.nan, b=9.0, c=math.nan) == 0.01
    assert best(a=math.nan, b=math.nan, c=math.nan) == 0.001


def test_labels_count_alike_within_a_seed_and_seeds_alike() -> None:
    assert rates.criterion([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0]]) == 0.5
    assert rates.criterion([[1.0, 2.0], [math.nan, 0.0]]) == math.inf
    assert rates.criterion([[1 / 3]]) == 0.333333


def test_rate_at_an_end_of_the_list_is_told_where_rates_are_searched() -> None:
    grid = study(learning_rates=[0.1, 0.001, 0.01]).grid
    assert [rates.at_edge(grid, rate) for rate in (0.001, 0.01, 0.1)] == [True, False, True]
    assert not rates.at_edge(study(learning_rates=[0.01]).grid, 0.01)
