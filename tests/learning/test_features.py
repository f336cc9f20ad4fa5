"""Features of frozen layers, computed once and kept."""

import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from applications_here import write_weights

from benchmarks import pretrained_networks as lite0
from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.learning import features as kept
from headstart.learning import fit, networks, pretrained
from headstart.params.sections import TrainingSettings
from headstart.params.strategies import HEAD_ALONE, STRATEGIES
from headstart.transfer import graft

L = keras.layers
BUDGET = TrainingSettings(epochs=3, batch_size=16, optimizer="adam", learning_rate=0.01)
COUNT = 70


def photographs(count: int = COUNT, *, seed: int = 0, size: int = 10) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.random((count, size, size, 3), dtype=np.float32)


def adopted(folder: Path, *, seed: int = 1, size: int = 8, **options: Any) -> keras.Model:
    """A network from elsewhere as the stage train_a leaves it."""
    kernel = functools.partial(keras.initializers.GlorotUniform, seed=seed)
    body = [
        keras.Input((None, None, 3)),
        L.Conv2D(6, 3, kernel_initializer=kernel(), name="maps"),
        L.BatchNormalization(name="normal"),
        L.ReLU(6.0, name="bent"),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    keras.Sequential(body).save(folder / "own.keras")
    made = pretrained.adopt(
        folder / "own.keras",
        layer="auto",
        image_shape=(10, 10, 3),
        input_size=(size, size),
        **options,
    )
    artefacts.write_model(folder / "source.keras", made.backbone)
    return networks.load(folder / "source.keras")


@pytest.fixture
def backbone(tmp_path: Path) -> keras.Model:
    return adopted(tmp_path)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images went through a network in each forward pass since it was last emptied."""
    counted: list[int] = []
    forward = keras.Model.predict_on_batch

    def count(model: keras.Model, images: Any) -> Any:
        counted.append(len(images))
        return forward(model, images)

    monkeypatch.setattr(keras.Model, "predict_on_batch", count)
    return counted


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_second_run_makes_no_forward_pass(
    backbone: keras.Model, passes: list[int], tmp_path: Path
) -> None:
    images, folder = photographs(), tmp_path / "features"
    first = kept.features(backbone, images, folder)
    assert passes == [64, 64]
    passes.clear()
    again = kept.features(networks.load(tmp_path / "source.keras"), images, folder)
    assert passes == []
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(again, backbone(images, training=False), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(again, kept.features(backbone, images, None))
    assert len(files(folder)) == 1
    # An image's features do not depend on how many others there are.
    np.testing.assert_array_equal(kept.features(backbone, images[:3], None), first[:3])


def test_what_stands_where_features_are_kept_is_named(
    backbone: keras.Model, tmp_path: Path
) -> None:
    images, folder = photographs(), tmp_path / "features"
    kept.features(backbone, images, folder)
    (file,) = folder.iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match=f"{file.name}: stands where features are kept; remove"):
        kept.features(backbone, images, folder)
    file.rmdir()
    folder.rmdir()
    folder.write_text("")
    with pytest.raises(UserError, match="features: stands where features are kept; remove it"):
        kept.features(backbone, images, folder)


def test_what_acts_on_features_makes_them_anew(
    backbone: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "features"
    images = photographs()
    changed = images.copy()
    changed[-1, 0, 0, 0] += 1e-6
    below = keras.Model(backbone.inputs, backbone.layers[-1].input)
    heavier = networks.load(tmp_path / "source.keras")
    # Statistics of a normalisation do not train, and act all the same.
    statistics = heavier.get_weights()
    statistics[-1][0] += 0.5
    heavier.set_weights(statistics)
    asked: list[tuple[keras.Model, np.ndarray]] = [
        (backbone, images),
        (backbone, changed),
        (backbone, images[::-1]),
        (backbone, images[1:]),
        (below, images),
        (heavier, images),
        (adopted(tmp_path / "seed", seed=2), images),
        (adopted(tmp_path / "size", size=9), images),
        (adopted(tmp_path / "range", preprocessing="tf"), images),
    ]
    for number, (model, some) in enumerate(asked, 1):
        kept.features(model, some, folder)
        assert len(files(folder)) == number
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    kept.features(backbone, images, folder)
    monkeypatch.undo()
    monkeypatch.setattr("tensorflow.__version__", "0.0")
    kept.features(backbone, images, folder)
    assert len(files(folder)) == len(asked) + 2


def _flip(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


SPOILED: dict[str, Callable[[Path, Path], object]] = {
    "a bit": _flip,
    "the header": lambda path, _: path.write_bytes(b"\x93NUMPY\x02" + path.read_bytes()[7:]),
    "cut short": lambda path, _: path.write_bytes(path.read_bytes()[:-40]),
    "not sealed": lambda path, _: path.write_bytes(path.read_bytes()[:-32]),
    "empty": lambda path, _: path.write_bytes(b""),
    "a foreign file": lambda path, _: np.save(path, np.zeros((COUNT, 6), np.float32)),
    "of other images": lambda path, other: path.write_bytes(other.read_bytes()),
}


@pytest.mark.parametrize("how", SPOILED)
def test_damaged_and_foreign_files_are_made_again(
    backbone: keras.Model,
    passes: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    folder, others = tmp_path / "features", tmp_path / "others"
    images = photographs()
    good = np.array(kept.features(backbone, images, folder))
    kept.features(backbone, photographs(seed=1), others)
    (path,), (other,) = folder.iterdir(), others.iterdir()
    content = path.read_bytes()
    SPOILED[how](path, other)
    passes.clear()
    np.testing.assert_array_equal(kept.features(backbone, images, folder), good)
    assert len(passes) == 2
    assert f"{path}: is damaged" in capsys.readouterr().err
    assert path.read_bytes() == content
    assert len(files(folder)) == 1


def trained(source: keras.Model, folder: Path | None, **options: Any) -> keras.Model:
    images = photographs(COUNT + 20)
    labels = (images.mean(axis=(1, 2, 3)) > 0.5).astype(np.int64)
    chosen: dict[str, Any] = {"strategy": STRATEGIES["frozen"], "settings": BUDGET} | options
    model, _ = graft.train_grafted(
        Part(images[:COUNT], labels[:COUNT]),
        Part(images[COUNT:], labels[COUNT:]),
        source=source,
        network=None,
        units=1,
        activation="sigmoid",
        frozen_fraction=0.5,
        unfrozen_learning_rate=0.001,
        seed=3,
        on_epoch=lambda _: None,
        folder=folder,
        **chosen,
    )
    return model


@pytest.mark.parametrize("strategy", ["frozen", "gradual"])
def test_models_have_the_same_bytes_with_and_without_kept_features(
    passes: list[int], tmp_path: Path, strategy: str
) -> None:
    source, folder = adopted(tmp_path), tmp_path / "features"
    bytes_: set[bytes] = set()
    expected: list[list[int]] = [[64] * 3, [64] * 3, []]
    for place, images in zip((None, folder, folder), expected, strict=True):
        passes.clear()
        artefacts.write_model(
            tmp_path / "transfer.keras", trained(source, place, strategy=STRATEGIES[strategy])
        )
        bytes_.add((tmp_path / "transfer.keras").read_bytes())
        assert passes == images
    assert len(bytes_) == 1
    assert len(files(folder)) == 2


def test_a_look_at_the_first_images_is_taken_once(tmp_path: Path, passes: list[int]) -> None:
    dead, folder = adopted(tmp_path), tmp_path / "features"
    dead.set_weights([np.zeros_like(weight) for weight in dead.get_weights()])
    for images in (photographs(), photographs(seed=1)):
        said = kept.remembered(dead, images, folder, pretrained.features_warning)
        assert "nearly constant" in str(said)
        assert passes
        passes.clear()
        assert kept.remembered(dead, images, folder, pretrained.features_warning) == said
        assert passes == []
    for path in folder.iterdir():
        path.write_text("{")
    assert kept.remembered(dead, images, folder, pretrained.features_warning) == said
    assert passes
    assert len(files(folder)) == 2


def test_features_of_our_own_networks_stay_in_memory(tmp_path: Path) -> None:
    from headstart.params.networks import Cnn

    network = Cnn(name="cnn", filters=(4,), dense=(6,), activation="relu")
    model = networks.build((10, 10, 3), network, units=1, activation="sigmoid")
    made = graft.features(model, photographs(), HEAD_ALONE, tmp_path / "features")
    assert made.shape == (COUNT, 6)
    assert not (tmp_path / "features").exists()


def test_two_that_make_the_same_features_at_once_do_not_hurt_each_other(
    backbone: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, folder = photographs(), tmp_path / "features"
    forward = keras.Model.predict_on_batch
    inner: list[np.ndarray] = []

    def late(model: keras.Model, some: Any) -> Any:
        # While the one is half-way, the other begins and ends.
        monkeypatch.setattr(keras.Model, "predict_on_batch", forward)
        inner.append(kept.features(backbone, images, folder))
        return forward(model, some)

    monkeypatch.setattr(keras.Model, "predict_on_batch", late)
    outer = kept.features(backbone, images, folder)
    assert len(inner) == 1
    np.testing.assert_array_equal(outer, inner[0])
    assert len(files(folder)) == 1


def test_what_a_killed_process_left_is_swept_and_a_failure_leaves_nothing(
    backbone: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, folder = photographs(), tmp_path / "features"
    folder.mkdir()
    (dead := subprocess.Popen([sys.executable, "-c", ""])).wait()
    (folder / f".{dead.pid}-0123.part.npy").write_bytes(b"half")
    forward = keras.Model.predict_on_batch
    rounds = iter([True, False])

    def fails(model: keras.Model, some: Any) -> Any:
        if next(rounds):
            return forward(model, some)
        raise OSError("the disk is full")

    monkeypatch.setattr(keras.Model, "predict_on_batch", fails)
    with pytest.raises(OSError, match="the disk is full"):
        kept.features(backbone, images, folder)
    assert files(folder) == []


@pytest.fixture
def anonymous_megabytes() -> Iterator[Callable[[], float]]:
    """By how much the anonymous memory of this process rose at most since now."""
    status = Path(f"/proc/{os.getpid()}/status")
    if not status.is_file():
        pytest.skip("only Linux tells")

    def now() -> int:
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("RssAnon:"))
        return int(line.split()[1])

    before, peak, done = now(), [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], now())
            time.sleep(0.002)

    watching = threading.Thread(target=watch)
    watching.start()
    yield lambda: (peak[0] - before) / 1000
    done.set()
    watching.join()


def test_memory_is_bounded_whatever_the_features_take(
    tmp_path: Path, anonymous_megabytes: Callable[[], float]
) -> None:
    # A file with holes: half a gigabyte that takes no disk.
    shape = (2048, 16, 16, 256)
    maps = np.lib.format.open_memmap(tmp_path / "maps.npy", "w+", np.float32, shape)
    part = Part(artefacts.read_array(tmp_path / "maps.npy"), np.arange(len(maps)) % 2)
    del maps
    model = keras.Sequential(
        [keras.Input(shape[1:]), L.GlobalAveragePooling2D(), L.Dense(1, "sigmoid")]
    )
    fit.compile_model(model, optimizer="sgd", learning_rate=0.01)
    fit.fit(
        model,
        part,
        Part(part.images[:100], part.labels[:100]),
        batch_size=32,
        order=lambda _: np.random.default_rng(0).permutation(len(part.labels)),
        epochs=range(1, 2),
        on_epoch=lambda _: None,
    )
    assert anonymous_megabytes() < 300


def test_disk_use_is_told_with_what_frees_it(backbone: keras.Model, tmp_path: Path) -> None:
    assert kept.disk_use(tmp_path) is None
    folder = kept.shared(tmp_path)
    kept.features(backbone, photographs(), folder)
    (path,) = folder.iterdir()
    said = str(kept.disk_use(tmp_path))
    assert f"{path.stat().st_size / 1e6:.1f} MB in .headstart/features; `rm -r" in said
    assert "`dvc gc --workspace`" in said


@pytest.mark.slow
def test_features_of_a_real_network_are_kept(tmp_path: Path, passes: list[int]) -> None:
    values = lite0.weights(tmp_path / "lite0")
    lite0.network(values, size=96, top=False).save(tmp_path / "lite0.keras")
    made = pretrained.adopt(
        tmp_path / "lite0.keras",
        layer="auto",
        image_shape=(96, 96, 3),
        preprocessing=(-0.9921875, 1.0),
    )
    folder, images = tmp_path / "features", photographs(100, size=96)
    first = kept.features(made.backbone, images, folder)
    assert first.shape == (100, 1280)
    assert passes == [64, 64]
    # As plain Keras has them.
    plain = lite0.network(values, size=96, top=False)
    maps = [plain.predict_on_batch((images[at : at + 50] * 255 - 127) / 128) for at in (0, 50)]
    np.testing.assert_allclose(first, np.concatenate(maps).mean(axis=(1, 2)), rtol=0, atol=1e-5)
    passes.clear()
    again = kept.features(made.backbone, images, folder)
    assert passes == []
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("takes", ["auto", "caffe"])
def test_network_built_a_second_time_finds_its_features(
    passes: list[int], tmp_path: Path, takes: str
) -> None:
    name, images, folder = "MobileNetV3Small", photographs(3), tmp_path / "features"
    write_weights(tmp_path, name)

    def built() -> keras.Model:
        made = pretrained.adopt(
            f"keras:{name}",
            layer="auto",
            image_shape=(10, 10, 3),
            input_size=(32, 32),
            preprocessing=takes,
            weights=tmp_path,
        )
        return made.backbone

    first, second = built(), built()
    # Keras numbers layers without a name on.
    assert first.get_config() != second.get_config()
    kept.features(first, images, folder)
    assert passes
    passes.clear()
    kept.features(second, images, folder)
    assert passes == []
    assert len(files(folder)) == 1


def test_layers_that_change_places_make_features_anew(tmp_path: Path) -> None:
    image = keras.Input((10, 10, 3), name="image")
    one, two = L.ReLU(0.2, name="one")(image), L.ReLU(0.3, name="two")(image)
    for first, second in ((one, two), (two, one)):
        model = keras.Model(image, L.Flatten(name="row")(L.Subtract(name="less")([first, second])))
        kept.features(model, photographs(3), tmp_path)
    assert len(files(tmp_path)) == 2
