"""What the file of a Keras model tells without Keras: layers, input, what it takes for pixels."""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError

# Classes that hold code of their own, which is not run; Keras 2 wrote calls of TensorFlow so.
_CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda")
# What may stand between the input and the layer whose place tells the range; augmentation too.
_BEFORE_PIXELS = re.compile(
    "InputLayer|Resizing|Reshape|Permute|ZeroPadding2D|Cropping2D|CenterCrop|Concatenate|Random.*"
)
# A network that divides its input by so much takes 0 to 255.
_DIVIDES_PIXELS = 1 / 50
Takes = str | tuple[float, float]
"""What a network is given for pixels: a name of Keras', or a range."""
_NAMES: dict[Takes, str] = {(-1.0, 1.0): "tf", (0.0, 255.0): "raw"}
# How networks of Keras are called by Keras, and what they take (`preprocess_input` of each). Those
# that rescale inside are told by the layers that do: built without, they take something else.
_TAKES = (
    (r"mobilenet(v2)?_\d\.\d\d_\d+|resnet(50|101|152)v2", "tf"),
    (r"xception|inception_(resnet_v2|v3)|nasnet_(mobile|large)", "tf"),
    (r"resnet(50|101|152)|vgg(16|19)", "caffe"),
    (r"densenet(121|169|201)", "torch"),
)
_SIDE = re.compile(r"mobilenet.*_(96|128|160|192|224)")
_NATIVE = (
    (r"(mobilenet|efficientnetb0|efficientnetv2-b0|resnet|densenet|vgg|convnext)", 224),
    (r"(xception|inception)", 299),
)
SMALLEST_SIDE = 96
"""Of images that a network of open size sees: at 32 pixels the last map is a single one."""


UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError,
              EOFError, zipfile.BadZipFile, zlib.error)  # fmt: skip
"""What Keras, zipfile, h5py and json raise of a file whose bytes are not as they were written."""


@dataclass(frozen=True)
class Description:
    """What a model's configuration says.

    Attributes:
        names: The model's own, after those of the networks inside it that its input goes into.
        layers: The names that `source_training.layer` can take, in order.
        kinds: The classes of all its layers, those of nested models among them, in order.
        input_shape: (height, width, channels) and the like of one image; None where it is open.
        takes: tf, torch, caffe or raw, as far as it can be told; None where it cannot.
        why: What tells it.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    input_shape: tuple[int | None, ...]
    takes: str | None
    why: str

    @property
    def native_side(self) -> int | None:
        """The pixels a side that it was made for, where a name tells."""
        for name in map(str.casefold, self.names):
            if side := _SIDE.match(name):
                return int(side[1])
            if native := next((side for known, side in _NATIVE if re.match(known, name)), None):
                return native
        return None

    @property
    def pooled(self) -> bool:
        """Whether it ends in a pooling over all pixels."""
        return self.kinds[-1].startswith("Global")


def open_size(images: Sequence[int]) -> tuple[int, int]:
    """Returns what a network of open and unknown size sees of images (height, width, ...).

    That is their own size, enlarged to `SMALLEST_SIDE` where they are less.
    """
    height, width = images[:2]
    enlarged = max(1.0, SMALLEST_SIDE / min(height, width))
    return round(height * enlarged), round(width * enlarged)


def in_words(given: Takes) -> str:
    """Returns values for pixels by Keras' name where there is one, else as a list."""
    named = _NAMES.get(given, given)
    return named if isinstance(named, str) else str(list(named))


def misfit(source: str, *, takes: str | None, why: str, given: Takes) -> str | None:
    """Returns what to say where a network takes one thing, as `why` tells, and is given another."""
    if takes is None or takes == in_words(given):
        return None
    return (
        f"{source} takes {takes} ({why}), and is given {in_words(given)}; "
        f"write preprocessing: {takes}"
    )


def describe(path: Path) -> Description:
    """Returns what the `.keras`, `.h5` or `.hdf5` file says of its model.

    Raises:
        UserError: There is no such file, it is no Keras model of layers, or it holds code.
    """
    config = _config(path)
    if not isinstance(config.get("config"), Mapping) or "layers" not in config["config"]:
        raise UserError(f"{path}: is not a model built of layers (Sequential or functional)")
    named = list(_flat(config))
    flat = [layer for layer, _ in named]
    code = sorted({layer["class_name"] for layer in flat} & {*_CODE})
    if code:
        names = [_name(layer) for layer in flat if layer["class_name"] in code]
        raise UserError(
            f"{path}: holds code of its own ({', '.join(names)}: {', '.join(code)}), which is not "
            "run; save the network with Keras' layers alone"
        )
    if all(layer["class_name"] == "InputLayer" for layer in flat):
        raise UserError(f"{path}: has no layers")
    own = config["config"]
    first = next((part for part in named if not _keeps_pixels(part[0])), named[-1])
    takes, why = _takes(*first)
    return Description(
        first[1],
        tuple(_name(layer) for layer in own["layers"] if layer["class_name"] != "InputLayer"),
        tuple(layer["class_name"] for layer in flat),
        next(filter(None, map(_shape, flat)), ()),
        takes,
        why,
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} in it is damaged; copy it again")
                config = json.loads(archive.read("config.json"))
        else:
            import h5py

            with h5py.File(path) as file:
                config = json.loads(file.attrs["model_config"])
        return dict(config)
    except UNREADABLE as error:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file") from error
        if isinstance(error, KeyError) and path.suffix != ".keras":
            raise UserError(f"{path}: holds weights without a model; save it whole") from error
        raise UserError(f"{path}: cannot be read as a Keras model ({error})") from error


def _flat(
    model: Mapping[str, Any], outer: tuple[str, ...] = ()
) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Yields the layers of a model and of those in it, which may be wrapped in other layers.

    With the names of the models that each is in, the innermost first.
    """
    names = (_name(model), *outer)
    for layer in model["config"]["layers"]:
        inner = layer.get("config", {})
        wrapped = inner.get("layer") if isinstance(inner, Mapping) else None
        for part in (layer, wrapped):
            if isinstance(part, Mapping) and isinstance(part.get("config"), Mapping):
                if "layers" in part["config"]:
                    yield from _flat(part, names)
                else:
                    yield part, names


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer["config"].get("name", layer.get("name", "")))


def _shape(layer: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Returns the shape of one input as an input layer gives it; () for all other layers."""
    config = layer["config"]
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    return tuple(shape[1:]) if shape else ()


def _keeps_pixels(layer: Mapping[str, Any]) -> bool:
    return _BEFORE_PIXELS.fullmatch(layer["class_name"]) is not None


def _takes(first: Mapping[str, Any], names: Sequence[str]) -> tuple[str | None, str]:
    """Returns what a model takes whose layer `first`, in models of these names, acts on pixels."""
    kind, config = first["class_name"], first["config"]
    if kind == "Rescaling":
        scale = max(_numbers(config.get("scale", 1.0)))
        if 0 < scale <= _DIVIDES_PIXELS:
            return "raw", f"it divides its input by {1 / scale:g} itself"
        return None, ""
    if kind == "Normalization":
        means = config.get("mean")
        return ("raw", "it normalises pixels itself") if max(_numbers(means)) > 1 else (None, "")
    for name in names:
        for pattern, takes in _TAKES:
            if re.fullmatch(pattern, name.casefold()):
                return takes, f"it is called {name}, as Keras' own"
    return None, ""


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list | tuple) and value:
        return [number for item in value for number in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else [0.0]
