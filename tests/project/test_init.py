"""A fresh project for data at hand: what it holds, and that it runs from images to a verdict."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from images import blobs, save
from own_projects import Own, new
from PIL import Image
from projects import ROOT, edit_params

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.params import reading
from headstart.project import init

CLASSES = ["ant", "bee", "cat", "dog", "eel"]
# Of photographs that lie in another class's folder.
ODD_NAMES = ['a,"b"\n c.png', "=1+1.png", "caf\u00e9 \u2713\r.png", "'; drop.png"] + [
    f"{number} <b>.png" for number in range(3)
]
VERDICTS = (
    "transfer better",
    "baseline better",
    "equivalent",
    "no difference detected",
    "invalid comparison",
)


@pytest.fixture(autouse=True)
def _no_published_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_TEST_RAW", "/nowhere")


def network(path: Path, code: str) -> Path:
    """Writes the Keras model that `code` builds, in a process of its own."""
    script = (
        f"import keras\nfrom keras import layers as L\nkeras.utils.set_random_seed(1)\n{code}\n"
    )
    subprocess.run(
        [sys.executable, "-c", f"{script}model.save({str(path)!r})"],
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return path


def test_command_takes_several_words_after_an_option(tmp_path: Path) -> None:
    here = Own(tmp_path)
    said = here.run(
        "python", "-m", "headstart.cli", "init", "a project",
        "--dataset", "digits", "--target", "3", "5", "8", "--source", "0", "1",
    )  # fmt: skip
    assert "target task: 3, 5, 8" in said
    settings = reading.load(tmp_path / "a project/params.yaml")
    assert settings.tasks.target_classes == ("3", "5", "8")
    assert settings.tasks.source_classes == ("0", "1")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A project for colour photographs, of which a few lie in the wrong folder, after its run."""
    folder = tmp_path_factory.mktemp("photographs")
    photos = blobs(folder / "my photos", CLASSES, each=20, size=(32, 32, 3))
    for number, name in enumerate(ODD_NAMES):
        other = blobs(folder / f"{number}", CLASSES, each=1, size=(32, 32, 3), seed=number + 1)
        next((other / "dog").iterdir()).rename(photos / "ant" / name)
    project = new(
        folder / "own", data=photos, target=["dog", "ant", "eel"], source=["bee", "cat"]
    ).quick()
    said = project.run("dvc", "repro")
    assert f"Verdict: {project.record['comparison']['verdict']}" in said
    return project


def test_own_folder_in_colour_with_three_targets_fractions_and_a_new_image(
    photographs: Own, tmp_path: Path
) -> None:
    project = photographs.clone_to(tmp_path / "own")
    settings = reading.load(project.root / "params.yaml")
    assert settings.dataset.image_size == "auto"
    assert settings.network.name == "cnn"
    assert (settings.dataset.train_size, settings.dataset.test_size) == (0.6, 0.2)
    images = np.load(project.root / "data/prepared/target/train_images.npy")
    assert images.shape == (41, 32, 32, 3)
    assert images.dtype == np.float32
    record = project.record
    assert record["comparison"]["verdict"] in VERDICTS
    # A softmax over three classes.
    assert record["cost"]["transfer"]["trainable_parameters"] == 3 * 64 + 3
    assert 0.5 < record["baseline"]["auc"] <= 1
    assert project.repro() == []

    save(project.root / "data/own/my photos/dog/one more.png", np.ones((32, 32, 3), np.uint8))
    assert project.repro("prepare") == ["download", "prepare"]
    images = [
        len(np.load(project.root / f"data/prepared/target/{part}_images.npy"))
        for part in ("train", "valid", "test")
    ]
    assert sum(images) == 68


def test_mistakes_are_listed_by_the_files_that_the_test_images_were(photographs: Own) -> None:
    prepared = photographs.root / "data/prepared/target"
    classes = json.loads(photographs.read("data/prepared/classes.json"))["target"]["names"]
    files = json.loads((prepared / "test_files.json").read_text())["files"]
    for file, pixels in zip(files, np.load(prepared / "test_images.npy"), strict=True):
        image = Image.open(photographs.root / "data/own/my photos" / file)
        np.testing.assert_array_equal(np.asarray(image) / np.float32(255), pixels)
    answers = artefacts.read_table(photographs.root / "metrics/predictions.csv")
    expected = [
        {"file": file}
        | {key: classes[int(row[key])] for key in ("actual", "baseline", "transfer")}
        | {key: row[key] for key in ("baseline_probability", "transfer_probability")}
        for file, row in zip(files, answers, strict=True)
        if {row["baseline"], row["transfer"]} != {row["actual"]}
    ]
    listed = artefacts.read_table(photographs.root / "metrics/mistakes.csv")
    assert listed == expected
    names = {Path(row["file"]).name for row in listed}
    assert names & set(ODD_NAMES), "none of the mislabelled is in the test part: choose others"
    # Names of photographs stay out of git; the picture of the mistakes is there.
    assert "mistakes" not in photographs.run("git", "add", "--all", "--dry-run", "metrics")


