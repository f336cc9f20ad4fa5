"""A network that exists already, cut and fitted to our images, in place of a source network."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstart.core.errors import UserError, WrongValue
from headstart.data.weights import FOLDER, PUBLISHED, named
from headstart.learning import applications, model_file
from headstart.params.sections import Elsewhere

BODY = "adopted"
FEATURES = "features"

# Of ImageNet's photographs, in red, green, blue of 0 to 1; and in blue, green, red of 0 to 255.
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BGR_MEANS = (103.939, 116.779, 123.68)

# A feature whose deviation is a hundredth of its level says next to nothing.
_CONSTANT, _MOST_CONSTANT = 0.01, 0.5
_MOST_SATURATED = 0.5
_MISFIT = "does it take such values (preprocessing), and is it cut at the right one (layer)?"


@dataclass(frozen=True)
class Adopted:
    """A network from elsewhere as a backbone for our images.

    Attributes:
        backbone: Takes our images in [0, 1], gives features (n, k).
        cut: Where it ends, in words.
        size: The height and width that it resizes images to.
        takes: What it was given for pixels: a name of Keras' or a range.
        misfit: What to say where that is not what it takes, as far as that can be told.
    """

    backbone: keras.Model
    cut: str
    size: tuple[int, int]
    takes: model_file.Takes
    misfit: str | None = None


def adopt(
    source: str | Path,
    *,
    layer: str,
    image_shape: tuple[int, ...],
    input_range: tuple[float, float] = (0.0, 1.0),
    input_size: tuple[int, int] | str = "auto",
    preprocessing: model_file.Takes = "auto",
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
            open and unknown, our own, enlarged as in `model_file.open_size`.
        preprocessing: tf, torch, caffe or raw as in Keras, or a range; "auto": that of
            `keras:NAME`, else `input_range`.
        weights: The folder with the file of `keras:NAME`; None builds it untrained, good for what
            it costs and for nothing else.

    Raises:
        UserError: The file is no Keras model with one image input, has no such layer, or is too
            deep for images of `input_size`; the key of a refused value is that argument's name.
    """
    network = named(str(source))
    takes: str | None
    usual: model_file.Takes
    if network:
        size = network.seen(input_size)
        file = weights and weights / network.published(input_size).name
        model = applications.build(network, file, size=size)
        takes, why, usual = network.preprocessing, PUBLISHED, network.preprocessing
    else:
        described = model_file.describe(Path(source))
        model = _loaded(Path(source))
        size = _size(str(source), model, described.native_side, image_shape, input_size)
        takes, why, usual = described.takes, described.why, input_range
    name, output = _cut(str(source), model, layer)
    body = keras.Model(model.inputs, output, name=BODY)
    if not body.weights:
        raise WrongValue(
            "layer", f"nothing up to {name} of {source} holds weights; name a later one"
        )
    chosen = preprocessing if preprocessing != "auto" else usual
    image = keras.Input(image_shape, name="image")
    wanted = tuple(model.inputs[0].shape[1:])
    fitted = _fitted(str(source), image, wanted, size, chosen)
    try:
        found = body(fitted)
    except ValueError as error:
        # The network leaves the size open, and has no pixels left before its end.
        raise WrongValue(
            "input_size",
            f"{size[0]} x {size[1]} are too small for {source} up to {name or 'its end'}; let it "
            "see more, or cut it lower (layer)",
        ) from error
    if not isinstance(found, keras.KerasTensor):
        raise UserError(f"{source}: the layer {name} has several outputs; name another")
    maps = len(found.shape) == 4
    pool: Any = keras.layers.GlobalAveragePooling2D if maps else keras.layers.Flatten
    backbone = keras.Model(image, pool(name=FEATURES)(found), name="backbone")
    cut = f"cut at the layer {name}" if name else "whole"
    misfit = model_file.misfit(str(source), takes=takes, why=why, given=chosen)
    return Adopted(backbone, cut, size, chosen, misfit)


def adopt_as(
    settings: Elsewhere,
    *,
    root: Path,
    image_shape: tuple[int, ...],
    untrained: bool = False,
    folder: Path | None = None,
) -> Adopted:
    """Returns what `settings` of the project at `root` ask for, as `adopt` does.

    With `untrained` the weights of `keras:NAME` need not be there; else they lie in `folder`,
    where the download stage puts them unless it is named.

    Raises:
        UserError: As `adopt`; keys are as in the section that `settings` are.
    """
    source = str(settings.from_)
    try:
        return adopt(
            source if named(source) else root / source,
            layer=settings.layer,
            image_shape=image_shape,
            input_range=settings.input_range,
            input_size=settings.input_size,
            preprocessing=settings.preprocessing,
            weights=None if untrained else folder or root / FOLDER,
        )
    except WrongValue as error:
        raise WrongValue(f"{settings.key}{error.key}", error.reason) from error


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
    bounded = _bounded(backbone, np.asarray(images))
    if bounded is None:
        return None
    name, bound, answers = bounded
    active = answers[answers > 0]
    if active.size and (share := float(np.mean(active >= 0.999 * bound))) > _MOST_SATURATED:
        return (
            f"{share:.0%} of what is active in its layer {name} is saturated on the first "
            f"images; {_MISFIT}"
        )
    return None


