"""The classes of the tasks, and their labels."""

import numpy as np
import pytest

from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.data import tasks
from headstart.data.catalogue import FASHION_MNIST

NAMES = FASHION_MNIST.classes


def both(
    target: list[int | str], source: str | list[int | str] = "others"
) -> tuple[tasks.Task, ...]:
    return tasks.source_and_target(
        NAMES, FASHION_MNIST.aliases, target_classes=target, source_classes=source
    )


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
        ([5, 6], [1, 6], "source_classes: shirt is a target class too"),
    ],
)
def test_impossible_tasks_are_refused_by_name(
    target: list[int | str], source: str | list[int | str], said: str
) -> None:
    with pytest.raises(UserError) as refused:
        both(target, source)
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
