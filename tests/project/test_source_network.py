"""Networks from elsewhere in projects of one's own: chosen, told of, fetched, compared."""

import html
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import applications_here
import keras
import numpy as np
import pytest
from images import blobs, save
from labbooks import content, rows
from own_projects import Own, new
from projects import edit_params
from published import Server, running, secured, write_certificate

from headstart.core.errors import UserError
from headstart.data import digits, verify, weights
from headstart.learning import networks
from headstart.params import reading
from headstart.project import check, source_network
from headstart.project.report import Report

L = keras.layers
NAME = "MobileNetV2_0.35"
HEADSTART = (sys.executable, "-m", "headstart.cli")


class Mirror:
    """A server on this machine with the weights of published networks, and a folder of photos."""

    def __init__(self, folder: Path, start: Callable[..., Server], certificate: Path) -> None:
        self.folder, self.files = folder, dict[str, Path]()
        self.photos = blobs(folder / "photos", ["ant", "bee"], each=20, size=(40, 32, 3))
        self.known = dict[str, dict[str, str]]()
        self.server = start(applications_here.sends(self.files))
        self.environment = {
            "HEADSTART_MIRROR": self.server.url,
            "REQUESTS_CA_BUNDLE": str(certificate),
        }

    def hold(self, name: str, *, size: int = 32) -> Path:
        """Serves untrained weights of the network `name`, whose sum Keras knows from then on."""
        file = applications_here.write_weights(self.folder / "weights", name, size=size)
        self.files[file.name] = file
        if sums := applications_here.sums(name, file):
            self.known[name] = sums
        return file

    def surroundings(self) -> dict[str, Any]:
        """Returns the environment of a machine that reaches nothing else."""
        return applications_here.surroundings(self.folder, self.known) | self.environment

    def init(self, folder: Path, name: str, *options: str) -> Own:
        """Returns a project of `headstart init` for the photos and a published network."""
        here = Own(folder.parent)
        here.run(
            *HEADSTART, "init", folder.name, "--data", str(self.photos), "--target", "all",
            "--source-model", f"keras:{name}", "--input-size", "32", *options,
            **self.surroundings(),
        )  # fmt: skip
        project = Own(folder)
        edit_params(folder / "params.yaml", {"target_training.epochs": "1"})
        return project


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    folder = tmp_path_factory.mktemp("mirror")
    certificate = write_certificate(folder)
    with running(secured(certificate)) as start:
        yield Mirror(folder, start, certificate)


