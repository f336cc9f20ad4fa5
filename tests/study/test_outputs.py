"""The study's tables, page, claims and MLflow run, from cells made up here: nothing is trained."""

import dataclasses
import math
import re
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import scipy.stats
import yaml
from labbooks import new_store
from made_cells import SEEDS, SHARES, made
from projects import ROOT, edit_params
from sklearn.metrics import recall_score
from typer.testing import CliRunner

from headstart.cli import app
from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.judging.verdict import BASELINE_BETTER, TRANSFER_BETTER
from headstart.reporting import render, study_figures, study_tables, style
from headstart.reporting.page import from_markdown
from headstart.reporting.study_tables import (
    AreaRow,
    CellRow,
    DerivedRow,
    RateRow,
    SummaryRow,
    VerdictRow,
)
from headstart.study import (
    answer,
    cells_table,
    claims,
    derived_table,
    headlines,
    interim,
    outputs,
    parameters,
    power,
    saved_in_words,
    statistics,
    verdicts,
)
from headstart.study.curves import Estimate
from headstart.study.sampling import ONE_SPLIT

STUDY = parameters.load(ROOT / "study/params.yaml")
RULES = STUDY.statistics
EQUAL = {arm: {10: 1.0} for arm in ("baseline", "frozen")}
HALF = {arm: dict.fromkeys(shares, 0.5) for arm, shares in SHARES.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: Any) -> Path:
    """A project with the outputs of a made-up study of two networks."""
    root = tmp_path_factory.mktemp("written")
    (root / "study").mkdir()
    for name in ("params.yaml", "study/params.yaml"):
        shutil.copy(ROOT / name, root / name)
    cells = made() + made(network="cnn") + made(shift=4) + made(network="cnn", shift=4)
    for section in ("grid", "claims"):
        outputs.write(root / "metrics/study" / section, cells, getattr(STUDY, section), RULES)
    return root


def tables(cells: Any) -> Any:
    """Summary, areas and derived rows of made-up cells."""
    curves = cells_table.curves(cells)
    return (
        cells_table.summary_rows(curves, RULES),
        derived_table.area_rows(curves, RULES),
        derived_table.derived_rows(curves, RULES),
    )


def told(cells: Any) -> list[str]:
    curves = cells_table.curves(cells)
    return answer.sentences(curves, derived_table.area_rows(curves, RULES), RULES)


def test_verdicts_are_told_for_ranges_of_neighbouring_budgets() -> None:
    summary, _, _ = tables(made())
    verdict_rows = derived_table.verdict_rows(summary)
    frozen = [row for row in verdict_rows if row.arm == "frozen"]
    assert [(row.from_labels, row.to_labels, row.verdict) for row in frozen] == [
        (10, 100, TRANSFER_BETTER),
        (1000, 1000, BASELINE_BETTER),
    ]
    assert frozen[0].smallest_gain < frozen[0].largest_gain


