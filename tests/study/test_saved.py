"""`headstart study saved`: anybody's learning curves, judged by the study's own code."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from headstart.cli import app
from headstart.core import seeds
from headstart.study import curves, saved, statistics

# Baseline 0.6, 0.8, 0.9 with 10, 100, 1000 labels. The arm's 0.7 with 10 labels lies half-way
# between 10 and 100 on the logarithm: 31.62 labels, a factor of 3.16 and 21.62 labels more. Its
# 0.85 with 100 half-way to 1000: 316.23 labels, again 3.16. Its 0.95 is never reached, and 0.5
# with 1000 labels is below everything: at most 10 labels, at most a hundredth.
BY_HAND = """labels,arm,accuracy
10,baseline,0.6
100,baseline,0.8
1000,baseline,0.9
10,frozen,0.7
100,frozen,0.85
1000,frozen,0.95
1000,worse,0.5
"""


def table(text: str, folder: Path, baseline: str = "baseline") -> list[tuple[str, ...]]:
    path = folder / "curves.csv"
    path.write_text(text)
    return saved.rows(path, baseline=baseline, confidence=0.95)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["study", "saved", *words])


def test_factors_are_those_of_the_example_worked_out_by_hand(tmp_path: Path) -> None:
    rows = table(BY_HAND, tmp_path)
    assert [row[:6] for row in rows[1:]] == [
        ("frozen", "10", "0.7000", "3.16", "", "22"),
        ("frozen", "100", "0.8500", "3.16", "", "216"),
        ("frozen", "1000", "0.9500", "at least 1.00", "", "at least 0"),
        ("worse", "1000", "0.5000", "at most 0.01", "", "at most -990"),
    ]
    done = run(str(tmp_path / "curves.csv"))
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0].split()[:4] == ["arm", "labels", "accuracy", "factor"]
    assert lines[1].split()[:4] == ["frozen", "10", "0.7000", "3.16"]


def test_error_is_one_minus_accuracy_and_rows_come_in_any_order(tmp_path: Path) -> None:
    header, *rows = BY_HAND.splitlines()
    turned = [row.rpartition(",") for row in reversed(rows)]
    errors = [f"{start},{1 - float(end):.2f}" for start, _, end in turned]
    text = "\n".join([header.replace("accuracy", "error"), *errors])
    assert set(table(text, tmp_path)) == set(table(BY_HAND, tmp_path))


def seeded(count: int = 6) -> str:
    draws = np.random.default_rng(3)
    means = {"scratch": (0.6, 0.8, 0.9), "tuned": (0.72, 0.85, 0.9)}
    lines = ["arm,labels,seed,accuracy,comment"]
    for arm, own in means.items():
        for labels, mean in zip((10, 100, 1000), own, strict=True):
            for seed in range(count):
                lines.append(f"{arm},{labels},s{seed},{mean + draws.normal(0, 0.01):.4f},x")
    return "\n".join(lines)


def test_seeds_give_intervals_by_the_code_of_the_study(tmp_path: Path) -> None:
    rows = table(seeded(), tmp_path, baseline="scratch")
    cells = [line.split(",") for line in seeded().splitlines()[1:]]
    base, arm = (
        np.array([float(cell[3]) for cell in cells if cell[0] == name]).reshape(3, 6)
        for name in ("scratch", "tuned")
    )
    estimate = curves.labels_saved(
        np.array([10, 100, 1000]),
        base,
        own=10,
        accuracies=arm[0],
        resampling=statistics.Resampling(0.95, 2000, seeds.generator(0, "saved", "tuned", "10")),
    )
    assert rows[1][:3] == ("tuned", "10", f"{arm[0].mean():.4f}")
    assert rows[1][3:5] == (
        f"{estimate.value:.2f}",
        f"{estimate.low:.2f} to {estimate.high:.2f}",
    )
    assert rows[1][7] == "saves labels"
    assert rows[3][7] == "cannot tell"
    assert math.isfinite(float(rows[1][6]))


def test_what_the_gain_does_not_say_is_not_concluded_of_labels(tmp_path: Path) -> None:
    # Equal to the bit, and a baseline that dips: it needs fewer labels where it is as good before.
    dips = ((10, 0.93), (20, 0.95), (50, 0.86), (100, 0.98), (1000, 0.97))
    lines = ["arm,labels,seed,accuracy"]
    for seed in range(8):
        for labels, mean in dips:
            own = mean + 0.001 * seed
            lines += [f"baseline,{labels},{seed},{own}", f"same,{labels},{seed},{own}"]
            lines.append(f"beyond,{50 * labels},{seed},{own + 0.01}")
    rows = [row for row in table("\n".join(lines), tmp_path)[1:] if row[0] == "same"]
    assert {row[7] for row in rows} == {"cannot tell"}
    assert not any("-0" in row[5] for row in rows)
    # With more labels than the baseline has been tried with nothing is saved.
    (last,) = [row for row in table("\n".join(lines), tmp_path)[1:] if row[1] == "50000"]
    assert last[7] == "cannot tell"


def test_seeds_in_any_order_give_the_same_table(tmp_path: Path) -> None:
    header, *rows = seeded(12).splitlines()
    whole = table("\n".join([header, *rows]), tmp_path, baseline="scratch")
    for order in range(3):
        shuffled = [rows[place] for place in np.random.default_rng(order).permutation(len(rows))]
        assert table("\n".join([header, *shuffled]), tmp_path, baseline="scratch") == whole


def test_arm_with_fewer_labels_than_the_baseline_ever_had_costs_none(tmp_path: Path) -> None:
    lines = ["arm,labels,seed,accuracy"]
    for seed in range(10):
        for arm, labels, mean in (
            ("baseline", 100, 0.60), ("baseline", 1000, 0.80), ("x", 10, 0.55), ("x", 100, 0.55),
        ):  # fmt: skip
            lines.append(f"{arm},{labels},{seed},{mean + 0.001 * (seed if arm == 'x' else -seed)}")
    below, same = table("\n".join(lines), tmp_path)[1:]
    # With 10 labels nobody has seen the baseline.
    assert (below[3], below[7]) == ("at most 10.00", "cannot tell")
    assert (same[3], same[7]) == ("at most 1.00", "costs labels")


def test_large_numbers_of_labels_keep_their_digits(tmp_path: Path) -> None:
    text = "labels,arm,accuracy\n1281167,baseline,0.5\n1281167,a,0.6\n1281168.5,a,0.7\n"
    assert [row[1] for row in table(text, tmp_path)[1:]] == ["1281167", "1.28117e+06"]


def test_few_seeds_conclude_nothing_of_labels(tmp_path: Path) -> None:
    for count, word in ((1, ""), (2, "cannot tell"), (5, "cannot tell"), (6, "saves labels")):
        rows = table(seeded(count), tmp_path, baseline="scratch")
        assert rows[1][7] == word


def test_budgets_of_arm_and_baseline_may_differ(tmp_path: Path) -> None:
    text = "labels,arm,accuracy\n10,baseline,0.6\n1000,baseline,0.8\n30,frozen,0.7\n"
    assert table(text, tmp_path)[1][:4] == ("frozen", "30", "0.7000", "3.33")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the columns are missing; expected are labels, arm"),
        ("labels,accuracy\n1,1\n", "line 1: the columns are labels, accuracy; expected"),
        ("labels,arm,accuracy,error\n1,a,1,0\n", "either accuracy or error"),
        ("labels;arm;accuracy\n", "separated by commas"),
        ("labels,arm,accuracy\n", "has no rows below its header"),
        ("labels,arm,accuracy\n10,baseline,91.5\n", "line 2: accuracy is '91.5'; expected is a sh"),
        ("labels,arm,error\n10,baseline,nan\n", "line 2: error is 'nan'"),
        ("labels,arm,accuracy\n10,baseline,0.5\n\nten,a,0.5\n", "line 4: labels is 'ten'"),
        ("labels,arm,accuracy\n0,baseline,0.5\n", "labels is '0'; expected is a number from 1"),
        ("labels,arm,accuracy\n1e300,baseline,0.5\n", "labels is '1e300'; expected is a number fr"),
        ("labels,arm,accuracy\n10,,0.5\n", "line 2: expected is one value for each of"),
        ("labels,arm,accuracy\n10,a,0.5,7\n", "line 2: expected is one value for each of"),
        ("labels,arm,accuracy\n10,a\n", "line 2: accuracy is ''"),
        (
            "labels,arm,accuracy\n10,baseline,0.5\n10,baseline,0.6\n",
            "line 3: baseline with 10 labels stands in line 2 already; a column seed tells",
        ),
        ("labels,arm,accuracy\n10,a,0.5\n10,b,0.6\n", "called baseline and another.*has a, b"),
        ("labels,arm,accuracy\n10,baseline,0.5\n", "another to hold against it"),
        (
            "labels,arm,accuracy,seed\n10,baseline,0.5,0\n10,baseline,0.5,1\n10,a,0.5,0\n",
            "a with 10 labels has the seeds 0, and baseline begins with 0, 1",
        ),
    ],
)
def test_refusal_names_the_line_and_what_is_expected(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text)
    done = run(str(path))
    assert done.exit_code == 1
    assert re.search(message, done.stderr), done.stderr


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("labels,arm,accuracy\n1,ä,1\n".encode("latin-1"))
    latin = tmp_path / "latin.csv"
    for path in (tmp_path / "none.csv", tmp_path, latin, latin / "below", tmp_path / ("n" * 300)):
        done = run(str(path))
        assert done.exit_code == 1
        assert "is not a CSV file that can be read" in done.stderr


def test_quote_that_is_not_closed_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "quote.csv"
    rows = "\n".join(f"{labels},a,0.5" for labels in range(1, 20_000))
    path.write_text(f'labels,arm,accuracy\n10,"baseline,0.5\n{rows}\n')
    done = run(str(path))
    assert done.exit_code == 1
    assert re.search(r"line \d+: cannot be read as CSV .*is a quote not\s+closed", done.stderr)


def test_mark_and_spaces_of_spreadsheets_are_read(tmp_path: Path) -> None:
    text = (
        "\ufefflabels, arm, accuracy\r\n10, baseline, 0.6\r\n100, baseline, 0.8\r\n10, a, 0.7\r\n"
    )
    path = tmp_path / "curves.csv"
    path.write_bytes(text.encode())
    assert saved.rows(path, baseline="baseline", confidence=0.95)[1][3] == "3.16"