@pytest.fixture(scope="module")
def adopted(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A project with a published network after its run, committed. Copy it before changing it."""
    mirror.hold(NAME)
    project = mirror.init(tmp_path_factory.mktemp("adopted") / "own", NAME)
    project.run(*HEADSTART, "run", **mirror.surroundings())
    project.commit("Run")
    return project


def saved(path: Path, *layers: Any, size: tuple[int | None, ...], name: str = "mine") -> Path:
    keras.Sequential([keras.Input(size), *layers], name=name).save(path)
    return path


def assert_adopted(project: Own, mirror: Mirror, name: str) -> None:
    """Tells whether the source network of a project that ran is the published one."""
    (file,) = (project.root / "data/raw/networks").iterdir()
    assert file.read_bytes() == mirror.files[file.name].read_bytes()
    images = np.load(project.root / "data/prepared/target/test_images.npy")
    source = networks.load(project.root / "models/source.keras")
    features = source.predict_on_batch(images)
    expected = applications_here.plain_features(name, file, images)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    assert project.record["comparison"]["verdict"]
    assert not (mirror.folder / "attempts").exists(), (mirror.folder / "attempts").read_text()
    assert not list(project.root.rglob("*:*"))


def test_published_network_goes_from_a_mirror_to_a_verdict_and_never_into_git(
    mirror: Mirror, adopted: Own, tmp_path: Path
) -> None:
    assert_adopted(adopted, mirror, NAME)
    settings = reading.load(adopted.root / "params.yaml")
    (file,) = (adopted.root / "data/raw/networks").iterdir()
    # Nobody publishes its sum: that of the first download, over https, is enforced.
    assert settings.source_training.sha256 == verify.sha256(file)
    # Fetched by `init`: what is verified and there is not asked for again.
    assert mirror.server.asked.count(file.name) == 1
    assert adopted.repro() == []
    tracked = adopted.run("git", "ls-files").splitlines()
    assert not [path for path in tracked if path.endswith((".h5", ".keras")) or ":" in path]

    # Another network in its place is seen by DVC, and stays out of git too.
    project = Own(adopted.clone_to(tmp_path / "own").root)
    mine = saved(tmp_path / "a.keras", L.Conv2D(4, 3, strides=8), size=(None, None, 3))
    shutil.copy(mine, project.root / "models/own/a.keras")
    values = {"from": "models/own/a.keras", "input_size": "auto", "sha256": "null"}
    edit_params(
        project.root / "params.yaml", {f"source_training.{k}": v for k, v in values.items()}
    )
    assert project.changed() >= {"download", "train_a"}
    assert project.repro("train_a") == ["download", "train_a"]
    assert list((project.root / "data/raw/networks").iterdir()) == []
    # As `headstart networks fetch --to weights` leaves them.
    applications_here.mirror(project.root / "weights", NAME)
    project.run("git", "add", "--all")
    staged = project.run("git", "ls-files")
    assert "a.keras" not in staged
    assert "weights/" not in staged
    saved(project.root / "models/own/a.keras", L.Conv2D(5, 3, strides=8), size=(None, None, 3))
    assert "train_a" in project.changed()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in applications_here.MODULES if name != NAME])
def test_every_published_network_goes_from_a_mirror_to_a_verdict(
    mirror: Mirror, tmp_path: Path, name: str
) -> None:
    file = mirror.hold(name)
    project = mirror.init(tmp_path / "own", name)
    said = project.run(*HEADSTART, "run", **mirror.surroundings())
    known = weights.NETWORKS[name]
    assert f"keras:{name}, whole: " in said
    assert f"of 32 x 32 pixels ({known.preprocessing}), {known.parameters} parameters" in said
    assert_adopted(project, mirror, name)
    # A byte is another, and the network is refused: by Keras' own sum, or by that of `init`.
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    (project.root / "data/raw/networks" / file.name).unlink()
    (tmp_path / file.name).write_bytes(content)
    said = project.run(
        *HEADSTART, "run", "--force", "download", status=1,
        **mirror.surroundings() | {"HEADSTART_MIRROR": str(tmp_path)},
    )  # fmt: skip
    assert_refused(project, said, f"has {'MD5' if 'md5' in mirror.known.get(name, {}) else 'SHA'}")
    # After the folder the web was asked, in vain.
    (mirror.folder / "attempts").unlink()


def assert_refused(project: Own, said: str, reason: str) -> None:
    """Tells whether a download ended in one message with this reason, and left nothing."""
    (line,) = [at for at, line in enumerate(said.splitlines()) if line.startswith("error: ")]
    message = said.splitlines()[line:]
    assert "params.yaml: source_training.from: no source has " in message[0]
    assert [found for found in message[1:4] if reason in found], said
    assert "headstart networks fetch" in said
    assert "Traceback" not in said
    assert list((project.root / "data/raw/networks").iterdir()) == []


def test_weights_that_cannot_be_had_stop_a_run_with_one_message_and_nothing_partial(
    mirror: Mirror, tmp_path: Path
) -> None:
    # `init` fetches what has no published sum, and all else is left to the run.
    name = "MobileNetV3Small"
    file = mirror.hold(name)
    project = mirror.init(tmp_path / "own", name)
    content = file.read_bytes()

    def download(**environment: str) -> str:
        words = (*HEADSTART, "run", "download")
        return project.run(*words, status=1, **mirror.surroundings() | environment)

    for changed, reason in (
        (content[:-1] + bytes([content[-1] ^ 1]), "has MD5"),
        (content[: len(content) // 2], "has MD5"),
        (None, "404"),
    ):
        mirror.files.pop(file.name, None)
        if changed is not None:
            mirror.files[file.name] = tmp_path / "changed.h5"
            (tmp_path / "changed.h5").write_bytes(changed)
        assert_refused(project, download(), reason)
    assert_refused(project, download(HEADSTART_MIRROR=""), "Network is unreachable")
    mirror.files[file.name] = file
    project.run(*HEADSTART, "run", "download", **mirror.surroundings())
    assert [path.name for path in (project.root / "data/raw/networks").iterdir()] == [file.name]
    (mirror.folder / "attempts").unlink()


def test_init_off_the_web_says_so_and_leaves_the_sum_open(mirror: Mirror, tmp_path: Path) -> None:
    here = Own(tmp_path)
    said = here.run(
        *HEADSTART, "init", "own", "--data", str(mirror.photos), "--target", "all",
        "--source-model", f"keras:{NAME}", **mirror.surroundings() | {"HEADSTART_MIRROR": ""},
    )  # fmt: skip
    assert said.count("warning: source_training.sha256 stays null") == 1
    assert "Network is unreachable" in said
    assert reading.load(tmp_path / "own/params.yaml").source_training.sha256 is None
    assert not list((tmp_path / "own/data/raw/networks").iterdir())
    (mirror.folder / "attempts").unlink()


def runs(project: Own) -> dict[str, dict[str, Any]]:
    """The active runs in the store of a project, by name."""
    return {run["name"]: run for run in content(project.root).values()}


def test_runs_tell_network_cut_size_strategy_and_the_rate_that_acted(
    mirror: Mirror, adopted: Own, tmp_path: Path
) -> None:
    project = Own(adopted.clone_to(tmp_path / "own").root, recorded=True)
    network = f"keras:{NAME} · whole · 32 x 32 pixels"
    verdict = project.record["comparison"]
    gain = f"gain {verdict['accuracy_gain']:+.4f}"
    before = {
        f"train_a · {network} · seed 42",
        "train_b · sigmoid · adam 0.001 · 1 epochs · seed 42",
        f"transfer · frozen · {network} · adam 0.001 · 1 epochs · seed 42",
        f"comparison · {verdict['verdict']} · frozen · {network} · {gain}",
    }
    assert {*runs(project)} == before
    transfer = f"transfer · frozen · {network} · adam 0.001 · 1 epochs · seed 42"
    params = dict(runs(project)[transfer]["params"])
    assert params["source.from"] == f"keras:{NAME}"
    assert (params["source.input_size"], params["source.layer"]) == ("[32, 32]", "auto")
    notes = rows(project.root, "SELECT value FROM tags WHERE key = 'mlflow.note.content'")
    assert len(notes) == 4
    assert not [note for (note,) in notes if "trained on the source task" in note]

    # An experiment with another network, strategy and rate.
    mirror.hold("MobileNetV3Small")
    project.run(
        "dvc", "exp", "run", "-n", "other", "-S", "source_training.from=keras:MobileNetV3Small",
        "-S", "source_training.sha256=null", "-S", "transfer.strategy=finetune",
        "-S", "transfer.overrides.learning_rate=0.0001", **mirror.surroundings(),
    )  # fmt: skip
    new = {*runs(project)} - before
    other = "keras:MobileNetV3Small · whole · 32 x 32 pixels"
    assert f"train_a · {other} · seed 42" in new
    assert f"transfer · finetune · {other} · adam 0.0001 · 1 epochs · seed 42" in new
    assert len(new) == 3
    assert [path.name for path in (project.root / "data/raw/networks").iterdir()] == [
        mirror.hold("MobileNetV3Small").name
    ]
    assert not list(project.root.rglob("*:*"))
    assert not [n for n in project.run("git", "ls-files").splitlines() if n.endswith(".h5")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_experiments_change_blocks_network_and_rate_and_name_no_file_with_a_colon(
    mirror: Mirror, tmp_path: Path
) -> None:
    for name in ("MobileNetV3Small", "MobileNetV2"):
        mirror.hold(name)
    # Keras holds a sum of its weights, so that params.yaml holds none.
    project = Own(mirror.init(tmp_path / "own", "MobileNetV3Small").root, recorded=True)
    project.run(*HEADSTART, "run", **mirror.surroundings())
    project.commit("Run")

    def experiment(*settings: str) -> tuple[set[str], set[str]]:
        """Runs it; returns the stages that ran and the names of the runs that came."""
        before = {*runs(project)}
        options = [word for setting in settings for word in ("-S", setting)]
        said = project.run("dvc", "exp", "run", *options, **mirror.surroundings())
        assert not list(project.root.rglob("*:*"))
        return {*re.findall(r"^Running stage '(\w+)'", said, re.MULTILINE)}, {
            *runs(project)
        } - before

    network = "keras:MobileNetV3Small · whole · 32 x 32 pixels"
    done, new = experiment("transfer.strategy=last:2")
    assert done == {"transfer", "evaluate"}
    assert f"transfer · last:2 · {network} · adam 0.001 · 1 epochs · seed 42" in new
    assert reading.load(project.root / "params.yaml").transfer.strategy.name == "last:2"
    done, new = experiment("transfer.overrides.learning_rate=0.0001")
    assert done == {"transfer", "evaluate"}
    assert f"transfer · last:2 · {network} · adam 0.0001 · 1 epochs · seed 42" in new
    assert not project.record["comparison"]["fair"]
    done, new = experiment("source_training.from=keras:MobileNetV2")
    network = "keras:MobileNetV2 · whole · 32 x 32 pixels"
    assert done == {"download", "train_a", "transfer", "evaluate"}
    assert f"train_a · {network} · seed 42" in new
    assert f"transfer · last:2 · {network} · adam 0.0001 · 1 epochs · seed 42" in new


def test_sum_of_another_network_is_named_where_an_experiment_takes_one(
    mirror: Mirror, adopted: Own, tmp_path: Path
) -> None:
    mirror.hold("MobileNetV2")
    project = adopted.clone_to(tmp_path / "own")
    asked = len(mirror.server.asked)
    said = project.run(
        "dvc", "exp", "run", "-S", "source_training.from=keras:MobileNetV2", status=255,
        **mirror.surroundings(),
    )  # fmt: skip
    named = "params.yaml: source_training.sha256: is that of mobilenet_v2_weights"
    assert named in said
    assert "Traceback" not in said
    assert len(mirror.server.asked) == asked
    (problem,) = check.check(project.root).problems
    assert named in problem
    assert problem.endswith("_1.0_224_no_top.h5; set it to null")
    # One that nobody knows is told before anything is fetched anew.
    values = {"source_training.from": f"keras:{NAME}", "source_training.sha256": f'"{"0" * 64}"'}
    edit_params(project.root / "params.yaml", values)
    settings = reading.load(project.root / "params.yaml")
    _, warnings = source_network.told(settings.source_training, project.root, (40, 32, 3))
    assert "has not the sum that source_training.sha256 gives: `download`" in warnings[0]


def test_report_says_what_each_arm_is_and_calls_a_control_so(adopted: Own) -> None:
    report = html.unescape(adopted.read("reports/index.html"))
    assert f"Does keras:{NAME} have a head start on telling ant from bee?" in report
    assert "trained on the source task" not in report
    assert f"keras:{NAME}, trained on ImageNet, whole, 32 x 32 pixels: a new head on the" in report
    assert "another architecture than the baseline's" in report
    assert "CNN (filters 16, 32, 64; dense 64; relu): all layers, from scratch" in report


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random_frozen", "scratch_same"])
def test_controls_of_a_published_network_go_through_the_stages(
    adopted: Own, tmp_path: Path, strategy: str
) -> None:
    project = Own(adopted.clone_to(tmp_path / "own").root)
    project.set(transfer__strategy=strategy)
    assert project.repro() == ["transfer", "evaluate"]
    source, control = (
        networks.load(project.root / f"models/{name}.keras") for name in ("source", "transfer")
    )
    first = "Conv1"
    learned, drawn = (model.get_layer("adopted").get_layer(first) for model in (source, control))
    assert not np.array_equal(learned.get_weights()[0], drawn.get_weights()[0])
    still = (control.get_layer("adopted").get_layer(f"bn_{first}").get_weights()[2] == 0).all()
    assert still == (strategy == "random_frozen")
    assert project.record["comparison"]["verdict"]
    report = html.unescape(project.read("reports/index.html"))
    assert "A control: how does a network that has learned nothing elsewhere tell" in report
    assert f"keras:{NAME}, none of its weights, whole, 32 x 32 pixels: the control" in report


def test_features_out_of_range_are_told_before_anything_trains_on_them(tmp_path: Path) -> None:
    photos = blobs(tmp_path / "photos", ["ant", "bee", "cat", "dog"], each=8, size=(20, 20, 3))
    # Flat: means over so many pixels hardly differ from image to image.
    body = L.Conv2D(8, 3), L.ReLU(6.0, name="first"), L.Flatten()
    name = "mobilenetv2_1.00_96"
    model = saved(tmp_path / "mine.keras", *body, size=(20, 20, 3), name=name)
    project = new(
        tmp_path / "own",
        data=photos,
        target=["ant", "bee"],
        source_model=model,
        preprocessing="raw",
    ).quick()
    said = project.run("dvc", "repro", "transfer")
    warned = "is active in its layer first is saturated on the first images"
    # By train_a on the source's images, by transfer on the target's.
    assert said.count(warned) == 2
    assert said.count(f"takes tf (it is called {name}, as Keras' own), and is given raw") == 1
    assert warned in "\n".join(check.check(project.root).warnings)


@pytest.mark.parametrize(
    ("sizes", "side", "expected"),
    [
        ([(240, 200)], 96, (115, 96)),
        # Open in size: what it sees is enlarged to 96 pixels.
        ([(240, 200)], None, (115, 96)),
        ([(240, 200), (150, 800)], None, (96, 96)),
        ([(240, 200), (150, 800), (20, 20)], 224, (224, 224)),
        # The baseline's own network sees no fewer than without it.
        ([(240, 240)], 32, (64, 64)),
    ],
)
def test_photographs_keep_the_pixels_that_the_network_sees(
    tmp_path: Path, sizes: list[tuple[int, int]], side: int | None, expected: Any
) -> None:
    for number, size in enumerate(sizes):
        for name in ("ant", "bee"):
            save(tmp_path / f"photos/{name}/{number}.png", np.zeros((*size, 3), np.uint8))
    model = saved(tmp_path / "mine.keras", L.Conv2D(4, 3), size=(side, side, 3))
    project = new(
        tmp_path / "own", data=tmp_path / "photos", target=["all"], source_model=model,
        preprocessing="tf",
    )  # fmt: skip
    settings = reading.load(project.root / "params.yaml")
    assert settings.dataset.image_size == expected
    _, warnings = source_network.told(settings.source_training, project.root, (16, 24, 3))
    enlarged = f"16 x 24 pixels are enlarged to {f'{side} x {side}' if side else '96 x 144'}"
    assert enlarged in "\n".join(warnings)


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
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    (project.root / "models/own/dead.keras").write_bytes(content)
    assert "cannot be read as a Keras model" in "\n".join(check.check(project.root).problems)


@pytest.mark.parametrize("file", [True, False])
def test_constant_features_are_told_of_images_that_are_no_photographs(
    tmp_path: Path, file: bool
) -> None:
    dead = L.Conv2D(4, 3, kernel_initializer="zeros", bias_initializer="ones")
    model = saved(tmp_path / "dead.keras", dead, size=(8, 8, 1))
    options: dict[str, Any] = {"dataset": "digits"}
    if file:
        images = np.random.default_rng(1).integers(0, 256, (60, 6, 5), dtype=np.uint8)
        np.savez(tmp_path / "own.npz", images=images, labels=np.arange(60) % 2)
        options = {"data": tmp_path / "own.npz", "target": ["all"]}
    project = new(tmp_path / "own", source_model=model, **options)
    if not file:
        digits.write(project.root / "data/raw/digits")
    report = check.check(project.root)
    assert "100% of the features are nearly constant" in "\n".join(report.warnings)


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
