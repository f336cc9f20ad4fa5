"""The target classifier: what it takes, who becomes champion, and how it answers over HTTP."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from browsing import free_port
from PIL import Image
from projects import Project, clean_environment

from headstart import serving
from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.data import catalogue, idx, own
from headstart.judging import verdict

SHAPE = (28, 28)
RAW = np.random.default_rng(3).integers(0, 256, (3, *SHAPE), dtype=np.uint8)

# What is taken, and as what.


@pytest.mark.parametrize(
    "raw",
    [
        RAW,
        RAW.tolist(),
        RAW.astype(np.int64),
        RAW.astype(np.float64),
        [image.tolist() for image in RAW],
    ],
)
def test_many_raw_images_are_taken_in_any_form_of_whole_numbers(raw: Any) -> None:
    taken = serving.raw_images(raw, shape=SHAPE)
    assert taken.dtype == np.uint8
    assert np.array_equal(taken, RAW)


@pytest.mark.parametrize("raw", [RAW[0], RAW[0].tolist()])
def test_one_raw_image_is_a_batch_of_one(raw: Any) -> None:
    assert np.array_equal(serving.raw_images(raw, shape=SHAPE), RAW[:1])


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (RAW / np.float32(255), "a pixel is 0."),
        (np.ones(SHAPE), "no pixel is above 1.0"),
        (RAW.astype(int) + 256, "a pixel is "),
        (RAW.astype(int) - 256, "a pixel is -"),
        (np.full(SHAPE, np.nan), "a pixel is nan"),
        (np.full(SHAPE, 3.5), "a pixel is 3.5"),
        (RAW[:, :14], "the shape (3, 14, 28)"),
        (RAW[..., np.newaxis], "the shape (3, 28, 28, 1)"),
        (RAW.reshape(3, -1), "the shape (3, 784)"),
        ([], "the shape (0,)"),
        (np.zeros((0, *SHAPE), np.uint8), "the shape (0, 28, 28)"),
        ("shirt", "hold text"),
        ([["1"] * 28] * 28, "hold text"),
        ([[True] * 28] * 28, "hold bool"),
        (None, "no array of numbers"),
        ({"image": 1}, "no array of numbers"),
        ([[1, 2], [3]], "no array of numbers"),
        ([[10**400] * 28] * 28, "no array of numbers"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(raw: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        serving.raw_images(raw, shape=SHAPE)
    assert said in str(error.value)
    assert "whole numbers from 0 to 255" in str(error.value)
    assert "(28, 28) or n of them, (n, 28, 28)" in str(error.value)


# Who is served.


def test_verdict_names_the_arm_and_an_invalid_comparison_none() -> None:
    assert verdict.arm_to_serve("transfer better") == "transfer"
    assert verdict.arm_to_serve("baseline better") == "baseline"
    assert verdict.arm_to_serve("equivalent") == "baseline"
    assert verdict.arm_to_serve("no difference detected") == "baseline"
    with pytest.raises(UserError, match="invalid comparison"):
        verdict.arm_to_serve("invalid comparison")


@pytest.mark.parametrize(
    ("wrong_before", "wrong_now", "moves", "said"),
    [
        (10, 0, True, "the challenger is better"),
        (0, 10, False, "the incumbent is better"),
        # Mid-p of 4 against 0 is 0.0625, of 5 against 0 half as much (the exact p is 0.0625).
        (4, 0, False, "no difference detected"),
        (5, 0, True, "the challenger is better"),
        (0, 0, False, "no difference detected"),
    ],
)
def test_champion_falls_by_the_rule_of_the_verdict(
    wrong_before: int, wrong_now: int, moves: bool, said: str
) -> None:
    actual = np.array([0, 1] * 20)

    def answering(wrong: int) -> np.ndarray:
        probabilities = np.where(actual == 1, 0.9, 0.1)
        probabilities[:wrong] = 1 - probabilities[:wrong]
        return probabilities

    better, reason = verdict.succeeds(
        actual, answering(wrong_before), answering(wrong_now), alpha=0.05
    )
    assert better is moves
    assert said in reason


def test_constant_answers_make_no_champion() -> None:
    actual = np.array([1] * 30 + [0] * 2)
    mixed = np.where(np.arange(32) % 2, 0.9, 0.1)
    better, reason = verdict.succeeds(actual, mixed, np.ones(32), alpha=0.05)
    assert not better
    assert "the challenger gives one and the same answer" in reason


# The registry, the server and the command, with real models.


def headstart(project: Project, *arguments: str, status: int = 0) -> str:
    command = (sys.executable, "-m", "headstart.cli", *arguments)
    return project.run(*command, status=status, PYTHONPATH="src")


@pytest.fixture(scope="module")
def registered(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with its first model in the registry, for reading."""
    project = recorded.clone_to(tmp_path_factory.mktemp("registered") / "project")
    # MLflow keeps absolute addresses: a store of its own.
    (project.root / "mlflow.db").unlink()
    assert "version 1 (baseline) registered" in headstart(project, "register")
    (project.root / ".venv").symlink_to(sys.prefix)
    return project


