"""params.yaml: what is accepted, and how a refusal reads."""

from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, edit_params

from headstart.core.errors import UserError
from headstart.params import networks, reading, sections

TEXT = (ROOT / "params.yaml").read_text()


def edited(tmp_path: Path, key: str, value: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    edit_params(path, {key: value})
    return path


def test_committed_parameters_are_the_notebooks() -> None:
    settings = reading.load(ROOT / "params.yaml")
    assert settings.tasks.target_classes == ("sandal", "shirt")
    assert settings.network == networks.Mlp(
        name="mlp", units=(300, 100, 50, 50, 50), activation="selu"
    )
    notebook = sections.TrainingSettings(
        epochs=5, batch_size=32, optimizer="sgd", learning_rate=0.001
    )
    assert settings.target_training.model_dump() == notebook.model_dump()
    assert settings.source_training.model_dump().items() >= notebook.model_dump().items()
    assert (settings.dataset.train_size, settings.dataset.valid_size) == (25000, 5000)
    assert settings.transfer.strategy.name == "frozen"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", "-1", "seed: -1 must be 0 or more"),
        ("seed", "true", "seed: True is true or false"),
        ("seed", "4.5", "seed: 4.5 is not a whole number"),
        ("seed", "'4'", "seed: '4' is text"),
        ("dataset.name", "imagenet", "dataset.name: 'imagenet' is not allowed; allowed are"),
        ("dataset.sources", "[]", "dataset.sources: [] has too few entries (0)"),
        ("dataset.train_size", "0", "dataset.train_size: 0 must be 1 or more"),
        ("dataset.train_size", "1000000000000", "dataset.train_size"),
        ("tasks.target_classes", "[sandal]", "fewer than two classes"),
        ("tasks.target_classes", "sandal", "is not a list of class names or numbers"),
        ("tasks.target_classes", "[sandal, sandal]", "names sandal more than once"),
        ("tasks.target_classes", "[sandal, 6.5]", "holds 6.5"),
        ("tasks.source_classes", "other", "allowed are others, or a list"),
        ("network.name", "rnn", "has the name rnn; allowed are 'mlp', 'cnn'"),
        ("network.units", "[]", "network.units: [] has too few entries"),
        ("network.units", "[300, -1]", "network.units.1: -1 must be 1 or more"),
        ("network.activation", "linear", "network.activation: 'linear' is not allowed"),
        ("source_training.learning_rate", "0", "source_training.learning_rate: 0 must be greater"),
        ("source_training.learning_rate", "1e-3", "write a plain decimal number"),
        ("source_training.learning_rate", ".nan", "source_training.learning_rate: nan"),
        ("source_training.learning_rate", "-.inf", "source_training.learning_rate: -inf"),
        ("source_training.optimizer", "lbfgs", "source_training.optimizer: 'lbfgs'"),
        ("target_training.epochs", "0", "target_training.epochs: 0 must be 1 or more"),
        ("target_training.batch_size", "32.0", "target_training.batch_size: 32.0"),
        ("train_b.output_activation", "relu", "train_b.output_activation: 'relu'"),
        (
            "train_b.overrides",
            "{epoch: 3}",
            "train_b.overrides.epoch: is not a known key (value 3)",
        ),
        ("train_b.overrides", "{epochs: 0}", "train_b.overrides.epochs: 0 must be 1 or more"),
        ("train_b.overrides", "", "train_b.overrides: None is not a section with keys"),
        (
            "transfer.strategy",
            "thaw",
            "transfer.strategy: 'thaw' is not allowed; allowed are 'froz",
        ),
        ("transfer.frozen_fraction", "1", "transfer.frozen_fraction: 1 must be less than 1"),
        ("evaluate.alpha", "0", "evaluate.alpha: 0 must be greater than 0"),
        ("evaluate.margin", "1", "evaluate.margin: 1 must be less than 1"),
        ("evaluate.margin", "-0.005", "evaluate.margin: -0.005 must be 0 or more"),
        ("evaluate.margin", "5e-3", "write a plain decimal number"),
        ("evaluate.margin", "null", "evaluate.margin: None is not a number"),
        ("evaluate.confidence", "95", "evaluate.confidence: 95 must be less than 1"),
    ],
)
def test_refusal_names_key_value_and_what_is_allowed(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    with pytest.raises(UserError) as refused:
        reading.load(edited(tmp_path, key, value))
    assert said in str(refused.value)
    assert "params.yaml" in str(refused.value)


def test_unknown_and_missing_keys_are_both_named() -> None:
    with pytest.raises(UserError) as refused:
        reading.parse(TEXT.replace("alpha: 0.05", "alfa: 0.05"), "params.yaml")
    assert "evaluate.alpha: is missing" in str(refused.value)
    assert "evaluate.alfa: is not a known key (value 0.05); allowed are alpha" in str(refused.value)


@pytest.mark.parametrize("section", ["dataset", "tasks", "network", "transfer", "evaluate"])
def test_unknown_key_of_a_section_is_refused(section: str) -> None:
    with pytest.raises(UserError, match=rf"{section}\.colour: is not a known key"):
        reading.parse(
            TEXT.replace(f"\n{section}:\n", f"\n{section}:\n  colour: 1\n"), "params.yaml"
        )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 42", "seed: 42\nseed: 43", "the key 'seed' stands here a second time"),
        ("  alpha: 0.05", "\talpha: 0.05", "indent with spaces"),
        ("seed: 42", "seed: yes", "'yes' means different things"),
        ("seed: 42", "seed: [", "line"),
        ("seed: 42", "1: 2", "the key 1 is not text"),
    ],
)
def test_yaml_that_readers_disagree_on_is_refused_with_its_line(
    old: str, new: str, said: str
) -> None:
    with pytest.raises(UserError) as refused:
        reading.parse(TEXT.replace(old, new), "params.yaml")
    assert said in str(refused.value)
    assert "line" in str(refused.value)