def _bounded(model: keras.Model, seen: np.ndarray) -> tuple[str, float, np.ndarray] | None:
    """Returns the first layer whose activation cannot pass a bound, the bound, and its answers.

    Networks inside `model` are looked into; answers, to what `model` has `seen`, are absolute.
    """

    def answered(tensor: Any) -> np.ndarray:
        return np.asarray(keras.Model(model.inputs, tensor).predict_on_batch(seen))

    for layer in model.layers:
        name = getattr(getattr(layer, "activation", None), "__name__", "")
        if bound := getattr(layer, "max_value", None) or {"relu6": 6.0, "tanh": 1.0}.get(name):
            return layer.name, float(bound), np.abs(answered(_output(model, layer)))
        if not isinstance(layer, keras.Model) or len(layer.inputs) != 1:
            continue
        if found := _bounded(layer, answered(_input(model, layer))):
            return found
    return None


def _loaded(path: Path) -> keras.Model:
    try:
        model = keras.models.load_model(path, safe_mode=True, compile=False)
    except model_file.UNREADABLE as error:
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
            raise WrongValue(
                "layer",
                f"{source} has no layer {layer!r}; {'the last ' * (len(names) > 12)}"
                f"{min(len(names), 12)} are {shown}",
            )
        return layer, _output(model, model.get_layer(layer))
    parts = [found for found in model._flatten_layers() if not isinstance(found, keras.Model)]
    name, output = _headless(model)
    if sum(bool(found.weights) for found in parts) < (2 if name else 1):
        raise UserError(f"{source}: has fewer than two layers with weights; there is no backbone")
    return name and f"before {name}", output


def _headless(model: keras.Model, *, probabilities: bool = False) -> tuple[str, Any]:
    """Returns the layer that a head begins with, and what goes into it; no name where none is.

    A network that `model` ends in is looked into; `probabilities` tells that they are made of what
    `model` gives.
    """
    weighted = [layer for layer in model.layers if layer.weights]
    one = len(model.outputs) == 1
    if not weighted or (one and len(model.outputs[0].shape) != 2 and not probabilities):
        return "", model.outputs[0]
    last = weighted[-1]
    probabilities = probabilities or _gives_probabilities(model.layers[-1])
    if not isinstance(last, keras.Model):
        is_head = not one or probabilities or isinstance(last, keras.layers.Dense)
        return (last.name, _input(model, last)) if is_head else ("", model.outputs[0])
    name, output = _headless(last, probabilities=probabilities)
    if not name:
        return "", model.outputs[0]
    return name, keras.Model(last.inputs, output, name=last.name)(_input(model, last))


def _gives_probabilities(layer: keras.Layer) -> bool:
    known = keras.activations.softmax, keras.activations.sigmoid
    return isinstance(layer, keras.layers.Softmax) or getattr(layer, "activation", None) in known


def _input(model: keras.Model, layer: keras.Layer) -> Any:
    """Returns what goes into `layer` in the graph of `model`."""
    tensors = _use(model, layer).input_tensors
    return tensors[0] if len(tensors) == 1 else tensors


def _output(model: keras.Model, layer: keras.Layer) -> Any:
    """Returns what comes out of `layer` in the graph of `model`."""
    tensors = _use(model, layer).output_tensors
    return tensors[0] if len(tensors) == 1 else tensors


def _use(model: keras.Model, layer: keras.Layer) -> Any:
    """Returns the node of the first use of `layer` in `model`.

    `layer.output` may be of another graph: of a network inside it is that of its own, and
    Sequential calls its layers again and again while it is built (Keras 3.15).
    """
    # A Sequential holds its graph.
    by_depth = getattr(model, "_functional", model)._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return next(node for node in nodes if node.operation is layer)


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
        open_ = (native, native) if native else model_file.open_size(ours)
    else:
        open_ = asked
    height, width = (own or side for own, side in zip(fixed, open_, strict=True))
    if not isinstance(asked, str) and (height, width) != asked:
        raise WrongValue(
            "input_size",
            f"{source} takes images of {height} x {width} and no others; write auto",
        )
    return height, width


def _fitted(
    source: str,
    image: Any,
    wanted: tuple[int | None, ...],
    size: tuple[int, int],
    takes: model_file.Takes,
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
        first = len(wanted) == 3 and wanted[0] in (1, 3)
        order = "; it takes channels first, which is not read" if first else ""
        raise UserError(f"{source}: wants {depth} channels, the images have {channels}{order}")
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
        raise WrongValue(
            "preprocessing",
            f"{takes} is for three channels, and {source} takes {pixels.shape[-1]}",
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
