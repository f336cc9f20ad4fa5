"""The Ray engine on a real cluster against the local engine, and its refusals."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import studies
import yaml
from projects import ROOT, clean_environment
from studies import digests, prepared, values

from headstart.core.errors import UserError
from headstart.study import outputs, ray, run, store

# Every arm, so that sources travel too, and a search.
GRID: dict[str, Any] = {
    "labels": [10, "all"],
    "training": [{"steps": 60}],
    "learning_rates": [0.1, 0.01],
}


def on_two_nodes(raw: Path, folder: Path, *options: str) -> str:
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(values(**GRID)))
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tests/support/clusters.py",
            raw,
            folder,
            folder / "study.yaml",
            *options,
        ],
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "src")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def here(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of the local engine."""
    folder = tmp_path_factory.mktemp("local")
    study, ready = studies.study(**GRID), prepared(raw, **GRID)
    kept = store.Store(folder / "kept", {})
    runner = run.Runner(ready, kept, print, run.local)
    outputs.write(folder / "tables", runner.run(), study.grid, study.statistics)
    return folder / "tables"


@pytest.mark.slow
def test_two_nodes_give_the_bytes_of_the_local_engine(
    raw: Path, here: Path, tmp_path: Path
) -> None:
    on_two_nodes(raw, tmp_path / "two")
    assert digests(tmp_path / "two/tables") == digests(here)


@pytest.mark.slow
def test_node_that_dies_half_way_costs_no_byte(raw: Path, here: Path, tmp_path: Path) -> None:
    said = on_two_nodes(raw, tmp_path / "killed", "--kill")
    assert "killed a node" in said
    assert digests(tmp_path / "killed/tables") == digests(here)


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1:1", "nothing answers"), ("auto", "is not HOST:PORT")],
)
def test_cluster_that_does_not_answer_is_said(
    monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=said):
        ray.connect()


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"libraries": {"keras": "0"}}, "keras"),
        ({"code": {"study/cells.py": "0"}}, "study/cells.py"),
    ],
)
def test_worker_with_other_code_or_libraries_refuses_to_train(
    raw: Path, theirs: dict[str, Any], said: str
) -> None:
    ready = prepared(raw, **GRID)
    same: dict[str, Any] = {"code": store.numeric_code(), "libraries": store.libraries()}
    group = ready.groups[0].source
    with pytest.raises(UserError, match=f"not the driver's .{said}"):
        ray._train_sources(ray.Study("other", ready, **same | theirs), group)