@pytest.fixture(scope="module")
def raw_tests(registered: Project) -> np.ndarray:
    """The raw test images of the target task, as published: sandals (5) and shirts (6)."""
    folder = registered.root / "data/raw/fashion_mnist"
    _, _, images, labels = idx.load(catalogue.FASHION_MNIST, folder)
    return images[:1200][np.isin(labels[:1200], (5, 6))][:200]


@pytest.fixture(scope="module")
def answered(registered: Project) -> list[dict[str, str]]:
    with (registered.root / "metrics/predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_model_in_the_registry_tells_where_it_comes_from(registered: Project) -> None:
    from mlflow import MlflowClient
    from mlflow.models import Model

    uri = f"sqlite:///{registered.root / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version_by_alias("headstart-target", "champion")
    tags = version.tags
    commit = registered.run("git", "rev-parse", "HEAD").strip()
    assert tags["code.commit"] == commit
    assert tags["dataset.name"] == "fashion_mnist"
    assert tags["dataset.version"] in registered.read("dvc.lock")
    assert tags["headstart.model"] in registered.read("dvc.lock")
    assert tags["headstart.verdict"] == registered.record["comparison"]["verdict"]
    run = client.get_run(version.run_id)
    assert run.data.tags["headstart.key"] == tags["headstart.training"]
    assert run.info.status == "FINISHED"
    place = client.get_model_version_download_uri("headstart-target", version.version)
    if place.startswith("models:/"):
        place = client.get_logged_model(version.model_id).artifact_location
    place = place.removeprefix("file://")
    info = Model.load(place)
    taken = info.signature.inputs.inputs[0]
    assert (taken.type, taken.shape) == (np.dtype(np.uint8), (-1, 28, 28))
    assert info.signature.outputs.input_names() == [
        "class", "label", "probability", "probabilities",
    ]  # fmt: skip
    assert info.saved_input_example_info
    needs = Path(place, "requirements.txt").read_text().split()
    assert needs
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", need) for need in needs), needs


def test_registering_again_changes_nothing(registered: Project) -> None:
    said = headstart(registered, "register")
    assert "version 1 (baseline) was registered already" in said
    assert "champion stays where it is: it is the champion already" in said


def test_invalid_comparison_is_not_registered(project: Project) -> None:
    record = project.record
    record["comparison"]["verdict"] = "invalid comparison"
    (project.root / "metrics/metrics.json").write_text(json.dumps(record))
    project.run("dvc", "commit", "-q", "-f", "dvc.yaml")
    project.commit()
    assert "'invalid comparison', so no model" in headstart(project, "register", status=1)


@contextlib.contextmanager
def served(project: Project, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs scripts/serve.sh (`make serve`); ends it as Ctrl-C does."""
    port = free_port()
    with log.open("w") as file:
        running = subprocess.Popen(
            ["scripts/serve.sh"],
            cwd=project.root,
            env=clean_environment() | {"PORT": str(port)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{url}/ping").close()
                break
            except OSError:
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield url, running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGINT)
            running.wait(timeout=30)


def test_server_answers_as_evaluate_did_and_refuses_the_rest(
    registered: Project,
    raw_tests: np.ndarray,
    answered: list[dict[str, str]],
    tmp_path: Path,
) -> None:
    with served(registered, tmp_path / "log") as (url, running):

        def ask(body: Any) -> tuple[int, Any]:
            request = urllib.request.Request(
                f"{url}/invocations",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request) as answer:
                    return answer.status, json.load(answer)["predictions"]
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)["message"]

        assert len(raw_tests) == 200
        status, together = ask({"inputs": raw_tests.tolist()})
        assert status == 200
        alone = [ask({"inputs": image.tolist()})[1][0] for image in raw_tests]
        for answers in (together, alone):
            assert len(answers) == len(raw_tests)
            for answer, row in zip(answers, answered, strict=False):
                assert answer["label"] == int(row["baseline"])
                assert answer["class"] == ("sandal", "shirt")[answer["label"]]
                expected = float(row["baseline_probability"])
                assert answer["probabilities"][1] == pytest.approx(expected, abs=1e-5)
                assert answer["probability"] == max(answer["probabilities"])
        for wrong in (
            raw_tests[:2] / 255,
            raw_tests[:2, :14],
            raw_tests[:2].astype(int) + 300,
            np.zeros((2, 28, 28, 3)),
        ):
            status, message = ask({"inputs": wrong.tolist()})
            assert status == 400
            assert "whole numbers from 0 to 255" in message
            assert "(28, 28) or n of them" in message
            assert len(message) < 300
        assert ask({"inputs": "a shirt"})[0] == 400
        status, message = ask({"pixels": [1]})
        assert status == 400
        assert "'inputs'" in message

        family = [running.pid, *(child.pid for child in psutil.Process(running.pid).children(True))]
        assert len(family) >= 3
        os.killpg(running.pid, signal.SIGINT)
        running.wait(timeout=30)
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in family if psutil.pid_exists(pid)], timeout=10
    )
    assert not alive, "a part of the server lives on"


def test_serve_says_what_is_missing(small: Project, tmp_path: Path) -> None:
    project = small.clone_to(tmp_path / "project")
    (project.root / ".venv").symlink_to(sys.prefix)
    assert "no lab book yet" in project.run("scripts/serve.sh", status=1)
    headstart(project, "publish")
    assert "no model is registered yet" in project.run("scripts/serve.sh", status=1)


def test_predict_says_class_and_probability_of_the_pixels_that_training_would_see(
    registered: Project,
    raw_tests: np.ndarray,
    answered: list[dict[str, str]],
    tmp_path: Path,
) -> None:
    for number in (0, 1):
        Image.fromarray(raw_tests[number]).save(tmp_path / f"{number}.png")
    # A photograph that has to be decoded, and the pixels that the pipeline makes of it.
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        colour = Image.fromarray(raw_tests[0]).resize((160, 90)).convert("RGBA")
        colour.putalpha(200)
        colour.convert("LA").save(tmp_path / "own" / name / "photo.png")
    own.write(tmp_path / "own", tmp_path / "raw", classes="auto", image_size=SHAPE)
    pixels = artefacts.read_array(tmp_path / "raw/all_images.npy")[0]
    Image.fromarray(pixels).save(tmp_path / "pixels.png")
    files = ("0.png", "missing.png", "1.png", "own/a/photo.png", "pixels.png")
    said = headstart(registered, "predict", *(str(tmp_path / name) for name in files), status=1)
    assert (
        said.partition("photo.png: ")[2].splitlines()[0]
        == (said.partition("pixels.png: ")[2].splitlines()[0])
    )
    assert f"error: {tmp_path}/missing.png: there is no such file" in said
    for number in (0, 1):
        row = answered[number]
        share = float(row["baseline_probability"])
        share = share if row["baseline"] == "1" else 1 - share
        name = ("sandal", "shirt")[int(row["baseline"])]
        assert f"{number}.png: {name} (probability {share:.4f})" in said


def test_champion_moves_to_a_better_model_or_by_force(registered: Project) -> None:
    """The last test here: the registry has another version afterwards."""
    project = registered
    first = project.run("git", "rev-parse", "HEAD").strip()

    # The worse of the two networks in the place of the better.
    shutil.copy(project.root / "models/transfer.keras", project.root / "models/baseline.keras")
    assert "would run" in headstart(project, "register", status=1)
    project.run("dvc", "commit", "-q", "-f", "dvc.yaml")
    assert "not committed: dvc.lock" in headstart(project, "register", status=1)
    project.run("git", "commit", "-q", "-a", "-m", "Put a worse model in its place")
    said = headstart(project, "register")
    assert "version 2 (baseline) registered" in said
    assert "stays where it is" in said
    assert "the incumbent is better" in said
    said = headstart(project, "register", "--force")
    assert "champion is now this version" in said
    assert "moved by --force" in said

    project.run("git", "checkout", "-q", first)
    project.run("dvc", "checkout", "-q")
    said = headstart(project, "register")
    assert "version 1 (baseline) was registered already" in said
    assert "champion is now this version" in said
    assert "the challenger is better" in said
