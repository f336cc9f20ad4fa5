"""A network from elsewhere, cut and fitted to the images."""

from pathlib import Path

import pytest

from headstart.core.errors import UserError


def test_images_too_small_for_a_network_of_open_size_are_refused_with_what_to_change(
    tmp_path: Path,
) -> None:
    import keras

    from headstart.learning import pretrained

    convolutions = [keras.layers.Conv2D(2, 3, strides=2, name=f"conv_{at}") for at in range(3)]
    model = keras.Sequential([keras.Input((None, None, 1)), *convolutions])
    model.save(tmp_path / "deep.keras")

    def features(layer: str, side: int) -> int:
        path, shape = tmp_path / "deep.keras", (side, side)
        body, _ = pretrained.adopt(path, layer=layer, image_shape=shape, input_range=(0, 1))
        return int(body.output_shape[1])

    with pytest.raises(UserError, match=r"8 x 8 are too small for it up to conv_2; .*image_size"):
        features("conv_2", 8)
    assert features("conv_1", 8) == features("conv_2", 16) == 2
