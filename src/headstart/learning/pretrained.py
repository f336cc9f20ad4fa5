"""A network that exists already, cut and fitted to our images, in place of a source network."""

import math
import zipfile
from pathlib import Path
from typing import Any

import keras

from headstart.core.errors import UserError

BODY = "adopted"
FEATURES = "features"


def adopt(
    path: Path,
    *,
    layer: str,
    image_shape: tuple[int, ...],
    input_range: tuple[float, float],
) -> tuple[keras.Model, str]:
    """Returns the network in `path` up to `layer` as a backbone for our images, and where it ends.

    The backbone takes our images (height, width[, channels]) in [0, 1]; it resizes them, matches
    their channels and brings their values to `input_range`. Feature maps are averaged over their
    pixels, any other output is flattened.

    Args:
        path: A `.keras` file; nothing in it is executed (safe mode).
        layer: The last layer to keep, or "auto": what goes into the last layer with weights.
        image_shape: Of our images, without the batch.
        input_range: What the network takes for black and for white.

    Raises:
        UserError: The file is no Keras model with one image input, has no such layer, or leaves
            the size of its images open and is too deep for ours.
    """
    model = _loaded(path)
    if len(model.inputs) != 1:
        raise UserError(f"{path}: has {len(model.inputs)} inputs; one, of images, is expected")
    name, output = _cut(path, model, layer)
    body = keras.Model(model.inputs, output, name=BODY)
    image = keras.Input(image_shape, name="image")
    fitted = _fitted(path, image, tuple(model.inputs[0].shape[1:]))
    low, high = input_range
    if (low, high) != (0.0, 1.0):
        fitted = keras.layers.Rescaling(high - low, offset=low, name="values")(fitted)
    try:
        found = body(fitted)
    except ValueError as error:
        # The network leaves the size open, and has no pixels left before its end.
        raise UserError(
            f"{path}: images of {' x '.join(map(str, image_shape))} are too small for it up to "
            f"{name}; cut it lower (source_training.layer), or take larger images "
            "(dataset.image_size)"
        ) from error
    if not isinstance(found, keras.KerasTensor):
        raise UserError(f"{path}: the layer {name} has several outputs; name another")
    maps = len(found.shape) == 4
    pool: Any = keras.layers.GlobalAveragePooling2D if maps else keras.layers.Flatten
    return keras.Model(image, pool(name=FEATURES)(found), name="backbone"), name


def with_head(backbone: keras.Model, *, units: int, activation: str, head: str) -> keras.Model:
    """Returns `backbone`, copied, under a new dense layer called `head`."""
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    outputs = keras.layers.Dense(units, activation=activation, name=head)(copy.output)
    return keras.Model(copy.inputs, outputs, name="network")


def _loaded(path: Path) -> keras.Model:
    try:
        model = keras.models.load_model(path, safe_mode=True, compile=False)
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile
    ) as error:  # fmt: skip
        if not path.is_file():
            raise UserError(f"{path}: there is no such file (source_training.from)") from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as a Keras model ({reason[:200]})") from error
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise UserError(f"{path}: is not a model built of layers (Sequential or functional)")
    return model


def _cut(path: Path, model: keras.Model, layer: str) -> tuple[str, Any]:
    """Returns the name and the output of the last layer to keep."""
    names = [found.name for found in model.layers]
    if layer == "auto":
        weighted = [found for found in model.layers if found.weights]
        if len(weighted) < 2:
            raise UserError(f"{path}: has fewer than two layers with weights; there is no backbone")
        return f"before {weighted[-1].name}", weighted[-1].input
    if layer not in names:
        shown = ", ".join(names[-12:])
        raise UserError(
            f"params.yaml: source_training.layer: {path} has no layer {layer!r}; "
            f"{'the last ' * (len(names) > 12)}{min(len(names), 12)} are {shown}"
        )
    return layer, model.get_layer(layer).output


def _fitted(path: Path, image: Any, wanted: tuple[int | None, ...]) -> Any:
    """Returns our images as the network wants them: size, channels, rank."""
    shape = tuple(image.shape[1:])
    channels = shape[2] if len(shape) == 3 else 1
    fitted = image
    if len(shape) == 2:
        fitted = keras.layers.Reshape((*shape, 1), name="channel")(fitted)
    height, width, depth = _size(path, wanted, (*shape[:2], channels))
    if channels != depth and depth == 3 and channels == 1:
        fitted = keras.layers.Concatenate(name="colour")([fitted] * 3)
    elif channels != depth and depth == 1:
        fitted = keras.layers.Reshape((*shape[:2], channels, 1), name="channels")(fitted)
        fitted = keras.layers.AveragePooling3D((1, 1, channels), name="grey")(fitted)
        fitted = keras.layers.Reshape((*shape[:2], 1), name="one_channel")(fitted)
    elif channels != depth:
        raise UserError(f"{path}: wants {depth} channels, the images have {channels}")
    if (height, width) != shape[:2]:
        fitted = keras.layers.Resizing(height, width, name="size")(fitted)
    if len(wanted) == 2:
        return keras.layers.Reshape((height, width), name="plain")(fitted)
    return fitted if len(wanted) == 3 else keras.layers.Flatten(name="row")(fitted)


def _size(
    path: Path, wanted: tuple[int | None, ...], ours: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Returns height, width and channels of the network's input; what it leaves open is ours."""
    if len(wanted) in (2, 3):
        height, width, depth = (*wanted, 1)[:3]
        return height or ours[0], width or ours[1], depth or ours[2]
    if len(wanted) == 1 and wanted[0]:
        if wanted[0] == math.prod(ours):
            return ours
        side = math.isqrt(wanted[0])
        if side * side == wanted[0]:
            return side, side, 1
    raise UserError(f"{path}: its input has the shape {wanted}; an image is expected")
