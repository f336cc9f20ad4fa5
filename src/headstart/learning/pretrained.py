"""A network that exists already, cut and fitted to our images, in place of a source network."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstart.core.errors import UserError
from headstart.data.weights import FOLDER, named
from headstart.learning import applications, model_file
from headstart.params.sections import SourceTrainingSettings

BODY = "adopted"
FEATURES = "features"
SMALLEST_SIDE = 96
"""Of images that a network of open size sees: at 32 pixels the last map is a single one."""

# Of ImageNet's photographs, in red, green, blue of 0 to 1; and in blue, green, red of 0 to 255.
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BGR_MEANS = (103.939, 116.779, 123.68)

# A feature whose deviation is a hundredth of its level says next to nothing.
_CONSTANT, _MOST_CONSTANT = 0.01, 0.5
_MOST_SATURATED = 0.5
_MISFIT = (
    "does it take such values (source_training.preprocessing), and is it cut at the right layer?"
)


@dataclass(frozen=True)
class Adopted:
    """A network from elsewhere as a backbone for our images.

    Attributes:
        backbone: Takes our images in [0, 1], gives features (n, k).
        cut: Where it ends, in words.
        size: The height and width that it resizes images to.
        takes: What it was given for pixels: a name of Keras' or a range.
    """

    backbone: keras.Model
    cut: str
    size: tuple[int, int]
    takes: str | tuple[float, float]


def adopt(
    source: str | Path,
    *,
    layer: str,
    image_shape: tuple[int, ...],
    input_range: tuple[float, float] = (0.0, 1.0),
    input_size: tuple[int, int] | str = "auto",
    preprocessing: str | tuple[float, float] = "auto",
    weights: Path | None = FOLDER,
) -> Adopted:
    """Returns the network `source` up to `layer` as a backbone for our images.

    The backbone takes our images (height, width[, channels]) in [0, 1]; it resizes them
    bilinearly, matches their channels and does the network's preprocessing. Feature maps are
    averaged over their pixels, any other output is flattened.

    Args:
        source: `keras:NAME`, or a `.keras`, `.h5` or `.hdf5` file, nothing in which is executed
            (safe mode).
        layer: The last layer to keep, or "auto": what goes into the head, and all of a network
            that has none. A head is a last dense layer, or what gives the probabilities.
        image_shape: Of our images, without the batch.
        input_range: What the network takes for black and for white, unless `preprocessing` says.
        input_size: Height and width that it sees; "auto": those it was made for; where that is
            open and unknown, our own, enlarged to `SMALLEST_SIDE` where they are less.
        preprocessing: tf, torch, caffe or raw as in Keras, or a range; "auto": that of
            `keras:NAME`, else `input_range`.
        weights: The folder with the file of `keras:NAME`; None builds it untrained, good for what
            it costs and for nothing else.

    Raises:
        UserError: The file is no Keras model with one image input, has no such layer, or is too
            deep for images of `input_size`.
    """
    network = named(str(source))
    if network:
        sides = network.sizes[-1:] * 2
        size = (sides[0], sides[1]) if isinstance(input_size, str) else input_size
        file = weights and weights / network.published(input_size).name
        model, takes = applications.build(network, file, size=size), network.preprocessing
    else:
        described = model_file.describe(Path(source))
        model = _loaded(Path(source))
        size = _size(str(source), model, described.native_side, image_shape, input_size)
        takes = ""
    name, output = _cut(str(source), model, layer)
    body = keras.Model(model.inputs, output, name=BODY)
    chosen = preprocessing if preprocessing != "auto" else takes or input_range
    image = keras.Input(image_shape, name="image")
    wanted = tuple(model.inputs[0].shape[1:])
    try:
        found = body(_fitted(str(source), image, wanted, size, chosen))
    except ValueError as error:
        # The network leaves the size open, and has no pixels left before its end.
        raise UserError(
            f"{source}: images of {size[0]} x {size[1]} are too small for it up to {name}; cut it "
            "lower (source_training.layer), or let it see more (source_training.input_size)"
        ) from error
    if not isinstance(found, keras.KerasTensor):
        raise UserError(f"{source}: the layer {name} has several outputs; name another")
    maps = len(found.shape) == 4
    pool: Any = keras.layers.GlobalAveragePooling2D if maps else keras.layers.Flatten
    backbone = keras.Model(image, pool(name=FEATURES)(found), name="backbone")
    return Adopted(backbone, f"cut at the layer {name}" if name else "whole", size, chosen)


def adopt_as(
    settings: SourceTrainingSettings,
    *,
    root: Path,
    image_shape: tuple[int, ...],
    untrained: bool = False,
) -> Adopted:
    """Returns what `source_training` of the project at `root` asks for, as `adopt` does.

    With `untrained` the weights of `keras:NAME` need not be there.
    """
    source = str(settings.from_)
    return adopt(
        source if named(source) else root / source,
        layer=settings.layer,
        image_shape=image_shape,
        input_range=settings.input_range,
        input_size=settings.input_size,
        preprocessing=settings.preprocessing,
        weights=None if untrained else root / FOLDER,
    )


def features_warning(backbone: keras.Model, images: np.ndarray) -> str | None:
    """Returns what is amiss with the features of the first `images`, None where nothing is.

    Of a network that sees what it was trained on, most features differ from image to image, and
    its first layer with a bounded activation seldom reaches the bound. Measured with
    EfficientNet-Lite0 on photographs: 1 % constant and 7 % at the bound; 89 % constant at a
    hundredth of its range, 96 % at the bound at [0, 255].
    """
    if len(images) < 2:
        return None
    features = np.asarray(backbone.predict_on_batch(np.asarray(images)))
    if not np.isfinite(features).all():
        return f"some features of the first images are not finite numbers; {_MISFIT}"
    spread, level = features.std(axis=0), np.abs(features).mean(axis=0)
    if (share := float(np.mean(spread <= _CONSTANT * level))) > _MOST_CONSTANT:
        return f"{share:.0%} of the features are nearly constant on the first images; {_MISFIT}"
    bounded = next(_bounded(backbone.get_layer(BODY)), None)
    if bounded is None:
        return None
    layer, bound = bounded
    body = backbone.get_layer(BODY)
    at = backbone.layers.index(body)
    seen = keras.Model(backbone.inputs, backbone.layers[at - 1].output).predict_on_batch(
        np.asarray(images)
    )
    answers = np.abs(keras.Model(body.inputs, layer.output).predict_on_batch(seen))
    active = answers[answers > 0]
    if active.size and (share := float(np.mean(active >= 0.999 * bound))) > _MOST_SATURATED:
        return (
            f"{share:.0%} of what is active in its layer {layer.name} is saturated on the first "
            f"images; {_MISFIT}"
        )
    return None


def _bounded(model: keras.Model) -> Iterator[tuple[keras.Layer, float]]:
    """Yields the layers of `model` whose activation cannot pass a bound, and the bound."""
    for layer in model.layers:
        name = getattr(getattr(layer, "activation", None), "__name__", "")
        if bound := getattr(layer, "max_value", None) or {"relu6": 6.0, "tanh": 1.0}.get(name):
            yield layer, float(bound)


def _loaded(path: Path) -> keras.Model:
    try:
        model = keras.models.load_model(path, safe_mode=True, compile=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as a Keras model ({reason[:200]})") from error
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise UserError(f"{path}: is not a model built of layers (Sequential or functional)")
    if len(model.inputs) != 1:
        raise UserError(f"{path}: has {len(model.inputs)} inputs; one, of images, is expected")
    return model


def _cut(source: str, model: keras.Model, layer: str) -> tuple[str, Any]:
    """Returns the name and the output of the last layer to keep; no name where that is all."""
    if layer != "auto":
        names = [found.name for found in model.layers]
        if layer not in names:
            shown = ", ".join(names[-12:])
            raise UserError(
                f"params.yaml: source_training.layer: {source} has no layer {layer!r}; "
                f"{'the last ' * (len(names) > 12)}{min(len(names), 12)} are {shown}"
            )
        return layer, model.get_layer(layer).output
    weighted = [found for found in model.layers if found.weights]
    if len(model.outputs) == 1 and weighted and not _is_head(model, weighted[-1]):
        return "", model.outputs[0]
    if len(weighted) < 2:
        raise UserError(f"{source}: has fewer than two layers with weights; there is no backbone")
    return f"before {weighted[-1].name}", weighted[-1].input


def _is_head(model: keras.Model, last: keras.Layer) -> bool:
    """Tells whether `last`, the last layer with weights, gives the answers."""
    if len(model.outputs[0].shape) != 2 or isinstance(last, keras.Model):
        return False
    final = model.layers[-1]
    probabilities = getattr(final, "activation", None) in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    )
    return isinstance(last, keras.layers.Dense) or (
        probabilities or isinstance(final, keras.layers.Softmax)
    )


def _size(
    source: str,
    model: keras.Model,
    native: int | None,
    ours: tuple[int, ...],
    asked: tuple[int, int] | str,
) -> tuple[int, int]:
    """Returns the height and width that a network in a file sees."""
    wanted = tuple(model.inputs[0].shape[1:])
    if len(wanted) == 1 and wanted[0]:
        side = math.isqrt(wanted[0])
        if wanted[0] == math.prod(ours):
            fixed: tuple[int | None, ...] = ours[:2]
        elif side * side == wanted[0]:
            fixed = (side, side)
        else:
            raise UserError(f"{source}: its input has the shape {wanted}; an image is expected")
    elif len(wanted) in (2, 3):
        fixed = wanted[:2]
    else:
        raise UserError(f"{source}: its input has the shape {wanted}; an image is expected")
    if isinstance(asked, str):
        enlarged = max(1.0, SMALLEST_SIDE / min(ours[:2]))
        open_ = [native or round(side * enlarged) for side in ours[:2]]
    else:
        open_ = list(asked)
    height, width = (own or side for own, side in zip(fixed, open_, strict=True))
    if not isinstance(asked, str) and (height, width) != asked:
        raise UserError(
            f"params.yaml: source_training.input_size: {source} takes images of {height} x {width} "
            "and no others; write auto"
        )
    return height, width


def _fitted(
    source: str,
    image: Any,
    wanted: tuple[int | None, ...],
    size: tuple[int, int],
    takes: str | tuple[float, float],
) -> Any:
    """Returns our images as the network wants them: size, channels, rank, values."""
    shape = tuple(image.shape[1:])
    channels = shape[2] if len(shape) == 3 else 1
    fitted = image
    if len(shape) == 2:
        fitted = keras.layers.Reshape((*shape, 1), name="channel")(fitted)
    flat = len(wanted) == 1
    depth = (wanted[0] or 0) // math.prod(size) if flat else (*wanted, 1)[2] or channels
    if channels != depth and depth == 3 and channels == 1:
        fitted = keras.layers.Concatenate(name="colour")([fitted] * 3)
    elif channels != depth and depth == 1:
        fitted = keras.layers.Reshape((*shape[:2], channels, 1), name="channels")(fitted)
        fitted = keras.layers.AveragePooling3D((1, 1, channels), name="grey")(fitted)
        fitted = keras.layers.Reshape((*shape[:2], 1), name="one_channel")(fitted)
    elif channels != depth:
        raise UserError(f"{source}: wants {depth} channels, the images have {channels}")
    if isinstance(takes, str):
        # Before they are resized, so that all that follows is Keras' own arithmetic on pixels.
        fitted = keras.layers.Rescaling(255.0, name="pixels")(fitted)
    if size != shape[:2]:
        fitted = keras.layers.Resizing(*size, name="size")(fitted)
    if isinstance(takes, str):
        fitted = _preprocessed(source, fitted, takes)
    elif takes != (0.0, 1.0):
        low, high = takes
        fitted = keras.layers.Rescaling(high - low, offset=low, name="values")(fitted)
    if len(wanted) == 2:
        return keras.layers.Reshape(size, name="plain")(fitted)
    return keras.layers.Flatten(name="row")(fitted) if flat else fitted


def _preprocessed(source: str, pixels: Any, takes: str) -> Any:
    """Returns pixels in 0 to 255 as Keras' `imagenet_utils.preprocess_input` makes them."""
    if takes in ("torch", "caffe") and pixels.shape[-1] != 3:
        raise UserError(
            f"params.yaml: source_training.preprocessing: {takes} is for three channels, and "
            f"{source} takes {pixels.shape[-1]}"
        )
    if takes == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="values")(pixels)
    if takes == "torch":
        pairs = list(zip(_MEANS, _DEVIATIONS, strict=True))
        scales = [1 / (255 * deviation) for _, deviation in pairs]
        offsets = [-mean / deviation for mean, deviation in pairs]
        return keras.layers.Rescaling(scales, offset=offsets, name="values")(pixels)
    if takes == "caffe":
        offsets = [-mean for mean in _BGR_MEANS]
        return keras.layers.Rescaling(1.0, offset=offsets, name="values")(pixels[..., ::-1])
    return pixels
