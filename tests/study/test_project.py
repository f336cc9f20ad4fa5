"""The study of a project of `headstart init`: any images, any names, from parameters to a page."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from images import blobs
from labbooks import rows
from own_projects import Own, new
from projects import ROOT, edit_params
from studies import digests

from headstart.core import artefacts
from headstart.params import reading
from headstart.project import init
from headstart.reporting import study_tables
from headstart.reporting.study_tables import CellRow, SummaryRow
from headstart.study import parameters, stage

ODD = ["a_b|c <i>", "$x_{", "été *y* ${z}", "d e", "f=1, 2"]
TINY = {
    "grid.labels": "[2 a class, 5 a class, 50 a class, all]",
    "grid.seeds": "2",
    "grid.splits": "1",
    "grid.training": "[{steps: 5}]",
    "grid.arms": "[baseline, frozen, random_frozen]",
    "grid.learning_rates": "[0.01]",
    "statistics.bootstrap_samples": "100",
}
STUDY = ("python", "-m", "headstart.cli", "study")


def tiny(project: Own) -> Own:
    """Shrinks the study and the networks; returns the project."""
    edit_params(project.root / "study/params.yaml", TINY)
    network = "{name: mlp, units: [6], activation: relu}"
    edit_params(project.root / "params.yaml", {"network": network})
    return project.quick()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A project for colour photographs, three classes of which are told apart, after its study."""
    folder = tmp_path_factory.mktemp("photographs")
    photos = blobs(folder / "photos", ODD, each=20, size=(9, 8, 3))
    made = new(folder / "own", data=photos, target=ODD[:3])
    project = tiny(Own(made.root, recorded=True))
    said = project.run(*STUDY, "run")
    assert re.findall(r"^Running stage '(?:.*:)?(\w+)'", said, re.MULTILINE) == ["download", "grid"]
    project.commit("Study")
    return project


def test_study_goes_from_photographs_to_tables_page_and_lab_book(photographs: Own) -> None:
    folder = photographs.root / "metrics/study/grid"
    summary = study_tables.read(folder / "summary.csv", SummaryRow)
    # 36 training images: fifty a class are left out, and all is what there is.
    assert sorted({row.labels for row in summary}) == [6, 15, 36]
    assert {tuple(study_tables.classes_of(row.task)) for row in summary} == {tuple(ODD[:3])}
    cells = study_tables.read(folder / "cells.csv", CellRow)
    assert len(cells) == 3 * 3 * 2
    assert {row.test_images for row in cells} == {12}
    # A softmax over three classes on six features.
    assert {row.trainable_parameters for row in summary if row.arm == "frozen"} == {3 * 6 + 3}
    html = photographs.read("reports/study-grid.html")
    assert "a_b|c &lt;i&gt;, $x_{ and été *y* ${z} (mlp, 5 steps)" in html
    assert (folder / "study.md").is_file()
    (count,) = rows(photographs.root, "SELECT COUNT(*) FROM runs WHERE name = 'study grid'")
    assert count == (1,)
    parameters_ = dict(rows(photographs.root, "SELECT key, value FROM params"))
    assert json.loads(parameters_["tasks.target_classes"]) == ODD[:3]
    assert parameters_["network.name"] == "mlp"
    assert photographs.run("git", "status", "--porcelain") == ""
    assert "reports/study" not in photographs.run("git", "ls-files")


def test_second_study_trains_nothing_and_tells_the_answer(photographs: Own) -> None:
    answer = json.loads(photographs.read("metrics/study/grid/study.json"))["answer"]
    said = photographs.run(*STUDY, "run")
    assert "Running stage" not in said
    assert answer[0] in said
    assert photographs.run("git", "status", "--porcelain") == ""


def test_study_that_cannot_start_leaves_the_tables_of_the_last_one(
    photographs: Own, tmp_path: Path
) -> None:
    project = Own(photographs.clone_to(tmp_path / "own").root)
    folder = project.root / "metrics/study/grid"
    before = digests(folder)
    assert {"study.json", "summary.csv", "cost.png"} <= before.keys()
    edit_params(project.root / "study/params.yaml", {"grid.labels": "[6000]"})
    assert "study/params.yaml: grid.labels: 6000" in project.run(*STUDY, "run", status=1)
    assert digests(folder) == before


def test_power_and_saved_and_export_work_in_a_project(photographs: Own) -> None:
    said = photographs.run(*STUDY, "power", "--gain", "0.1")
    assert "(mlp, 5 steps): seeds for a gain of 10 points" in said
    (photographs.root / "curves.csv").write_text(
        "labels,arm,accuracy\n10,baseline,0.5\n100,baseline,0.9\n10,mine,0.7\n100,mine,0.9\n"
    )
    assert "mine" in photographs.run(*STUDY, "saved", "curves.csv")
    (photographs.root / "curves.csv").unlink()
    said = photographs.run(*STUDY, "export", "no such cell", status=1)
    (cell,) = re.findall(r"cells are named like (.*), with seeds", said)
    photographs.run(*STUDY, "export", cell, "--to", "../cell.npz")
    with np.load(photographs.root.parent / "cell.npz") as kept:
        assert json.loads(str(kept["about"]))["classes"] == ODD[:3]
        assert kept["train_images"].shape == (36, 9, 8, 3)
        assert kept["answers"].shape == (12,)


