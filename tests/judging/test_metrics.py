"""metrics.json as a typed record."""

import json
from pathlib import Path

import pytest
from outcomes import RECORD
from projects import ROOT
from pydantic import ValidationError

from headstart.core.errors import UserError
from headstart.judging import metrics


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
