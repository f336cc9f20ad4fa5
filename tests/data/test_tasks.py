"""Splitting and cutting: nothing lost, nothing shared, the notebook's order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.data import splits, tasks
from headstart.data.catalogue import FASHION_MNIST

Published = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
NAMES = FASHION_MNIST.classes


def published(train: int, test: int, classes: int = 10) -> Published:
    """Images whose one pixel is their position: no two are equal."""
    numbers = np.arange(train + test, dtype=np.int64).reshape(-1, 1, 1)
    labels = (numbers[:, 0, 0] * 7 % classes).astype(np.uint8)
    return numbers[:train], labels[:train], numbers[train:], labels[train:]


def both(
    target: list[int | str], source: str | list[int | str] = "others"
) -> tuple[tasks.Task, ...]:
    return tasks.source_and_target(
        NAMES, FASHION_MNIST.aliases, target_classes=target, source_classes=source
    )


def test_validation_comes_first_then_training_as_in_the_notebook() -> None:
    parts = splits.split(published(30, 20), train_size=20, valid_size=5, test_size=15)
    assert parts["valid"].images.ravel().tolist() == list(range(5))
    assert parts["train"].images.ravel().tolist() == list(range(5, 25))
    assert parts["test"].images.ravel().tolist() == list(range(30, 45))


@given(st.data())
def test_split_and_cut_lose_and_share_no_image(data: st.DataObject) -> None:
    valid = data.draw(st.integers(1, 40))
    train = data.draw(st.integers(1, 100 - valid))
    test = data.draw(st.integers(1, 50))
    target = data.draw(st.lists(st.integers(0, 9), min_size=2, max_size=8, unique=True))
    parts = splits.split(published(100, 50), train_size=train, valid_size=valid, test_size=test)
    source_task, target_task = both(list(target))
    seen: list[int] = []
    for name, size in (("train", train), ("valid", valid), ("test", test)):
        cuts = [tasks.cut(parts[name], task) for task in (source_task, target_task)]
        assert sum(len(cut.labels) for cut in cuts) == size
        for cut, task in zip(cuts, (source_task, target_task), strict=True):
            assert cut.labels.dtype == np.int64
            position = cut.images.ravel()
            assert np.array_equal(np.array(task.numbers)[cut.labels], position * 7 % 10)
            assert np.all(np.diff(position) > 0)
        seen += [int(pixel) for cut in cuts for pixel in cut.images.ravel()]
    assert len(seen) == len(set(seen))


def test_binary_labels_follow_the_order_of_the_target_classes() -> None:
    part = Part(np.zeros((3, 1, 1)), np.array([5, 6, 5], dtype=np.uint8))
    assert tasks.cut(part, both(["sandal", "shirt"])[1]).labels.tolist() == [0, 1, 0]
    assert tasks.cut(part, both([6, 5])[1]).labels.tolist() == [1, 0, 1]


def test_source_labels_close_the_gap_as_in_the_notebook() -> None:
    source, _ = both(["sandal", "shirt"])
    part = Part(np.zeros((4, 1, 1)), np.array([4, 7, 8, 9], dtype=np.uint8))
    assert tasks.cut(part, source).labels.tolist() == [4, 5, 6, 7]


def test_published_names_in_any_case_are_accepted() -> None:
    assert both(["T-shirt/top", "ANKLE BOOT"])[1].numbers == (0, 9)


@pytest.mark.parametrize(
    ("target", "source", "said"),
    [
        (["sandal", "boat"], "others", "there is no class 'boat'; there are 0 t-shirt, 1 trouser"),
        ([5, 10], "others", "there is no class 10"),
        ([5, -1], "others", "there is no class -1"),
        ([5, "sandal"], "others", "sandal is named twice"),
        (list(range(9)), "others", "leaves 1 of the 10 classes for the source task"),
        (list(range(10)), "others", "leaves 0 of the 10 classes"),
        ([5, 6], [1, 6], "tasks.source_classes: shirt is a target class too"),
    ],
)
def test_impossible_tasks_are_refused_by_name(
    target: list[int | str], source: str | list[int | str], said: str
) -> None:
    with pytest.raises(UserError) as refused:
        both(target, source)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"valid_size": 100}, "dataset.valid_size: 100 leaves none of the 100"),
        ({"train_size": 91}, "dataset.train_size: 91 is more than the 90"),
        ({"test_size": 51}, "dataset.test_size: 51 is more than the 50"),
    ],
)
def test_sizes_larger_than_the_data_are_refused(sizes: dict[str, int], said: str) -> None:
    good = {"train_size": 90, "valid_size": 10, "test_size": 50}
    data = {"published_train": 100, "published_test": 50}
    splits.check_sizes(**good, **data)
    with pytest.raises(UserError) as refused:
        splits.check_sizes(**(good | sizes), **data)
    assert said in str(refused.value)


def test_class_without_images_is_refused_and_small_ones_are_told() -> None:
    task = both(["sandal", "shirt"])[1]
    few = Part(np.zeros((3, 1, 1)), np.array([0, 1, 1]))
    assert tasks.check_classes(few, task, where="target train") == [
        "target train: only 1 images of sandal; expect wide intervals",
        "target train: only 2 images of shirt; expect wide intervals",
    ]
    with pytest.raises(UserError, match="target valid: holds no image of sandal"):
        tasks.check_classes(Part(np.zeros((1, 1, 1)), np.array([1])), task, where="target valid")
