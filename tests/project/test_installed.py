"""Every command in a project of `headstart init`, with headstart installed from its wheel."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from images import save
from installed import Installed, install
from labbooks import rows, states
from own_projects import QUICK
from projects import edit_params

from headstart.core import artefacts


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A project on digits after its first `headstart run`, committed."""
    folder = tmp_path_factory.mktemp("installed")
    environment = install(folder)
    Installed(folder, environment=environment).run(
        "headstart", "init", "my project", "--dataset", "digits"
    )
    project = Installed(folder / "my project", environment=environment)
    edit_params(project.root / "params.yaml", QUICK)
    printed = project.run("headstart", "run")
    assert f"Verdict: {project.record['comparison']['verdict']}" in printed
    project.commit("Run")
    return project


def executed(printed: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", printed, re.MULTILINE)


def test_headstart_is_the_installed_one(project: Installed) -> None:
    assert project.library.is_relative_to(project.environment)
    assert project.run("headstart", "--version") == "headstart 0.1.0\n"


def test_last_two_digits_are_the_target_task(project: Installed) -> None:
    classes = json.loads(project.read("data/prepared/classes.json"))
    assert classes["target"] == {"numbers": [8, 9], "names": ["8", "9"]}


def test_second_run_runs_nothing_and_ends_with_the_verdict(project: Installed) -> None:
    printed = project.run("headstart", "run")
    assert executed(printed) == []
    assert printed.count("Verdict: ") == 1
    assert printed.rstrip().endswith(project.run("headstart", "show").rstrip())
    assert project.run("git", "status", "--porcelain") == ""


def test_words_of_run_go_on_to_dvc(project: Installed) -> None:
    printed = project.run("headstart", "run", "--single-item", "--force", "prepare")
    assert executed(printed) == ["prepare"]
    assert "--nothing-such" in project.run("headstart", "run", "--nothing-such", status=1)


def test_report_names_the_command_that_is_there(project: Installed) -> None:
    report = project.read("reports/index.html")
    assert "headstart run" in report
    assert "make run" not in report


def test_predict_names_the_digit_in_a_picture(project: Installed) -> None:
    part = artefacts.read_part(project.root / "data/prepared/target", "test")
    save(project.root.parent / "digit.png", np.rint(part.images[0] * 255).astype(np.uint8))
    arm = "transfer" if "transfer better" in project.read("metrics/metrics.json") else "baseline"
    (first, *_) = csv.DictReader(project.read("metrics/predictions.csv").splitlines())
    printed = project.run("headstart", "predict", "../digit.png")
    assert f"../digit.png: {'89'[int(first[arm])]} (probability " in printed


def test_lab_book_has_the_run(project: Installed) -> None:
    assert project.run("headstart", "publish", "--rev", "main").count("present") == 4
    assert states(project.root) == [("FINISHED", "active")] * 4


def test_study_ends_with_page_lab_book_and_seeds_that_would_show_more(project: Installed) -> None:
    small = {
        "grid.seeds": "2",
        "grid.labels": "[2 a class, all]",
        "grid.training": "- steps: 5",
        "grid.learning_rates": "[0.01]",
        "grid.splits": "1",
    }
    edit_params(project.root / "study/params.yaml", small)
    printed = project.run("headstart", "study", "run")
    assert executed(printed.replace("study/dvc.yaml:", "")) == ["grid"]
    assert "8 and 9 (mlp, 5 steps):\n" in printed
    assert "<h1>" in project.read("reports/study-grid.html")
    assert "frozen" in project.run("headstart", "study", "power", "--gain", "0.05")
    assert "study grid: there already" in project.run("headstart", "study", "publish")
    assert "8 and 9" in project.run("headstart", "study", "run")
    project.commit("Study")
    assert "grid" not in project.run("dvc", "status", "study/dvc.yaml")


def test_registry_gets_the_model_with_the_installed_library(project: Installed) -> None:
    printed = project.run("headstart", "register")
    assert "headstart-target version 1" in printed
    assert "champion is now this version" in printed
    (tags,) = rows(
        project.root, "SELECT COUNT(*) FROM model_version_tags WHERE key = 'code.digest'"
    )
    assert tags == (1,)
    kept = list(project.root.glob("mlartifacts/**/code/headstart/serving.py"))
    assert len(kept) == 1, "what the server imports lies in the model"
    assert project.run("git", "status", "--porcelain") == ""


def test_register_asks_for_a_commit_of_the_edited_stage(project: Installed) -> None:
    stage = project.root / "stages/train_b.py"
    before = stage.read_text()
    try:
        stage.write_text(before + "# An edit.\n")
        assert "not committed: stages/train_b.py" in project.run("headstart", "register", status=1)
    finally:
        stage.write_text(before)


def test_charts_are_drawn_and_ignored_by_git(project: Installed) -> None:
    assert project.run("headstart", "plots").strip().endswith("dvc_plots/index.html")
    assert "vegaEmbed" in project.read("dvc_plots/index.html")
    assert project.run("git", "status", "--porcelain") == ""


def test_check_ends_well_in_an_environment_that_is_not_activated(project: Installed) -> None:
    printed = project.run("headstart", "check")
    assert "would not start its stages with that, `headstart run` does" in printed
    assert printed.endswith("nothing stands in the way of `headstart run`\n")


def test_update_of_headstart_reruns_what_it_changes(project: Installed) -> None:
    graft = project.library / "transfer/graft.py"
    before = graft.read_text()
    try:
        graft.write_text(f"{before}\n# A comment changes nothing.\n")
        assert executed(project.run("headstart", "run")) == []
        graft.write_text(f"{before}\nNEW = 1\n")
        # DVC alone sees no update; a stage that it runs all the same does.
        assert executed(project.run("dvc", "repro")) == []
        edit_params(project.root / "params.yaml", {"transfer.overrides.epochs": "3"})
        printed = project.run("dvc", "repro", status=255, PATH=f"{project.environment}/bin:/bin")
        assert "error: headstart.lock: was written by another headstart (0.1.0)" in printed
        assert "start the pipeline with `headstart run`" in printed
        assert "Traceback" not in printed
        edit_params(project.root / "params.yaml", {"transfer.overrides.epochs": "null"})
        assert executed(project.run("headstart", "run")) == ["transfer"]
        assert "headstart.lock" in project.run("git", "status", "--porcelain")
    finally:
        graft.write_text(before)
        project.run("git", "checkout", "-q", ".")


def test_lock_is_written_by_check_too(project: Installed) -> None:
    (project.root / "headstart.lock").unlink()
    project.run("headstart", "check")
    assert project.run("git", "status", "--porcelain") == ""


def test_folder_swallowed_by_an_option_is_told(project: Installed, tmp_path: Path) -> None:
    new = str(tmp_path / "new")
    printed = project.run(
        "headstart", "init", "--dataset", "digits", "--target", "3", "5", new, status=1
    )
    assert f"error: {new}: is no class" in printed
    assert f"headstart init {new} ..." in printed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_wheel_with_all_that_is_locked_takes_a_new_user_to_a_verdict(tmp_path: Path) -> None:
    environment = install(tmp_path, locked=True)
    Installed(tmp_path, environment=environment).run(
        "headstart", "init", "mine", "--dataset", "digits"
    )
    project = Installed(tmp_path / "mine", environment=environment)
    edit_params(project.root / "params.yaml", QUICK)
    assert project.library.is_relative_to(environment)
    code = "import tensorflow, mlflow; print(tensorflow.__file__, mlflow.__file__)"
    assert project.run("python", "-c", code).count(str(environment)) == 2
    assert "Verdict: " in project.run("headstart", "run")
    assert "Verdict: " in project.run("headstart", "show")
