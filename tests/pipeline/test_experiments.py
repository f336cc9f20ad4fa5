"""DVC's experiments and MLflow's store on the real pipeline: one story in both."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from labbooks import content, eventually, rows
from projects import Project, clean_environment

STAGES = ["train_a", "train_b", "transfer"]


def publish(project: Project, *arguments: str) -> str:
    return project.run("python", "-m", "headstart.cli", "publish", *arguments, PYTHONPATH="src")


def kinds(project: Project) -> dict[str, int]:
    """How many active runs of each kind the store has."""
    counted: dict[str, int] = {}
    for run in content(project.root).values():
        kind = run["tags"].get("headstart.stage") or run["tags"].get("headstart.kind", "unknown")
        counted[kind] = counted.get(kind, 0) + 1
    return counted


def running(project: Project) -> list[Any]:
    return rows(project.root, "SELECT run_uuid FROM runs WHERE status = 'RUNNING'")


@pytest.fixture
def project(recorded: Project, tmp_path: Path) -> Project:
    """A copy of the project with its runs in its store, to change at will."""
    return recorded.clone_to(tmp_path / "project")


def told_when(project: Project) -> int:
    """How many trainings, all too short to be seen live, tell when and how long they ran."""
    question = (
        "SELECT start_time, end_time, value FROM runs JOIN tags USING (run_uuid) "
        "WHERE key = 'provenance.seconds'"
    )
    found = rows(project.root, question)
    assert all(abs((end - start) / 1000 - float(told)) < 0.1 for start, end, told in found)
    return len(found)


ONE_STATE = dict.fromkeys([*STAGES, "comparison"], 1)


def test_store_after_a_run_a_cached_run_and_two_publications_is_the_same(project: Project) -> None:
    before = content(project.root)
    assert kinds(project) == ONE_STATE
    assert {run["status"] for run in before.values()} == {"FINISHED"}
    assert told_when(project) == 3
    assert project.repro() == []
    publish(project)
    publish(project)
    assert content(project.root) == before


def test_experiments_in_temporary_folders_reach_the_same_store(project: Project) -> None:
    settings = ("-S", "transfer.strategy=finetune", "-S", "transfer.overrides.learning_rate=0.0001")
    project.run("dvc", "exp", "run", "--temp", "-n", "tuned", *settings)
    assert kinds(project) == ONE_STATE | {"transfer": 2, "comparison": 2}
    assert told_when(project) == 4
    for name, alpha in (("strict", "0.01"), ("lax", "0.2")):
        project.run("dvc", "exp", "run", "--queue", "-n", name, "-S", f"evaluate.alpha={alpha}")
    project.run("dvc", "queue", "start", "-j", "2")
    for name in ("strict", "lax"):
        project.run("dvc", "queue", "logs", "-f", name)
    assert kinds(project) == ONE_STATE | {"transfer": 2, "comparison": 4}
    assert not list((project.root / ".dvc/tmp/exps").rglob("mlflow.db"))
    assert not running(project)
    # The workspace is as it was, and DVC knows the experiments by name.
    assert project.run("git", "status", "--porcelain") == ""
    shown = project.run("dvc", "exp", "show", "--json")
    assert all(name in shown for name in ("tuned", "strict", "lax"))
    provenance = rows(
        project.root, "SELECT value FROM tags WHERE key = 'provenance.experiment' ORDER BY value"
    )
    assert {value for (value,) in provenance} >= {"tuned", "strict", "lax"}
    project.run("dvc", "exp", "apply", "tuned")
    assert "finetune" in project.read("params.yaml")
    project.run("dvc", "exp", "branch", "tuned", "from-experiment")
    said = publish(project, "--rev", "from-experiment")
    assert kinds(project) == ONE_STATE | {"transfer": 2, "comparison": 4}, said


def test_learning_rates_that_were_chosen_are_told_by_metrics_report_model_and_lab_book(
    project: Project,
) -> None:
    from headstart.learning import networks

    assert "chosen" not in project.record
    before = {run["name"] for run in content(project.root).values()}
    # None is that of the run before, whose name would be the same.
    rates = "[0.0001,0.02]"
    project.run(
        "dvc", "exp", "run", "-S", "transfer.strategy=gradual",
        "-S", f"target_training.learning_rate={rates}",
        "-S", f"transfer.unfrozen_learning_rate={rates}",
    )  # fmt: skip
    record = project.record
    assert record["comparison"]["fair"]
    chosen = {arm: list(own.values()) for arm, own in record["chosen"].items()}
    assert {arm: len(own) for arm, own in chosen.items()} == {"baseline": 1, "transfer": 2}
    assert {rate for own in chosen.values() for rate in own} <= {0.0001, 0.02}
    shown = {arm: ", then ".join(map(str, own)) for arm, own in chosen.items()}
    names = {
        "baseline": f"train_b · sigmoid · sgd {shown['baseline']} · 2 epochs · seed 42",
        "transfer": f"transfer · gradual · sgd {shown['transfer']} · 2 epochs · seed 42",
    }
    runs = {run["name"]: run for run in content(project.root).values()}
    assert {*names.values()} == {
        name for name in {*runs} - before if not name.startswith("comparison")
    }
    (comparison,) = {*runs} - before - {*names.values()}
    for arm, name in names.items():
        model = networks.load(project.root / f"models/{arm}.keras")
        assert float(model.optimizer.learning_rate) == pytest.approx(chosen[arm][-1])
        # What was asked for is the identity, and what was chosen is told.
        assert dict(runs[name]["params"])["learning_rate"] == "[0.0001, 0.02]"
        for key, rate in record["chosen"][arm].items():
            assert runs[name]["tags"][f"headstart.chosen.{key}"] == str(rate)
            assert (f"chosen/{arm}/{key}", 0, rate) in runs[comparison]["metrics"]
    assert "chosen learning rate" in project.read("reports/index.html")
    # All of it comes back from what git and DVC keep.
    for file in project.root.glob("mlflow.db*"):
        file.unlink()
    publish(project)
    again = {run["name"]: run for run in content(project.root).values()}
    assert again == {name: runs[name] for name in again}
    assert {*names.values(), comparison} <= {*again}


def test_training_that_lasts_is_seen_live_epoch_by_epoch_and_a_kill_is_marked(
    project: Project,
) -> None:
    # Minutes, by which its epochs say at once that it will last.
    project.set(target_training__epochs="20000")
    with subprocess.Popen(
        ["python", "stages/train_b.py"],
        cwd=project.root,
        env=clean_environment(recorded=True),
        stdout=subprocess.DEVNULL,
    ) as stage:
        seen: set[int] = set()
        while len(seen) < 10:
            assert stage.poll() is None
            seen |= {count for (count,) in rows(project.root, _EPOCHS_OF_WHAT_RUNS)}
            time.sleep(0.05)
        stage.kill()
    assert not seen & {0, 20000}
    marked = "SELECT 1 FROM runs WHERE status = 'KILLED' AND name LIKE 'train_b%'"
    eventually(lambda: rows(project.root, marked))


_EPOCHS_OF_WHAT_RUNS = """
SELECT count(*) FROM metrics JOIN runs USING (run_uuid)
WHERE status = 'RUNNING' AND key = 'loss' GROUP BY run_uuid
"""


def test_override_of_one_arm_is_told_as_unfair_and_plots_compare_it_with_another_revision(
    small: Project, tmp_path: Path
) -> None:
    project = small.clone_to(tmp_path / "other")
    project.run("git", "switch", "-q", "-c", "other")
    project.set(evaluate__alpha="0.01", train_b__overrides="{epochs: 3}")
    said = project.run("dvc", "repro", "dvc.yaml")
    assert project.record["comparison"]["fair"] is False
    assert "epochs: baseline 3, transfer 2" in " ".join(said.split())
    project.commit("Other")
    shown = json.loads(project.run("dvc", "plots", "diff", "main", "other", "--json"))
    text = json.dumps(shown)
    for word in ("baseline", "transfer", "main", "other", "misclassified.png"):
        assert word in text
