"""`headstart check` tells beforehand what a run will do, and what would stop it."""

import os
from pathlib import Path

import numpy as np
import pytest
from images import blobs, save
from own_projects import Own, new
from projects import ROOT, edit_params

from headstart.judging import power
from headstart.project import check


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A project on digits whose data is prepared and cached."""
    os.environ.setdefault("HEADSTART_TEST_RAW", "/nowhere")
    project = new(tmp_path_factory.mktemp("check") / "project", dataset="digits")
    project.repro("prepare")
    return project


def said_of(project: Own, *options: str, status: int = 0) -> str:
    return project.run("python", "-m", "headstart.cli", "check", *options, status=status)


def test_what_will_run_is_told_with_the_sizes_that_prepare_makes(prepared: Own) -> None:
    said = said_of(prepared)
    for role in ("source", "target"):
        for part in ("train", "valid", "test"):
            labels = np.load(prepared.root / f"data/prepared/{role}/{part}_labels.npy")
            assert f"{role} {part}: {len(labels)} images" in said
    assert "nothing stands in the way" in said
    # What takes the seconds is left out, and the rest is said as before.
    quick, timed = (
        [line.strip() for line in told.splitlines()]
        for told in (said_of(prepared, "--quick"), said)
    )
    assert [line for line in timed if line.startswith("expected: ")]
    assert not [line for line in quick if line.startswith("expected: ") or " a step, " in line]
    assert {line.partition("; on this machine")[0] for line in timed} >= {*quick}
    assert "leave out --quick" in said_of(prepared, "--study", "--quick", status=1)


def test_check_starts_without_tensorflow(prepared: Own) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart.project import check\n"
        "assert not check.check(Path('.'), quick=True).problems\n"
        "print(sorted({'tensorflow', 'keras', 'mlflow', 'sklearn', 'dvc'} & {*sys.modules}))"
    )
    assert prepared.run("python", "-c", code).strip() == "[]"


ONE_EPOCH = (
    "{strategy: gradual, frozen_fraction: 0.5, unfrozen_learning_rate: 0.1, "
    "batch_normalization: auto, overrides: {epochs: 1}}"
)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", "many", "seed: 'many' is text"),
        ("tasks.target_classes", "[8, 19]", "there is no class 19"),
        ("dataset.train_size", "1700", "dataset.train_size: 1700 is more than there are"),
        ("dataset.test_size", "0.0001", "is no image"),
        ("dataset.split", "folders", "dataset.split: folders needs train, valid and test"),
        (
            "network",
            "{name: cnn, filters: [4, 4, 4, 4], dense: [], activation: relu}",
            "params.yaml: network.filters: [4, 4, 4, 4] halves the image 4 times, and 8 x 8",
        ),
        ("source_training.from", "models/own/none.keras", "models/own/none.keras: there is no"),
        ("transfer", ONE_EPOCH, "gradual needs at least 2 epochs"),
    ],
)  # fmt: skip
def test_what_would_stop_a_run_is_told_and_fails(
    prepared: Own, key: str, value: str, said: str
) -> None:
    path = prepared.root / "params.yaml"
    before = path.read_text()
    try:
        edit_params(path, {key: value})
        report = check.check(prepared.root, quick=True)
    finally:
        path.write_text(before)
    assert said in "\n".join(report.problems)


def test_difference_between_the_arms_is_told(prepared: Own) -> None:
    path = prepared.root / "params.yaml"
    before = path.read_text()
    try:
        edit_params(path, {"train_b.overrides": "{epochs: 3}"})
        report = check.check(prepared.root, quick=True)
    finally:
        path.write_text(before)
    assert "not a fair comparison: epochs differ between the arms" in report.warnings


def test_own_images_are_looked_at_before_they_are_gathered(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", ["a", "b", "c", "d"])
    project = new(tmp_path / "own", data=photos, target=["a", "b"])
    report = check.check(project.root, quick=True)
    assert "data: own, 48 images of 12 x 12, 4 classes" in report.lines
    assert not report.problems
    save(project.root / "data/own/photos/a/large.png", np.ones((30, 30), np.uint8))
    assert "has images of 2 sizes" in "\n".join(check.check(project.root, quick=True).problems)
    (project.root / "data/own/photos/a/large.png").write_text("no image")
    assert "large.png: is no PNG or JPEG" in "\n".join(
        check.check(project.root, quick=True).problems
    )


def test_names_that_an_npz_has_not_are_those_of_the_parameters(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(60) % 4)
    project = new(tmp_path / "own", data=tmp_path / "own.npz", target=["0", "2"])
    path = project.root / "params.yaml"
    names = {"dataset.classes": "[cat, 'a=b', 'c, d', _]", "tasks.target_classes": "[cat, 'c, d']"}
    edit_params(path, names)
    report = check.check(project.root, quick=True)
    assert not report.problems
    assert [line for line in report.lines if line.startswith("target test") and "c, d: " in line]
    edit_params(path, {"dataset.classes": "[cat, dog]"})
    (problem,) = check.check(project.root, quick=True).problems
    assert "own.npz: label 2 at position 2 of all is no class (cat, dog)" in problem


def test_damaged_photograph_is_told_before_it_stops_a_run(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        for number in range(6):
            pixels = random.integers(0, 256, (40, 40, 3), np.uint8)
            save(tmp_path / f"photos/{name}/{number}.jpg", pixels)
    project = new(tmp_path / "own", data=tmp_path / "photos", target=["a", "b"])
    assert not check.check(project.root, quick=True).problems
    # Its header is whole, so that only decoding all of it tells.
    photo = project.root / "data/own/photos/b/3.jpg"
    photo.write_bytes(photo.read_bytes()[:-300])
    (problem,) = check.check(project.root, quick=True).problems
    assert "b/3.jpg: is no PNG or JPEG image, or damaged" in problem


def test_what_the_test_images_can_show_is_told_beforehand(prepared: Own, tmp_path: Path) -> None:
    project = Own(prepared.clone_to(tmp_path / "project").root)
    images = len(np.load(project.root / "data/prepared/target/test_labels.npy"))
    least = power.visible_difference(images, accuracy=0.9, alpha=0.05)
    said = said_of(project, "--quick")
    assert f"{images} target test images: the least difference that the verdict sees" in said
    assert f"{least:.3f} at 0.9, " in said
    assert "`equivalent` (evaluate.margin 0.005) cannot be reached: it takes 328" in said
    edit_params(project.root / "params.yaml", {"evaluate.margin": "0.1"})
    most = power.most_discordant(images, alpha=0.05, margin=0.1)
    assert f"can be reached: with at most {most} answers, evenly split" in said_of(
        project, "--quick"
    )
    edit_params(project.root / "params.yaml", {"evaluate.margin": "0"})
    assert "`equivalent`" not in said_of(project, "--quick")


def test_counts_are_unknown_before_the_images_are_there(tmp_path: Path) -> None:
    project = new(tmp_path / "new", dataset="mnist", target=["3", "5"])
    lines = check.check(project.root, quick=True).lines
    assert "how many images each class has is known once `download` has run" in lines
    assert [line for line in lines if line.startswith("target test: about ")]
    assert not [line for line in lines if "(3: " in line]


def test_silently_damaged_cache_is_found_named_and_mended(prepared: Own, tmp_path: Path) -> None:
    project = Own(prepared.clone_to(tmp_path / "project").root)
    assert "0 damaged" in said_of(project, "--quick", "--cache")
    victim = next(
        path
        for path in (project.root / ".dvc/cache/files/md5").glob("??/*")
        if path.stat().st_size > 10_000
    )
    when = victim.stat()
    content = bytearray(victim.read_bytes())
    content[5000] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(content)
    os.utime(victim, ns=(when.st_atime_ns, when.st_mtime_ns))
    victim.chmod(0o444)
    # DVC itself sees nothing.
    assert "up to date" in project.run("dvc", "status", "prepare")
    said = said_of(project, "--quick", "--cache", status=1)
    assert str(victim) in said
    assert "1 damaged" in said
    # The command that the message gives mends it.
    command = next(line for line in said.splitlines() if "cp -f" in line).split(": ")[-1]
    project.run("sh", "-c", command)
    assert "0 damaged" in said_of(project, "--quick", "--cache")


def test_committed_parameters_pass_their_own_check(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/fashion_mnist").symlink_to(raw)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    report = check.check(tmp_path, quick=True)
    assert report.problems == []
    shown = "\n".join(report.lines)
    assert "target test: 967 images (sandal: 485, shirt: 482)" in shown
    assert "baseline: 275,801 trainable of 275,801 parameters, 805 updates" in shown
    assert "transfer: 51 trainable of 275,801 parameters" in shown
