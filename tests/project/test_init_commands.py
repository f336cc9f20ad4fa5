"""The commands on results in a project of `headstart init`, which holds no copy of the library."""

import json
from pathlib import Path

import pytest
from labbooks import rows, states
from own_projects import Own, new
from PIL import Image
from projects import Project

from headstart.core import artefacts


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A project on the digits, run and committed."""
    project = new(tmp_path_factory.mktemp("init") / "demo", dataset="digits").quick()
    project.repro()
    project.commit("Run")
    return project


def headstart(project: Project, *arguments: str, status: int = 0) -> str:
    return project.run("python", "-m", "headstart.cli", *arguments, status=status)


def test_publish_writes_what_the_stages_did_not_record(demo: Own) -> None:
    assert headstart(demo, "publish").count("written") == 4
    assert headstart(demo, "publish", "--rev", "main").count("present") == 4
    assert states(demo.root) == [("FINISHED", "active")] * 4


def test_register_takes_the_library_from_where_it_is_installed(demo: Own) -> None:
    said = headstart(demo, "register")
    assert "headstart-target version 1" in said
    assert "champion is now this version" in said
    (tags,) = rows(demo.root, "SELECT COUNT(*) FROM model_version_tags WHERE key = 'code.digest'")
    assert tags == (1,)
    kept = list((demo.root / "mlartifacts").rglob("code/headstart/serving.py"))
    assert len(kept) == 1, "what the server imports lies in the model"


def test_register_asks_for_a_commit_of_the_edited_stage(demo: Own, tmp_path: Path) -> None:
    project = demo.clone_to(tmp_path / "demo")
    stage = project.root / "stages/train_b.py"
    stage.write_text(stage.read_text() + "# An edit.\n")
    assert "not committed: stages/train_b.py" in headstart(project, "register", status=1)


def test_predict_names_the_digit_in_a_picture(demo: Own, tmp_path: Path) -> None:
    part = artefacts.read_part(demo.root / "data/prepared/target", "test")
    picture = tmp_path / "digit.png"
    Image.fromarray((part.images[0] * 255).round().astype("uint8")).save(picture)
    said = headstart(demo, "predict", str(picture))
    answers = demo.read("metrics/predictions.csv").splitlines()[1].split(",")
    arm = "transfer" if demo.record["comparison"]["verdict"] == "transfer better" else "baseline"
    label = int(answers[2 if arm == "baseline" else 3])
    names = json.loads(demo.read("data/prepared/classes.json"))["target"]["names"]
    assert f"digit.png: {names[label]} (probability " in said


def test_show_prints_the_verdict(demo: Own) -> None:
    assert demo.record["comparison"]["verdict"] in headstart(demo, "show")


def test_plots_are_one_page(demo: Own) -> None:
    said = headstart(demo, "plots", "main")
    assert said.strip().endswith("dvc_plots/index.html")
    assert "vegaEmbed" in demo.read("dvc_plots/index.html")
