"""The committed parameters on the full data: the figures that the notebook's task must give."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from projects import ROOT, Project

pytestmark = pytest.mark.timeout(600)


def test_split_sizes_and_parameter_counts_are_the_notebooks(full: Project) -> None:
    sizes = {
        (role, part): len(np.load(full.root / f"data/prepared/{role}/{part}_labels.npy"))
        for role in ("source", "target")
        for part in ("train", "valid", "test")
    }
    assert sizes == {
        ("source", "train"): 19875,
        ("source", "valid"): 4014,
        ("source", "test"): 4033,
        ("target", "train"): 5125,
        ("target", "valid"): 986,
        ("target", "test"): 967,
    }
    assert np.load(full.root / "data/prepared/target/test_labels.npy").sum() == 482
    cost = full.record["cost"]
    assert cost["baseline"]["trainable_parameters"] == 275801
    assert cost["transfer"]["trainable_parameters"] == 51
    assert cost["transfer"]["total_parameters"] - 51 == 275750


def test_accuracies_are_those_of_a_sound_comparison(full: Project) -> None:
    record = full.record
    assert 0.990 <= record["baseline"]["accuracy"] <= 1.0
    assert 0.965 <= record["transfer"]["accuracy"] <= 0.998
    assert record["comparison"]["verdict"] in ("baseline better", "no difference detected")
    assert record["comparison"]["fair"] is True


def test_committed_results_are_what_this_code_gives(full: Project) -> None:
    """On other processors the last digits may differ; the same answers must come out nearly."""
    committed = json.loads((ROOT / "metrics/metrics.json").read_text())
    ours = full.record
    assert ours["cost"] == committed["cost"]
    for arm in ("baseline", "transfer", "source"):
        assert ours[arm]["accuracy"] == pytest.approx(committed[arm]["accuracy"], abs=0.01)


def test_softmax_over_one_unit_reproduces_the_notebooks_broken_baseline(
    full: Project, tmp_path: Path
) -> None:
    project = full.clone_to(tmp_path / "project")
    # As README.md says it.
    command = "dvc exp run -S train_b.output_activation=softmax"
    assert command in (ROOT / "README.md").read_text()
    said = " ".join(project.run(*command.split()).split())
    record = project.record
    assert record["baseline"]["accuracy"] == pytest.approx(482 / 967, abs=1e-7)
    assert record["comparison"]["verdict"] == "invalid comparison"
    assert "'shirt' for all 967 test images" in said
    assert re.search(r"loss .* contradict", said) or re.search(r"contradict.* loss", said)


def test_record_and_tables_have_the_agreed_names(full: Project) -> None:
    record = full.record
    assert list(record) == ["comparison", "baseline", "transfer", "source", "cost"]
    assert list(record["comparison"]) == [
        "accuracy_gain",
        "accuracy_gain_low",
        "accuracy_gain_high",
        "mcnemar_p",
        "mcnemar_mid_p",
        "log_loss_gain",
        "log_loss_gain_low",
        "log_loss_gain_high",
        "verdict",
        "fair",
    ]
    for arm in ("baseline", "transfer", "source"):
        assert list(record[arm]) == [
            "accuracy",
            "balanced_accuracy",
            "majority_rate",
            "loss",
            "log_loss",
            "auc",
            "brier",
            "calibration_error",
        ]
    assert full.read("metrics/history.csv").splitlines()[0] == (
        "arm,epoch,loss,accuracy,val_loss,val_accuracy"
    )
    predictions = full.read("metrics/predictions.csv").splitlines()
    assert predictions[0] == (
        "index,actual,baseline,transfer,baseline_probability,transfer_probability"
    )
    # Images without file names: a list of mistakes would name nothing.
    listed = full.read("metrics/mistakes.csv")
    assert listed == predictions[0].replace("index", "file") + "\n"
    assert len(predictions) == 968
    assert re.fullmatch(r"\d+,[01],[01],[01],[01]\.\d{6},[01]\.\d{6}", predictions[1])


def test_record_agrees_with_its_own_predictions(full: Project) -> None:
    rows = [line.split(",") for line in full.read("metrics/predictions.csv").splitlines()[1:]]
    actual, baseline, transfer = (np.array([int(row[k]) for row in rows]) for k in (1, 2, 3))
    record = full.record
    assert record["baseline"]["accuracy"] == (baseline == actual).mean()
    assert record["transfer"]["accuracy"] == (transfer == actual).mean()
    gain = (transfer == actual).mean() - (baseline == actual).mean()
    assert record["comparison"]["accuracy_gain"] == pytest.approx(gain, abs=1e-12)
