"""Figures are equal to the byte, and the tables that DVC draws from hold what they show."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from headstart.core import artefacts
from headstart.judging import calibration, scores
from headstart.judging.answers import ARMS, Answers
from headstart.reporting import figures, style, tables

NAMES = ["sandal", "shirt"]
HISTORY = [
    {"arm": arm, "epoch": epoch, "loss": 1 / epoch, "accuracy": 1 - 0.1 / epoch}
    | {"val_loss": 1.1 / epoch, "val_accuracy": 0.98 - 0.1 / epoch}
    for arm in ("source", "baseline", "transfer")
    for epoch in (1, 2, 3)
]


def answered(count: int = 60) -> Answers:
    generator = np.random.default_rng(4)
    actual = generator.integers(0, 2, count)
    noise = generator.normal(0, 0.4, (2, count))
    return Answers(actual, *np.clip(actual + noise, 0, 1))


def text_of(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def every_figure() -> dict[str, Figure]:
    answers = answered()
    return {
        "learning_curves": figures.learning_curves(HISTORY),
        "confusion": figures.confusion_matrices(answers, classes=NAMES),
        "roc": figures.roc(answers),
        "accuracy_by_class": figures.accuracy_by_class(answers, classes=NAMES, confidence=0.9),
        "reliability": figures.reliability(answers, confidence=0.9),
        "misclassified": figures.misclassified(
            np.linspace(0, 1, 60 * 28 * 28).reshape(60, 28, 28),
            answers,
            chosen=figures.mistakes(answers, limit=6),
            classes=NAMES,
        ),
    }


def test_equal_figures_give_equal_bytes_whatever_matplotlibrc_says(tmp_path: Path) -> None:
    import matplotlib

    for name, figure in every_figure().items():
        style.write_png(tmp_path / f"{name}-1.png", figure)
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 30}):
        for name, figure in every_figure().items():
            style.write_png(tmp_path / f"{name}-2.png", figure)
            first = (tmp_path / f"{name}-1.png").read_bytes()
            assert first == (tmp_path / f"{name}-2.png").read_bytes(), name
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".png"] * 12
    with Image.open(tmp_path / "roc-1.png") as image:
        assert "Software" not in image.info


def test_learning_curves_show_both_arms_and_not_the_source() -> None:
    figure = figures.learning_curves(HISTORY)
    loss, accuracy = figure.axes
    assert len(loss.lines) == len(accuracy.lines) == 4
    assert [line.get_linestyle() for line in loss.lines] == ["--", "-"] * 2
    colours = [line.get_color() for line in accuracy.lines]
    assert colours == [style.COLOURS["baseline"]] * 2 + [style.COLOURS["transfer"]] * 2
    assert np.asarray(accuracy.lines[1].get_ydata()).tolist() == [
        row["val_accuracy"] for row in HISTORY[3:6]
    ]


def test_learning_curves_take_text_and_what_is_missing(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{**row} for row in HISTORY]
    rows[4]["val_loss"] = None
    artefacts.write_table(tmp_path / "history.csv", rows)
    figure = figures.learning_curves(artefacts.read_table(tmp_path / "history.csv"))
    assert np.isnan(np.asarray(figure.axes[0].lines[1].get_ydata(), float)).tolist() == [
        False,
        True,
        False,
    ]


def test_confusion_matrices_count_actual_by_answered() -> None:
    actual = np.array([0, 0, 0, 1, 1])
    answers = Answers(actual, np.array([0, 0, 1.0, 1, 1]), np.ones(5))
    figure = figures.confusion_matrices(answers, classes=NAMES)
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["2", "1", "0", "2"]
    assert [text.get_text() for text in right.texts] == ["0", "3", "0", "2"]
    assert left.get_title() == "baseline: 4 of 5 right"


def test_images_that_both_arms_miss_are_shown_first() -> None:
    answers = Answers(np.zeros(6, int), np.array([1, 0, 0, 1, 0, 1]), np.array([0, 1, 0, 1, 0, 1]))
    assert figures.mistakes(answers, limit=3).tolist() == [3, 5, 0]


def test_any_class_name_can_be_drawn(tmp_path: Path) -> None:
    names = ["$broken{", "x" * 200, "ein schöner Schuh"]
    answers = Answers(np.array([0, 1, 2]), np.eye(3), np.eye(3)[::-1])
    figure = figures.confusion_matrices(answers, classes=names)
    style.write_png(tmp_path / "names.png", figure)
    assert "$broken{" in text_of(figure)


def test_roc_names_the_area_and_says_where_a_curve_is_undefined() -> None:
    answers = answered()
    text = text_of(figures.roc(answers))
    assert f"baseline (area {scores.auc(answers.actual, answers.baseline):.4f})" in text
    one_class = dataclasses.replace(answers, actual=np.ones(60, int))
    assert "transfer (undefined)" in text_of(figures.roc(one_class))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_misclassified_images_name_the_answers_of_both_arms(shape: tuple[int, ...]) -> None:
    figure = figures.misclassified(
        np.zeros((2, *shape), np.float32),
        Answers(np.array([1, 0]), np.array([[0.25], [0.1]]), np.array([[0.8], [0.1]])),
        chosen=np.array([0]),
        classes=NAMES,
    )
    text = text_of(figure)
    for part in ("actual: shirt", "✗ baseline: sandal 75%", "✓ transfer: shirt 80%"):
        assert part in text


def test_a_diverged_model_is_drawn_and_told_without_nan(tmp_path: Path) -> None:
    pictures = figures.draw(
        tmp_path,
        history=[row | {"val_loss": math.nan, "val_accuracy": math.nan} for row in HISTORY],
        images=np.zeros((6, 4, 4)),
        answers=dataclasses.replace(answered(6), transfer=np.full(6, math.nan)),
        classes=NAMES,
        confidence=0.95,
    )
    assert not any("nan" in picture.alt for picture in pictures)
    assert "transfer unknown" in pictures[0].alt
    assert "Transfer: probabilities that are no numbers." in pictures[4].alt
    assert [path.stem for path in sorted(tmp_path.iterdir())] == [
        *("accuracy_by_class", "confusion_matrices", "learning_curves", "misclassified"),
        *("reliability", "roc"),
    ]


def lines_of(axes: Any) -> list[tuple[list[float], list[float]]]:
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_accuracy_by_class_shows_each_with_its_wilson_interval() -> None:
    actual = np.array([0, 0, 0, 1, 1])
    answers = Answers(actual, np.array([0, 0, 1.0, 1, 1]), np.ones(5))
    (axes,) = figures.accuracy_by_class(answers, classes=[*NAMES, "boot"], confidence=0.9).axes
    drawn = [line for line in lines_of(axes) if line[0]]
    expected = [(2, 3), (2, 2), (0, 3), (2, 2)]
    assert [line[0][0] for line in drawn[1::2]] == [right / total for right, total in expected]
    assert [tuple(line[0]) for line in drawn[::2]] == [
        scores.wilson(right, total, confidence=0.9) for right, total in expected
    ]
    # Transfer below the baseline, the first class on top.
    assert [round(line[1][0]) for line in drawn[1::2]] == [0, 1, 0, 1]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "sandal (3)", "shirt (2)", "boot (0)",
    ]  # fmt: skip


def test_reliability_shows_the_bins_their_intervals_and_their_images() -> None:
    answers = answered(300)
    figure = figures.reliability(answers, confidence=0.9)
    for arm, panel, below in zip(ARMS, figure.axes[:2], figure.axes[2:], strict=True):
        bins = calibration.bins(answers.actual, answers.probabilities[arm])
        drawn = lines_of(panel)[1:]
        assert [(line[0][0], line[1][0]) for line in drawn[1::2]] == [
            (own.confidence, own.right / own.images) for own in bins
        ]
        assert [tuple(line[1]) for line in drawn[::2]] == [
            scores.wilson(own.right, own.images, confidence=0.9) for own in bins
        ]
        assert [line[1][1] for line in lines_of(below)] == [own.images for own in bins]
        error = calibration.calibration_error(bins)
        assert panel.get_title() == f"{arm}: calibration error {error:.4f}"


def test_pictures_of_mistakes_carry_the_names_of_their_files(tmp_path: Path) -> None:
    names = [f"shirt/{'long ' * 9}name.png", "shirt/line\nbreak.png", "sandal/right.png"]
    pictures = figures.draw(
        tmp_path,
        history=HISTORY,
        images=np.zeros((3, 4, 4)),
        answers=Answers(np.array([1, 1, 0]), np.zeros(3), np.zeros(3)),
        classes=NAMES,
        confidence=0.95,
        files=names,
    )
    shown = pictures[-1]
    assert f"A shirt ({names[0]}): baseline says sandal, transfer says sandal." in shown.alt
    assert "right.png" not in shown.alt
    assert "metrics/mistakes.csv" in shown.caption
    text = text_of(
        figures.misclassified(
            np.zeros((3, 4, 4)),
            Answers(np.array([1, 1, 0]), np.zeros(3), np.zeros(3)),
            chosen=np.array([0, 1]),
            classes=NAMES,
            files=names,
        )
    )
    for part in ("…ong long long long name.png\nactual: shirt", "shirt/line\ufffdbreak.png"):
        assert part in text


def test_no_misclassified_image_is_said_in_words(tmp_path: Path) -> None:
    right = Answers(np.ones(1, int), np.ones(1), np.ones(1))
    chosen = figures.mistakes(right, limit=3)
    figure = figures.misclassified(np.zeros((1, 8, 8)), right, chosen=chosen, classes=NAMES)
    assert "every test image right" in text_of(figure)
    style.write_png(tmp_path / "empty.png", figure)


def test_mistakes_of_either_arm_are_listed_by_file_and_names(tmp_path: Path) -> None:
    answers = Answers(np.array([1, 0, 1, 0]), *np.array([[0.9, 0.7, 0.2, 0], [0.4, 0, 0.1, 0]]))
    files = ["shirt/a.png", "sandal/b,1.png", 'shirt/"c".png', "sandal/d.png"]
    tables.write(tmp_path, history=HISTORY, answers=answers, files=files, classes=NAMES)
    assert (tmp_path / "mistakes.csv").read_text().splitlines() == [
        "file,actual,baseline,transfer,baseline_probability,transfer_probability",
        "shirt/a.png,shirt,shirt,sandal,0.900000,0.400000",
        '"sandal/b,1.png",sandal,shirt,sandal,0.700000,0.000000',
        '"shirt/""c"".png",shirt,sandal,sandal,0.200000,0.100000',
    ]
    with pytest.raises(ValueError, match="zip"):
        tables.write(tmp_path, history=HISTORY, answers=answers, files=files[:2], classes=NAMES)
    tables.write(tmp_path, history=HISTORY, answers=answers, files=[], classes=NAMES)
    assert len((tmp_path / "mistakes.csv").read_text().splitlines()) == 1


def test_roc_rows_stay_few_and_keep_both_ends() -> None:
    rows = tables.roc_rows(answered(5000))
    for arm in ARMS:
        points = [
            (row["false_positive_rate"], row["true_positive_rate"])
            for row in rows
            if row["arm"] == arm
        ]
        assert 50 < len(points) <= 200
        assert points[0] == (0, 0)
        assert points[-1] == (1, 1)
        assert points == sorted(points)


def test_an_undefined_roc_has_a_row_without_rates(tmp_path: Path) -> None:
    rows = tables.roc_rows(Answers(np.ones(3, int), np.ones(3), np.ones(3)))
    assert [row["arm"] for row in rows] == ["baseline", "transfer"]
    artefacts.write_table(tmp_path / "roc.csv", rows)
    assert (tmp_path / "roc.csv").read_text().splitlines()[1:] == ["baseline,,", "transfer,,"]


def test_dvc_draws_both_arms_of_two_revisions_from_our_templates(tmp_path: Path) -> None:
    import vl_convert

    root = Path(__file__).parents[2]
    answers = answered(40)
    for name, rows in {
        "history": HISTORY,
        "roc": tables.roc_rows(answers),
        "answers": [
            {"actual": NAMES[number], "baseline": NAMES[answer], "transfer": NAMES[number]}
            for number, answer in zip(answers.actual, answers.classes["baseline"], strict=True)
        ],
    }.items():
        artefacts.write_table(tmp_path / f"{name}.csv", rows)

    def run(*command: str) -> str:
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    dvc = str(Path(sys.executable).with_name("dvc"))
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    run("git", "init", "--quiet", "--initial-branch=main")
    run(dvc, "init", "--quiet")
    shutil.copytree(root / ".dvc" / "plots", tmp_path / ".dvc" / "plots")
    run(dvc, "config", "core.analytics", "false")
    plots = [
        {f"{name}.csv": {"template": name, "x": x, "y": y, "title": f"The {name}"}}
        for name, x, y in (
            ("history", "epoch", "val_accuracy"),
            ("roc", "false_positive_rate", "true_positive_rate"),
            ("answers", "actual", "baseline"),
        )
    ]
    (tmp_path / "dvc.yaml").write_text(json.dumps({"plots": plots}))
    run("git", "add", "--all")
    run(*git, "commit", "--quiet", "--message", "One")
    artefacts.write_table(tmp_path / "history.csv", [*HISTORY[:-1], HISTORY[-1] | {"val_loss": 9}])
    drawn = json.loads(run(dvc, "plots", "diff", "main", "--json"))["data"]
    assert set(drawn) == {"history.csv", "roc.csv", "answers.csv"}
    for name, (plot,) in drawn.items():
        assert sorted(plot["revisions"]) == ["main", "workspace"]
        svg = vl_convert.vegalite_to_svg(json.dumps(plot["content"]))
        for part in (f"The {name.removesuffix('.csv')}", "baseline", "transfer", "main"):
            assert part in svg
        assert "workspace" in svg
        assert ">source<" not in svg
        assert "NaN" not in svg
