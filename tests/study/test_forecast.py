"""What `headstart check --study` says: counted, measured, and a cheaper grid."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_projects import new
from projects import Project, edit_params
from studies import Here, prepared, write_network

from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn
from headstart.data import digits
from headstart.params import reading
from headstart.params.sections import Params
from headstart.project.report import Data
from headstart.study import adopt, default_grid, forecast, parameters, stopwatch
from headstart.study.prepare import Prepared
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


def test_network_from_elsewhere_takes_its_passes_and_for_each_seed_a_fresh_one(raw: Path) -> None:
    grid = prepared(
        raw,
        labels=[10, 40],
        seeds=3,
        training=[{"steps": 5}],
        arms=["baseline", "frozen", "random_frozen"],
        sources=[{"from": "models/own/mine.keras"}],
    )
    speed = Speed(step=0.0, network=0.0, first=0.0, features=1.0, begun=100.0, drawn=1000.0)
    spent = forecast.by_arm(
        grid, {kind: speed for group in grid.groups for kind in stopwatch.kinds(group)}
    )
    (target,) = {group.question.target for group in grid.groups}
    train, test = (
        int(np.isin(grid.data.parts[part].labels, target.numbers).sum())
        for part in ("train", "test")
    )
    # Whatever the labels, each image passes what was learned once.
    assert spent["frozen of mine"] == 100 + train + test
    assert spent["random_frozen of mine"] == 100 + 3 * (1000 + 40 + test)
    kinds = {kind for group in grid.groups for kind in stopwatch.kinds(group)}
    kept = dict.fromkeys(kinds, dataclasses.replace(speed, kept=32))
    assert forecast.features_bytes(grid, kept) == 32 * (train + test + 3 * (40 + test))


def test_network_from_elsewhere_is_counted_once_whatever_stands_beside_it(raw: Path) -> None:
    networks = [{"name": "mlp", "units": [units], "activation": "relu"} for units in (8, 16)]
    mine = {"from": "models/own/mine.keras"}
    same = mine | {"name": "same"}
    speed = Speed(step=1.0, network=0.0, first=0.0, features=1.0, begun=1.0, drawn=1.0)

    def spent(**grid: Any) -> tuple[dict[str, float], float]:
        made = prepared(
            raw, labels=[10], arms=["baseline", "frozen", "finetune", "random_frozen"], **grid
        )
        kinds = {kind for group in made.groups for kind in stopwatch.kinds(group)}
        return forecast.by_arm(made, dict.fromkeys(kinds, speed)), forecast.seconds(made)

    alone, seconds = spent(networks=networks[:1], sources=[mine])
    both, of_both = spent(networks=networks, sources=[mine])
    assert both == alone | {"baseline": 2 * alone["baseline"]}
    twice, of_twice = spent(networks=networks[:1], sources=[mine, same])
    assert twice == alone | {
        f"{arm} of same": 0.0 for arm in ("frozen", "finetune", "random_frozen")
    }
    assert of_twice == seconds < of_both < 1.1 * seconds


def test_measuring_keeps_no_features(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_network(tmp_path / "models/own/mine.keras", 1)
    monkeypatch.chdir(tmp_path)
    grid = prepared(
        raw,
        labels=[10],
        training=[{"steps": 5}],
        arms=["baseline", "frozen", "random_frozen"],
        sources=[{"from": "models/own/mine.keras"}],
    )
    speeds = stopwatch.speeds(grid)
    assert any(kind.origin and speed.features > 0 for kind, speed in speeds.items())
    # Eight numbers an image.
    assert {speed.kept for kind, speed in speeds.items() if kind.origin} == {32}
    assert not (tmp_path / ".headstart").exists()


def test_networks_from_elsewhere_are_read_once_for_heads_and_once_for_what_trains(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ["models/own/mine.keras", "models/own/yours.keras"]
    for seed, place in enumerate(places):
        write_network(tmp_path / place, seed)
    monkeypatch.chdir(tmp_path)
    grid = prepared(
        raw,
        target_tasks=[["sandal", "shirt"], ["bag", "shirt"]],
        labels=[10, 40],
        training=[{"steps": 5}],
        arms=["baseline", "frozen", "finetune"],
        sources=[{"from": place} for place in places],
    )
    # In this process: what it measures is the same.
    monkeypatch.setattr(stopwatch, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(stopwatch, "_SECONDS", 0.01)
    read, network = [], adopt.network

    def counted(source: parameters.Source, *asked: Any) -> Any:
        read.append(source.from_)
        return network(source, *asked)

    monkeypatch.setattr(adopt, "network", counted)
    speeds = stopwatch.speeds(grid)
    assert sorted(read) == sorted(2 * places)
    assert {kind for group in grid.groups for kind in stopwatch.kinds(group)} <= speeds.keys()


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
        assert re.search(rf"^  {arm}: \d+ seconds?\b", said, re.MULTILINE)
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


def alike(prepared: Prepared) -> dict[stopwatch.Kind, Speed]:
    """All kinds of updates of a grid as if they were equally quick."""
    speed = Speed(step=0.0001, network=0.0, first=0.0, features=0.0)
    kinds = {kind for group in prepared.groups for kind in stopwatch.kinds(group)}
    kinds |= {dataclasses.replace(kind, layers=None) for kind in kinds if not kind.origin}
    return dict.fromkeys(kinds, speed)


def digits_of(project: Project) -> tuple[Params, Data]:
    """The parameters and data of a project with the handwritten digits."""
    survey = digits.survey()
    data = Data(survey.classes, survey.aliases, survey.labels(), survey.sizes[0], counted=True)
    return reading.load(project.root / "params.yaml"), data


@pytest.mark.parametrize(
    ("arms", "sources"),
    [
        ("[baseline]", "[trained]"),
        ("[baseline, finetune]", "[trained]"),
        ("[baseline, last:2]", "[{from: keras:MobileNetV2}]"),
    ],
)
def test_cheaper_grid_may_have_arms_that_the_study_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arms: str, sources: str
) -> None:
    project = new(tmp_path / "own", dataset="digits")
    path = project.root / "study/params.yaml"
    edit_params(path, SHORT | {"grid.arms": arms, "grid.sources": sources})
    edit_params(path, {"grid.training": "- steps: 9000", "grid.learning_rates": "[0.001]"})

    settings, data = digits_of(project)
    monkeypatch.setattr(stopwatch, "speeds", alike)
    with monkeypatch.context() as shorter:
        shorter.setattr(default_grid, "SECONDS", 1)
        said = "\n".join(default_grid.outlook(path, settings, data, cheaper=False))
    hint = "224 x 224 pixels: `input_size: [96, 96]` where it is named takes about 5 times fewer"
    assert (hint in said) == ("trained" not in sources)
    lines = default_grid.outlook(path, settings, data, cheaper=True)
    assert "written" in lines[-1]
    left_out = [line for line in lines if "which the grid leaves out" in line]
    assert {line.partition(" of ")[0] for line in left_out} == (
        set() if "trained" in sources else {"finetune", "scratch_same"}
    )


def test_grids_that_the_labels_are_too_few_for_are_no_cheaper_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new(tmp_path / "own", dataset="digits")
    path = project.root / "study/params.yaml"
    # With one label a class nothing can validate, which the first rungs of the ladder ask for.
    few = {"grid.labels": "[1 a class, 20 a class]", "grid.learning_rates": "[0.001]"}
    edit_params(path, SHORT | few | {"grid.training": "- steps: 9000"})
    monkeypatch.setattr(stopwatch, "speeds", alike)
    lines = default_grid.outlook(path, *digits_of(project), cheaper=True)
    assert "written" in lines[-1]
    assert parameters.load(path).grid.learning_rates == (0.001,)
    # What trains no longer than this, and takes clearly less, is none of a fresh project's grids.
    edit_params(path, SHORT | few | {"grid.training": "- steps: 10"})
    before = path.read_text()
    lines = default_grid.outlook(path, *digits_of(project), cheaper=True)
    assert "no grid of a fresh project is cheaper" in lines[-1]
    assert path.read_text() == before
    # Nor can any other grid that starts from networks trained on no classes.
    edit_params(path, {"grid.source_classes": "none", "grid.arms": "[baseline, random_frozen]"})
    lines = default_grid.outlook(path, *digits_of(project), cheaper=True)
    assert "no grid of a fresh project is cheaper" in lines[-1]


def test_what_is_refused_while_it_is_measured_says_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new(tmp_path / "own", dataset="digits")

    def refusing(prepared: Prepared) -> None:
        raise WrongValue("arms", "last:99 trains more blocks than the network has")

    monkeypatch.setattr(stopwatch, "speeds", refusing)
    with pytest.raises(UserError, match=r"^study/params.yaml: grid.arms: last:99 trains"):
        default_grid.outlook(project.root / "study/params.yaml", *digits_of(project), cheaper=False)


def test_ladder_goes_down() -> None:
    costs = [(len(rung.arms), rung.rates, rung.steps) for rung in default_grid.LADDER]
    assert costs == sorted(costs, reverse=True)
