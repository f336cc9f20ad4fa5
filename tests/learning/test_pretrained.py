"""A network from elsewhere, cut and fitted to the images."""

import zipfile
from pathlib import Path
from typing import Any

import applications_here
import keras
import numpy as np
import pytest
from keras.applications import imagenet_utils
from keras.src.legacy.saving import legacy_h5_format

from headstart.core import artefacts
from headstart.core.errors import UserError, WrongValue
from headstart.data import weights
from headstart.learning import (
    applications,
    backbones,
    blocks,
    flops,
    model_file,
    networks,
    pretrained,
)

L = keras.layers
RNG = np.random.default_rng(1)


def photographs(*shape: int, count: int = 3) -> np.ndarray:
    """Images (count, ...) float32 in [0, 1], as prepare makes them of pixels."""
    return (RNG.integers(0, 256, (count, *shape)) / np.float32(255)).astype(np.float32)


def saved(path: Path, *layers: Any, size: tuple[int | None, ...] = (None, None, 3)) -> Path:
    model = keras.Sequential([keras.Input(size), *layers])
    if path.suffix == ".keras":
        model.save(path)
    else:
        legacy_h5_format.save_model_to_hdf5(model, str(path), include_optimizer=False)
    return path


SMALL = ["MobileNetV2_0.35", "MobileNetV3Small"]
LARGE = sorted({*applications_here.MODULES} - {*SMALL})


@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)]
)
def test_published_networks_see_and_answer_as_in_plain_keras(tmp_path: Path, name: str) -> None:
    file = applications_here.write_weights(tmp_path, name)
    adopted = pretrained.adopt(
        f"keras:{name}",
        layer="auto",
        image_shape=(40, 24, 3),
        input_size=(32, 32),
        weights=tmp_path,
    )
    assert adopted.cut == "whole"
    assert adopted.size == (32, 32)
    images = photographs(40, 24, 3)
    expected = applications_here.plain_features(name, file, images)
    path = tmp_path / "source.keras"
    artefacts.write_model(path, adopted.backbone)
    for backbone in (adopted.backbone, networks.load(path)):
        features = backbone.predict_on_batch(images)
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    assert networks.parameters(adopted.backbone)[1] == weights.NETWORKS[name].parameters
    head = backbones.with_head(
        adopted.backbone, units=1, activation="sigmoid", head="head", seed=1, trained=True
    )
    copied = keras.Model(head.inputs, head.layers[-2].output)
    np.testing.assert_allclose(copied.predict_on_batch(images), expected, rtol=1e-5, atol=1e-5)
    assert None not in {call.flops for call in flops.calls(head)}


@pytest.mark.parametrize("takes", ["tf", "torch", "caffe", "raw"])
@pytest.mark.parametrize("size", [(6, 6), (4, 5)])
def test_preprocessing_is_that_of_keras(tmp_path: Path, takes: str, size: tuple[int, int]) -> None:
    path = saved(tmp_path / "any.keras", L.Conv2D(3, 1, name="same", use_bias=False))
    images = photographs(6, 6, 3)
    adopted = pretrained.adopt(
        path, layer="auto", image_shape=(6, 6, 3), input_size=size, preprocessing=takes
    )
    seen = _seen(adopted.backbone)
    expected = np.array(keras.ops.image.resize(images * 255, size))
    if takes != "raw":
        expected = imagenet_utils.preprocess_input(expected, mode=takes)
    np.testing.assert_allclose(seen.predict_on_batch(images), expected, rtol=0, atol=1e-5)


def _seen(backbone: keras.Model) -> keras.Model:
    """What the network of a backbone sees of images."""
    at = [layer.name for layer in backbone.layers].index(pretrained.BODY)
    return keras.Model(backbone.inputs, backbone.layers[at - 1].output)


def test_range_is_brought_to_that_of_the_network(tmp_path: Path) -> None:
    path = saved(tmp_path / "any.keras", L.Conv2D(1, 1, name="same"), size=(4, 4, 1))
    images = photographs(4, 4)
    options: dict[str, Any] = {"layer": "auto", "image_shape": (4, 4)}
    by_range = pretrained.adopt(path, input_range=(-1.0, 1.0), **options)
    named = pretrained.adopt(path, preprocessing="tf", **options)
    listed = pretrained.adopt(path, preprocessing=(-1.0, 1.0), **options)
    np.testing.assert_allclose(by_range.backbone(images), named.backbone(images), atol=1e-5)
    np.testing.assert_array_equal(by_range.backbone(images), listed.backbone(images))
    with pytest.raises(UserError, match="torch is for three channels"):
        pretrained.adopt(path, preprocessing="torch", **options)


