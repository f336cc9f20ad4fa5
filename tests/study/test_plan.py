import itertools
import math
import pathlib
from typing import Any

import numpy as np
import pytest
import yaml
from studies import study

from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn, Part
from headstart.data import catalogue
from headstart.params.strategies import STRATEGIES
from headstart.study import forecast, parameters, plan, prepare
from headstart.study.budget import Budget

FILE = pathlib.Path(__file__).parents[2] / "study/params.yaml"
NAMES = catalogue.FASHION_MNIST.classes
LABELS = np.array([0] * 30 + [1] * 20 + [2] * 7)


def budget(**amount: Any) -> Any:
    return Budget.model_validate(amount)


def grid(**changes: Any) -> Any:
    values = yaml.safe_load(FILE.read_text())
    values["grid"] |= changes
    return parameters.parse(yaml.safe_dump(values), "study/params.yaml").grid


def test_every_budget_is_balanced_with_the_remainder_in_the_lowest_classes() -> None:
    order = plan.subset(LABELS, classes=3, seed=3, task="t")
    for count in range(1, 22):
        held = np.bincount(LABELS[order[:count]], minlength=3)
        expected = [count // 3 + (one < count % 3) for one in range(3)]
        assert held.tolist() == expected
    assert sorted(order) == list(range(len(LABELS)))


def test_all_is_the_whole_unbalanced_set_and_exhausted_classes_step_aside() -> None:
    order = plan.subset(LABELS, classes=3, seed=3, task="t")
    assert np.bincount(LABELS[order[:30]], minlength=3).tolist() == [12, 11, 7]


def test_subsets_differ_between_seeds_and_tasks_and_repeat_within() -> None:
    one = plan.subset(LABELS, classes=3, seed=3, task="t")
    assert (one == plan.subset(LABELS, classes=3, seed=3, task="t")).all()
    assert (one != plan.subset(LABELS, classes=3, seed=4, task="t")).any()
    assert (one != plan.subset(LABELS, classes=3, seed=3, task="u")).any()


def test_epochs_are_permutations_whose_last_batch_is_smaller() -> None:
    made = plan.batches(budget(epochs=3), count=70, batch_size=32, seed=1, task="t")
    assert made.shape == (9, 32)
    for epoch in made.reshape(3, 96):
        assert sorted(epoch[:70]) == list(range(70))
        assert (epoch[70:] == plan.EMPTY).all()
    assert (made[0] != made[3]).any()


def test_steps_are_a_stream_of_permutations_in_full_batches_stopped_after_exactly_n() -> None:
    made = plan.batches(budget(steps=11), count=70, batch_size=32, seed=1, task="t")
    assert made.shape == (11, 32)
    stream = made.reshape(-1)
    for start in range(0, 5 * 70, 70):
        assert sorted(stream[start : start + 70]) == list(range(70))
    assert len(set(stream[350:])) == 2


@pytest.mark.parametrize("amount", [{"epochs": 4}, {"steps": 9}])
def test_fewer_labels_than_a_batch_make_a_batch_of_all_of_them(amount: Any) -> None:
    made = plan.batches(budget(**amount), count=10, batch_size=32, seed=1, task="t")
    assert made.shape == (next(iter(amount.values())), 10)
    assert all(sorted(batch) == list(range(10)) for batch in made)


def test_first_epochs_do_not_depend_on_how_many_follow() -> None:
    short = plan.batches(budget(epochs=2), count=40, batch_size=32, seed=1, task="t")
    long = plan.batches(budget(epochs=5), count=40, batch_size=32, seed=1, task="t")
    assert (long[: len(short)] == short).all()


def test_gradual_keeps_at_least_one_and_never_all_of_its_budget_frozen() -> None:
    def frozen(fraction: Any, **amount: Any) -> Any:
        first, then = plan.phases(
            STRATEGIES["gradual"],
            budget(**amount),
            count=70,
            batch_size=32,
            frozen_fraction=fraction,
        )
        assert first.amount + then.amount == plan.steps(budget(**amount), count=70, batch_size=32)
        return first.amount

    assert frozen(0.5, steps=2000) == 1000
    assert frozen(0.01, epochs=5) == 3
    assert frozen(0.99, epochs=5) == 12


def test_only_the_tasks_that_are_named_are_shifted() -> None:
    tasks: dict[str, Any] = {"target_tasks": [["sandal", "shirt"], ["coat", "shirt"], [6, 7]]}
    every = grid(**tasks, shifts=[0, 4])
    some = grid(**tasks, shifts=[0, 4], shifted_tasks=[["coat", 6]])

    def asked(of: Any) -> list[tuple[str, int]]:
        return [(one.name, one.shift) for one in plan.questions(of, NAMES, {})]

    assert len(asked(every)) == 6
    assert asked(some) == [
        ("sandal_shirt", 0),
        ("coat_shirt", 0),
        ("coat_shirt", 4),
        ("shirt_sneaker", 0),
    ]
    with pytest.raises(UserError, match=r"shifted_tasks: \['bag', 'boot'\] is none of"):
        plan.questions(grid(**tasks, shifted_tasks=[["bag", "boot"]]), NAMES, {})


def test_images_move_within_the_shift_and_lose_nothing_that_fits() -> None:
    images = np.zeros((200, 9, 9), dtype=np.uint8)
    images[:, 4, 4] = 7
    moved = plan.shifted(Part(images, np.zeros(200)), shift=2, task="t", name="test").images
    assert (moved.sum(axis=(1, 2)) == 7).all()
    places = np.argwhere(moved == 7)[:, 1:]
    assert places.min() == 2
    assert places.max() == 6
    assert len(np.unique(places, axis=0)) == 25


def test_shift_of_zero_leaves_the_images_alone() -> None:
    part = Part(np.ones((2, 3, 3)), np.zeros(2))
    assert plan.shifted(part, shift=0, task="t", name="test") is part


def groups(**changes: Any) -> Any:
    settings = grid(**changes)
    asked = plan.questions(settings, NAMES, {})
    return list(plan.groups(settings, asked, available={"sandal_shirt": 5125}))


@pytest.mark.parametrize("size", [1, 7, 10, 64])
def test_packed_groups_hold_every_network_once_and_no_more_than_their_size(size: int) -> None:
    made = plan.packed(groups(), size)
    assert max(len(group.seeds) for group in made) == min(size, 20)
    networks = [(group.row, seed) for group in made for seed in group.seeds]
    assert len(networks) == len(set(networks)) == 1800
    # Features of some seeds are made once: seeds do not take turns.
    chunks = [group.seeds for group in made]
    assert sum(one != other for one, other in itertools.pairwise(chunks)) == len(set(chunks)) - 1


def test_groups_are_named_by_the_seeds_that_they_hold() -> None:
    group = groups()[0]
    assert group.name.endswith("/seeds=0-19")
    assert group.of([2, 3, 7]).name.endswith("/seeds=2,3,7")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (10, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),
        (13, [(0, 3), (3, 6), (6, 9), (9, 11), (11, 13)]),
        (24, [(0, 5), (5, 10), (10, 15), (15, 20), (20, 24)]),
        (25, [(20, 25)]),
        (50, [(40, 50)]),
        (5125, [(4100, 5125)]),
        (3, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_last_fifth_validates_and_of_few_labels_each_fifth_once(labels: int, expected: Any) -> None:
    assert plan.folds(grid(), labels) == expected


def test_search_is_on_five_seeds_at_every_rate_whatever_the_order_of_the_list() -> None:
    (row, *_) = groups(labels=[10, 50], learning_rates=[0.1, 0.001, 0.01])
    found = list(plan.search(row, grid(learning_rates=[0.1, 0.001, 0.01])))
    assert len(found) == 15
    assert {group.seeds for group in found} == {(0, 1, 2, 3, 4)}
    assert {group.training_labels for group in found} == {8}
    assert found == list(plan.search(row, grid(learning_rates=[0.001, 0.01, 0.1], seeds=40)))
    assert (row.learning_rate, row.training_labels, row.searches) == (0.001, 10, False)
    # Fewer seeds, and more later, choose no other rate.
    few = groups(seeds=3, learning_rates=[0.1, 0.001, 0.01])[0]
    found_of_few = list(plan.search(few, grid(learning_rates=[0.1, 0.001, 0.01], seeds=3)))
    assert {group.seeds for group in found_of_few} == {(0, 1, 2, 3, 4)}
    (of_source, *_) = plan.source_search(few.source, grid(seeds=3, learning_rates=[0.1, 0.01]))
    assert of_source.seeds == (0, 1, 2, 3, 4)


def test_rate_that_is_taken_unsearched_is_the_nearest_to_the_sources() -> None:
    source: dict[str, Any] = {
        "epochs": 5,
        "batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 0.01,
    }
    for rates, expected in (
        ([0.1], 0.1),
        ([0.1, 0.01], 0.01),
        ([0.002, 0.1, 0.5], 0.002),
        ([0.1, 0.001], 0.001),
    ):
        assert grid(learning_rates=rates, source_training=source).reference_rate == expected
    # As near by ratio, whose logarithms differ in the last digit.
    for own, rates in ((0.003, [0.001, 0.009]), (0.1, [0.02, 0.5]), (0.05, [0.01, 0.25])):
        source["learning_rate"] = own
        assert grid(learning_rates=rates, source_training=source).reference_rate == rates[0]


def test_number_of_steps_is_that_of_the_batches() -> None:
    for amount in ({"epochs": 3}, {"steps": 7}):
        for count in (10, 32, 33, 100):
            made = plan.batches(budget(**amount), count=count, batch_size=32, seed=0, task="t")
            assert len(made) == plan.steps(budget(**amount), count=count, batch_size=32)
            assert made.shape[1] == min(32, count)
    assert math.prod(made.shape) == 7 * 32


def test_task_of_more_classes_than_answers_are_kept_of_is_refused() -> None:
    made = study(
        target_tasks=[list(range(257))],
        source_classes="none",
        shifted_tasks="all",
        labels=["all"],
        arms=["baseline", "random_frozen"],
    )
    names = tuple(f"class {number}" for number in range(260))
    labels = {"all": np.arange(4 * 260) % 260}
    rows = {part: Drawn("all", np.arange(4 * 260)) for part in ("train", "test")}
    data = forecast.data(names, {}, labels, rows, (8, 8))
    with pytest.raises(WrongValue, match=r"^target_tasks: a task has 257 classes, .* up to 256"):
        prepare.prepare(made.grid, made.replicas, data)
    fewer = made.grid.model_copy(update={"target_tasks": (tuple(range(256)),)})
    assert prepare.prepare(fewer, made.replicas, data).groups


def test_budgets_a_class_that_ask_for_all_images_say_to_write_all() -> None:
    made = study(
        target_tasks=["a", "b"],
        source_classes="none",
        labels=["60 a class"],
        arms=["baseline", "random_frozen"],
    )
    rows = {part: Drawn("all", np.arange(120)) for part in ("train", "test")}
    data = forecast.data(("a", "b"), {}, {"all": np.arange(120) % 2}, rows, (8, 8))
    with pytest.raises(WrongValue, match=r"below the 120 training images of a_b, .* is 120; write"):
        prepare.prepare(made.grid, made.replicas, data)
