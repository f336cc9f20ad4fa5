"""Cells of a study as `headstart study export` writes them, and what plain Keras makes of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import edit_params
from studies import write_network
from typer.testing import CliRunner

from benchmarks import plain_keras
from headstart import cli
from headstart.reporting import study_tables
from headstart.reporting.study_tables import CellRow
from headstart.study import stage

ONE = "models/own/one.keras"


@pytest.mark.slow
def test_ten_cells_of_the_tables_trained_by_plain_keras_give_their_accuracy(
    digits: Path,
) -> None:
    write_network(digits / ONE, 0)
    edit_params(
        digits / "study/params.yaml",
        {
            "grid.sources": f"[trained, {{from: {ONE}}}]",
            # Of networks that train whole tests/study/test_by_fit.py has the same.
            "grid.arms": "[baseline, frozen, random_frozen]",
            "grid.learning_rates": "[0.001, 0.01, 0.1]",
            "grid.training": "- steps: 30",
            "grid.search_seeds": "1",
            "grid.splits": "2",
        },
    )
    stage.answer("grid")
    found = plain_keras.compared("grid", count=10, draw=1)
    assert {own["learning_rate"] for own in found} > {0.01}
    assert any(own["cell"].endswith("/split=1") for own in found)
    assert any(" of one/" in own["cell"] for own in found)
    for own in found:
        assert abs(own["right"] - own["by_keras"]) <= 1, own


def test_export_takes_the_rate_that_the_tables_have_or_that_is_asked_for(
    digits: Path, tmp_path: Path
) -> None:
    edit_params(
        digits / "study/params.yaml",
        {"grid.learning_rates": "[0.001, 0.01]", "grid.search_seeds": "1", "grid.labels": "[4]"},
    )
    cell = "3_8/mlp/steps=5/labels=4/frozen/seed=1"

    def exported(*options: str) -> dict[str, Any]:
        done = CliRunner().invoke(
            cli.app, ["study", "export", cell, "--to", str(tmp_path / "cell.npz"), *options]
        )
        assert done.exit_code == 0, done.output
        with np.load(tmp_path / "cell.npz") as kept:
            about: dict[str, Any] = json.loads(str(kept["about"]))
            return about | {"answered": "answers" in kept}

    assert exported()["learning_rate"] == 0.01
    stage.answer("grid")
    rows = study_tables.read(Path("metrics/study/grid/cells.csv"), CellRow)
    (row,) = (
        row for row in rows if (row.labels, row.arm, row.seed, row.chosen) == (4, "frozen", 1, 1)
    )
    about = exported()
    assert about["learning_rate"] == row.learning_rate
    assert about["answered"]
    assert exported("--learning-rate", "0.001")["learning_rate"] == 0.001
    for options, said in (
        (("--learning-rate", "0.5"), "--learning-rate 0.5: the grid has 0.001, 0.01"),
        (("--split", "1"), "there is no split 1; the grid has 0 to 0"),
    ):
        done = CliRunner().invoke(cli.app, ["study", "export", cell, *options])
        assert done.exit_code == 1
        assert said in done.output
