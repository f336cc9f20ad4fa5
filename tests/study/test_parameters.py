import pathlib
from typing import Any

import pytest
import yaml
from projects import edit_params
from studies import DIGITS, write_parameters

from headstart.core.errors import UserError
from headstart.data import catalogue
from headstart.params.networks import labels
from headstart.study import parameters, plan

NAMES = catalogue.FASHION_MNIST.classes
FILE = pathlib.Path(__file__).parents[2] / "study/params.yaml"


def edited(**grid: Any) -> Any:
    values = yaml.safe_load(FILE.read_text())
    values["grid"] |= grid
    return yaml.safe_dump(values)


def test_committed_parameters_are_the_default_grid_of_1800_trainings() -> None:
    grid = parameters.load(FILE).grid
    cells = len(grid.arms) * len(grid.labels) * grid.seeds * len(grid.training)
    assert cells == 1800
    assert [str(budget) for budget in grid.training] == ["epochs=5", "steps=2000"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seeds", 0, "grid.seeds: 0 must be 1 or more"),
        ("seeds", "20", "grid.seeds"),
        ("seeds", True, "grid.seeds"),
        ("arms", ["baseline", "magic"], "'magic' is not allowed"),
        ("arms", ["frozen"], "baseline among them"),
        ("arms", ["baseline", "frozen", "frozen"], "each entry once"),
        ("labels", [], "is not a list of label budgets"),
        ("labels", [10, 10], "names 10 more than once"),
        ("labels", [0], "neither a number of labels nor all"),
        ("labels", [10.5], "neither a number of labels nor all"),
        ("labels", "every", "is not a list of label budgets"),
        ("target_tasks", ["shirt"], "fewer than two classes"),
        ("target_tasks", [["sandal", "shirt"], ["bag"]], "fewer than two classes"),
        ("target_tasks", "pairs", "all_pairs"),
        ("target_tasks", [["sandal", "shirt"], ["sandal", "shirt"]], "more than once"),
        ("training", [], "too few entries"),
        ("training", [{"epochs": 5, "steps": 5}], "either epochs or steps"),
        ("training", [{}], "either epochs or steps"),
        ("training", [{"steps": 1}], "gradual divides them"),
        ("learning_rates", ["0.001"], "is text"),
        ("learning_rates", [0.0], "greater than 0"),
        ("networks", [{"name": "rnn"}], "has the name rnn"),
        ("sedes", 20, "is not a known key"),
        ("shifts", [-1], "must be 0 or more"),
        ("shifted_tasks", "some", "allowed are a list of tasks, or all"),
        ("shifted_tasks", [["sandal"]], "fewer than two classes"),
        ("search_seeds", 0, "must be 1 or more"),
        ("source_classes", "some", "allowed are others, a list of two or more classes, none"),
        ("source_classes", "none", "frozen starts from a network trained on them"),
        ("labels", ["0 a class"], "nor such as 5 a class"),
        ("labels", ["5 a class", "5 a class"], "names 5 a class more than once"),
    ],
)
def test_nonsense_is_refused_with_its_key(key: Any, value: Any, said: Any) -> None:
    with pytest.raises(UserError) as caught:
        parameters.parse(edited(**{key: value}), "study/params.yaml")
    assert said in str(caught.value)
    assert key in str(caught.value)
    assert "study/params.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (
            ["keras:MobileNetV2"],
            "0: 'keras:MobileNetV2' is no entry of sources; write {from: keras",
        ),
        (["trained", 5], "1: 5 is no entry of sources; write {from: keras:Mobile"),
        (
            [{"from": "keras:ResNet50", "input_size": 96}],
            "0.input_size: 96 is not allowed; allowed",
        ),
        ([{"from": "keras:ResNet50", "name": 7}], "0.name: 7 is not text"),
        ([{"from": "keras:Res"}], "0.from: 'keras:Res' is not among the published networks"),
        ([{"from": "keras:ResNet50", "size": 9}], "0.size: is not a known key (value 9); allowed"),
        ([{"name": "a"}], "0.from: is missing"),
        (
            [{"from": "keras:ResNet50", "preprocessing": "tf", "input_range": [0.0, 9.0]}],
            "0.input_range: [0.0, 9.0] is not allowed here; expected [0.0, 1.0], since",
        ),
    ],
)
def test_entry_of_sources_that_is_wrong_is_refused_in_one_line(sources: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parameters.parse(edited(sources=sources), "study/params.yaml")
    message = str(caught.value)
    assert message.startswith(f"study/params.yaml: grid.sources.{said}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("learning_rates", ["0.001"], "learning_rates.0: '0.001' is text"),
        ("training", [{"steps": 0}], "training.0.steps: 0 must be 1 or more"),
        ("training", [{"step": 5}], "training.0.step: is not a known key (value 5); allowed are"),
    ],
)
def test_list_with_a_wrong_entry_is_not_told_to_be_empty(key: str, value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parameters.parse(edited(**{key: value}), "study/params.yaml")
    assert str(caught.value).startswith(f"study/params.yaml: grid.{said}")
    assert "too few entries" not in str(caught.value)


def test_instructions_are_avx2_or_native() -> None:
    text = FILE.read_text()
    assert parameters.parse(text, "p").replicas.instructions == "avx2"
    native = text.replace("instructions: avx2", "instructions: native")
    assert parameters.parse(native, "p").replicas.instructions == "native"
    with pytest.raises(UserError, match=r"replicas\.instructions: .*avx2"):
        parameters.parse(text.replace("instructions: avx2", "instructions: sse"), "p")


def test_missing_key_is_named() -> None:
    values = yaml.safe_load(FILE.read_text())
    del values["grid"]["seeds"]
    with pytest.raises(UserError, match=r"grid\.seeds: is missing"):
        parameters.parse(yaml.safe_dump(values), "study/params.yaml")


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"labels": [10, 6000]}, "6000 is more than the 5125 training images of sandal_shirt"),
        ({"labels": [1, 10]}, "too small for the 2 classes"),
        ({"labels": [5125, "all"]}, "stands there as a number too"),
    ],
)
def test_budgets_that_the_data_cannot_fill_are_refused(grid: Any, said: Any) -> None:
    settings = parameters.parse(edited(**grid), "study/params.yaml").grid
    asked = plan.questions(settings, NAMES, {})
    with pytest.raises(UserError) as caught:
        list(plan.groups(settings, asked, available={"sandal_shirt": 5125}))
    assert said in str(caught.value)