def test_arm_that_answers_one_class_in_half_of_its_seeds_is_invalid() -> None:
    cells = made()
    cells[3].answers[: SEEDS // 2] = 1
    summary, _, _ = tables(cells)
    row = next(row for row in summary if (row.arm, row.labels) == ("frozen", 10))
    assert row.degenerate == SEEDS // 2
    assert row.mean == pytest.approx(cells[3].accuracies.mean())
    assert row.verdict == verdicts.INVALID


def test_untrained_arms_are_flagged_and_not_judged() -> None:
    shares = {"baseline": {10: 0.5, 100: 0.8, 1000: 0.9}, "frozen": {10: 0.8, 100: 0.8, 1000: 0.9}}
    cells = made(shares=shares)
    summary, areas, _ = tables(cells)
    flags = {(row.arm, row.labels): row.untrained for row in summary}
    assert [key for key, flag in flags.items() if flag] == [("baseline", 10)]
    assert [row.verdict == verdicts.INVALID for row in summary if row.arm == "frozen"] == [
        True,
        False,
        False,
    ]
    # Over a range the arm is judged by its mean.
    assert verdicts.INVALID not in {row.verdict for row in areas}
    (row,) = [row for row in summary if (row.arm, row.labels) == ("frozen", 10)]
    assert row.balanced_accuracy == pytest.approx(
        np.mean(
            [recall_score(c.actual, own, average="macro") for c in [cells[3]] for own in c.answers]
        )
    )


def test_equivalence_is_two_one_sided_tests() -> None:
    settings = RULES
    values = np.random.default_rng(3).normal(size=20)
    values -= values.mean()
    _, high = statistics.t_interval(values, confidence=0.9)

    def word(half: float) -> str:
        gains = 0.001 + values * half / high
        (made_of_it,) = cells_table.judged([gains], [False], settings, ONE_SPLIT)
        return made_of_it.verdict

    # The interval of 90 % within the margin of 0.005, that of 95 % beyond it; then both beyond.
    assert word(0.0039) == verdicts.EQUIVALENT
    assert word(0.0041) == verdicts.NO_WORSE


def test_chance_is_left_by_a_one_sided_test() -> None:
    settings = RULES
    cells = made(shares={"baseline": {10: 0.5}}, seeds=10)[0]
    draws = np.random.default_rng(6).normal(0, 0.05, 10)
    draws -= draws.mean()
    bound = scipy.stats.t.ppf(0.95, 9) * scipy.stats.sem(draws)
    for share, expected in ((1.05, False), (0.95, True)):
        right = np.arange(2000) < np.round(2000 * (0.5 + draws + share * bound))[:, None]
        # Both classes alike.
        actual = np.arange(2000) % 2
        own = dataclasses.replace(cells, answers=np.where(right, actual, 1 - actual), actual=actual)
        assert cells_table.untrained((own,), settings) == expected


def test_family_is_the_arms_and_budgets_of_one_task_and_training_budget() -> None:
    alone, areas, _ = tables(made())
    both, _, _ = tables(made() + made(training="steps=9", shares=HALF))
    np.testing.assert_equal([row.p_adjusted for row in both[:9]], [row.p_adjusted for row in alone])
    base = [row for row in made() if row.row.arm == "baseline"]
    gains = [
        own.accuracies - other.accuracies
        for arm in ("frozen", "finetune")
        for own, other in zip([c for c in made() if c.row.arm == arm], base, strict=True)
    ]
    np.testing.assert_allclose(
        [row.p_adjusted for row in alone[3:]], verdicts.max_t(np.array(gains)), rtol=1e-5
    )
    assert [row.range for row in areas] == ["all", "few", "many"] * 2


def test_area_is_the_mean_gain_over_the_logarithm_of_the_labels_paired_by_seed() -> None:
    cells = made()
    _, areas, _ = tables(cells)
    gains = [own.accuracies - base.accuracies for own, base in zip(cells[3:6], cells, strict=False)]
    per_seed = (gains[0] / 2 + gains[1] + gains[2] / 2) / 2
    expected = scipy.stats.ttest_1samp(per_seed, 0)
    interval = expected.confidence_interval(RULES.confidence)
    row = areas[0]
    assert (row.arm, row.range, row.from_labels, row.to_labels) == ("frozen", "all", 10, 1000)
    assert (row.gain, row.p, row.gain_low, row.gain_high) == pytest.approx(
        (per_seed.mean(), expected.pvalue, interval.low, interval.high), rel=1e-5
    )
    few = (gains[0] + gains[1]) / 2
    assert areas[1].gain == pytest.approx(few.mean(), rel=1e-5)
    assert areas[2].gain == pytest.approx(gains[2].mean(), rel=1e-5)


def test_baseline_that_gains_more_from_training_lacks_steps_and_saves_no_labels() -> None:
    short = {"baseline": {10: 0.6, 100: 0.62, 1000: 0.7}, "frozen": {10: 0.9, 100: 0.9, 1000: 0.9}}
    long = {"baseline": {10: 0.9, 100: 0.95, 1000: 0.96}, "frozen": {10: 0.9, 100: 0.9, 1000: 0.9}}
    cells = made(shares=short) + made(training="steps=900", shares=long)
    for cell in cells[6:]:
        object.__setattr__(cell, "cost", dataclasses.replace(cell.cost, updates=9000))
    _, _, derived = tables(cells)
    lacking = [(row.training, row.at) for row in derived if row.lacks_steps]
    # With 1000 labels the grid has not ten times as many.
    assert lacking == [("epochs=5", "10"), ("epochs=5", "100")]
    assert "more training helps the baseline more than ten times the labels" in told(cells)[1]


def test_gains_and_their_p_values_are_paired_by_seed() -> None:
    curves = cells_table.curves(made())
    (arms,) = curves.values()
    for row in cells_table.summary_rows(curves, RULES):
        if row.arm != "frozen":
            continue
        own, base = (
            next(cells for cells in arms[arm].rows if cells.row.labels == row.labels).accuracies
            for arm in ("frozen", "baseline")
        )
        paired = scipy.stats.ttest_rel(own, base)
        interval = paired.confidence_interval(RULES.confidence)
        expected = (paired.pvalue, interval.low, interval.high)
        assert (row.p, row.gain_low, row.gain_high) == pytest.approx(expected, rel=1e-5)


def test_answer_says_what_few_and_many_labels_gain_and_save() -> None:
    (line,) = told(made())
    assert line.startswith(
        "sandal and shirt (mlp, 5 epochs):\n  With 10 to 100 labels transfer is better: +1"
    )
    assert "; finetune, the best of 2, chosen anew in every resample)" in line
    assert "It saves labels: the baseline needs " in line
    assert " With 1000 labels " in line
    both = told(made() + made(training="steps=9"))
    assert both[0].startswith(
        "In short: with few labels (up to 100) transfer is better in 2 of 2 settings; with many"
    )
    assert both[1] == line


def test_interval_that_holds_0_beside_a_decided_test_is_told() -> None:
    curves = cells_table.curves(made(shares=SHARES | {"baseline": SHARES["finetune"]}))
    areas = derived_table.area_rows(curves, RULES)
    said = "the interval holds 0 all the same: the test finds that the two differ"
    assert said not in " ".join(answer.sentences(curves, areas, RULES))
    decided = [dataclasses.replace(area, verdict=TRANSFER_BETTER) for area in areas]
    assert said in " ".join(answer.sentences(curves, decided, RULES))


def test_interval_that_parts_from_a_test_that_does_not_decide_is_told() -> None:
    curves = cells_table.curves(made(shares={arm: SHARES[arm] for arm in ("baseline", "frozen")}))
    areas = derived_table.area_rows(curves, RULES)
    # The gain is large, its interval far above 0 and the margin.
    for word, aside in (
        (verdicts.CANNOT_TELL, "the interval, not corrected, leaves 0 out all the same"),
        (verdicts.EQUIVALENT, "the interval reaches 0.5 points all the same: one-sided tests"),
    ):
        undecided = [dataclasses.replace(area, verdict=word) for area in areas]
        assert aside in " ".join(answer.sentences(curves, undecided, RULES))
        assert aside not in " ".join(answer.sentences(curves, areas, RULES))


def test_best_of_several_arms_is_no_worse_by_more_than_one_alone() -> None:
    draws = np.random.default_rng(0)
    spread = draws.normal(size=20)
    spread = (spread - spread.mean()) / spread.std(ddof=1)
    # Student's lower one-sided bound of it alone is -0.4 points, less than the margin of 0.5; at a
    # third of alpha it is -0.7.
    gain = 0.003 + spread * 0.007 / (scipy.stats.t.ppf(0.95, 19) / math.sqrt(20))
    images = 2000
    right = np.rint(images * np.array([np.full(20, 0.8), 0.8 + gain])).astype(int)
    actual = np.arange(images) % 2

    def cells(arm: str, counts: Any) -> Any:
        # The same share of both classes.
        wrong = np.arange(images)[::-1] >= counts[:, None]
        (one,) = made(shares={arm: {1000: 0.5}})
        answers = np.where(wrong, 1 - actual, actual)
        return dataclasses.replace(one, answers=answers, actual=actual, finite=np.ones(20, bool))

    arms = [cells("baseline", right[0]), cells("gradual", right[1])]
    alone = " ".join(told(arms))
    assert "transfer is no worse by 0.5 points or more: +0.30 points" in alone
    others = [cells(arm, right[0] - 100) for arm in ("frozen", "finetune")]
    among = " ".join(told([*arms, *others]))
    assert "these seeds cannot tell which is better: +0.30 points" in among
    assert "by itself transfer is no worse, and the best of several has to be so by more" in among
    # Each for itself stands in the tables.
    areas = derived_table.area_rows(cells_table.curves([*arms, *others]), RULES)
    assert {area.verdict for area in areas if area.arm == "gradual"} == {verdicts.NO_WORSE}


def test_no_labels_are_told_where_an_arm_has_not_learned() -> None:
    shares = {"baseline": {10: 0.5, 20: 0.8, 100: 0.9}, "frozen": {10: 0.9, 20: 0.95, 100: 0.95}}
    _, _, derived = tables(made(shares=shares))
    kinds = {row.at: row.kind for row in derived if row.quantity == "labels_saved"}
    assert kinds["10"] == "undetermined"
    assert "undetermined" not in {kinds["20"], kinds["100"]}
    (line,) = told(made(shares=shares))
    assert "transfer is better" in line
    assert "With 10 labels baseline is not shown to learn the task, so that no labels saved" in line
    curves = cells_table.curves(made(shares=shares))
    (headline,) = headlines.headlines(
        curves, derived_table.area_rows(curves, RULES), RULES
    ).values()
    assert headline.title == (
        "No labels saved are told: with 10 labels baseline is not shown to learn the task"
    )


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_equal_accuracies_of_few_seeds_are_trained_and_show_no_equivalence(seeds: int) -> None:
    cells = made(shares=EQUAL, seeds=seeds)
    (summary, _, _) = tables(cells)
    assert [row.untrained for row in summary] == [0, 0]
    assert summary[1].verdict == verdicts.CANNOT_TELL
    assert tables(made(shares=EQUAL, seeds=5))[0][1].verdict == verdicts.EQUIVALENT


def test_answer_says_which_of_its_verdicts_hang_on_the_learning_rate() -> None:
    curves = cells_table.curves(made() + made(training="steps=9"))
    areas = derived_table.area_rows(curves, RULES)
    same = answer.sentences(curves, areas, RULES, before=curves, areas_before=areas)
    assert "; without a search for learning rates 0 of these 4 are others." in same[0]
    others = [
        dataclasses.replace(area, verdict=verdicts.CANNOT_TELL) if area.range == "few" else area
        for area in areas
    ]
    told_of = answer.sentences(curves, areas, RULES, before=curves, areas_before=others)
    assert "; without a search for learning rates 2 of these 4 are others." in told_of[0]
    for before, after in zip(same[1:], told_of[1:], strict=True):
        aside = "; hangs on the learning rate: without a search the seeds cannot tell)."
        assert after.replace(aside, ").", 1) == before != after
    assert "hangs" not in " ".join(answer.sentences(curves, areas, RULES))


def test_verdict_that_another_arm_has_without_a_search_hangs_on_no_rate() -> None:
    def best(arm: str) -> Any:
        shares = {own: dict(SHARES[own if own == "baseline" else "frozen"]) for own in SHARES}
        shares[arm] = {10: 0.9, 100: 0.95, 1000: 0.99}
        curves = cells_table.curves(made(shares=shares))
        return curves, derived_table.area_rows(curves, RULES)

    (curves, areas), (before, areas_before) = best("frozen"), best("finetune")
    # Each arm for itself has another verdict at each rate; the best of both is better at both.
    assert [row.verdict for row in areas] != [row.verdict for row in areas_before]
    (line,) = answer.sentences(curves, areas, RULES, before=before, areas_before=areas_before)
    assert "frozen, the best of 2" in line
    assert "hangs" not in line
    worse = [
        dataclasses.replace(row, verdict=verdicts.CANNOT_TELL) if row.arm == "finetune" else row
        for row in areas_before
    ]
    (line,) = answer.sentences(curves, areas, RULES, before=before, areas_before=worse)
    assert "without a search the seeds cannot tell (finetune)" in line


def test_answer_says_how_many_trainings_failed_where_the_arms_differ_in_it() -> None:
    (line,) = told(made())
    assert "failed" not in line
    first, *rest = made()
    assert (first.row.arm, first.row.labels) == ("baseline", 10)
    first.finite[0] = False
    (line,) = told([first, *rest])
    assert line.count("failed") == 1
    assert f"Of {2 * SEEDS} trainings each 1 of baseline and 0 of finetune failed" in line


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        (
            Estimate(5.5, 3.1, 9.8, "estimate"),
            (
                "saves labels: the baseline needs 55 labels in place of 10, "
                "5.50 times as many (interval 3.10 to 9.80)."
            ),
        ),
        (
            Estimate(1.2, 0.8, math.inf, "estimate"),
            (
                "cannot be told: the baseline needs 12 labels in place of 10, "
                "1.20 times as many (interval 0.80 or more)."
            ),
        ),
        (
            Estimate(0.5, 0, 0.9, "estimate"),
            (
                "costs labels: the baseline needs 5 labels in place of 10, "
                "0.50 times as many (interval 0.90 or less)."
            ),
        ),
        (
            Estimate(100, math.inf, math.inf, "at least"),
            (
                "saves labels: the baseline needs at least 1000 labels in place of 10, "
                "at least 100.00 times as many."
            ),
        ),
        (
            Estimate(1, 0, 0, "at most"),
            "It saves no labels: with 10 the baseline is as good already.",
        ),
        (
            Estimate(1, 0, 2.5, "at most"),
            (
                "cannot be told: with 10 the baseline is as good already, and the interval allows "
                "for 2.50 times as many."
            ),
        ),
        (Estimate(math.nan, 0, math.inf, "undetermined"), "cannot be told on this grid."),
        (
            Estimate(2.0, math.nan, math.nan, "estimate"),
            "cannot be told: the baseline needs 20 labels in place of 10, 2.00 times as many.",
        ),
    ],
)
def test_labels_saved_are_told_without_infinities_and_tautologies(saved: Any, text: str) -> None:
    verdict = TRANSFER_BETTER if saved.value > 1 else BASELINE_BETTER
    sentence = saved_in_words.saved_in_words(saved, 10, verdict=verdict, lacks_steps=False)
    assert sentence.endswith(text)
    assert not any(word in sentence for word in ("inf", "nan", "any number", "0 to 0"))


