"""States of long ago: read from git as they were, with the keys that they have always had."""

import shutil
from pathlib import Path

import labbooks
import pytest
import yaml
from labbooks import git, states

from headstart import tracking
from headstart.core.errors import UserError
from headstart.params import sections
from headstart.tracking import past, revisions
from headstart.tracking import states as project_states

# The first full run of this project, before `params.yaml` had own data and adopted networks; and
# the last one before the library got its folders. Files as they lie in git.
FIRST, COMMITTED = (
    Path(__file__).parent / "fixtures" / name for name in ("first-run", "committed-run")
)
KEYS = {
    "train_a": "c5905f4c453531a815c10632715641df",
    "train_b": "86c5022e3794f0969c761a78ddb47f5c",
    "transfer": "f400b3f18c44733cbe5446233842e257",
}
COMPARISON = "74de0a41649752b4d2b3560fa3ac84fc"


def repository(root: Path, files: Path) -> Path:
    """A repository whose one commit holds `files`."""
    shutil.copytree(files, root)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "A run")
    return root


def replace(root: Path, old: str, new: str) -> None:
    """Edits the parameters, in the file and as dvc.lock has them, and commits."""
    for name in ("params.yaml", "dvc.lock"):
        text = (root / name).read_text()
        (root / name).write_text(text.replace(old, new))
    git(root, "commit", "-q", "-a", "-m", "Another")


@pytest.mark.parametrize("files", [FIRST, COMMITTED], ids=lambda folder: folder.name)
def test_keys_of_committed_runs_never_change(tmp_path: Path, files: Path) -> None:
    root = repository(tmp_path / "project", files)
    state = project_states.read(revisions.Revision(root, "main"), finished=True)
    assert {name: training.key for name, training in state.trainings.items()} == KEYS
    assert state.key == COMPARISON


def test_workspace_is_held_to_the_parameters_of_today(tmp_path: Path) -> None:
    root = repository(tmp_path / "project", FIRST)
    with pytest.raises(UserError, match=r"dataset\.split: is missing"):
        project_states.read(revisions.Workspace(root), finished=True)


def test_every_key_of_today_that_the_first_run_lacks_has_its_meaning_of_then() -> None:
    completed = past.completed(yaml.safe_load((FIRST / "params.yaml").read_text()))
    sections.Params.model_validate(completed, extra="ignore")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("optimizer: sgd", "optimizer: rmsprop"),
        ("activation: selu", "activation: swish"),
        ("strategy: frozen", "strategy: discarded"),
    ],
)
def test_values_that_were_given_up_since_are_read_as_they_were(
    tmp_path: Path, old: str, new: str
) -> None:
    root = repository(tmp_path / "project", FIRST)
    replace(root, old, new)
    state = project_states.read(revisions.Revision(root, "main"), finished=True)
    key, _, value = new.partition(": ")
    acting = state.trainings["transfer"].acting
    assert acting["network.activation" if key == "activation" else key] == value
    assert state.trainings["transfer"].key != KEYS["transfer"]


def test_key_that_was_given_up_since_changes_nothing(tmp_path: Path) -> None:
    root = repository(tmp_path / "project", FIRST)
    replace(root, "dataset:", "forgotten: {key: 1}\ndataset:")
    state = project_states.read(revisions.Revision(root, "main"), finished=True)
    assert {name: training.key for name, training in state.trainings.items()} == KEYS
    assert state.params["forgotten.key"] == 1


def test_history_with_commits_of_all_days_is_published_whole(
    tmp_path: Path, fresh_store: Path
) -> None:
    root = labbooks.new_checkout(tmp_path / "project", store=fresh_store)
    labbooks.commit_two_branches(root)
    git(root, "switch", "-q", "--orphan", "first-run")
    shutil.copytree(FIRST, root, dirs_exist_ok=True)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "The first run")
    for branch, path, text in (
        ("damaged", "dvc.lock", "<<<<<<< ours\nstages: {"),
        ("cut", "metrics/history.csv", "arm,epoch,loss,accuracy,val_loss,val_accuracy\n"),
        ("keyless", "params.yaml", "seed: 42\n"),
    ):
        git(root, "switch", "-q", "-c", branch, "first-run")
        (root / path).write_text(text)
        git(root, "commit", "-q", "-a", "-m", branch)
    git(root, "switch", "-q", "main")

    done = tracking.publish_all(root)
    written = {name for name, summary in done.items() if not isinstance(summary, str)}
    assert written == {"main", "other", "first-run"}
    assert "damaged: dvc.lock, line 2" in str(done["damaged"])
    assert "has no rows of source" in str(done["cut"])
    assert "dataset: is missing" in str(done["keyless"])
    assert states(root) == [("FINISHED", "active")] * 12
    assert set(KEYS.values()) < set(labbooks.content(root))
