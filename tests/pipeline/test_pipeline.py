"""The pipeline under real DVC: what runs when, and what it leaves behind."""

import csv
from pathlib import Path

import numpy as np
import pytest
from projects import Project, edit_params, kept_in_git

STAGES = ["download", "prepare", "train_a", "train_b", "transfer", "evaluate"]


@pytest.fixture(scope="module")
def small(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy for this file, whose tests edit it and put it back."""
    return small.clone_to(tmp_path_factory.mktemp("small") / "project")


def test_second_repro_runs_nothing(project: Project) -> None:
    assert project.repro() == []
    assert project.run("git", "status", "--porcelain") == ""


def test_record_and_answers_are_of_the_test_images(small: Project) -> None:
    labels = {
        model: np.load(small.root / f"data/prepared/{task}/test_labels.npy").tolist()
        for model, task in (("baseline", "target"), ("source", "source"))
    }
    answers = list(csv.DictReader(small.read("metrics/predictions.csv").splitlines()))
    assert [int(row["actual"]) for row in answers] == labels["baseline"]
    for model, actual in labels.items():
        commonest = max(map(actual.count, set(actual)))
        assert small.record[model]["majority_rate"] == commonest / len(actual)


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("transfer.strategy", "finetune", {"transfer", "evaluate"}),
        ("target_training.epochs", "3", {"train_b", "transfer", "evaluate"}),
        ("train_b.overrides", "{epochs: 3}", {"train_b", "evaluate"}),
        ("source_training.epochs", "3", {"train_a", "evaluate"}),
        ("evaluate.alpha", "0.01", {"evaluate"}),
        ("dataset.test_size", "900", {"prepare", "evaluate"}),
        ("tasks.target_classes", "[bag, boot]", {"prepare", "evaluate"}),
        ("dataset.sources", "[/nowhere]", set()),
        ("seed", "1", {"train_a", "train_b", "transfer", "evaluate"}),
    ],
)
def test_edited_parameters_rerun_only_the_stages_that_read_them(
    small: Project, key: str, value: str, stages: set[str]
) -> None:
    before = small.read("params.yaml")
    try:
        edit_params(small.root / "params.yaml", {key: value})
        assert small.changed() == stages
    finally:
        (small.root / "params.yaml").write_text(before)


@pytest.mark.parametrize(
    ("file", "text", "stages"),
    [
        ("src/headstart/reporting/templates/report.html", "<!-- -->", {"evaluate"}),
        ("src/headstart/tracking/__init__.py", "\n# A comment.\n", set()),
        ("src/headstart/params/fields.py", "\nNEW_KEY = 1\n", set()),
        ("src/headstart/params/reading.py", "\nNEW_KEY = 1\n", set()),
        ("src/headstart/params/yaml_text.py", "\nNEW_KEY = 1\n", set()),
        ("src/headstart/params/sections.py", "\nNEW_KEY = 1\n", set(STAGES)),
        ("src/headstart/project/check.py", "\nNEW_KEY = 1\n", set()),
        ("src/headstart/cli.py", "\nNEW_KEY = 1\n", set()),
        ("src/headstart/reporting/page.py", "\n# A comment.\n", {"evaluate"}),
        ("src/headstart/transfer/graft.py", "\n# A comment.\n", {"transfer"}),
        ("src/headstart/learning/fit.py", "\n#\n", {"train_a", "train_b", "transfer", "evaluate"}),
    ],
)
def test_edited_code_reruns_only_the_stages_that_use_it(
    small: Project, file: str, text: str, stages: set[str]
) -> None:
    path = small.root / file
    before = path.read_text()
    try:
        path.write_text(before + text)
        assert small.changed() == stages
    finally:
        path.write_text(before)


def test_edited_transfer_reruns_transfer_and_evaluate_and_going_back_trains_nothing(
    project: Project,
) -> None:
    before = kept_in_git(project)
    project.set(transfer__strategy="gradual")
    assert project.repro() == ["transfer", "evaluate"]
    assert kept_in_git(project) != before
    project.set(transfer__strategy="frozen")
    assert project.repro() == []
    assert kept_in_git(project) == before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tasks.target_classes", "[sandal, boat]", "there is no class 'boat'"),
        ("tasks.target_classes", "[0, 1, 2, 3, 4, 5, 6, 7, 8]", "for the source task"),
        ("source_training.learning_rate", "0", "source_training.learning_rate: 0 must be greater"),
        ("dataset.valid_size", "70000", "dataset.valid_size: 70000"),
        ("dataset.train_size", "59500", "dataset.train_size: 59500"),
    ],
)
def test_impossible_parameters_end_in_one_message(
    small: Project, tmp_path: Path, key: str, value: str, said: str
) -> None:
    project = small.clone_to(tmp_path / "project")
    edit_params(project.root / "params.yaml", {key: value})
    shown = project.run("python", "stages/prepare.py", status=1)
    assert said in shown
    assert "Traceback" not in shown
    assert shown.startswith("error: ")


def test_stage_runs_the_library_of_its_own_checkout(small: Project, tmp_path: Path) -> None:
    project = small.clone_to(tmp_path / "project")
    path = project.root / "src/headstart/data/tasks.py"
    marked = path.read_text().replace("def cut(", "print('this checkout')\n\n\ndef cut(")
    path.write_text(marked)
    # As an editable install of another checkout would have it.
    assert "this checkout" in project.run(
        "python", "stages/prepare.py", PYTHONPATH=str(small.root / "src")
    )


def test_stage_outside_the_environment_says_what_to_do(small: Project) -> None:
    shown = small.run("python", "-S", "stages/prepare.py", status=1)
    assert "source .venv/bin/activate" in shown


def test_show_prints_what_evaluate_printed(small: Project, tmp_path: Path) -> None:
    shown = small.run("python", "-m", "headstart.cli", "show", PYTHONPATH="src")
    said = small.run(
        "python", "stages/evaluate.py", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/other.db"
    )
    # The source's interval apart, whose number of test images git does not hold.
    assert shown.splitlines()[-4:] == said.splitlines()[-4:]
    assert "Verdict: " in shown
    assert small.run("git", "status", "--porcelain", "--", "metrics", "reports") == ""