def test_labels_are_not_called_saved_where_the_arm_is_not_called_better() -> None:
    saved = Estimate(5.5, 3.1, 9.8, "estimate")
    sentence = saved_in_words.saved_in_words(
        saved, 10, verdict=verdicts.NO_WORSE, lacks_steps=False
    )
    assert "saved is not concluded; read off the curves, the baseline needs 55 labels" in sentence
    none = Estimate(1.0, 0.0, 0.0, "at most")
    for verdict, opening in (
        (verdicts.NO_WORSE, "It saves no labels: with 10 the baseline is as good already."),
        (verdicts.CANNOT_TELL, "That it saves no labels is not concluded; read off the curves, "),
    ):
        said = saved_in_words.saved_in_words(none, 10, verdict=verdict, lacks_steps=False)
        assert said.startswith(opening)


def test_answer_says_which_arm_has_not_learned_the_task() -> None:
    shares = {"baseline": {10: 0.5, 200: 0.9}, "frozen": {10: 0.9, 200: 0.9}}
    (line,) = told(made(shares=shares))
    assert "With 10 labels there is nothing to compare: baseline is not shown to learn" in line
    assert "With 200 labels " in line


def test_one_seed_gives_tables_without_intervals(tmp_path: Path) -> None:
    cells = [
        dataclasses.replace(
            cell,
            answers=cell.answers[:1],
            finite=cell.finite[:1],
        )
        for cell in made()
    ]
    outputs.write(tmp_path, cells, STUDY.grid, RULES)
    row = study_tables.read(tmp_path / "summary.csv", SummaryRow)[3]
    assert np.isnan([row.low, row.gain_high, row.p, row.p_adjusted, row.detectable_gain]).all()
    assert row.verdict == verdicts.CANNOT_TELL
    assert ",," in (tmp_path / "summary.csv").read_text()
    page = outputs.write_page(tmp_path, RULES).read_text()
    assert "nan" not in page
    assert "one seed, no interval" in page