def test_sigmoid_over_three_classes_is_refused(tmp_path: Path) -> None:
    path = edited(tmp_path, "tasks.target_classes", "[sandal, shirt, bag]")
    edit_params(path, {"train_b.output_activation": "sigmoid"})
    with pytest.raises(
        UserError, match=r"train_b.output_activation: 'sigmoid' is not allowed here"
    ):
        reading.load(path)


def test_missing_file_and_other_encodings_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        reading.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes("seed: 4 # größe".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        reading.load(tmp_path / "params.yaml")


def test_acting_parameters_leave_out_what_changes_no_weight(tmp_path: Path) -> None:
    plain = reading.load(ROOT / "params.yaml")
    unread = reading.load(edited(tmp_path, "transfer.frozen_fraction", "0.3"))
    assert sections.acting("transfer", plain) == sections.acting("transfer", unread)
    same = reading.load(edited(tmp_path, "train_b.overrides", "{epochs: 5}"))
    assert sections.acting("train_b", plain) == sections.acting("train_b", same)
    gradual = reading.load(edited(tmp_path, "transfer.strategy", "gradual"))
    assert sections.acting("transfer", gradual)["frozen_fraction"] == 0.5


def test_learning_rates_chosen_by_the_rule_are_equal_and_those_set_by_hand_are_not(
    tmp_path: Path,
) -> None:
    path = edited(tmp_path, "target_training.learning_rate", "[0.1, 0.01]")
    settings = reading.load(path)
    baseline, transfer = settings.arms
    assert baseline == transfer
    assert baseline["learning_rate"] == sections.CHOSEN
    assert settings.baseline_training.rates == (0.1, 0.01)
    assert sections.acting("train_b", settings)["learning_rate"] == [0.1, 0.01]
    edit_params(path, {"transfer.strategy": "gradual"})
    baseline, transfer = reading.load(path).arms
    assert [key for key in baseline if baseline[key] != transfer[key]] == [
        "learning_rate after unfreezing"
    ]
    edit_params(path, {"transfer.unfrozen_learning_rate": "[0.001, 0.01]"})
    baseline, transfer = reading.load(path).arms
    assert baseline == transfer
    edit_params(path, {"transfer.overrides.learning_rate": "0.01"})
    baseline, transfer = reading.load(path).arms
    assert (baseline["learning_rate"], transfer["learning_rate"]) == (sections.CHOSEN, 0.01)


@pytest.mark.parametrize("wrong", ["[]", "[0.1]", "[0.1, 0.1]", "[0.1, 0.0]", "[0.1, fast]", "-1"])
def test_lists_of_learning_rates_are_checked(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(UserError, match=r"target_training\.learning_rate: "):
        reading.load(edited(tmp_path, "target_training.learning_rate", wrong))


def test_number_of_blocks_is_read_bounded_and_names_one_strategy(tmp_path: Path) -> None:
    last = reading.load(edited(tmp_path, "transfer.strategy", "last:2"))
    assert last.transfer.strategy.trains == (3,)
    assert sections.acting("transfer", last)["strategy"] == "last:2"
    frozen = reading.load(edited(tmp_path, "transfer.strategy", "last:0"))
    plain = reading.load(ROOT / "params.yaml")
    assert sections.acting("transfer", frozen) == sections.acting("transfer", plain)
    for wrong, said in (
        ("last:6", "transfer.strategy: last:6 trains more blocks .*; there are 5"),
        ("last:-1", "transfer.strategy: 'last:-1' is not allowed; allowed are .*'last:N'"),
        ("scratch_same", "transfer.strategy: 'scratch_same' is not allowed here"),
    ):
        with pytest.raises(UserError, match=said):
            reading.load(edited(tmp_path, "transfer.strategy", wrong))


def test_mode_of_batch_normalisation_acts_only_where_it_changes_something(tmp_path: Path) -> None:
    def acting(strategy: str, mode: str, source: str | None) -> dict[str, Any]:
        path = tmp_path / "params.yaml"
        path.write_text((ROOT / "params.yaml").read_text())
        edit_params(
            path,
            {
                "transfer.strategy": strategy,
                "transfer.batch_normalization": mode,
                "source_training.from": source or "null",
            },
        )
        return sections.acting("transfer", reading.load(path))

    own = "models/own/any.keras"
    assert "batch_normalization" not in acting("finetune", "training", None)
    assert "batch_normalization" not in acting("frozen", "training", own)
    for strategy, auto in (("finetune", "inference"), ("scratch_same", "training")):
        assert acting(strategy, auto, own) == acting(strategy, "auto", own)
        assert "batch_normalization" not in acting(strategy, "auto", own)
    assert acting("finetune", "training", own)["batch_normalization"] == "training"
    assert acting("scratch_same", "inference", own)["batch_normalization"] == "inference"


def test_override_acts_on_its_arm_alone(tmp_path: Path) -> None:
    plain = reading.load(ROOT / "params.yaml")
    longer = reading.load(edited(tmp_path, "train_b.overrides", "{epochs: 7}"))
    assert longer.baseline_training == plain.target_training.model_copy(update={"epochs": 7})
    assert longer.transfer_training == plain.transfer_training == plain.target_training


def test_output_follows_the_number_of_classes() -> None:
    assert (networks.output_units(2), networks.output_activation(2)) == (1, "sigmoid")
    assert (networks.output_units(3), networks.output_activation(3)) == (3, "softmax")
    assert networks.output_activation(2, "softmax") == "softmax"


def test_gradual_with_another_learning_rate_is_a_difference_of_the_arms(tmp_path: Path) -> None:
    path = edited(tmp_path, "transfer.unfrozen_learning_rate", "0.0001")
    baseline, transfer = reading.load(path).arms
    assert baseline == transfer
    edit_params(path, {"transfer.strategy": "gradual"})
    baseline, transfer = reading.load(path).arms
    assert {key for key in transfer if transfer[key] != baseline[key]} == {
        "learning_rate after unfreezing"
    }
