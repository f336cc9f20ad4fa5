"""The parameters that dvc.yaml declares against those that the scripts really read."""

import pytest
import yaml
from images import blobs
from projects import ROOT, Project
from readings import read_by

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# What a stage reads and no output depends on: every source gives the same bytes, and wrong
# classes are refused before anything is fetched.
CANNOT_ACT = {"download": {"dataset.sources", "tasks.source_classes", "tasks.target_classes"}}


@pytest.fixture(scope="module")
def ready(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the small project, whose stages find all that they need."""
    return small.clone_to(tmp_path_factory.mktemp("read") / "project")


def inside(key: str, section: str) -> bool:
    """Tells whether a dotted key is `section` or lies in it."""
    return f"{key}.".startswith(f"{section}.")


@pytest.mark.parametrize("stage", STAGES)
def test_declared_parameters_are_those_that_a_stage_really_reads(
    ready: Project, stage: str
) -> None:
    declared = STAGES[stage]["params"]
    read = read_by(ready, f"stages/{stage}.py") - CANNOT_ACT.get(stage, set())
    if stage == "download":
        # Paths and sizes are asked for where the images are one's own.
        before = ready.read("params.yaml")
        blobs(ready.root / "data/own/photos", ("cat", "dog"))
        ready.set(dataset__name="own", dataset__path="data/own/photos")
        read |= read_by(ready, "stages/download.py")
        (ready.root / "params.yaml").write_text(before)
    undeclared = {key for key in read if not any(inside(key, section) for section in declared)}
    assert not undeclared, f"{stage} reads what dvc.yaml does not declare"
    unread = {section for section in declared if not any(inside(key, section) for key in read)}
    assert not unread, f"{stage} declares what it does not read"


def test_report_follows_the_parameters_that_it_prints(project: Project) -> None:
    """Class numbers in place of names change no other output."""
    assert "shirt" in project.read("reports/index.html")
    # Nor do fewer test images change what is trained.
    project.set(tasks__target_classes="[5, 6]", dataset__test_size="900")
    assert project.repro() == ["prepare", "evaluate"]
    assert "[5, 6]" in project.read("reports/index.html")
    project.set(dataset__sources="[/elsewhere]")
    assert project.repro() == []
