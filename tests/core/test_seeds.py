"""Draws are keyed by seed and name, never by what was drawn before."""

import numpy as np

from headstart.core import seeds

PUBLISHED_INTEGER = 395951110
PUBLISHED_ORDER = [3, 0, 1, 5, 4, 2]


def test_draws_depend_on_seed_and_every_name() -> None:
    keys: list[tuple[int, *tuple[str | int, ...]]] = [
        (1, "a", "b"),
        (2, "a", "b"),
        (1, "b", "a"),
        (1, "a"),
        (1, "a", 1),
        (1, "a", 2),
    ]
    drawn = {seeds.integer(*key) for key in keys}
    assert len(drawn) == len(keys)
    assert seeds.integer(1, "a", "b") == seeds.integer(1, "a", "b")
    # A change here changes every result that was ever published.
    assert seeds.integer(42, "target", "head", "initialisation") == PUBLISHED_INTEGER
    assert seeds.epoch_order(1, count=6, seed=42, task="target").tolist() == PUBLISHED_ORDER


def test_epoch_orders_are_fresh_permutations() -> None:
    first, second = (seeds.epoch_order(e, count=50, seed=3, task="target") for e in (1, 2))
    assert sorted(first) == sorted(second) == list(range(50))
    assert not np.array_equal(first, second)
    again = seeds.epoch_order(2, count=50, seed=3, task="target")
    assert np.array_equal(second, again)
    assert not np.array_equal(second, seeds.epoch_order(2, count=50, seed=3, task="source"))
