"""The study's tables, page, claims and MLflow run, from cells made up here: nothing is trained."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import scipy.stats
import yaml
from labbooks import new_store
from projects import ROOT

from headstart.core.errors import UserError
from headstart.judging.verdict import BASELINE_BETTER, INVALID, TRANSFER_BETTER
from headstart.reporting import study_figures, study_tables, style
from headstart.reporting.page import from_markdown
from headstart.reporting.study_tables import CellRow, DerivedRow, SummaryRow, VerdictRow
from headstart.study import cells_table, claims, derived_table, outputs, parameters
from headstart.study.plan import Row
from headstart.study.prepare import Cost

STUDY = parameters.load(ROOT / "study/params.yaml")
SEEDS = 12
# Share of right answers by arm and label budget.
SHARES = {
    "baseline": {10: 0.6, 100: 0.8, 1000: 0.95},
    "frozen": {10: 0.8, 100: 0.85, 1000: 0.86},
    "finetune": {10: 0.8, 100: 0.9, 1000: 0.95},
}


def made(
    task: str = "sandal_shirt",
    network: str = "mlp",
    training: str = "epochs=5",
    shift: int = 0,
    shares: Any = SHARES,
) -> list[cells_table.Cells]:
    """Cells whose answers are right with the given shares, drawn anew for each seed."""
    cells = []
    for arm, by_labels in shares.items():
        for labels, share in by_labels.items():
            draws = np.random.default_rng(labels)
            actual = np.arange(200) % 2
            right = draws.random((SEEDS, 200)) < share
            cost = Cost(100, labels, 1000 * labels, 5000 * labels, 0 if arm == "baseline" else 9)
            cells.append(
                cells_table.Cells(
                    row=Row(task, shift, network, training, labels, arm),
                    answers=np.where(right, actual, 1 - actual),
                    actual=actual,
                    finite=np.ones(SEEDS, dtype=bool),
                    learning_rates=(0.001,) * SEEDS,
                    validation_labels=0,
                    cost=cost,
                )
            )
    return cells


@pytest.fixture(scope="module")
def written(tmp_path_factory: Any) -> Path:
    """A project with the outputs of a made-up study of two networks."""
    root = tmp_path_factory.mktemp("written")
    (root / "study").mkdir()
    for name in ("params.yaml", "study/params.yaml"):
        shutil.copy(ROOT / name, root / name)
    cells = made() + made(network="cnn") + made(shift=4) + made(network="cnn", shift=4)
    for section in ("grid", "claims"):
        outputs.write(
            root / "metrics/study" / section, cells, getattr(STUDY, section), STUDY.statistics
        )
    return root


def test_verdicts_are_told_for_ranges_of_neighbouring_budgets() -> None:
    curves = cells_table.curves(made())
    summary = cells_table.summary_rows(curves, STUDY.statistics)
    verdicts = derived_table.verdict_rows(curves, summary, STUDY.statistics)
    frozen = [row for row in verdicts if row.arm == "frozen"]
    assert [(row.from_labels, row.to_labels, row.verdict) for row in frozen] == [
        (10, 100, TRANSFER_BETTER),
        (1000, 1000, BASELINE_BETTER),
    ]
    assert derived_table.verdict_sentence(frozen[0]).startswith(
        "frozen, with 10 to 100 labels: transfer better, mean gain +0."
    )


def test_arm_that_answers_one_class_in_half_of_its_seeds_is_an_invalid_comparison() -> None:
    cells = made()
    cells[3].answers[: SEEDS // 2] = 1
    curves = cells_table.curves(cells)
    summary = cells_table.summary_rows(curves, STUDY.statistics)
    row = next(row for row in summary if (row.arm, row.labels) == ("frozen", 10))
    assert row.degenerate == SEEDS // 2
    assert row.mean == pytest.approx(cells[3].accuracies.mean())
    verdicts = derived_table.verdict_rows(curves, summary, STUDY.statistics)
    assert verdicts[0].verdict == INVALID


def test_holm_counts_the_arms_and_budgets_of_one_task_and_training_budget() -> None:
    alone = cells_table.summary_rows(cells_table.curves(made()), STUDY.statistics)
    both = cells_table.summary_rows(
        cells_table.curves(made() + made(training="steps=9")), STUDY.statistics
    )
    np.testing.assert_equal([row.p_adjusted for row in both[:9]], [row.p_adjusted for row in alone])
    smallest = np.nanmin([row.p for row in alone])
    assert np.nanmin([row.p_adjusted for row in alone]) == pytest.approx(6 * smallest)


def test_gains_and_their_p_values_are_paired_by_seed() -> None:
    curves = cells_table.curves(made())
    (arms,) = curves.values()
    for row in cells_table.summary_rows(curves, STUDY.statistics):
        if row.arm != "frozen":
            continue
        own, base = (
            next(cells for cells in arms[arm].rows if cells.row.labels == row.labels).accuracies
            for arm in ("frozen", "baseline")
        )
        paired = scipy.stats.ttest_rel(own, base)
        interval = paired.confidence_interval(STUDY.statistics.confidence)
        expected = (paired.pvalue, interval.low, interval.high)
        assert (row.p, row.gain_low, row.gain_high) == pytest.approx(expected, rel=1e-5)


def test_answer_says_how_many_labels_transfer_saves() -> None:
    curves = cells_table.curves(made())
    derived = derived_table.derived_rows(curves, STUDY.statistics)
    (line,) = derived_table.sentences(curves, derived, confidence=0.95)
    assert line.startswith("sandal and shirt (mlp): with 10 labels and 5 epochs, transfer (")
    assert "saves" in line
    assert "95 % interval" in line


def test_one_seed_gives_tables_without_intervals(tmp_path: Path) -> None:
    cells = [
        dataclasses.replace(
            cell,
            answers=cell.answers[:1],
            finite=cell.finite[:1],
            learning_rates=cell.learning_rates[:1],
        )
        for cell in made()
    ]
    outputs.write(tmp_path, cells, STUDY.grid, STUDY.statistics)
    row = study_tables.read(tmp_path / "summary.csv", SummaryRow)[3]
    assert np.isnan([row.low, row.gain_high, row.p]).all()
    assert ",," in (tmp_path / "summary.csv").read_text()
    assert "nan" not in outputs.write_page(tmp_path, STUDY.statistics).read_text()


def test_single_label_budget_gives_tables_and_a_page(tmp_path: Path) -> None:
    cells = [cell for cell in made() if cell.row.labels == 10]
    (line,) = outputs.write(tmp_path, cells, STUDY.grid, STUDY.statistics)
    assert "is ahead with every budget here: the baseline needs at least 10" in line
    page = outputs.write_page(tmp_path, STUDY.statistics).read_text()
    assert "| sandal_shirt | mlp | 0 | epochs=5 | frozen | 10 | 1 |" in page


def test_baseline_alone_gives_tables_and_a_page_without_verdicts(tmp_path: Path) -> None:
    cells = [cell for cell in made() if cell.row.arm == "baseline"]
    outputs.write(tmp_path, cells, STUDY.grid, STUDY.statistics)
    assert study_tables.read(tmp_path / "verdicts.csv", VerdictRow) == []
    page = outputs.write_page(tmp_path, STUDY.statistics).read_text()
    assert "No transferred arm was asked for." in page


def test_task_named_by_numbers_stays_what_it_is_called(tmp_path: Path) -> None:
    """`0_1` is a number to Python: int("0_1") is 1."""
    outputs.write(tmp_path, made(task="0_1"), STUDY.grid, STUDY.statistics)
    assert {row.task for row in study_tables.read(tmp_path / "cells.csv", CellRow)} == {"0_1"}
    page = outputs.write_page(tmp_path, STUDY.statistics).read_text()
    assert "### 0_1, mlp, epochs=5\n" in page
    assert "| 0_1 | mlp | 0 |" in page


def test_rows_read_are_the_rows_written(tmp_path: Path) -> None:
    curves = cells_table.curves(made())
    summary = cells_table.summary_rows(curves, STUDY.statistics)
    study_tables.write(tmp_path / "summary.csv", SummaryRow, summary)
    again = study_tables.read(tmp_path / "summary.csv", SummaryRow)
    # Text, since an undefined number is not equal to itself.
    assert [str(row) for row in again] == [str(row) for row in summary]
    derived = derived_table.derived_rows(curves, STUDY.statistics)
    study_tables.write(tmp_path / "derived.csv", DerivedRow, derived)
    again_derived = study_tables.read(tmp_path / "derived.csv", DerivedRow)
    assert [str(row) for row in again_derived] == [str(row) for row in derived]


def test_page_begins_with_the_answer_and_shows_the_pictures(written: Path) -> None:
    page = outputs.write_page(written / "metrics/study/grid", STUDY.statistics).read_text()
    assert page.splitlines()[2].startswith("**sandal and shirt (mlp): with 10 labels")
    for name in ("label_efficiency", "paired_differences", "cost"):
        assert f"({name}.png)" in page
        assert (written / f"metrics/study/grid/{name}.png").stat().st_size > 10_000


def test_page_as_html_needs_no_other_file_and_takes_no_html_from_names(
    written: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(written / "metrics/study/grid", tmp_path / "grid")
    page = outputs.write_page(folder, STUDY.statistics)
    page.write_text(page.read_text() + "\n<script>alert(1)</script>\n")
    from_markdown(tmp_path / "study.html", page)
    html = (tmp_path / "study.html").read_text()
    assert html.count('src="data:image/png;base64,') == len(list(folder.glob("*.png")))
    assert "<table>" in html
    assert "<script>" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_equal_cells_give_equal_bytes(written: Path, tmp_path: Path) -> None:
    cells = made() + made(network="cnn") + made(shift=4) + made(network="cnn", shift=4)
    outputs.write(tmp_path, cells, STUDY.grid, STUDY.statistics)
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (written / "metrics/study/grid" / file.name).read_bytes()


def test_heat_map_of_pairs_is_drawn(tmp_path: Path) -> None:
    cells = made() + made(task="sandal_bag") + made(task="shirt_bag")
    summary = cells_table.summary_rows(cells_table.curves(cells), STUDY.statistics)
    style.write_png(tmp_path / "p.png", study_figures.pairs(summary, arm="frozen", labels=10))
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_arms_have_looks_of_their_own_without_an_entry_for_each() -> None:
    assert len({study_figures.looks(arm) for arm in SHARES}) == len(SHARES)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.3, 0.5, "supported"),
        (0.0, 0.2, "not supported"),
        (0.1, 0.5, "undetermined"),
        (float("nan"), float("nan"), "undetermined"),
    ],
)
def test_claim_is_judged_by_where_its_interval_lies(low: Any, high: Any, expected: Any) -> None:
    assert claims.judged(low, high, wanted=0.25) == expected


def test_claim_without_limits_fails_with_one_case() -> None:
    assert claims.overall(["supported", "supported"]) == "supported"
    assert claims.overall(["supported", "not supported"]) == "not supported"
    assert claims.overall(["supported", "undetermined"]) == "undetermined"


def test_claims_are_answered_from_the_tables(written: Path) -> None:
    path = written / "docs/claims.md"
    folder = written / "metrics/study/claims"
    claims.write(path, folder, STUDY.claims, STUDY.statistics)
    text = path.read_text()
    assert (
        "## 1. Transfer gives 0.99 where normal training gives 0.50\n\n**Not supported.**" in text
    )
    assert "Trainable parameters: not supported" in text
    assert "**Not supported where images stay" in text
    assert "What the study cannot tell" in text


def test_committed_claims_are_those_of_the_committed_tables(
    tmp_path: Path, monkeypatch: Any
) -> None:
    folder = Path("metrics/study/claims")
    if not (ROOT / folder / "summary.csv").is_file():
        pytest.skip("make claims has not run in this checkout")
    (tmp_path / "docs").mkdir()
    # The page names its pictures by the folder that it was handed.
    monkeypatch.chdir(ROOT)
    claims.write(tmp_path / "docs/claims.md", folder, STUDY.claims, STUDY.statistics)
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
    other = {"grid", "claims"} - {stage}
    assert set(params["study/params.yaml"]) == set(type(STUDY).model_fields) - {"engine"} - other
    outs = {next(iter(out)) for out in made_of["outs"] + made_of["plots"]}
    folder = written / "metrics/study" / stage
    files = {f"metrics/study/{stage}/{file.name}" for file in folder.iterdir()}
    assert outs == {name for name in files if not name.endswith(".md")}