@pytest.mark.parametrize(
    ("layers", "features", "cut"),
    [
        # Maps that end in a normalisation, as MobileNetV2 without a head does.
        ([L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU()], 4, "whole"),
        ([L.Conv2D(4, 3), L.BatchNormalization(), L.GlobalAveragePooling2D()], 4, "whole"),
        ([L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(7)], 4, "before"),
        ([L.Conv2D(5, 3), L.Conv2D(7, 1), L.GlobalMaxPooling2D(), L.Softmax()], 5, "before"),
    ],
)
def test_only_a_head_is_cut_off(tmp_path: Path, layers: list[Any], features: int, cut: str) -> None:
    path = saved(tmp_path / "any.keras", *layers)
    adopted = pretrained.adopt(path, layer="auto", image_shape=(20, 20, 3))
    assert adopted.backbone.output_shape == (None, features)
    assert cut in adopted.cut


def test_open_size_is_the_networks_own_and_96_pixels_at_least(tmp_path: Path) -> None:
    convolutions = [L.Conv2D(2, 3, strides=2, name=f"conv_{at}") for at in range(3)]
    path = saved(tmp_path / "deep.keras", *convolutions, size=(None, None, 1))

    def adopt(*shape: int, **options: Any) -> pretrained.Adopted:
        chosen = {"layer": "conv_2"} | options
        return pretrained.adopt(path, image_shape=shape, **chosen)

    assert adopt(8, 16).size == (96, 192)
    assert adopt(120, 100).size == (120, 100)
    assert adopt(8, 8, input_size=(16, 16)).size == (16, 16)
    with pytest.raises(UserError, match=r"input_size: 8 x 8 are too small for .* up to conv_2"):
        adopt(8, 8, input_size=(8, 8))
    assert adopt(8, 8, input_size=(8, 8), layer="conv_1").backbone.output_shape == (None, 2)
    # Keras' own names tell.
    model = keras.Sequential(
        [keras.Input((None, None, 3)), L.Conv2D(2, 3)], name="mobilenetv2_0.35_128"
    )
    model.save(tmp_path / "named.keras")
    named = pretrained.adopt(tmp_path / "named.keras", layer="auto", image_shape=(64, 64, 3))
    assert named.size == (128, 128)
    fixed = saved(tmp_path / "fixed.keras", L.Conv2D(2, 3), size=(10, 10, 3))
    with pytest.raises(UserError, match="takes images of 10 x 10 and no others"):
        pretrained.adopt(fixed, layer="auto", image_shape=(8, 8, 3), input_size=(12, 12))


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
def test_networks_of_keras_2_are_read_and_code_in_them_is_not_run(
    tmp_path: Path, suffix: str
) -> None:
    path = saved(tmp_path / f"old{suffix}", L.Conv2D(3, 3), L.Flatten(), L.Dense(2), size=(6, 6, 1))
    assert pretrained.adopt(path, layer="auto", image_shape=(6, 6)).backbone.output_shape[1] == 48
    evil = saved(tmp_path / f"evil{suffix}", L.Conv2D(3, 3), L.Lambda(abs, name="mine"))
    with pytest.raises(UserError, match=r"holds code of its own \(mine: Lambda\)"):
        pretrained.adopt(evil, layer="auto", image_shape=(6, 6, 3))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read as a Keras model"):
        pretrained.adopt(path, layer="auto", image_shape=(6, 6))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    network = weights.NETWORKS["MobileNetV2_0.35"]
    with pytest.raises(UserError, match="dvc repro download"):
        applications.build(network, tmp_path / "none.h5", size=(32, 32))
    path = saved(tmp_path / "other.h5", L.Conv2D(3, 3))
    said = r"cannot be read as weights of MobileNetV2_0\.35 .* delete it, and set .*sha256 to null"
    with pytest.raises(UserError, match=said):
        applications.build(network, path, size=(32, 32))
    with pytest.raises(UserError, match="32 pixels a side or more"):
        applications.build(network, path, size=(16, 16))


