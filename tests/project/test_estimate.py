"""How long a run will take is measured on the project's own networks, and told beforehand."""

import sys
from pathlib import Path
from typing import Any

import pytest
from images import blobs
from own_projects import Own, new
from projects import ROOT, edit_params

from headstart.judging.cost import Work
from headstart.learning.calls import Call
from headstart.params import reading
from headstart.params.sections import Params
from headstart.params.strategies import ALL_LAYERS, HEAD_ALONE, Phase
from headstart.project import check, estimate
from headstart.project.timing import Found, Measured, PhaseTime

NAME = "MobileNetV2_0.35"
CALLS = (Call(0, -1, 900), Call(1, 0, 100))
IMAGES = {
    (task, part): count
    for task in ("source", "target")
    for part, count in {"train": 320, "valid": 64, "test": 100}.items()
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Own:
    return new(tmp_path_factory.mktemp("estimate") / "project", dataset="digits")


@pytest.fixture
def settings() -> Params:
    return reading.load(ROOT / "params.yaml")


def expected(
    settings: Params, *phases: tuple[int, int | None], step: float = 0.01, **changes: Any
) -> estimate.Estimate:
    """What is told of a transfer alone whose steps take so many seconds."""
    measured = Measured(
        CALLS, (10, 10), 0.5, 0.25, 0.001, (PhaseTime(2.0, step),) * len(phases), 1000
    )
    found = Found(1.0, 10**8, {"transfer": measured})
    values: dict[str, Any] = {"images": IMAGES, "pixels": 784, "decoding": 0.0} | changes
    works = {"transfer": Work(CALLS, tuple(Phase(*phase) for phase in phases), 320, 32)}
    return estimate.estimate(settings, found, works, **values)


def test_training_takes_its_steps_and_validation_in_every_epoch(settings: Params) -> None:
    once, twice = (expected(settings, (epochs, ALL_LAYERS)) for epochs in (5, 10))
    # Ten steps and two batches to validate on, none of which takes longer than a step.
    assert once.seconds["training"] == pytest.approx(2.0 + 5 * (10 + 2) * 0.01)
    assert twice.seconds["training"] - 2.0 == pytest.approx(2 * (once.seconds["training"] - 2.0))
    assert once.seconds["features"] == 0
    rest = [key for key in once.seconds if key != "training"]
    assert [once.seconds[key] for key in rest] == [twice.seconds[key] for key in rest]


def test_features_are_computed_once_however_many_epochs_there_are(settings: Params) -> None:
    for epochs in (5, 500):
        told = expected(settings, (epochs, HEAD_ALONE))
        assert told.seconds["features"] == pytest.approx((320 + 64) * 0.001 * 0.9)
    both = expected(settings, (2, HEAD_ALONE), (3, ALL_LAYERS))
    assert both.seconds["features"] == pytest.approx((320 + 64) * 0.001 * 0.9)
    assert both.seconds["training"] > 4.0


def test_each_learning_rate_of_a_list_has_graphs_of_its_own(settings: Params) -> None:
    several = settings.target_training.model_copy(update={"learning_rate": (0.1, 0.01, 0.001)})
    told = expected(settings.model_copy(update={"target_training": several}), (3 * 5, ALL_LAYERS))
    assert told.seconds["training"] == pytest.approx(3 * (2.0 + 5 * (10 + 2) * 0.01))


def test_what_images_take_is_told(settings: Params) -> None:
    small = expected(settings, (5, ALL_LAYERS))
    assert small.memory is not None
    assert small.memory > 10**8 + 1000
    large = expected(settings, (5, ALL_LAYERS), pixels=784 * 100, decoding=7.0)
    assert large.memory is not None
    assert large.memory > small.memory
    assert large.seconds["data"] > 7.0 + 50 * small.seconds["data"]
    # Only so many are in memory at a time.
    larger = expected(settings, (5, ALL_LAYERS), pixels=784 * 10_000)
    assert larger.memory is not None
    assert larger.memory < large.memory + 10**8


def test_check_measures_each_training_of_the_project_here(digits: Own) -> None:
    report = check.check(digits.root)
    assert not report.problems
    told = report.expected
    assert told is not None
    assert told.memory is None or told.memory > 10**8
    assert min(told.seconds["training"], told.seconds["starts of the stages"]) > 0
    for name in ("source", "baseline", "transfer"):
        (line,) = [line for line in report.lines if line.startswith(f"{name}: ")]
        assert " FLOPs forward, " in line
        assert " a step, " in line
    assert report.lines[-1].startswith("expected: about ")
    path = digits.root / "params.yaml"
    before = path.read_text()
    try:
        edit_params(path, {"target_training.epochs": "10000"})
        longer = check.check(digits.root).expected
    finally:
        path.write_text(before)
    assert longer is not None
    # Hundreds of times the epochs, whatever else the machine does meanwhile.
    assert longer.seconds["training"] > 3 * told.seconds["training"]


@pytest.mark.parametrize("strategy", ["frozen", pytest.param("gradual", marks=pytest.mark.slow)])
def test_network_is_measured_before_its_weights_are_there(tmp_path: Path, strategy: str) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee"], each=20, size=(40, 40, 3))
    # Written by hand: `init` would look for the weights.
    project = new(
        tmp_path / "own", data=photos, target=["ant", "bee"], source_model=_tiny(tmp_path)
    )
    edit_params(
        project.root / "params.yaml",
        {
            "source_training.from": f"keras:{NAME}",
            "source_training.preprocessing": "auto",
            "source_training.input_size": "[32, 32]",
            "transfer.strategy": strategy,
        },
    )
    report = check.check(project.root)
    assert not report.problems
    assert f"keras:{NAME} is not there yet: `download` fetches it" in report.lines
    (line,) = [line for line in report.lines if line.startswith("transfer: ")]
    trained = "1,281" if strategy == "frozen" else "397,409"
    assert f"{trained} trainable of 411,489 parameters" in line
    assert report.expected is not None
    edit_params(project.root / "params.yaml", {"source_training.layer": "nowhere"})
    problems = check.check(project.root).problems
    assert f"source_training.layer: keras:{NAME} has no layer 'nowhere'" in "\n".join(problems)


@pytest.mark.slow
def test_what_fine_tuning_a_network_from_elsewhere_takes_is_told(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee"], each=20, size=(40, 40, 3))
    project = new(
        tmp_path / "own", data=photos, target=["ant", "bee"], source_model=_tiny(tmp_path)
    )
    values = {
        "source_training.from": f"keras:{NAME}",
        "source_training.preprocessing": "auto",
        "source_training.input_size": "[96, 96]",
        "target_training.epochs": "200",
        # The baseline is the same in both.
        "network": "{name: mlp, units: [4], activation: relu}",
    }
    told = {}
    for strategy in ("frozen", "finetune"):
        edit_params(project.root / "params.yaml", values | {"transfer.strategy": strategy})
        told[strategy] = check.check(project.root).expected
    frozen, tuned = told.values()
    assert frozen is not None
    assert tuned is not None
    # Every step goes through the network and back, where features were computed once before; the
    # factor is of hundreds, whatever else the machine does.
    assert tuned.seconds["training"] > 10 * frozen.seconds["training"]
    assert frozen.seconds["features"] > tuned.seconds["features"]


def _tiny(folder: Path) -> Path:
    import keras

    path = folder / "tiny.keras"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]).save(path)
    return path


def test_nothing_is_measured_where_something_stops_the_run(digits: Own) -> None:
    path = digits.root / "params.yaml"
    before = path.read_text()
    try:
        edit_params(path, {"dataset.test_size": "0.0001"})
        report = check.check(digits.root)
    finally:
        path.write_text(before)
    assert report.problems
    assert report.expected is None


def test_measuring_that_dies_is_a_warning_and_nothing_is_made_up(
    digits: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    report = check.check(digits.root)
    assert not report.problems
    assert report.expected is None
    assert "how long a run takes could not be measured: status 1" in report.warnings
    assert not [line for line in report.lines if line.startswith("expected")]