def test_other_tasks_in_the_parameters_are_another_study(photographs: Own, tmp_path: Path) -> None:
    project = Own(photographs.clone_to(tmp_path / "own").root)
    edit_params(project.root / "params.yaml", {"evaluate.alpha": "0.1"})
    assert "grid" not in project.run("dvc", "status", "study/dvc.yaml")
    edit_params(project.root / "params.yaml", {"tasks.target_classes": json.dumps(ODD[2:4])})
    assert "tasks" in project.run("dvc", "status", "study/dvc.yaml")
    assert "holds no answer to the grid" in project.run(*STUDY, "page", status=1)
    project.run(*STUDY, "run")
    summary = study_tables.read(project.root / "metrics/study/grid/summary.csv", SummaryRow)
    assert {tuple(study_tables.classes_of(row.task)) for row in summary} == {tuple(ODD[2:4])}


def test_npz_is_studied_on_the_images_that_prepare_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "images": random.integers(0, 256, (80, 9, 9), dtype=np.uint8),
        "labels": np.arange(80) % 4,
    }
    np.savez(tmp_path / "mine.npz", **arrays)
    project = tiny(new(tmp_path / "own", data=tmp_path / "mine.npz", target=["1", "3"]))
    project.repro("prepare")
    monkeypatch.chdir(project.root)
    prepared = stage.runner("grid")[0].prepared
    theirs = artefacts.read_part(project.root / "data/prepared/target", "train")
    ours = prepared.data.parts["train"]
    (question,) = prepared.questions
    np.testing.assert_array_equal(
        ours.images[np.isin(ours.labels, question.target.numbers)] / np.float32(255), theirs.images
    )
    stage.answer("grid")
    summary = study_tables.read(Path("metrics/study/grid/summary.csv"), SummaryRow)
    assert sorted({row.labels for row in summary}) == [4, 10, 24]


def test_study_of_a_project_declares_what_it_reads(tmp_path: Path) -> None:
    project = new(tmp_path / "own", dataset="digits")
    (ours,) = yaml.safe_load(project.read("study/dvc.yaml"))["stages"].values()
    theirs = yaml.safe_load((ROOT / "study/dvc.yaml").read_text())["stages"]["grid"]
    text = json.dumps(theirs).replace("${section}", "grid")
    expected = json.loads(text)
    assert ours["params"] == [*expected["params"], {"headstart.lock": ["study"]}]
    assert ours["outs"] == expected["outs"]
    assert ours["plots"] == expected["plots"]
    networks = ["data/raw/networks", "models/own"]
    assert ours["deps"] == ["data/raw/${dataset.name}", *networks, "stages/study.py"]
    assert project.read("stages/study.py") == (ROOT / "stages/study.py").read_text()
    assert re.search(r"^study: '[0-9a-f]{64}'$", project.read("headstart.lock"), re.MULTILINE)


@pytest.mark.parametrize(
    ("size", "arms", "rates", "seeds"),
    [((8, 8), 4, 3, 20), ((64, 64), 3, 1, 6)],
)
def test_fresh_grid_is_the_richest_that_ends_in_reasonable_time(
    tmp_path: Path, size: tuple[int, int], arms: int, rates: int, seeds: int
) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee", "cat", "dog"], each=30, size=(*size, 3))
    project = new(tmp_path / "own", data=photos, target=["ant", "bee"])
    grid = parameters.load(project.root / "study/params.yaml").grid
    assert (len(grid.arms), len(grid.learning_rates)) == (arms, rates)
    assert (grid.seeds, grid.splits) == (seeds, 5)
    assert {"baseline", "frozen", "random_frozen"} <= set(grid.arms)
    settings = reading.load(project.root / "params.yaml")
    assert grid.target_tasks == (settings.tasks.target_classes,)


def test_fresh_study_has_five_splits_where_images_are_few_and_none_are_set_apart(
    tmp_path: Path,
) -> None:
    images = np.zeros((2000, 4, 4), dtype=np.uint8)
    numbers = np.arange(2000) % 4
    for name, splits, arrays in (
        ("few", 5, {"images": images[:1990], "labels": numbers[:1990]}),
        ("many", 1, {"images": images, "labels": numbers}),
        (
            "given",
            1,
            {
                "x_train": images[:90],
                "y_train": numbers[:90],
                "x_test": images[:30],
                "y_test": numbers[:30],
            },
        ),
    ):
        np.savez(tmp_path / f"{name}.npz", **dict[str, Any](arrays))
        project = new(tmp_path / name, data=tmp_path / f"{name}.npz", target=["0", "1"])
        assert parameters.load(project.root / "study/params.yaml").grid.splits == splits


def test_data_too_small_for_a_study_still_make_a_project(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee", "cat", "dog"], each=3)
    project = new(tmp_path / "own", data=photos, target=["ant", "bee"])
    assert parameters.load(project.root / "study/params.yaml").grid.seeds == 20
    assert "study" not in init.STAGES
