"""Networks from elsewhere in projects of one's own: chosen, told of, fetched, compared."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import pytest
from images import blobs
from own_projects import Own, new
from projects import edit_params

from headstart.core.errors import UserError
from headstart.data import verify, weights
from headstart.params import reading
from headstart.project import check
from headstart.project.report import Report

L = keras.layers
NAME = "MobileNetV2_0.35"


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `headstart networks fetch` leaves it, with weights of an untrained network."""
    from keras.src.legacy.saving import legacy_h5_format

    folder = tmp_path_factory.mktemp("carried")
    model = keras.applications.MobileNetV2(
        alpha=0.35, weights=None, include_top=False, input_shape=(96, 96, 3)
    )
    path = folder / weights.NETWORKS[NAME].published((96, 96)).name
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    path.with_name(f"{path.name}.sha256").write_text(f"{verify.sha256(path)}  {path.name}\n")
    return folder


def saved(path: Path, *layers: Any, size: tuple[int | None, ...], name: str = "mine") -> Path:
    keras.Sequential([keras.Input(size), *layers], name=name).save(path)
    return path


def test_published_network_goes_from_a_mirror_to_a_verdict_and_never_into_git(
    carried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_MIRROR", str(carried))
    photos = blobs(tmp_path / "photos", ["ant", "bee"], each=20, size=(120, 100, 3))
    project = new(
        tmp_path / "own",
        data=photos,
        target=["all"],
        source_model=f"keras:{NAME}",
        input_size=96,
    ).quick()
    settings = reading.load(project.root / "params.yaml")
    # The network's 96 pixels, not the 64 of a network that is trained here.
    assert settings.dataset.image_size == (96, 80)
    (file,) = carried.glob("*.h5")
    assert settings.source_training.sha256 == verify.sha256(file)
    # Fetched by `init`: what is verified and there is not asked for again.
    said = project.run("dvc", "repro", HEADSTART_MIRROR="/nowhere")
    assert f"keras:{NAME}, whole: 1280 features of 96 x 96 pixels (tf), 410208" in said
    assert project.record["comparison"]["verdict"]
    assert project.repro() == []
    project.run("git", "add", "--all")
    tracked = project.run("git", "ls-files").splitlines()
    assert not [path for path in tracked if path.endswith((".h5", ".keras")) or ":" in path]
    assert not list(project.root.rglob("*:*"))

    # Another network in its place is seen by DVC, and stays out of git too.
    mine = saved(tmp_path / "a.keras", L.Conv2D(4, 3, strides=8), size=(None, None, 3))
    shutil.copy(mine, project.root / "models/own/a.keras")
    values = {"from": "models/own/a.keras", "input_size": "auto", "sha256": "null"}
    edit_params(
        project.root / "params.yaml", {f"source_training.{k}": v for k, v in values.items()}
    )
    assert project.changed() >= {"download", "train_a"}
    assert project.repro("train_a") == ["download", "train_a"]
    assert list((project.root / "data/raw/networks").iterdir()) == []
    project.run("git", "add", "--all")
    assert "a.keras" not in project.run("git", "ls-files")
    saved(project.root / "models/own/a.keras", L.Conv2D(5, 3, strides=8), size=(None, None, 3))
    assert "train_a" in project.changed()


def test_unreachable_weights_stop_a_run_with_one_message_and_nothing_partial(
    tmp_path: Path,
) -> None:
    project = new(
        tmp_path / "own", dataset="digits", target=["3", "5"], source_model="keras:ResNet50"
    )
    said = project.run("dvc", "repro", "download", status=255, HEADSTART_MIRROR="/nowhere")
    assert said.count("error: params.yaml: source_training.from: no source has resnet50") == 1
    assert "headstart networks fetch ResNet50 --to FOLDER" in said
    assert "Traceback" not in said
    assert list((project.root / "data/raw/networks").glob("*")) == []


def test_what_a_network_tells_is_chosen_by_init_and_a_contradiction_is_told_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee"], each=4, size=(200, 200, 3))
    body = [L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(3, name="answers")]
    model = saved(tmp_path / "mine.keras", *body, size=(96, 96, 3), name="mobilenetv2_1.00_96")
    project = new(tmp_path / "own", data=photos, target=["all"], source_model=model)
    settings = reading.load(project.root / "params.yaml")
    assert settings.source_training.preprocessing == "tf"
    assert settings.dataset.image_size == (96, 96)

    def check_with(**values: str) -> Report:
        edit_params(
            project.root / "params.yaml", {k.replace("__", "."): v for k, v in values.items()}
        )
        return check.check(project.root)

    report = check_with()
    amiss = [line for line in report.warnings if "pixels" in line]
    assert not amiss + [line for line in report.warnings if line.startswith("source_training")]
    assert not report.problems
    report = check_with(source_training__preprocessing="auto")
    assert "takes tf (it is called mobilenetv2_1.00_96" in "\n".join(report.warnings)
    report = check_with(source_training__preprocessing="tf", dataset__image_size="[64, 64]")
    assert "images of 64 x 64 pixels are enlarged to 96 x 96" in "\n".join(report.warnings)
    report = check_with(source_training__layer="conv")
    assert "source_training.layer: models/own/mine.keras has no layer 'conv'" in report.problems[0]
    report = check_with(source_training__layer="auto")
    photo = next((project.root / "data/own/photos/bee").iterdir())
    photo.write_bytes(photo.read_bytes()[:-200])
    assert f"{photo.name}: is no PNG or JPEG image, or damaged" in "\n".join(check_with().problems)
    # Nothing tells what this one takes.
    capsys.readouterr()
    plain = saved(tmp_path / "plain.keras", *body, size=(8, 8, 3))
    other = new(tmp_path / "other", data=photos, target=["all"], source_model=plain)
    assert "nothing in models/own/plain.keras tells" in capsys.readouterr().err
    settings = reading.load(other.root / "params.yaml")
    assert settings.source_training.preprocessing == "auto"


def test_constant_features_and_code_in_a_file_are_told_by_check(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee"], each=4, size=(20, 20, 3))
    dead = L.Conv2D(4, 3, kernel_initializer="zeros", bias_initializer="ones")
    model = saved(tmp_path / "dead.keras", L.Rescaling(1 / 255), dead, size=(20, 20, 3))
    project = new(tmp_path / "own", data=photos, target=["all"], source_model=model)
    assert reading.load(project.root / "params.yaml").source_training.preprocessing == "raw"
    report = check.check(project.root)
    assert "100% of the features are nearly constant" in "\n".join(report.warnings)
    evil = saved(tmp_path / "evil.keras", L.Lambda(abs, name="code"), dead, size=(20, 20, 3))
    with pytest.raises(UserError, match=r"holds code of its own \(code: Lambda\)"):
        new(tmp_path / "evil", data=photos, target=["all"], source_model=evil)
    assert not (tmp_path / "evil").exists()
    shutil.copy(evil, project.root / "models/own/dead.keras")
    assert "holds code of its own" in "\n".join(check.check(project.root).problems)


def test_options_of_init_write_what_was_asked_for(tmp_path: Path) -> None:
    here = Own(tmp_path)
    model = saved(tmp_path / "mine.keras", L.Conv2D(2, 3, name="maps"), size=(None, None, 1))
    here.run(
        "python", "-m", "headstart.cli", "init", "own", "--dataset", "digits", "--source-model",
        str(model), "--layer", "maps", "--preprocessing", "[-1.0, 1.0]", "--input-size", "32",
    )  # fmt: skip
    chosen = reading.load(tmp_path / "own/params.yaml").source_training
    assert (chosen.layer, chosen.preprocessing) == ("maps", (-1.0, 1.0))
    assert chosen.input_size == (32, 32)
    said = here.run(
        "python", "-m", "headstart.cli", "init", "no", "--dataset", "digits", "--source-model",
        "keras:VGG16", status=1,
    )  # fmt: skip
    assert "error: --source-model: there is no keras:VGG16; there are MobileNetV2_0.35" in said
    assert not (tmp_path / "no").exists()
