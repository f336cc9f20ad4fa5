"""How often the verdict errs: a part of benchmarks/results/verdict.json, enumerated again."""

import sys
from typing import Any

import pytest
from projects import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import sittings, verdict


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    sitting = sittings.read("verdict")
    assert sitting is not None
    return dict(sitting.measured)


@pytest.mark.parametrize(("images", "mid"), [(100, True), (100, False), (967, True)])
def test_errors_of_the_tests_are_the_committed_ones(
    committed: dict[str, Any], images: int, mid: bool
) -> None:
    kept = next(row[2:] for row in committed["errors"] if row[:2] == [images, mid])
    expected = [1, 6, 13, 50, len(kept)]
    again = verdict.errors(images, expected, mid=mid)
    assert again == pytest.approx([kept[number - 1] for number in expected], rel=1e-5)


def test_intervals_are_the_committed_ones(committed: dict[str, Any]) -> None:
    kept = {tuple(row[:4]): row[4:] for row in committed["intervals"]}
    assert list(kept) == list(verdict.rows())
    for row in ((100, 6, 0.5, 0.0), (967, 3, 0.0, 0.1), (967, 13, 0.2, 0.1), (100, 30, 0.3, 0.25)):
        assert verdict.interval(*row) == pytest.approx(kept[row], rel=1e-4, abs=1e-9)


def test_chances_of_guessing_are_the_committed_ones(committed: dict[str, Any]) -> None:
    kept = {tuple(row[:-2]): tuple(row[-2:]) for row in committed["learned"]}
    assert tuple(kept) == verdict.CLASSES
    for total in ((50, 50), (90, 10)):
        assert verdict.learned(total) == pytest.approx(kept[total], rel=1e-5)


def test_errors_stay_within_what_is_promised(committed: dict[str, Any]) -> None:
    errors = {(row[0], row[1]): row[2:] for row in committed["errors"]}
    # All of 100 answers discordant is one outcome, whose own error is 5.7 %.
    assert max(errors[100, 1][:-1] + errors[967, 1]) <= 0.052
    # The exact test never errs more often than it may.
    assert max(errors[100, 0] + errors[967, 0]) <= 0.05
    for _, expected, split, _, covered, contradicted in committed["intervals"]:
        assert covered >= 0.92
        if expected >= 13:
            assert 0.935 <= covered <= 0.98
            assert contradicted <= (0.06 if split == 0.5 or expected > 13 else 0.067)
    assert max(row[-2] for row in committed["learned"]) <= 0.05
