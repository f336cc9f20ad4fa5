"""A real network with its ImageNet weights, on photographs."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks import pretrained_networks as lite0
from headstart.core import artefacts
from headstart.learning import networks, pretrained

# Classes of ImageNet.
DAISY, PALACE, TABBY, TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 985, 698, 281, 282, 285, 967
# Photographs that scikit-image ships; the package alone, nothing of it is imported.
SCIKIT_IMAGE = "scikit-image==0.26.0"
RANGE = (-0.9921875, 1.0)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return lite0.weights(tmp_path_factory.mktemp("lite0"))


def photographs(size: int) -> np.ndarray:
    """The two photographs of scikit-learn, a palace and a flower: float32 in [0, 1]."""
    images = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    squares = [image[:, (image.shape[1] - 427) // 2 :][:427, :427] for image in images]
    return np.asarray(keras.ops.image.resize(np.stack(squares) / np.float32(255), (size, size)))


@pytest.mark.slow
def test_real_network_knows_the_photographs_of_scikit_image(
    values: dict[str, np.ndarray], tmp_path: Path
) -> None:
    command = ("-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), SCIKIT_IMAGE)
    subprocess.run([sys.executable, *command], check=True)
    model = lite0.network(values, size=224, top=True)
    expected = {"chelsea": {TABBY, TIGER_CAT, EGYPTIAN_CAT}, "coffee": {ESPRESSO}}
    for name, classes in expected.items():
        pixels = np.asarray(Image.open(tmp_path / f"skimage/data/{name}.png").convert("RGB"))
        side = min(pixels.shape[:2])
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        square = pixels[top : top + side, left : left + side].astype(np.float32)
        seen = (keras.ops.image.resize(square, (224, 224)) - 127) / 128
        assert model.predict_on_batch(np.asarray(seen)[None]).argmax() in classes, name


@pytest.mark.slow
def test_real_network_answers_as_expected_and_gives_the_features_of_plain_keras(
    values: dict[str, np.ndarray], tmp_path: Path
) -> None:
    images = photographs(224)
    seen = (images * 255 - 127) / 128
    answers = lite0.network(values, size=224, top=True).predict_on_batch(seen)
    assert answers.argmax(axis=1).tolist() == [PALACE, DAISY]
    for top in (False, True):
        plain = lite0.network(values, size=224, top=top)
        plain.save(tmp_path / "lite0.keras")
        adopted = pretrained.adopt(
            tmp_path / "lite0.keras",
            layer="auto",
            image_shape=images.shape[1:],
            preprocessing=RANGE,
        )
        assert adopted.cut.startswith("cut at the layer before dense" if top else "whole")
        artefacts.write_model(tmp_path / "source.keras", adopted.backbone)
        features = networks.load(tmp_path / "source.keras").predict_on_batch(images)
        maps = lite0.network(values, size=224, top=False).predict_on_batch(seen)
        np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), rtol=0, atol=1e-5)
    # 4,652,008 weights and 42,016 batch statistics, the head's 1,281,000 left out.
    assert networks.parameters(adopted.backbone)[1] == 4_652_008 + 42_016 - 1_281_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("range_", "said"),
    [(RANGE, None), ((0.0, 255.0), "is saturated"), ((0.0, 0.01), "nearly constant")],
)
def test_features_out_of_range_are_warned_of_and_others_are_not(
    values: dict[str, np.ndarray], tmp_path: Path, range_: tuple[float, float], said: str | None
) -> None:
    lite0.network(values, size=96, top=False).save(tmp_path / "lite0.keras")
    crops = np.concatenate(
        [photographs(384)[:, y : y + 96, x : x + 96] for y in (0, 96, 192) for x in (0, 144, 288)]
    )
    adopted = pretrained.adopt(
        tmp_path / "lite0.keras", layer="auto", image_shape=(96, 96, 3), preprocessing=range_
    )
    amiss = pretrained.features_warning(adopted.backbone, crops)
    if said is None:
        assert amiss is None
    else:
        assert said in str(amiss)