def test_what_is_project_comes_from_the_pipelines_parameters(tmp_path: pathlib.Path) -> None:
    write_parameters(
        tmp_path,
        DIGITS,
        target_tasks="project",
        source_classes="project",
        networks="project",
        source_training="project",
    )
    values = {
        "tasks.target_classes": "['3', 8, '1']",
        "tasks.source_classes": "[0, 5]",
        "network": "{name: cnn, filters: [4], dense: [], activation: relu}",
        "source_training.epochs": "7",
    }
    edit_params(tmp_path / "params.yaml", values)
    grid = parameters.load(tmp_path / "study/params.yaml").grid
    assert grid.target_tasks == (("3", 8, "1"),)
    assert grid.source_classes == (0, 5)
    assert labels(grid.networks) == ("cnn",)
    assert grid.source_training.epochs == 7
    (question,) = plan.questions(grid, [str(digit) for digit in range(10)], {})
    assert question.target.numbers == (3, 8, 1)
    assert question.source.numbers == (0, 5)


def test_project_that_is_wrong_is_refused_where_it_stands(tmp_path: pathlib.Path) -> None:
    write_parameters(tmp_path, DIGITS, target_tasks="project")
    edit_params(tmp_path / "params.yaml", {"tasks.target_classes": "['3']"})
    with pytest.raises(UserError, match=r"/params.yaml: tasks.target_classes: \['3'\] names fewer"):
        parameters.load(tmp_path / "study/params.yaml")


def test_study_without_a_section_says_which_there_is() -> None:
    values = yaml.safe_load(FILE.read_text())
    del values["claims"]
    study = parameters.parse(yaml.safe_dump(values), "study/params.yaml")
    assert study.section("grid") == study.grid
    with pytest.raises(UserError, match="claims: is missing; --section grid"):
        study.section("claims")


def test_unknown_class_is_refused() -> None:
    grid = parameters.parse(edited(target_tasks=["sandal", "hat"]), "study/params.yaml").grid
    with pytest.raises(UserError, match="'hat'"):
        plan.questions(grid, NAMES, {})


def test_one_task_may_stand_without_a_list_around_it() -> None:
    one = parameters.parse(edited(target_tasks=["sandal", "shirt"]), "p").grid
    listed = parameters.parse(edited(target_tasks=[["sandal", "shirt"]]), "p").grid
    assert one == listed


def test_all_pairs_of_ten_classes_are_45_tasks() -> None:
    grid = parameters.parse(edited(target_tasks="all_pairs"), "p").grid
    assert len(plan.questions(grid, NAMES, {})) == 45


def test_networks_of_one_kind_are_told_apart_by_their_widths() -> None:
    networks = [
        {"name": "mlp", "units": [10], "activation": "selu"},
        {"name": "mlp", "units": [20, 5], "activation": "selu"},
        {"name": "cnn", "filters": [4], "dense": [], "activation": "relu"},
    ]
    grid = parameters.parse(edited(networks=networks), "p").grid
    assert labels(grid.networks) == ("mlp_10", "mlp_20_5", "cnn")