def test_single_label_budget_gives_tables_and_a_page(tmp_path: Path) -> None:
    cells = [cell for cell in made() if cell.row.labels == 10]
    (line,) = outputs.write(tmp_path, cells, STUDY.grid, RULES)
    assert "With 10 labels transfer is better" in line
    assert "the baseline needs at least 10 labels in place of 10" in line
    page = outputs.write_page(tmp_path, RULES).read_text()
    assert "| arm | all: 10 labels |" in page


def test_baseline_alone_gives_tables_and_a_page_without_verdicts(tmp_path: Path) -> None:
    cells = [cell for cell in made() if cell.row.arm == "baseline"]
    outputs.write(tmp_path, cells, STUDY.grid, RULES)
    assert study_tables.read(tmp_path / "verdicts.csv", VerdictRow) == []
    page = outputs.write_page(tmp_path, RULES).read_text()
    assert "No transferred arm was asked for." in page


def test_task_named_by_numbers_stays_what_it_is_called(tmp_path: Path) -> None:
    """`0_1` is a number to Python: int("0_1") is 1."""
    outputs.write(tmp_path, made(task="0_1"), STUDY.grid, RULES)
    assert {row.task for row in study_tables.read(tmp_path / "cells.csv", CellRow)} == {"0_1"}
    page = outputs.write_page(tmp_path, RULES).read_text()
    assert "### 0 and 1 (mlp, 5 epochs)\n" in page


