"""The picture that people share, from cells made up here: what is drawn, and what is not."""

import dataclasses
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_cells import made
from projects import ROOT

from headstart.core import artefacts
from headstart.reporting import answer_figure, study_tables, style
from headstart.reporting.answer_figure import Arrow, Headline
from headstart.reporting.study_tables import DerivedRow, SummaryRow
from headstart.study import answer, cells_table, derived_table, headlines, outputs, parameters

STUDY = parameters.load(ROOT / "study/params.yaml")
RULES = STUDY.statistics
SAVES = {
    "baseline": {10: 0.6, 100: 0.8, 1000: 0.95},
    "frozen": {10: 0.75, 100: 0.85, 1000: 0.9},
}
LONG = (
    *("baseline", "frozen of keras:MobileNetV2", "random_frozen of keras:MobileNetV2"),
    *("frozen of keras:EfficientNetB0", "random_frozen of keras:EfficientNetB0"),
    *("finetune of keras:MobileNetV2", "frozen of faces"),
)


def drawn(cells: Any) -> Any:
    """The figure of made-up cells, with its first panel and what that says."""
    curves = cells_table.curves(cells)
    areas = derived_table.area_rows(curves, RULES)
    titled = headlines.headlines(curves, areas, RULES)
    summary = cells_table.summary_rows(curves, RULES)
    figure = answer_figure.answer(summary, titled, confidence=RULES.confidence)
    return figure, figure.axes[0], next(iter(titled.values()))


def parts(axes: Any, name: str) -> list[Any]:
    """What a panel holds under a name."""
    return [artist for artist in axes.get_children() if artist.get_gid() == name]


def texts(figure: Any) -> str:
    """All that stands in a figure, its lines joined."""
    from matplotlib.text import Text

    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


@pytest.mark.parametrize("task", ["sandal_shirt", "pullover_coat_shirt"])
def test_arrow_goes_from_the_labels_of_the_table_to_those_of_the_arm(
    task: str, tmp_path: Path
) -> None:
    cells = made(task=task, shares=SAVES)
    figure, axes, _ = drawn(cells)
    outputs.write(tmp_path, cells, STUDY.grid, RULES)
    (row,) = [
        row
        for row in study_tables.read(tmp_path / "derived.csv", DerivedRow)
        if (row.quantity, row.at) == ("labels_saved", "10")
    ]
    summary = study_tables.read(tmp_path / "summary.csv", SummaryRow)
    (mean,) = (own.mean for own in summary if (own.arm, own.labels) == ("frozen", 10))
    (arrow,) = parts(axes, "labels saved")
    assert arrow.xy == pytest.approx((10, mean), rel=1e-5)
    assert arrow.xyann == pytest.approx((10 * row.value, mean), rel=1e-5)
    (interval,) = parts(axes, "interval")
    # The best arm is chosen anew in its resamples, here of one.
    assert interval.get_xdata() == pytest.approx((10 * row.low, 10 * row.high), rel=0.05)
    (_, ends) = parts(axes, "interval ends")[0].get_data()
    assert len(ends) == 2
    assert not parts(axes, "open")
    (told,) = artefacts.read_json(tmp_path / "study.json")["answer"]
    low, high = (f"{end / 10:.2f}" for end in interval.get_xdata())
    assert f"{row.value:.2f} times as many (interval {low} to {high})" in told
    (numbers,) = parts(axes, "numbers")
    short = f"{row.value:.1f} times fewer ({float(low):.1f} to {float(high):.1f})"
    assert numbers.get_text() == f"10 labels in place of {10 * row.value:.0f}:\n{short}"
    said = f"frozen needs 10 labels where the baseline needs {10 * row.value:.0f}: {short}"
    assert said in texts(figure)
    assert "95 % intervals over 12 seeds" in texts(figure)
    words = "baseline: all layers, from scratch; frozen: a new head on the source network's frozen"
    assert words in texts(figure)


def test_arrow_is_open_where_the_grid_ends() -> None:
    shares = {
        "baseline": {10: 0.6, 100: 0.65, 1000: 0.7},
        "frozen": dict.fromkeys((10, 100, 1000), 0.9),
    }
    figure, axes, headline = drawn(made(shares=shares))
    (arrow,), (end,) = parts(axes, "labels saved"), parts(axes, "open")
    assert arrow.xyann[0] > 1000
    assert end.get_markerfacecolor() == "white"
    assert headline.title == (
        "frozen needs 10 labels where the baseline needs more than 1,000: at least 100 times fewer"
    )
    # All resamples end there, so that there is no interval but the bound.
    assert not parts(axes, "interval")
    assert "hollow" in texts(figure)


