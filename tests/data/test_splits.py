"""Drawing train, valid and test by rows: nothing lost, nothing shared, sizes as asked."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import UserError
from headstart.core.parts import Drawn
from headstart.data import splits, tasks
from headstart.data.catalogue import FASHION_MNIST

NAMES = FASHION_MNIST.classes


def split(train: int, test: int, **sizes: int) -> dict[str, Drawn]:
    """The published split of images whose class is 7 times their position, modulo ten."""
    labels = {"train": np.arange(train) * 7 % 10, "test": np.arange(test) * 7 % 10}
    return splits.draw(labels, how="published", seed=0, **sizes)


def both(
    target: list[int | str], source: str | list[int | str] = "others"
) -> tuple[tasks.Task, ...]:
    return tasks.source_and_target(
        NAMES, FASHION_MNIST.aliases, target_classes=target, source_classes=source
    )


def test_validation_comes_first_then_training_as_in_the_notebook() -> None:
    parts = split(30, 20, train_size=20, valid_size=5, test_size=15)
    raw = {name: drawn.raw for name, drawn in parts.items()}
    assert raw == {"train": "train", "valid": "train", "test": "test"}
    assert parts["valid"].rows.tolist() == list(range(5))
    assert parts["train"].rows.tolist() == list(range(5, 25))
    assert parts["test"].rows.tolist() == list(range(15))


def test_images_that_nobody_has_divided_test_after_they_trained() -> None:
    labels = {"all": np.zeros(10, np.int64)}
    parts = splits.draw(
        labels, how="published", train_size=0.5, valid_size=2, test_size=0.3, seed=0
    )
    assert parts["valid"].rows.tolist() == [0, 1]
    assert parts["train"].rows.tolist() == [2, 3, 4, 5, 6]
    assert parts["test"].rows.tolist() == [7, 8, 9]


def test_given_folders_stay_apart_and_one_point_zero_is_all_of_each() -> None:
    sizes = {"train": 8, "valid": 4, "test": 3}
    labels = {name: np.zeros(count, np.int64) for name, count in sizes.items()}
    parts = splits.draw(labels, how="folders", train_size=1.0, valid_size=0.5, test_size=2, seed=0)
    taken = {name: (drawn.raw, len(drawn.rows)) for name, drawn in parts.items()}
    assert taken == {"train": ("train", 8), "valid": ("valid", 2), "test": ("test", 2)}


@pytest.mark.parametrize(
    ("parts", "how", "said"),
    [
        (("all",), "folders", "folders needs train, valid and test, the data has all"),
        (("train", "test"), "folders", "the data has train, test; write published or stratified"),
        (("train", "valid", "test"), "stratified", "would mix train and valid"),
        (("train",), "published", "the data has the parts train;"),
    ],
)
def test_split_that_the_data_does_not_allow_is_refused(
    parts: tuple[str, ...], how: str, said: str
) -> None:
    labels = {name: np.zeros(9, np.int64) for name in parts}
    with pytest.raises(UserError) as refused:
        splits.draw(labels, how=how, train_size=1, valid_size=1, test_size=1, seed=0)
    assert said in str(refused.value)


@given(
    labels=st.lists(st.integers(0, 4), min_size=6, max_size=200),
    how=st.sampled_from(["published", "stratified"]),
    one_pool=st.booleans(),
    shares=st.tuples(st.floats(0.01, 0.4), st.floats(0.01, 0.3), st.floats(0.01, 0.2)),
    seed=st.integers(0, 2**31 - 1),
)
def test_split_shares_no_image_and_keeps_sizes_order_and_class_counts(
    labels: list[int], how: str, one_pool: bool, shares: tuple[float, float, float], seed: int
) -> None:
    array = np.array(labels)
    pools = {"all": array} if one_pool else {"train": array, "test": array[::-1]}
    sizes = dict(zip(("train", "valid", "test"), shares, strict=True))
    wanted = {f"{name}_size": share for name, share in sizes.items()}
    if any(share * len(array) < 1.5 for share in shares):
        with contextlib.suppress(UserError):
            splits.draw(pools, how=how, seed=seed, **wanted)
        return
    parts = splits.draw(pools, how=how, seed=seed, **wanted)
    taken: dict[str, list[int]] = {name: [] for name in pools}
    for name, drawn in parts.items():
        assert abs(len(drawn.rows) - sizes[name] * len(pools[drawn.raw])) <= 1
        assert np.all(np.diff(drawn.rows) > 0)
        assert drawn.rows.dtype == np.int64
        taken[drawn.raw] += drawn.rows.tolist()
    for name, rows in taken.items():
        assert len(rows) == len(set(rows))
        assert not rows or max(rows) < len(pools[name])
    if how == "stratified":
        # The first part is drawn from all: each class's share is the nearest below or above.
        drawn = parts["valid"]
        counts = np.bincount(pools[drawn.raw], minlength=5)
        got = np.bincount(pools[drawn.raw][drawn.rows], minlength=5)
        assert np.all(np.abs(got - len(drawn.rows) * counts / counts.sum()) < 1)


@given(total=st.integers(10, 500), cuts=st.tuples(st.integers(1, 98), st.integers(1, 98)))
def test_fractions_that_make_one_take_every_image_once(total: int, cuts: tuple[int, int]) -> None:
    train, valid = cuts[0] / 100, (100 - cuts[0]) * cuts[1] / 10000
    sizes = {"train_size": train, "valid_size": valid, "test_size": 1 - train - valid}
    labels = {"all": np.arange(total) % 3}
    try:
        parts = splits.draw(labels, how="stratified", seed=0, **sizes)
    except UserError as error:
        refused = str(error)
    else:
        assert sum(len(drawn.rows) for drawn in parts.values()) == total
        return
    assert "is no image" in refused


def test_stratified_draw_depends_on_its_seed_alone() -> None:
    labels = {"all": np.arange(300) % 3}

    def drawn(seed: int) -> list[int]:
        parts = splits.draw(
            labels, how="stratified", train_size=0.5, valid_size=0.2, test_size=0.2, seed=seed
        )
        return [int(row) for part in parts.values() for row in part.rows]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@given(
    labels=st.lists(st.integers(0, 9), max_size=100),
    target=st.lists(st.integers(0, 9), min_size=2, max_size=8, unique=True),
)
def test_cut_loses_and_shares_no_image(labels: list[int], target: list[int]) -> None:
    array = np.array(labels, dtype=np.uint8)
    seen: list[int] = []
    for task in both(list(target)):
        positions, numbers = tasks.positions(array, task)
        assert numbers.dtype == np.int64
        assert np.array_equal(np.array(task.numbers)[numbers], array[positions])
        assert np.all(np.diff(positions) > 0)
        seen += positions.tolist()
    assert sorted(seen) == list(range(len(labels)))


def test_no_source_task_takes_no_image() -> None:
    source, target = both(list(range(10)), "none")
    assert source.names == ()
    assert len(target.names) == 10
    assert tasks.positions(np.array([4, 7]), source)[0].tolist() == []


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"valid_size": 101}, "valid_size: 101 is more than there are: 100 training"),
        (
            {"train_size": 91},
            "train_size: 91 is more than there are: 100 training images, of which",
        ),
        ({"test_size": 51}, "test_size: 51 is more than there are: 50 test images"),
    ],
)
def test_sizes_larger_than_the_data_are_refused(sizes: dict[str, int], said: str) -> None:
    good = {"train_size": 90, "valid_size": 10, "test_size": 50}
    split(100, 50, **good)
    with pytest.raises(UserError) as refused:
        split(100, 50, **(good | sizes))
    assert said in str(refused.value)
