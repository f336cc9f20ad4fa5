"""What `headstart check --study` says: counted, measured, and a cheaper grid."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from own_projects import new
from projects import edit_params
from studies import prepared

from headstart.core.parts import Drawn
from headstart.study import default_grid, forecast, parameters, stopwatch
from headstart.study.stopwatch import Speed

CHECK = ("python", "-m", "headstart.cli", "check", "--study")
SHORT = {
    "grid.seeds": "4",
    "grid.labels": "[2 a class, 20 a class]",
    "grid.training": "- steps: 300",
    "grid.learning_rates": "[0.001, 0.01]",
    "grid.search_seeds": "2",
}


def test_every_training_is_counted_with_its_search_and_its_source(raw: Path) -> None:
    grid = prepared(raw, labels=[10, 40], learning_rates=[0.01, 0.1], search_seeds=3)
    speed = Speed(step=1.0, network=0.0, first=0.0, features=0.0)
    speeds = {
        dataclasses.replace(kind, layers=layers): speed
        for group in grid.groups
        for kind in stopwatch.kinds(group)
        for layers in (None, 1)
    }
    spent = forecast.by_arm(grid, speeds)
    # Of one rate both rows are trained as if the search chose another; 10 labels have 5 folds.
    rows = 4 * 2 * (2 * 30 + sum(2 * -(-labels // 32) for labels in (10, 40)))
    searched = 2 * 3 * (5 * (30 + 2) + (30 + 2))
    assert spent["baseline"] == rows + searched
    assert spent["frozen"] == spent["baseline"]
    updates = -(-grid.source_work(grid.groups[-1].source).images // 32)
    assert spent[forecast.SOURCE] == updates * (4 + 2 * 3)
    assert set(spent) == {forecast.SOURCE, *grid.grid.arms}


def test_images_that_nobody_looks_at_take_no_memory() -> None:
    labels = {"all": np.arange(1_000_000) % 3}
    rows = {"train": Drawn("all", np.arange(900_000)), "test": Drawn("all", np.arange(9))}
    data = forecast.data(("a", "b", "c"), {}, labels, rows, (96, 96, 3))
    assert data.parts["train"].images.shape == (900_000, 96, 96, 3)
    assert set(data.parts["train"].images.strides) == {0}
    assert data.parts["test"].labels.tolist() == [0, 1, 2] * 3


def test_check_measures_every_arm_and_writes_a_cheaper_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new(tmp_path / "own", dataset="digits").quick()
    path = project.root / "study/params.yaml"
    edit_params(path, SHORT | {"grid.arms": "[baseline, frozen, gradual, random_frozen]"})
    said = project.run(*CHECK)
    for arm in ("baseline", "frozen", "gradual", "random_frozen", "source"):
        assert re.search(rf"^  {arm}: \d+ seconds", said, re.MULTILINE)
    assert "the study from nothing: about" in said
    assert not (project.root / "metrics/study").exists()
    assert "--cheaper is a word of --study" in project.run(*CHECK[:-1], "--cheaper", status=1)
    # A rung of the ladder that takes less is below it, whatever this machine is.
    edit_params(path, {"grid.learning_rates": "[0.001, 0.002, 0.004, 0.008, 0.01, 0.02, 0.04]"})
    edit_params(path, {"grid.training": "- steps: 3000"})
    before = path.read_text()
    said = project.run(*CHECK, "--cheaper")
    assert re.search(r"study/params.yaml: written, about .*: baseline, frozen", said)
    grid = parameters.load(path).grid
    assert grid.training[0].steps in (500, 200)
    assert grid.seeds == 4
    assert path.read_text().count("\n") == before.count("\n")


def test_ladder_goes_down() -> None:
    costs = [(len(rung.arms), rung.rates, rung.steps) for rung in default_grid.LADDER]
    assert costs == sorted(costs, reverse=True)