def test_rows_read_are_the_rows_written(tmp_path: Path) -> None:
    kinds: Any = (SummaryRow, AreaRow, DerivedRow)
    for kind, rows in zip(kinds, tables(made()), strict=True):
        study_tables.write(tmp_path / "rows.csv", kind, rows)
        # Text, since an undefined number is not equal to itself.
        assert [str(row) for row in study_tables.read(tmp_path / "rows.csv", kind)] == [
            str(row) for row in rows
        ]


def test_table_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "areas.csv").write_text("task,arm,gain\na_b,frozen,0.1\n")
    with pytest.raises(UserError, match=r"areas\.csv: another version wrote it.*detectable_gain"):
        study_tables.read(tmp_path / "areas.csv", AreaRow)


def test_open_ends_of_intervals_are_empty_in_the_table(written: Path) -> None:
    text = (written / "metrics/study/grid/derived.csv").read_text()
    assert "inf" not in text
    assert "nan" not in text
    rows = study_tables.read(written / "metrics/study/grid/derived.csv", DerivedRow)
    (row,) = [
        row
        for row in rows
        if (row.setting, row.arm, row.at) == (rows[0].setting, "finetune", "100")
    ]
    assert row.number == pytest.approx((row.value - 1) * 100, rel=1e-3)


def test_page_begins_with_the_answer_and_shows_the_pictures(written: Path) -> None:
    page = outputs.write_page(written / "metrics/study/grid", RULES).read_text()
    assert page.splitlines()[2].startswith("**In short: with few labels (up to 100) transfer is")
    assert page.splitlines()[4].endswith("](label_efficiency.png)")
    for words in ("any number", "0 to 0", "inf ", "nan", "do not rule out"):
        assert words not in page
    assert "to look, and add seeds until p is small, finds a difference where" in page
    for name in ("label_efficiency", "labels_saved", "paired_differences", "cost"):
        assert f"({name}.png)" in page
        assert (written / f"metrics/study/grid/{name}.png").stat().st_size > 10_000