def test_interval_without_an_upper_end_has_no_cap_there() -> None:
    rows = cells_table.summary_rows(cells_table.curves(made()), RULES)
    arrow = Arrow("frozen", 10, 1000.0, 300.0, math.inf, True, "at least 100")
    titled = {rows[0].setting: Headline("frozen", "", arrow)}
    axes = answer_figure.answer(rows, titled, confidence=0.95).axes[0]
    (caps,), (bar,) = parts(axes, "interval ends"), parts(axes, "interval")
    assert list(caps.get_xdata()) == [300]
    assert bar.get_xdata()[0] == 300
    assert bar.get_xdata()[1] > 1000


@pytest.mark.parametrize(
    ("shares", "seeds", "title"),
    [
        (
            {"baseline": {10: 0.8, 100: 0.9}, "frozen": {10: 0.6, 100: 0.65}},
            12,
            "frozen saves no labels",
        ),
        (
            {"baseline": {10: 0.8, 100: 0.82}, "frozen": {10: 0.8, 100: 0.82}},
            12,
            "frozen saves no labels",
        ),
        (SAVES, 4, "Whether frozen saves labels cannot be told"),
        (SAVES, 1, "One seed cannot tell whether frozen saves labels"),
        (
            {"baseline": {10: 0.5, 100: 0.5}, "frozen": {10: 0.8, 100: 0.9}},
            12,
            "Nothing to compare: frozen or the baseline is not shown to learn",
        ),
        (
            {"baseline": {10: 0.8, 100: 0.9}, "random_frozen": {10: 0.6, 100: 0.65}},
            12,
            "No arm here starts from a source",
        ),
    ],
)
def test_no_arrow_and_a_title_that_says_so_where_no_labels_are_saved(
    shares: Any, seeds: int, title: str
) -> None:
    figure, axes, headline = drawn(made(shares=shares, seeds=seeds))
    assert headline.title == title
    assert title in texts(figure)
    for name in ("labels saved", "interval", "interval ends", "open", "numbers"):
        assert not parts(axes, name)
    assert {line.get_gid() for line in axes.lines} == set(shares)
    assert ("One seed: no intervals." in texts(figure)) == (seeds == 1)


def test_factor_by_medians_is_told_where_a_few_trainings_carry_the_means() -> None:
    *_, headline = drawn(made(shares=SAVES, seeds=20))
    assert "medians" not in headline.aside
    cells = made(shares=SAVES, seeds=20)
    (dip,) = [own for own in cells if (own.row.arm, own.row.labels) == ("baseline", 100)]
    # Not of one class, so that they are none of those that failed.
    dip.answers[:8] = np.where(np.arange(200) < 70, dip.actual, 1 - dip.actual)
    *_, headline = drawn(cells)
    curves = cells_table.curves(cells)
    (line,) = answer.sentences(curves, derived_table.area_rows(curves, RULES), RULES)
    (factor,) = re.findall(r"By medians over seeds it is ([0-9.]+) times as many: a few", line)
    by_means = headline.arrow.needed / 10
    assert float(factor) < 10 < by_means
    assert headline.aside.endswith(f"; by medians over seeds {factor} times")


@pytest.mark.parametrize(
    ("untold", "heading"),
    [
        ([False, False], "Labels are saved in 0 of 2 settings"),
        ([True, False], "Labels are saved in 0 of 2 settings, in 1 it cannot be told"),
        ([True, True], "In none of 2 settings can it be told whether labels are saved"),
    ],
)
def test_heading_counts_what_cannot_be_told(untold: list[bool], heading: str) -> None:
    rows = cells_table.summary_rows(cells_table.curves(made() + made(training="steps=9")), RULES)
    settings = dict.fromkeys(row.setting for row in rows)
    titled = {
        setting: Headline("frozen", "", untold=own)
        for setting, own in zip(settings, untold, strict=True)
    }
    figure = answer_figure.answer(rows, titled, confidence=0.95)
    assert figure.get_suptitle() == heading


def test_untrained_control_is_told_beside_the_answer() -> None:
    control = {"random_frozen": {10: 0.55, 100: 0.6, 1000: 0.62}}
    _, _, headline = drawn(made(shares=SAVES | control))
    assert headline.aside == (
        "sandal and shirt (mlp, 5 epochs); the control: random_frozen saves no labels"
    )
    assert headline.arrow is not None
    assert headline.arrow.arm == "frozen"


