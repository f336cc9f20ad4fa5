"""The time left: told where it is known, by what was done."""

import time
from typing import Any

import pytest

from headstart.study import time_left


class Work:
    """A group with a name."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_nothing_is_told_while_the_first_groups_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    said: list[str] = []
    works: list[Any] = [Work(f"group {number}") for number in range(20)]
    left = time_left.TimeLeft(said.append, dict.fromkeys(works, 1.0), later=20.0)
    # Ten seconds of compiling, and then half a second each.
    told = []
    for number, work in enumerate(works):
        clock[0] = 10.0 + 0.5 * number
        told.append(left.advance(work))
    assert told[:3] == [None] * 3
    assert told[3] == pytest.approx(11.5 * 36 / 4)
    assert told[-1] == pytest.approx(19.5)
    assert said[0] == "1 of 20 groups, 0:10 gone; group 0"
    assert said[-1] == "20 of 20 groups, 0:20 gone, 0:20 left; group 19"
    # After a minute it is told whatever there is.
    slow = time_left.TimeLeft(said.append, dict.fromkeys(works, 1.0), later=980.0)
    clock[0] += 60.0
    assert slow.advance(works[0]) == pytest.approx(60.0 * 999)