@pytest.mark.parametrize(
    ("name", "first", "takes", "side"),
    [
        ("mine", L.Rescaling(1 / 255), "raw", None),
        ("mine", L.Rescaling(2.0, offset=-1.0), None, None),
        (
            "mine",
            L.Normalization(mean=[123.0, 117.0, 104.0], variance=[1.0, 1.0, 1.0]),
            "raw",
            None,
        ),
        ("mine", L.ReLU(), None, None),
        ("mobilenetv2_1.00_160", L.ReLU(), "tf", 160),
        ("resnet50", L.ZeroPadding2D(), "caffe", 224),
        ("resnet50v2", L.ZeroPadding2D(), "tf", 224),
        ("densenet121", L.ReLU(), "torch", 224),
        ("MobileNetV3Small", L.Rescaling(1 / 127.5, offset=-1.0), "raw", 224),
        ("mine", L.RandomFlip(), None, None),
        # Called like networks of Keras, or built without the layers that rescale.
        ("efficientnet-lite0", L.ReLU(), None, None),
        ("efficientnetv2-b0", L.ReLU(), None, 224),
        ("convnext_tiny", L.ReLU(), None, 224),
        ("resnet18", L.ReLU(), None, 224),
        ("densenet_of_mine", L.ReLU(), None, 224),
    ],
)
def test_what_a_network_takes_is_told_by_its_first_layers_or_its_name(
    tmp_path: Path, name: str, first: Any, takes: str | None, side: int | None
) -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), first, L.Conv2D(2, 1)], name=name)
    model.save(tmp_path / "any.keras")
    described = model_file.describe(tmp_path / "any.keras")
    assert (described.takes, described.native_side) == (takes, side)
    assert described.input_shape == (8, 8, 3)


def test_a_network_inside_another_is_looked_into(tmp_path: Path) -> None:
    inner = keras.Sequential(
        [keras.Input((None, None, 3)), L.Conv2D(4, 3, activation="relu6", name="first")],
        name="mobilenetv2_0.35_96",
    )
    path = saved(tmp_path / "any.keras", L.RandomFlip(), inner, L.GlobalAveragePooling2D())
    described = model_file.describe(path)
    assert (described.takes, described.native_side) == ("tf", 96)
    before = L.Rescaling(1 / 127.5, offset=-1.0)
    path = saved(tmp_path / "any.keras", L.RandomFlip(), before, inner)
    assert model_file.describe(path).takes == "raw"
    images = photographs(8, 8, 3, count=20)
    options: dict[str, Any] = {"layer": "auto", "image_shape": (8, 8, 3), "preprocessing": "raw"}
    adopted = pretrained.adopt(path, **options)
    assert (adopted.misfit, pretrained.features_warning(adopted.backbone, images)) == (None, None)
    path = saved(tmp_path / "any.keras", inner, L.Flatten(), size=(8, 8, 3))
    adopted = pretrained.adopt(path, **options)
    said = str(pretrained.features_warning(adopted.backbone, images))
    assert "in its layer first is saturated" in said
    assert "takes tf (it is called mobilenetv2_0.35_96" in str(adopted.misfit)


@pytest.mark.parametrize("functional", [False, True])
def test_network_can_be_cut_at_a_network_inside_it(tmp_path: Path, functional: bool) -> None:
    image = keras.Input((None, None, 3))
    inner = keras.Model(image, L.ReLU()(L.Conv2D(5, 3)(image)), name="inner")
    pool, answers = L.GlobalAveragePooling2D(), L.Dense(2)
    if functional:
        seen = keras.Input((8, 8, 3))
        outer = keras.Model(seen, answers(pool(inner(L.Rescaling(2.0)(seen)))))
        outer.save(tmp_path / "any.keras")
    else:
        saved(tmp_path / "any.keras", L.Rescaling(2.0), inner, pool, answers, size=(8, 8, 3))
    images = photographs(8, 8, 3)
    for layer in ("inner", "auto"):
        adopted = pretrained.adopt(tmp_path / "any.keras", layer=layer, image_shape=(8, 8, 3))
        expected = np.asarray(inner(2.0 * images)).mean(axis=(1, 2))
        features = adopted.backbone.predict_on_batch(images)
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
        assert len(blocks.groups(adopted.backbone)) == 1


@pytest.mark.parametrize(
    ("ends", "after", "features", "cut"),
    [
        ([L.GlobalAveragePooling2D(), L.Dense(7, name="answers")], [L.Softmax()], 4, "answers"),
        ([L.GlobalAveragePooling2D(), L.Dense(7, name="answers")], [], 4, "answers"),
        ([L.GlobalAveragePooling2D(), L.BatchNormalization()], [], 4, "whole"),
        ([], [L.GlobalAveragePooling2D()], 4, "whole"),
        ([L.Conv2D(7, 1, name="answers")], [L.GlobalAveragePooling2D(), L.Softmax()], 4, "answers"),
    ],
)
def test_head_of_a_network_inside_another_is_cut_off(
    tmp_path: Path, ends: list[Any], after: list[Any], features: int, cut: str
) -> None:
    inner = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(4, 3), *ends], name="inner")
    path = saved(tmp_path / "any.keras", L.Rescaling(1 / 255), inner, *after)
    adopted = pretrained.adopt(path, layer="auto", image_shape=(20, 20, 3))
    assert adopted.backbone.output_shape == (None, features)
    assert cut in adopted.cut


