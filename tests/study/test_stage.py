"""A stage of the study in a project's folder: any data, what it reads, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from images import blobs
from projects import ROOT, edit_params, new_checkout
from studies import DIGITS, TINY, write_parameters

from headstart.core import artefacts, code
from headstart.core.errors import UserError
from headstart.data import own
from headstart.params import reading, sections
from headstart.reporting import study_tables
from headstart.reporting.study_tables import RateRow, SummaryRow
from headstart.study import cells, stage, store

DEEP = "{name: cnn, filters: [4, 4, 4, 4], dense: [], activation: relu}"


def test_study_of_digits_is_answered_on_the_images_that_prepare_makes(digits: Path) -> None:
    prepared = stage.runner("grid")[0].prepared
    data = cells.data(prepared.data, prepared.questions[0])
    script = [sys.executable, str(ROOT / "stages/prepare.py")]
    subprocess.run(script, cwd=digits, check=True, stdout=subprocess.DEVNULL)
    for part, ours in (("train", data.target_train), ("test", data.target_test)):
        theirs = artefacts.read_part(digits / "data/prepared/target", part)
        assert ours.images.max() == 1.0
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    stage.answer("grid")
    record = json.loads((digits / "metrics/study/grid/study.json").read_text())
    assert record["cells"] == 8


def test_study_with_several_rates_is_answered_at_the_rates_chosen(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_params(digits / "study/params.yaml", {"grid.learning_rates": "[0.1, 0.01, 1.0e-6]"})
    assert set(stage.runner("grid")[0].prepared.data.parts) == {"train", "valid", "test"}
    stage.answer("grid")
    folder = digits / "metrics/study/grid"
    summary = study_tables.read(folder / "summary.csv", SummaryRow)
    rates = study_tables.read(folder / "rates.csv", RateRow)
    assert [row.chosen for row in rates] == [0, 1] * len(summary)
    for chosen, before, row in zip(summary, rates[::2], rates[1::2], strict=True):
        assert (row.learning_rate, row.mean, row.gain) == (
            chosen.learning_rate,
            chosen.mean,
            chosen.gain,
        )
        assert before.learning_rate == 0.01
        # Three rates on five seeds, of which two train for the table.
        assert chosen.search_updates == 3 * 5 * 5 * (4 if chosen.labels == 4 else 5)


def test_study_of_own_colour_photographs_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = blobs(tmp_path / "data/own/pets", "abcd", each=12, size=(12, 10, 3))
    own.write(photos, tmp_path / "data/raw/own", classes="auto", image_size="auto")
    dataset = DIGITS | {"name": "own", "path": "data/own/pets"}
    cnn = {"name": "cnn", "filters": [4], "dense": [6], "activation": "relu"}
    write_parameters(
        tmp_path, dataset, target_tasks=["a", "b"], networks=[cnn], shifts=[0, 2], **TINY
    )
    monkeypatch.chdir(tmp_path)
    runner, _ = stage.runner("grid")
    assert runner.prepared.image_shape == (12, 10, 3)
    stage.answer("grid")
    record = json.loads((tmp_path / "metrics/study/grid/study.json").read_text())
    assert record["cells"] == 16


def test_study_of_splits_that_leak_is_refused_before_anything_trains(digits: Path) -> None:
    edit_params(digits / "study/params.yaml", {"grid.splits": "5"})
    runner, _ = stage.runner("grid")
    (path,) = (digits / "data/raw/digits").glob("*images*.npy")
    images = np.load(path)
    labels = runner.prepared.data.parts["train"].labels
    first, *others = np.flatnonzero(labels == 3)[:6]
    same = runner.prepared.data.parts["train"].images[[first, *others]]
    places = [int(np.flatnonzero((images == one).all(axis=(1, 2)))[0]) for one in same]
    images[places] = images[places[0]]
    np.save(path, images)
    with pytest.raises(UserError, match=r"^study/params.yaml: grid.splits: 5, and 1 images stand"):
        stage.runner("grid")
    edit_params(digits / "study/params.yaml", {"grid.splits": "1"})
    assert stage.runner("grid")


@pytest.mark.parametrize(
    ("file", "key", "value", "said"),
    [
        ("study/params.yaml", "grid.labels", "[10, 6000]", "6000 is more than the 179 training"),
        ("study/params.yaml", "grid.target_tasks", "['3', cat]", "there is no class 'cat'"),
        ("study/params.yaml", "grid.source_classes", "['3', '5']", "3 is a target class too"),
        (
            "study/params.yaml",
            "grid.networks",
            f"[{DEEP}]",
            "[4, 4, 4, 4] halves the image 4 times",
        ),
        ("params.yaml", "dataset.train_size", "2000", "2000 is more than there are: 1797"),
        ("params.yaml", "dataset.split", "folders", "folders needs train, valid and test"),
        ("params.yaml", "dataset.classes", "[a, b]", "names 2 classes, digits has 10"),
    ],
)
def test_refusal_names_the_file_and_the_key(
    digits: Path, file: str, key: str, value: str, said: str
) -> None:
    edit_params(digits / file, {key: value})
    with pytest.raises(UserError) as refused:
        stage.runner("grid")
    assert str(refused.value).startswith(f"{file}: {key}: {said}")


@pytest.mark.parametrize("section", ["grid", "claims"])
def test_stage_declares_the_parameters_of_the_pipeline_that_it_reads(
    digits: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    read = set()

    class Recorder(sections.Dataset):
        def __getattribute__(self, name: str) -> Any:
            if name in sections.Dataset.model_fields:
                read.add(f"dataset.{name}")
            return super().__getattribute__(name)

    class Watched(sections.Params):
        def __getattribute__(self, name: str) -> Any:
            if name in sections.Params.model_fields.keys() - {"dataset"}:
                read.add(name)
            return super().__getattribute__(name)

    asked = ("target_tasks", "source_classes", "networks", "source_training")
    edit_params(Path("study/params.yaml"), {f"grid.{key}": "project" for key in asked})
    settings = reading.load(Path("params.yaml"))
    recorder = Recorder.model_construct(**settings.dataset.model_dump())
    values = {key: getattr(settings, key) for key in sections.Params.model_fields}
    watched = Watched.model_construct(**values | {"dataset": recorder})
    monkeypatch.setattr(reading, "load", lambda path: watched)
    stage.runner("grid")
    declared = yaml.safe_load((ROOT / "study/dvc.yaml").read_text())["stages"][section]["params"]
    assert read == {key for key in declared if isinstance(key, str)}


def test_study_reruns_for_other_images_and_not_for_another_mirror(
    raw: Path, tmp_path: Path
) -> None:
    project = new_checkout(tmp_path / "project")
    project.repro("download")
    # Not pretrained, whose networks are not in a fresh checkout.
    sections_ = ("study/dvc.yaml:grid", "study/dvc.yaml:claims")
    # Takes the committed tables for what the present code has made.
    project.run("dvc", "commit", "-q", "-f", *sections_)

    def changed() -> set[str]:
        return set(json.loads(project.run("dvc", "status", "--json", *sections_)))

    assert changed() == set()
    project.set(dataset__sources="published")
    assert changed() == set()
    project.set(dataset__train_size="20000")
    assert changed() == set(sections_)
    project.set(dataset__train_size="25000")
    (project.root / "models/own/mine.keras").write_bytes(b"a network")
    assert changed() == set(sections_)
    (project.root / "models/own/mine.keras").unlink()
    edit_params(project.root / "study/params.yaml", {"claims.seeds": "9"})
    assert changed() == {"study/dvc.yaml:claims"}
    dry = project.run("dvc", "repro", "--dry", *sections_)
    assert "python stages/study.py claims" in dry


def test_what_cannot_act_on_a_training_voids_none() -> None:
    hashed = store.numeric_code().keys()
    assert {
        "study/cells.py",
        "core/runtime.py",
        "data/raw_data.py",
        "learning/replicas.py",
    } <= hashed
    reached = code.reached(code.LIBRARY / "study/cells.py")
    assert store.CANNOT_ACT.keys() <= reached
    # The pipeline's way of training, and what it may compare, void no study.
    assert not {"learning/fit.py", "transfer/graft.py", "params/strategies.py"} & hashed
