"""metrics.json as a typed record."""

import json
from pathlib import Path

import pytest
from outcomes import RECORD
from projects import ROOT, edit_params
from pydantic import ValidationError

from headstart.core.errors import UserError
from headstart.judging import metrics
from headstart.params import reading


def test_committed_record_is_read_and_written_to_the_same_keys_in_the_same_order(
    tmp_path: Path,
) -> None:
    committed = ROOT / "metrics/metrics.json"
    metrics.write(tmp_path / "metrics.json", metrics.read(committed))

    def keys(path: Path) -> list[str]:
        return [line.partition(":")[0] for line in path.read_text().splitlines()]

    assert keys(tmp_path / "metrics.json") == keys(committed)


def test_what_a_record_leaves_out_is_unknown_and_what_it_adds_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({**RECORD, "source": {"f1": 0.5}}))
    record = metrics.read(path)
    assert record.source.accuracy is None
    assert record.cost.source.flops is None


def test_rates_that_were_chosen_are_told_by_arm_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    history = [
        {"arm": arm, "epoch": epoch, "learning_rate": rate}
        for arm, rate in (("baseline", 0.1), ("transfer", 0.01))
        for epoch in (1, 2)
    ]
    assert metrics.chosen(reading.load(path), history) == {}
    edit_params(path, {"target_training.learning_rate": "[0.1, 0.01]"})
    told = {"baseline": {"learning_rate": 0.1}, "transfer": {"learning_rate": 0.01}}
    assert metrics.chosen(reading.load(path), history) == told
    # A history from before epochs told their rate.
    older = [{key: row[key] for key in ("arm", "epoch")} for row in history]
    assert metrics.chosen(reading.load(path), older) == {}
    edits = {
        "transfer.overrides.learning_rate": "0.5",
        "transfer.strategy": "gradual",
        "transfer.unfrozen_learning_rate": "[0.001, 0.01]",
    }
    edit_params(path, edits)
    del history[2]["learning_rate"]
    told["transfer"] = {"unfrozen_learning_rate": 0.01}
    assert metrics.chosen(reading.load(path), history) == told

    written = tmp_path / "metrics.json"
    for chosen in ({}, told):
        metrics.write(written, metrics.Record.model_validate({**RECORD, "chosen": chosen}))
        assert json.loads(written.read_text()).get("chosen", {}) == chosen
        assert metrics.read(written).chosen == chosen
    assert list(json.loads(written.read_text()))[-1] == "chosen"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{}", "comparison"),
        ("[]", "the file"),
        (json.dumps({**RECORD, "baseline": {"accuracy": "high"}}), r"baseline\.accuracy"),
    ],
)
def test_record_that_is_none_is_refused_with_file_and_key(
    tmp_path: Path, text: str, key: str
) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"metrics\.json: {key}: .*`dvc repro` makes it again"):
        metrics.read(path)


def test_record_cannot_be_changed_and_holds_no_nan() -> None:
    with pytest.raises(ValidationError):
        metrics.Scores(loss=float("nan"))
    with pytest.raises(ValidationError):
        metrics.Record.model_validate(RECORD).baseline.loss = 1.0  # type: ignore[misc]