@pytest.mark.parametrize("name", ["model.weights.h5", "config.json"])
def test_damaged_file_is_one_message(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "any.keras", L.Conv2D(3, 3), size=(6, 6, 1))
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(name).header_offset + 200
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"cannot be read as a Keras model .{name} in it is damag"):
        pretrained.adopt(path, layer="auto", image_shape=(6, 6))


def test_model_without_layers_is_refused(tmp_path: Path) -> None:
    image = keras.Input((6, 6, 1))
    keras.Model(image, image).save(tmp_path / "none.keras")
    with pytest.raises(UserError, match="has no layers"):
        model_file.describe(tmp_path / "none.keras")


def test_values_that_a_network_does_not_take_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path / "any.keras", L.Rescaling(1 / 255), L.Conv2D(3, 1))
    options: dict[str, Any] = {"layer": "auto", "image_shape": (6, 6, 3)}
    said = pretrained.adopt(path, **options, preprocessing="tf").misfit
    assert f"{path} takes raw (it divides its input by 255 itself), and is given tf" in str(said)
    for takes in ("raw", (0.0, 255.0)):
        assert pretrained.adopt(path, **options, preprocessing=takes).misfit is None
    name = "keras:MobileNetV2_0.35"
    options |= {"input_size": (32, 32), "weights": None}
    said = pretrained.adopt(name, **options, preprocessing="torch").misfit
    assert f"{name} takes tf (as Keras publishes it), and is given torch; write" in str(said)
    assert pretrained.adopt(name, **options).misfit is None


def test_cut_below_all_weights_and_channels_first_are_refused(tmp_path: Path) -> None:
    layers = [L.Rescaling(2.0, name="scale"), L.Conv2D(4, 3), L.Flatten(), L.Dense(2)]
    path = saved(tmp_path / "any.keras", *layers, size=(6, 6, 3))
    with pytest.raises(WrongValue, match=r"layer: nothing up to scale of .* holds weights; name a"):
        pretrained.adopt(path, layer="scale", image_shape=(6, 6, 3))
    path = saved(tmp_path / "first.keras", L.Flatten(), L.Dense(4), L.Dense(2), size=(3, 32, 32))
    with pytest.raises(UserError, match=r"wants 32 channels, .* takes channels first"):
        pretrained.adopt(path, layer="auto", image_shape=(32, 32, 3))


def test_features_that_say_nothing_are_warned_of(tmp_path: Path) -> None:
    images = photographs(6, 6, 1, count=20)

    def amiss(*layers: Any, count: int = 20) -> str | None:
        path = saved(tmp_path / "any.keras", *layers, size=(6, 6, 1))
        adopted = pretrained.adopt(path, layer="auto", image_shape=(6, 6, 1))
        return pretrained.features_warning(adopted.backbone, images[:count])

    assert amiss(L.Conv2D(8, 3), L.Flatten()) is None
    assert amiss(L.Conv2D(8, 3), L.ReLU(6.0), L.Flatten()) is None
    constant = L.Conv2D(8, 3, kernel_initializer="zeros", bias_initializer="ones")
    said = str(amiss(constant))
    assert said.startswith("100% of the features are nearly constant on the first images")
    assert amiss(constant, count=1) is None
    # An input of 0 to 255 in place of 0 to 1.
    too_much = [L.Rescaling(255.0), L.Conv2D(8, 3), L.ReLU(6.0, name="first"), L.Flatten()]
    assert "of what is active in its layer first is saturated" in str(amiss(*too_much))
    # Of one seed in seven most answers have one sign, and the features are told to be constant.
    drawn = keras.initializers.GlorotUniform(seed=0)
    tanh = L.Conv2D(8, 3, activation="tanh", name="bent", kernel_initializer=drawn)
    assert "in its layer bent is saturated" in str(amiss(L.Rescaling(255.0), tanh, L.Flatten()))
    infinite = L.Conv2D(2, 3, kernel_initializer=keras.initializers.Constant(1e38))
    assert "not finite" in str(amiss(L.Rescaling(255.0), infinite))
