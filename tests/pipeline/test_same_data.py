"""Fashion-MNIST as PNG files in folders, or as .npz, is the data of the published files."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from images import save
from own_projects import Own, new
from projects import ROOT, edit_params

from headstart.data import idx
from headstart.data.catalogue import FASHION_MNIST

# How many of the published images, and how they are used.
TRAIN, TEST = 900, 300
SIZES = {
    "dataset.split": "published",
    "dataset.train_size": "600",
    "dataset.valid_size": "300",
    "dataset.test_size": "300",
    "source_training.epochs": "2",
    "target_training.epochs": "2",
}


def prepared(project: Own) -> dict[str, bytes]:
    """All that trains and tests; how the files of the images are called is another thing."""
    project.repro("prepare")
    folder = project.root / "data/prepared"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".npy", ".json") and not path.match("*_files.json")
    }


@pytest.fixture(scope="module")
def idx_project(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A project on the published files."""
    project = new(
        tmp_path_factory.mktemp("idx") / "p", dataset="fashion_mnist", target=["sandal", "shirt"]
    )
    edit_params(project.root / "params.yaml", SIZES | {"dataset.sources": f"['{raw}']"})
    return project


@pytest.fixture(scope="module")
def published(idx_project: Own) -> dict[str, bytes]:
    """What prepare makes of the published files."""
    return prepared(idx_project)


def test_png_files_named_by_the_published_index_give_the_same_bytes_and_verdict(
    raw: Path, idx_project: Own, published: dict[str, bytes], tmp_path: Path
) -> None:
    parts = idx.load(FASHION_MNIST, raw)
    for part, images, labels in (
        ("train", parts[0][:TRAIN], parts[1]),
        ("test", parts[2][:TEST], parts[3]),
    ):
        for index, pixels in enumerate(images):
            name = FASHION_MNIST.classes[labels[index]]
            save(tmp_path / "photos" / part / name / f"{index:05}.png", np.asarray(pixels))
    project = new(tmp_path / "own", data=tmp_path / "photos", target=["sandal", "shirt"])
    classes = str(list(FASHION_MNIST.classes))
    edit_params(project.root / "params.yaml", SIZES | {"dataset.classes": classes})
    project.run("dvc", "cache", "dir", "-q", "--local", str(idx_project.root / ".dvc/cache"))
    assert prepared(project) == published
    files = json.loads(project.read("data/prepared/target/test_files.json"))["files"]
    assert files == [
        f"test/{FASHION_MNIST.classes[number]}/{index:05}.png"
        for index, number in enumerate(parts[3][:TEST])
        if FASHION_MNIST.classes[number] in ("sandal", "shirt")
    ]
    idx_project.repro()
    assert idx_project.record["comparison"]["verdict"]
    # From one cache DVC takes the trained models too: they are of the same data.
    assert project.repro() == ["evaluate"]
    metrics = "metrics/metrics.json"
    assert project.read(metrics) == idx_project.read(metrics)


def test_npz_with_the_names_of_keras_gives_the_same_bytes(
    raw: Path, published: dict[str, bytes], tmp_path: Path
) -> None:
    train_images, train_labels, test_images, test_labels = idx.load(FASHION_MNIST, raw)
    np.savez_compressed(
        tmp_path / "fashion.npz",
        x_train=train_images[:TRAIN],
        y_train=train_labels[:TRAIN],
        x_test=test_images[:TEST],
        y_test=test_labels[:TEST],
    )
    project = new(tmp_path / "own", data=tmp_path / "fashion.npz", target=["5", "6"])
    classes = str(list(FASHION_MNIST.classes))
    values = {"dataset.classes": classes, "tasks.target_classes": "[sandal, shirt]"}
    edit_params(project.root / "params.yaml", SIZES | values)
    assert prepared(project) == published


def test_committed_pipeline_watches_own_images_and_networks() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for folder, stage in (("data/own", "download"), ("models/own", "train_a")):
        assert (ROOT / folder / ".gitignore").exists()
        assert folder in stages[stage]["deps"]