def test_saved_model_as_source_cut_at_a_layer_of_choice(tmp_path: Path) -> None:
    # Colour images of another size, and other values for black and white.
    model = network(
        tmp_path / "mine.keras",
        "model = keras.Sequential([L.Input((16, 16, 3)), L.Conv2D(4, 3, name='first'),"
        " L.BatchNormalization(), L.Conv2D(6, 3, name='second'), L.Flatten(),"
        " L.Dense(5, name='out')])",
    )
    photos = blobs(tmp_path / "photos", ["ant", "bee"], each=20, size=(12, 12))
    project = new(
        tmp_path / "own", data=photos, target=["all"], source_model=model, layer="second"
    ).quick()
    edit_params(project.root / "params.yaml", {"source_training.input_range": "[-1.0, 1.0]"})
    assert reading.load(project.root / "params.yaml").tasks.source_classes == "none"
    said = project.run("dvc", "repro")
    assert "models/own/mine.keras, cut at the layer second: 6 features" in said
    assert "what it cost is unknown" in said
    # 3*3*3*4+4, 4*4, 3*3*4*6+6 frozen; a unit on six features trained.
    assert "7 trainable and 350 frozen parameters" in said
    record = project.record
    assert record["comparison"]["verdict"] in VERDICTS
    assert set(record["source"].values()) == {None}
    assert record["cost"]["source"]["flops"] is None
    assert record["cost"]["transfer"]["flops"] > 0
    assert record["cost"]["transfer"]["flops_with_source"] is None
    assert project.repro() == []

    project.run("python", "-m", "headstart.cli", "publish")
    edit_params(project.root / "params.yaml", {"source_training.layer": "third"})
    said = project.run("dvc", "repro", status=255)
    assert "source_training.layer: models/own/mine.keras has no layer 'third'" in said


def test_npz_with_published_parts_is_split_from_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "x_train": random.integers(0, 256, (40, 9, 9), dtype=np.uint8),
        "y_train": np.arange(40) % 4,
        "x_test": random.integers(0, 256, (20, 9, 9), dtype=np.uint8),
        "y_test": np.arange(20) % 4,
    }
    np.savez(tmp_path / "mine.npz", **arrays)
    project = new(tmp_path / "own", data=tmp_path / "mine.npz", target=["0", "2"])
    settings = reading.load(project.root / "params.yaml")
    assert settings.dataset.path == "data/own/mine.npz"
    assert (settings.dataset.train_size, settings.dataset.test_size) == (0.8, 1.0)
    project.repro("prepare")
    assert len(np.load(project.root / "data/prepared/target/test_labels.npy")) == 10


def test_given_folders_make_the_parts(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "valid", "test")):
        blobs(tmp_path / "photos" / part, CLASSES, each=4, seed=seed)
    project = new(tmp_path / "own", data=tmp_path / "photos", target=["ant", "bee"])
    assert reading.load(project.root / "params.yaml").dataset.split == "folders"
    project.repro("prepare")
    assert len(np.load(project.root / "data/prepared/source/valid_labels.npy")) == 12


def test_images_of_many_sizes_are_brought_to_one(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", CLASSES, size=(40, 30))
    blobs(photos, ["ant"], each=1, size=(20, 24))
    project = new(tmp_path / "own", data=photos, target=["ant", "bee"])
    settings = reading.load(project.root / "params.yaml")
    assert settings.dataset.image_size == (20, 20)


def test_stages_are_ours_and_depend_on_no_file_of_the_library(tmp_path: Path) -> None:
    project = new(tmp_path / "own", dataset="fashion_mnist")
    pipeline = yaml.safe_load(project.read("dvc.yaml"))["stages"]
    ours = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(pipeline) == list(init.STAGES)
    for name, stage in pipeline.items():
        assert project.read(f"stages/{name}.py") == (ROOT / f"stages/{name}.py").read_text()
        assert stage["params"] == [*ours[name]["params"], {"headstart.lock": [name]}]
        assert stage["outs"] == ours[name]["outs"] if "outs" in stage else "outs" not in ours[name]
        assert not [dep for dep in stage["deps"] if "src/" in dep or dep == "data/own"]
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give either --data FOLDER"),
        ({"dataset": "imagenet"}, "there is no imagenet; there are digits, fashion_mnist"),
        ({"dataset": "digits", "data": Path("x")}, "give either --data FOLDER"),
        ({"data": Path("/nowhere")}, "--data: there is no folder or file /nowhere"),
        ({"dataset": "digits", "target": ["8", "cat"]}, "there is no class 'cat'"),
        (
            {"dataset": "digits", "source_model": Path("x.h5")},
            "x.h5: is no .keras, .h5, .hdf5 file, and no keras:NAME",
        ),
    ],
)
def test_what_cannot_make_a_project_is_refused_and_leaves_nothing(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        new(tmp_path / "own", **options)
    assert list(tmp_path.iterdir()) == []


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/thesis.txt").write_text("months of work")
    with pytest.raises(UserError, match="own: is in use"):
        new(tmp_path / "own", dataset="digits")
    assert [path.name for path in tmp_path.rglob("*")] == ["own", "thesis.txt"]


def test_two_classes_alone_ask_for_a_network(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee"])
    with pytest.raises(UserError, match="leaves 0 of the 2 classes for the source task"):
        new(tmp_path / "own", data=photos, target=["all"])


def test_images_without_target_classes_end_with_the_list_of_classes(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", CLASSES)
    with pytest.raises(UserError, match="has the classes ant, bee, cat, dog, eel") as refused:
        new(tmp_path / "own", data=photos)
    assert "--target dog eel" in str(refused.value)
    assert not (tmp_path / "own").exists()


def test_project_without_git_runs_under_dvc_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "git" else which(name))
    project = new(tmp_path / "own", dataset="digits")
    assert not (project.root / ".git").exists()
    assert project.repro("download") == ["download"]