def test_baseline_that_lacks_steps_has_no_labels_as_a_price() -> None:
    short = {"baseline": {10: 0.6, 100: 0.62, 1000: 0.63}, "frozen": SAVES["frozen"]}
    cells = made(shares=short) + made(
        training="steps=500", shares=SAVES | {"baseline": {10: 0.9, 100: 0.93, 1000: 0.95}}
    )
    for own in cells:
        if own.row.training == "steps=500":
            own.__dict__["cost"] = dataclasses.replace(own.cost, updates=5000)
    _, axes, headline = drawn(cells)
    assert headline.title == (
        "No labels saved are told: with 10 the baseline lacks training, not labels"
    )
    assert not parts(axes, "labels saved")


def test_study_of_many_settings_has_a_panel_a_task_and_says_of_which(tmp_path: Path) -> None:
    tasks = ("sandal_shirt", "a_b_c")
    cells: list[cells_table.Cells] = []
    for task, network, training in itertools.product(
        tasks, ("mlp", "cnn"), ("steps=500", "epochs=5")
    ):
        for own in made(task=task, network=network, training=training, shares=SAVES):
            updates = 5000 if training == "steps=500" else 5
            cells.append(
                dataclasses.replace(own, cost=dataclasses.replace(own.cost, updates=updates))
            )
    figure, _, _ = drawn(cells)
    assert len([axes for axes in figure.axes if axes.lines]) == 2
    for place in ("sandal and shirt", "a, b and c"):
        assert f"{place} (mlp, 500 steps)" in texts(figure)
    told = "2 of 8 settings: one a task, of the first network and the longest training"
    assert told in texts(figure)
    assert "Labels are saved in 2 of 2 settings" in texts(figure)
    outputs.write(tmp_path, cells, STUDY.grid, RULES)
    page = outputs.write_page(tmp_path, RULES).read_text()
    assert page.index("(label_efficiency.png)") < page.index("(all_settings.png)")
    # A smaller grid leaves no picture of the larger one.
    outputs.write(tmp_path, cells[:6], STUDY.grid, RULES)
    assert not (tmp_path / "all_settings.png").exists()
    assert (tmp_path / "label_efficiency.png").is_file()


def test_long_names_of_seven_arms_and_the_numbers_meet_nothing() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    (first, *_), labels = (
        cells_table.summary_rows(cells_table.curves(made()), RULES),
        (10, 100, 1000),
    )
    rows = [
        dataclasses.replace(
            first, arm=arm, labels=own, mean=0.7 + 0.1 * at + 0.001 * place, low=0.6, high=0.95
        )
        for place, arm in enumerate(LONG)
        for at, own in enumerate(labels)
    ]
    arrow = Arrow(LONG[1], 10, 100.0, 60.0, 200.0, False, "10 labels in place of 100:\n10 times")
    title = f"{LONG[1]} needs 10 labels where the baseline needs 100: 10 times fewer (6.0 to 20.0)"
    titled = {first.setting: Headline(title, "sandal and shirt (mlp, 5 epochs)", arrow)}
    figure = answer_figure.answer(rows, titled, confidence=0.95)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    names = [text for text in axes.texts if " ".join(text.get_text().split()) in LONG]
    assert len(names) == len(LONG)
    renderer = canvas.get_renderer()

    def box(text: Any) -> Any:
        # Of the letters, without the line that leads to them.
        from matplotlib.text import Text

        return Text.get_window_extent(text, renderer)

    for left, right in itertools.combinations(map(box, names), 2):
        assert not left.overlaps(right)
    for text in axes.texts:
        if text.get_text():
            assert figure.bbox.containsx(box(text).x1)
            assert figure.bbox.containsy(box(text).y1)
    (numbers,) = parts(axes, "numbers")
    for arm in LONG:
        (line,) = parts(axes, arm)
        path = line.get_path().transformed(line.get_transform())
        assert not path.intersects_bbox(box(numbers), filled=False)


def test_dvc_plots_lists_the_picture(tmp_path: Path) -> None:
    for name in ("params.yaml", "study/params.yaml", "study/dvc.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for section in ("grid", "claims"):
        outputs.write(tmp_path / "metrics/study" / section, made(), STUDY.grid, RULES)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    shown = subprocess.run(
        [*dvc, "plots", "show", "--json"], cwd=tmp_path, check=True, capture_output=True
    )
    assert {f"metrics/study/{section}/label_efficiency.png" for section in ("grid", "claims")} <= {
        name.removeprefix("study/dvc.yaml::") for name in json.loads(shown.stdout)["data"]
    }


def test_equal_studies_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure, _, _ = drawn(made(shares=SAVES))
        style.write_png(tmp_path / name, figure)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert np.frombuffer((tmp_path / "a.png").read_bytes(), dtype=np.uint8).size > 20_000