def test_page_as_html_needs_no_other_file_and_takes_no_html_from_names(
    written: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(written / "metrics/study/grid", tmp_path / "grid")
    page = outputs.write_page(folder, RULES)
    page.write_text(page.read_text() + "\n<script>alert(1)</script>\n")
    from_markdown(tmp_path / "study.html", page)
    html = (tmp_path / "study.html").read_text()
    assert html.count('src="data:image/png;base64,') == len(list(folder.glob("*.png")))
    assert "<table>" in html
    assert "<script>" not in html
    # The letters of a picture may be these by chance.
    assert "http" not in re.sub(r'base64,[^"]*', "", html).replace("http-equiv", "")


def test_equal_cells_give_equal_bytes(written: Path, tmp_path: Path) -> None:
    cells = made() + made(network="cnn") + made(shift=4) + made(network="cnn", shift=4)
    outputs.write(tmp_path, cells, STUDY.grid, RULES)
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (written / "metrics/study/grid" / file.name).read_bytes()


def test_heat_map_of_pairs_is_drawn(tmp_path: Path) -> None:
    cells = made() + made(task="sandal_bag") + made(task="shirt_bag")
    summary, _, _ = tables(cells)
    style.write_png(tmp_path / "p.png", study_figures.pairs(summary, arm="frozen", labels=10))
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_pairs_of_classes_with_networks_from_elsewhere_have_a_heat_map(tmp_path: Path) -> None:
    shares = {"baseline": SHARES["baseline"], "frozen of a": SHARES["frozen"]}
    tasks = ("sandal_shirt", "sandal_bag", "shirt_bag")
    cells = [cell for task in tasks for cell in made(task=task, shares=shares, seeds=4)]
    grid = STUDY.grid.model_copy(update={"target_tasks": parameters.ALL_PAIRS})
    outputs.write(tmp_path, cells, grid, RULES)
    assert (tmp_path / "pairs.png").stat().st_size > 10_000


def test_arms_have_looks_of_their_own_whatever_they_are_called() -> None:
    table = study_figures.looks(SHARES)
    more = study_figures.looks([*SHARES, "frozen of a", "random_frozen of a", "frozen of b"])
    many = study_figures.looks([*SHARES, *(f"frozen of {name}" for name in "abcdefghijk")])
    assert len(set(many.values())) == len(many)
    assert {arm: more[arm] for arm in SHARES} == table
    assert len(set(more.values())) == len({colour for colour, _ in more.values()}) == len(more)


def test_names_of_classes_may_hold_what_joins_them_and_what_pages_mean() -> None:
    for names in (["a_b", "c"], ["a", "b_c"], ["\\", "_"], ["x", "y", "z z"], ["a\nb", "c\\_d"]):
        assert study_tables.classes_of(study_tables.task_of(names)) == names
    assert study_tables.task_of(["sandal", "shirt"]) == "sandal_shirt"
    assert render.markdown("a|b *c* <i> [d] _e_ mlp_300") == (
        r"a\|b \*c\* \<i\> \[d\] \_e\_ mlp_300"
    )
    heat = made(task=study_tables.task_of(["t_x", "y"])) + made(task=r"t\_x_z") + made(task="y_z")
    summary, _, _ = tables(heat)
    study_figures.pairs(summary, arm="frozen", labels=10)


def test_power_says_how_many_seeds_show_a_gain(written: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(written)
    done = CliRunner().invoke(app, ["study", "power", "--gain", "0.005"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0] == "sandal and shirt (mlp, 5 epochs): seeds for a gain of 0.5 points"
    assert lines[1].split() == ["labels", "10", "100", "1000"]
    summary = study_tables.read(Path("metrics/study/grid/summary.csv"), SummaryRow)
    row = next(row for row in summary if row.arm == "frozen")
    alone = verdicts.seeds_needed(0.005, row.gain_std, level=0.05)
    corrected = verdicts.seeds_needed(0.005, row.gain_std, level=0.05 / 6)
    assert lines[2].split()[:3] == ["frozen", f"{alone:.0f}", f"({corrected:.0f})"]
    page = outputs.write_page(Path("metrics/study/grid"), RULES).read_text()
    assert f"| frozen | {alone:.0f} ({corrected:.0f}) |" in page


def test_networks_of_any_name_break_no_table(tmp_path: Path) -> None:
    network = "a|b *c* <i>"
    arms = "baseline", f"frozen of {network}", f"random_frozen of {network}"
    shares = {arm: {10: 0.6, 100: 0.8} for arm in arms}
    folder = tmp_path / "metrics/study/grid"
    cells = made(shares=shares)
    outputs.write(folder, cells, STUDY.grid, RULES, unsearched=cells)
    progress = interim.Progress(tmp_path / "progress", STUDY.grid, RULES.confidence, None)
    for cell in cells:
        progress.add(cell.row, cell.accuracies, split=0)
    pages = outputs.write_page(folder, RULES), interim.write_page(progress)
    for page, tables in zip(pages, (7, 3), strict=True):
        from_markdown(tmp_path / "page.html", page)
        html = (tmp_path / "page.html").read_text()
        assert html.count("<td>frozen of a|b *c* &lt;i&gt;</td>") == tables


def test_power_counts_no_fewer_seeds_than_sign_flips_need() -> None:
    summary, _, _ = tables(made())
    shown = power.seeds(summary, 0.9, RULES)[summary[0].setting]["frozen"][10]
    assert shown.endswith("(8)")


def test_power_tells_nothing_of_invalid_rows() -> None:
    shares = {"baseline": {10: 0.5, 100: 0.9}, "frozen": {10: 0.9, 100: 0.95}}
    summary, _, _ = tables(made(shares=shares))
    cells = power.seeds(summary, 0.005, RULES)[summary[0].setting]["frozen"]
    assert cells[10] == verdicts.INVALID
    assert cells[100][0].isdigit()


def test_claim_is_judged_by_what_is_left_of_it_corrected_over_its_cases() -> None:
    draws = np.random.default_rng(0).normal(0, 0.02, (4, 12))
    values = list(draws + np.array([0.30, 0.20, 0.25, 0.30])[:, None])
    settled = [False, False, False, True]
    cases = claims.judged(values, settled, wanted=0.25, settings=RULES)
    assert [case.judgement for case in cases] == [
        claims.SUPPORTED,
        claims.NOT_SUPPORTED,
        claims.UNDETERMINED,
        claims.NOT_JUDGED,
    ]
    np.testing.assert_allclose([case.p for case in cases], verdicts.max_t(np.array(values) - 0.25))
    (alone,) = claims.judged(values[:1], [False], wanted=0.25, settings=RULES)
    assert alone.p <= cases[0].p
    assert (alone.low, alone.mean, alone.high) == (cases[0].low, cases[0].mean, cases[0].high)
    # Few seeds decide nothing.
    (few,) = claims.judged([values[0][:5]], [False], wanted=0.25, settings=RULES)
    assert few.judgement == claims.UNDETERMINED
    assert claims.judged([], [], wanted=0.25, settings=RULES) == []


def test_claim_without_limits_fails_with_one_case() -> None:
    assert claims.overall(["supported", "supported", "not judged"]) == "supported"
    assert claims.overall(["supported", "not supported"]) == "not supported"
    assert claims.overall(["supported", "undetermined"]) == "undetermined"
    assert claims.overall(["not judged"]) == "undetermined"


def test_claims_are_answered_from_the_tables(written: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(written)
    path, folder = Path("docs/claims.md"), Path("metrics/study/claims")
    claims.write(path, folder, STUDY.section("claims"), RULES)
    text = path.read_text()
    assert (
        "## 1. Transfer gives 0.99 where normal training gives 0.50\n\n**Not supported.**" in text
    )
    assert text.index("**What to take away.** In the notebook's setting") < text.index("## 1.")
    assert "better than training from scratch on 0 of 1 tasks and worse on 1:" in text
    assert "Trainable parameters: not supported" in text
    assert "Time: not measured.**" in text
    assert "**Not supported where images stay" in text
    assert "What the study cannot tell" in text


def test_legend_of_long_names_lies_in_the_picture_and_powers_are_no_tex() -> None:
    named = {"baseline": SHARES["baseline"]} | {
        f"{arm} of a rather long name": SHARES["frozen"] for arm in ("frozen", "random_frozen")
    }
    summary, _, derived = tables(made(shares=named))
    for figure in (
        study_figures.cost_and_accuracy(summary),
        study_figures.paired_differences(summary),
        study_figures.labels_saved(summary, derived),
    ):
        figure.canvas.draw()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert len(legend.get_texts()) >= 3
        ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert any(ticks)
        assert not any("$" in tick for tick in ticks)


def test_time_has_a_verdict_of_its_own_by_all_rounds(written: Path, monkeypatch: Any) -> None:
    measured = {
        "baseline": [3.3, 3.2],
        "features once": [0.3, 0.31],
        "as the notebook": [0.32, 0.33],
        "source network": [7.5, 7.4],
    }
    monkeypatch.chdir(written)
    artefacts.write_json(claims.SECONDS, {"measured": measured})
    path = Path("docs/claims.md")
    claims.write(path, Path("metrics/study/claims"), STUDY.section("claims"), RULES)
    text = path.read_text()
    claims.SECONDS.unlink()
    assert "| features once | 10.3 to 11 | supported |" in text
    assert "| as the notebook | 9.7 to 10.3 | undetermined |" in text
    assert "| with the source network | 0.42 | not supported |" in text
    assert (
        "Its training takes 10.3 to 11 times less time where features are computed once, " in text
    )


def test_committed_claims_are_those_of_the_committed_tables(
    tmp_path: Path, monkeypatch: Any
) -> None:
    folder = Path("metrics/study/claims")
    if not (ROOT / folder / "summary.csv").is_file():
        pytest.skip("make claims has not run in this checkout")
    (tmp_path / "docs").mkdir()
    # The page names its pictures by the folder that it was handed.
    monkeypatch.chdir(ROOT)
    claims.write(tmp_path / "docs/claims.md", folder, STUDY.section("claims"), RULES)
    assert (tmp_path / "docs/claims.md").read_text() == (ROOT / "docs/claims.md").read_text()


def test_study_is_one_run_in_mlflow_however_often_it_is_published(
    written: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from headstart.tracking import publication

    new_store(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run_id, new = publication.publish_study(written, "grid")
    assert new
    assert publication.publish_study(written, "grid") == (run_id, False)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.get_run(run_id)
    assert run.data.tags["headstart.kind"] == "study"
    assert run.data.params["grid.seeds"] == str(STUDY.grid.seeds)
    curve = client.get_metric_history(run_id, "sandal_shirt/mlp/epochs 5/frozen/mean")
    assert [point.step for point in curve] == [10, 100, 1000]
    assert {file.path for file in client.list_artifacts(run_id)} == {"plots", "tables"}
    kept = Path(client.download_artifacts(run_id, "plots/label_efficiency.png", str(tmp_path)))
    shared = written / "metrics/study/grid/label_efficiency.png"
    assert kept.read_bytes() == shared.read_bytes()


def test_classes_and_networks_of_any_name_reach_mlflow(
    written: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from headstart.tracking import publication

    shutil.copytree(written, tmp_path / "project")
    arms = ["frozen of my net (2)", "frozen of resnet#1", "frozen of A+B", "frozen of A*B"]
    arms += [f"random_frozen of {'x' * 250}{end}" for end in "ab"]
    shares = {arm: {10: 0.6, 100: 0.8} for arm in ("baseline", *arms)}
    tasks = ["a/../b_c", "été_ж", "y" * 400]
    cells = [cell for task in tasks for cell in made(task, "cnn_" * 20, shift=64, shares=shares)]
    folder = tmp_path / "project/metrics/study/grid"
    outputs.write(folder, cells, STUDY.grid, RULES)
    new_store(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run_id, _ = publication.publish_study(tmp_path / "project", "grid")
    run = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(run_id)
    means = [name for name in run.data.metrics if name.endswith("/mean")]
    assert len(means) == len(tasks) * (1 + len(arms))


def test_study_of_a_projects_network_among_others_has_its_parameters_in_mlflow(
    written: Path, tmp_path: Path
) -> None:
    from headstart.tracking import entries

    shutil.copytree(written, tmp_path / "project")
    path = tmp_path / "project/study/params.yaml"
    for sources, follows in (
        ("[trained, {from: keras:ResNet50}]", False),
        ("[project, {from: keras:ResNet50}]", True),
    ):
        edit_params(path, {"grid.sources": sources})
        entry = entries.study(tmp_path / "project", "grid")
        assert ("source_training.from" in entry.params) is follows


def test_study_that_was_not_run_cannot_be_published(tmp_path: Path) -> None:
    from headstart.tracking import publication

    with pytest.raises(UserError, match=r"dvc repro study/dvc\.yaml"):
        publication.publish_study(tmp_path, "grid")


@pytest.mark.parametrize("stage", ["grid", "claims"])
def test_stage_declares_every_parameter_that_acts_and_every_file_it_writes(
    stage: str, written: Path
) -> None:
    text = (ROOT / "study/dvc.yaml").read_text().replace("${section}", stage)
    made_of = yaml.safe_load(text)["stages"][stage]
    (params,) = (entry for entry in made_of["params"] if isinstance(entry, dict))
    # The engine changes no byte.
    other = {"grid", "claims", "pretrained"} - {stage}
    assert set(params["study/params.yaml"]) == set(type(STUDY).model_fields) - {"engine"} - other
    outs = {next(iter(out)) for out in made_of["outs"] + made_of["plots"]}
    folder = written / "metrics/study" / stage
    files = {f"metrics/study/{stage}/{file.name}" for file in folder.iterdir()}
    assert outs == {name for name in files if not name.endswith(".md")}


def test_each_row_stands_at_both_rates_against_the_baseline_of_the_same(tmp_path: Path) -> None:
    settings = STUDY.statistics
    better = {"baseline": {10: 0.9, 100: 0.95}, "frozen": {10: 0.8, 100: 0.85}}
    chosen = [
        dataclasses.replace(row, learning_rate=0.1, source_learning_rate=0.01)
        for row in made(shares=better)
    ]
    unsearched = made(shares={arm: SHARES[arm] for arm in better})
    unsearched = [cells for cells in unsearched if cells.row.labels < 1000]
    outputs.write(tmp_path, chosen, STUDY.grid, settings, unsearched=unsearched)
    rows = study_tables.read(tmp_path / "rates.csv", RateRow)
    assert len(rows) == 8
    rows = [row for row in rows if row.labels == 10]
    assert [(row.arm, row.chosen, row.learning_rate) for row in rows] == [
        ("baseline", 0, 0.001), ("baseline", 1, 0.1), ("frozen", 0, 0.001), ("frozen", 1, 0.1)
    ]  # fmt: skip
    assert [row.verdict for row in rows[2:]] == [TRANSFER_BETTER, BASELINE_BETTER]
    page = outputs.write_page(tmp_path, RULES).read_text()
    assert " of 3 verdicts are others than at the rates of no search" in page
    assert "| frozen | *better, then worse* | *better, then worse* |" in page
    assert "| frozen | 0.1 | 0.1 |" in page
    for row, own, base in (
        (rows[2], unsearched[2], unsearched[0]),
        (rows[3], chosen[2], chosen[0]),
    ):
        gains = own.accuracies - base.accuracies
        paired = scipy.stats.ttest_rel(own.accuracies, base.accuracies)
        interval = paired.confidence_interval(settings.confidence)
        told = (row.mean, row.gain, row.gain_low, row.gain_high, row.p)
        expected = (own.accuracies.mean(), gains.mean(), *interval, paired.pvalue)
        assert told == pytest.approx(expected, rel=1e-5)


def test_training_at_the_rates_of_no_search_stands_once(tmp_path: Path) -> None:
    unsearched = made()
    chosen = [dataclasses.replace(own, learning_rate=0.1) for own in unsearched[:4]]
    outputs.write(tmp_path, chosen + unsearched[4:], STUDY.grid, RULES, unsearched=unsearched)
    rows = study_tables.read(tmp_path / "cells.csv", CellRow)
    counts = [sum(row.chosen == which for row in rows) for which in (1, 0)]
    assert counts == [9 * SEEDS, 4 * SEEDS]
    areas = study_tables.read(tmp_path / "areas.csv", AreaRow)
    assert [sum(row.chosen == which for row in areas) for which in (1, 0)] == [6, 6]


def test_claims_are_judged_at_both_rates_and_say_what_hangs_on_them(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = {"baseline": {10: 0.6, 1000: 0.6}, "frozen": {10: 0.9, 1000: 0.95}}
    good = {"baseline": {10: 0.9, 1000: 0.95}, "frozen": {10: 0.9, 1000: 0.9}}
    unsearched = made(shares=notebook) + made(network="cnn", shares=good)
    chosen = [
        dataclasses.replace(own, learning_rate=0.1)
        for own in made(shares=good) + made(network="cnn", shares=good)
    ]
    folder = Path("metrics/study/claims")
    outputs.write(folder, chosen, STUDY.section("claims"), RULES, unsearched=unsearched)
    claims.write(Path("docs/claims.md"), folder, STUDY.section("claims"), RULES)
    text = Path("docs/claims.md").read_text()
    # The first claim, and both cases of the third.
    assert "; 1 of 3 judgements hang on it: at the rates of no search 0 of these are not" in text
    assert "in 0 of 2 cases; in 2 they do not, in 0 these seeds cannot tell, and in 0 an" in text
    assert "**Not supported at the rates chosen, supported without a search.**" in text
    (first,) = [line for line in text.splitlines() if line.startswith("| sandal_shirt | 1000 |")]
    assert first.split(" | ")[-3:-1] == ["not supported", "baseline better"]
    assert first.endswith("supported: hangs on the rate |")
    third = [line for line in text.splitlines() if line.startswith("| sandal_shirt | 0 | epochs=5")]
    assert len(third) == 2
    assert all(line.endswith(" not supported |") for line in third)


def test_each_row_stands_once_where_nothing_is_searched(tmp_path: Path) -> None:
    cells = made()
    outputs.write(tmp_path, cells, STUDY.grid, STUDY.statistics)
    page = outputs.write_page(tmp_path, RULES).read_text()
    assert "hangs on the learning rate" not in page
    rows = study_tables.read(tmp_path / "rates.csv", RateRow)
    assert [row.chosen for row in rows] == [1] * len(cells)
