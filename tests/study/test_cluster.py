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

# Every arm, so that sources travel too, those from elsewhere among them, and a search.
ELSEWHERE = "models/own/one.keras"
GRID: dict[str, Any] = {
    "sources": ["trained", {"from": ELSEWHERE}],
    "labels": [10, "all"],
    "training": [{"steps": 60}],
    "learning_rates": [0.1, 0.01],
}


def on_two_nodes(raw: Path, folder: Path, *options: str) -> str:
    studies.write_network(folder / ELSEWHERE, seed=0)
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
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "src")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def here(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of the local engine."""
    folder = tmp_path_factory.mktemp("local")
    study, ready = studies.study(**GRID), prepared(raw, **GRID)
    kept = store.Store(folder / "kept", {})
    studies.write_network(folder / ELSEWHERE, seed=0)
    runner = run.Runner(ready, kept, print, run.local, root=folder)
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
    same: dict[str, Any] = {
        "code": store.numeric_code(),
        "libraries": store.libraries(),
        "networks": {},
    }
    group = ready.groups[0].source
    with pytest.raises(UserError, match=f"not the driver's .{said}"):
        ray._train_sources(ray.Study("other", ready, **same | theirs), group)


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources}


def test_gpu_and_processors_of_a_group_have_to_be_on_one_machine() -> None:
    apart = [node(CPU=16.0), node(CPU=1.0, GPU=1.0), node(alive=False, CPU=16.0, GPU=1.0)]
    said = "2 processors and a GPU .* no machine with a GPU offers Ray more than 1 processors"
    with pytest.raises(UserError, match=said):
        ray._check_room(apart, threads=2, on_gpu=True)
    ray._check_room(apart, threads=2, on_gpu=False)
    ray._check_room(apart, threads=1, on_gpu=True)
    ray._check_room([*apart, node(CPU=2.0, GPU=1.0)], threads=2, on_gpu=True)
    with pytest.raises(UserError, match="the cluster's largest machine offers Ray 16"):
        ray._check_room(apart, threads=17, on_gpu=False)
