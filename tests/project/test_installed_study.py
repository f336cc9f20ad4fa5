"""How many labels does a network save? From the wheel to the answer, as a user has it."""

import json
from pathlib import Path
from typing import Any

import applications_here
import keras
import pytest
from installed import Installed, install
from labbooks import rows
from projects import edit_params

from benchmarks import photographs

NAME = "MobileNetV2_0.35"
TARGET = ("pullover", "sneaker")
# Small, so that what takes time is the start of each command.
SMALL = {
    "grid.labels": "[2 a class, 10 a class, all]",
    "grid.splits": "1",
    "grid.seeds": "6",
    "grid.training": "[{steps: 20}]",
    "grid.learning_rates": "[0.001]",
    "replicas.group_size": "2",
    "statistics.bootstrap_samples": "100",
}
# Kills a study, and all that it started, once so many trainings more are kept.
KILLED = """
import os, signal, subprocess, sys, time
from pathlib import Path

def kept():
    return len(list(Path(".headstart/study").rglob("*.npz")))

most = kept() + int(sys.argv[1])
study = subprocess.Popen([sys.executable, "-m", "headstart.cli", "study", "run"],
                         start_new_session=True)
while study.poll() is None and kept() < most:
    time.sleep(0.01)
print("ended" if study.poll() is not None else "killed", kept())
os.killpg(study.pid, signal.SIGKILL)
"""


def results(project: Installed) -> dict[str, bytes]:
    """What a study leaves in git, by path."""
    folders = (project.root / "metrics/study/grid", project.root / "study")
    return {str(file.name): file.read_bytes() for folder in folders for file in folder.iterdir()}


def kept(project: Installed) -> dict[str, int]:
    """When each training that is kept was written, by its file."""
    folder = project.root / ".headstart/study"
    return {file.name: file.stat().st_mtime_ns for file in folder.rglob("*.npz")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wheel_takes_photographs_and_a_network_to_the_labels_that_it_saves(
    tmp_path: Path, raw: Path
) -> None:
    photographs.photographs(tmp_path / "photos", raw=raw, count=300)
    weights = applications_here.mirror(tmp_path / "mirror", NAME, size=96)
    mirror: dict[str, Any] = {"HEADSTART_MIRROR": str(weights)}
    environment = install(tmp_path / "user")
    Installed(tmp_path, environment=environment).run(
        "headstart", "init", "mine", "--data", "photos", "--target", *TARGET,
        "--source-model", f"keras:{NAME}", "--input-size", "96", **mirror,
    )  # fmt: skip
    project = Installed(tmp_path / "mine", environment=environment)
    edit_params(project.root / "study/params.yaml", SMALL)
    told = project.run("headstart", "check", "--study", **mirror)
    for arm in ("baseline", f"frozen of keras:{NAME}", f"random_frozen of keras:{NAME}"):
        assert f"  {arm}: " in told
    assert "the study from nothing: about " in told
    project.commit("Small")

    # Killed three times, and from nothing in one go: the same bytes.
    whole = Installed(project.clone_to(tmp_path / "whole").root, environment=environment)
    said = whole.run("headstart", "study", "run", **mirror)
    for count in (1, 5, 5):
        assert "\nkilled " in project.run("python", "-c", KILLED, str(count), **mirror)
    project.run("headstart", "study", "run", **mirror)
    assert len(kept(project)) == 3 * 3 * 6
    assert results(project) == results(whole)

    (line,) = json.loads(project.read("metrics/study/grid/study.json"))["answer"]
    assert line in said
    assert "pullover and sneaker (cnn, 20 steps):\n  With 4 to 36 labels" in line
    assert f"untrained network of the same shape (random_frozen of keras:{NAME})" in line
    assert "over the untrained control" in project.read("reports/study-grid.html")
    (count,) = rows(project.root, "SELECT COUNT(*) FROM runs WHERE name = 'study grid'")
    assert count == (1,)
    project.commit("Study")
    assert "grid" not in project.run("dvc", "status", "study/dvc.yaml")

    # Another source, added later.
    before = kept(project)
    layers = [keras.layers.Conv2D(4, 3, strides=2, activation="relu")]
    keras.Sequential([keras.Input((32, 32, 3)), *layers]).save(
        project.root / "models/own/mine.keras"
    )
    sources = "[project, {from: models/own/mine.keras}]"
    edit_params(project.root / "study/params.yaml", {"grid.sources": sources})
    said = project.run("headstart", "study", "run", **mirror)
    assert before.items() <= kept(project).items()
    assert len(kept(project)) - len(before) == 2 * 3 * 6
    assert "frozen of mine" in said
