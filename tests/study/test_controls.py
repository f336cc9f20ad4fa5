"""What an untrained network of the same shape gives, told beside what a trained one gives."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_cells import SEEDS, made
from projects import ROOT

from headstart.core import artefacts
from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.params.strategies import ARMS, control_of
from headstart.study import (
    answer,
    cells_table,
    derived_table,
    headlines,
    outputs,
    parameters,
    verdicts,
)

STUDY = parameters.load(ROOT / "study/params.yaml")
RULES = STUDY.statistics
BASE = {10: 0.6, 20: 0.7, 100: 0.8}
GOOD, MIDDLE, BAD = (
    {labels: share + by for labels, share in BASE.items()} for by in (0.1, 0, -0.1)
)
# Below chance nothing is learned.
NOTHING = dict.fromkeys(BASE, 0.5)


def told(**shares: Any) -> str:
    """The answer to one setting; `_of_X` in a name stands for a network from elsewhere."""
    named = {arm.replace("_of_", " of "): own for arm, own in shares.items()}
    curves = cells_table.curves(made(shares={"baseline": BASE} | named))
    areas = derived_table.area_rows(curves, RULES)
    controls = derived_table.control_rows(curves, RULES)
    (line,) = answer.sentences(curves, areas, RULES, controls=controls)
    return line


def test_every_arm_from_a_source_has_the_control_of_which_the_same_trains() -> None:
    assert control_of("frozen of keras:MobileNetV2") == "random_frozen of keras:MobileNetV2"
    assert control_of("frozen") == "random_frozen"
    assert control_of("finetune of mine") == control_of("gradual of mine") == "scratch_same of mine"
    assert {control_of(arm) for arm, row in ARMS.items() if not row.from_source} == {None}


def test_gain_over_the_control_is_that_of_the_same_seeds() -> None:
    cells = made(shares={"baseline": BASE, "frozen of x": GOOD, "random_frozen of x": MIDDLE})
    curves = cells_table.curves(cells)
    rows = derived_table.control_rows(curves, RULES)
    assert [(row.arm, row.range) for row in rows] == [("frozen of x", "all")]
    (arms,) = curves.values()
    frozen, control = arms["frozen of x"].accuracies, arms["random_frozen of x"].accuracies
    logs = np.log([10, 20, 100])
    gains = np.trapezoid(frozen - control, logs, axis=0) / (logs[-1] - logs[0])
    assert gains.shape == (SEEDS,)
    assert rows[0].gain == pytest.approx(gains.mean(), rel=1e-5)
    assert rows[0].gain_std == pytest.approx(gains.std(ddof=1), rel=1e-5)
    # No arm, and no network, is held against the control of another.
    del arms["random_frozen of x"]
    assert derived_table.control_rows(curves, RULES) == []


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (MIDDLE, "Over the untrained network what was learned gains: +"),
        (GOOD, "what was learned makes no difference of 0.5 points: +0.00 points ("),
        (
            NOTHING,
            "An untrained network of the same shape (random_frozen of x) is not shown to learn",
        ),
    ],
)
def test_answer_tells_what_was_learned_and_what_the_shape_alone_gives(
    control: Any, said: str
) -> None:
    line = told(frozen_of_x=GOOD, random_frozen_of_x=control)
    assert said in line
    assert line.index("It saves labels") < line.index(said)
    assert "The others" not in line


def test_control_is_told_where_the_arm_is_not_shown_to_learn() -> None:
    who = "An untrained network of the same shape (random_frozen of x) is"
    for control, said in ((GOOD, "shown to learn"), (NOTHING, "not shown to learn")):
        line = told(frozen_of_x=NOTHING, random_frozen_of_x=control)
        assert "there is nothing to compare: frozen of x is not shown to learn the task." in line
        assert f"{who} {said} the task." in line


def test_answer_says_where_the_control_is_better() -> None:
    line = told(frozen_of_x=BAD, random_frozen_of_x=GOOD)
    assert "points above the baseline (" in line
    assert "Over the untrained network what was learned loses: -" in line


def test_interval_that_parts_from_the_test_over_the_control_is_told() -> None:
    shares = {"baseline": BASE, "frozen of x": GOOD, "random_frozen of x": BAD}
    curves = cells_table.curves(made(shares=shares))
    areas = derived_table.area_rows(curves, RULES)
    undecided = [
        dataclasses.replace(row, verdict=verdicts.CANNOT_TELL)
        for row in derived_table.control_rows(curves, RULES)
    ]
    (line,) = answer.sentences(curves, areas, RULES, controls=undecided)
    (said,) = line.split(
        "Over the untrained network whether what was learned gains cannot be told"
    )[1:]
    assert "leaves 0 out all the same: the test decides)." in said


def test_labels_that_the_control_saves_are_told() -> None:
    line = told(frozen_of_x={10: 0.79, 20: 0.79, 100: 0.9}, random_frozen_of_x=GOOD)
    own, control = line.split("An untrained network")
    assert "the baseline needs" in own
    assert "It saves labels: the baseline needs" in control


def test_each_network_is_told_of_where_several_are_compared() -> None:
    line = told(
        frozen_of_x=GOOD,
        frozen_of_y=BAD,
        random_frozen_of_x=MIDDLE,
        random_frozen_of_y=GOOD,
    )
    assert "frozen of x, the best of 2" in line
    assert "(random_frozen of x)" in line
    assert "The others: frozen of y -" in line
    assert "points (training from scratch is better)." in line


def test_control_that_is_not_asked_for_is_not_told() -> None:
    assert "untrained" not in told(frozen_of_x=GOOD)


def test_picture_has_the_control_of_its_own_network() -> None:
    shares = {"baseline": BASE, "frozen of x": GOOD, "frozen of y": BAD}
    controls = {"random_frozen of x": BAD, "random_frozen of y": GOOD}
    curves = cells_table.curves(made(shares=shares | controls))
    (headline,) = headlines.headlines(
        curves, derived_table.area_rows(curves, RULES), RULES
    ).values()
    _, control = headline.aside.split("; the control: ")
    assert "random_frozen of x" in control
    assert "random_frozen of y" not in control


def test_page_and_record_have_the_gains_over_the_controls(tmp_path: Path) -> None:
    shares = {"baseline": BASE, "frozen of x": GOOD, "random_frozen of x": MIDDLE}
    outputs.write(tmp_path, made(shares=shares), STUDY.grid, RULES)
    record = artefacts.read_json(tmp_path / "study.json")
    (row,) = derived_table.control_rows(cells_table.curves(made(shares=shares)), RULES)
    kept = record["results"]["sandal_shirt"]["no shift"]["mlp"]["epochs=5"]["frozen of x"]
    assert kept["all"]["over_control"] == {
        "gain": row.gain, "low": row.gain_low, "high": row.gain_high, "p": row.p_adjusted,
        "verdict": TRANSFER_BETTER,
    }  # fmt: skip
    page = outputs.write_page(tmp_path, RULES).read_text()
    (table,) = page.split("## What was learned: over the untrained control")[1:]
    assert f"| frozen of x | **{TRANSFER_BETTER}** {100 * row.gain:+.2f} (" in table
    assert BASELINE_BETTER in page
    assert verdicts.INVALID in page


def test_one_seed_has_a_page_too(tmp_path: Path) -> None:
    shares = {"baseline": BASE, "frozen of x": GOOD, "random_frozen of x": MIDDLE}
    outputs.write(tmp_path, made(shares=shares, seeds=1), STUDY.grid, RULES)
    assert "over the untrained control" in outputs.write_page(tmp_path, RULES).read_text()
