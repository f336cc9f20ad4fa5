"""What the file of a Keras model tells without Keras: layers, input, what it takes for pixels."""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError

# Classes that hold code of their own, which is not run; Keras 2 wrote calls of TensorFlow so.
_CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda")
# What may stand between the input and the layer whose place tells the range.
_BEFORE_PIXELS = ("InputLayer", "Resizing", "Reshape", "ZeroPadding2D", "CenterCrop", "Concatenate")
# A network that divides its input by so much takes 0 to 255.
_DIVIDES_PIXELS = 1 / 50
# How networks of Keras are called by Keras, and what they take (`preprocess_input` of each).
_TAKES = (
    (r"(mobilenet|xception|inception|nasnet|resnet\d+v2)", "tf"),
    (r"(resnet\d+|vgg\d+)", "caffe"),
    (r"densenet", "torch"),
    (r"(efficientnet|convnext)", "raw"),
)
_SIDE = re.compile(r"mobilenet.*_(96|128|160|192|224)")
_NATIVE = (
    (r"(mobilenet|efficientnetb0|efficientnetv2-b0|resnet|densenet|vgg|convnext)", 224),
    (r"(xception|inception)", 299),
)


@dataclass(frozen=True)
class Description:
    """What a model's configuration says.

    Attributes:
        name: The model's own.
        layers: The names that `source_training.layer` can take, in order.
        kinds: The classes of all its layers, those of nested models among them, in order.
        input_shape: (height, width, channels) and the like of one image; None where it is open.
        takes: tf, torch, caffe or raw, as far as it can be told; None where it cannot.
        why: What tells it.
    """

    name: str
    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    input_shape: tuple[int | None, ...]
    takes: str | None
    why: str

    @property
    def native_side(self) -> int | None:
        """The pixels a side that it was made for, where the name tells."""
        if side := _SIDE.match(self.name.casefold()):
            return int(side[1])
        return next((n for p, n in _NATIVE if re.match(p, self.name.casefold())), None)

    @property
    def pooled(self) -> bool:
        """Whether it ends in a pooling over all pixels."""
        return self.kinds[-1].startswith("Global")


def describe(path: Path) -> Description:
    """Returns what the `.keras`, `.h5` or `.hdf5` file says of its model.

    Raises:
        UserError: There is no such file, it is no Keras model of layers, or it holds code.
    """
    config = _config(path)
    if not isinstance(config.get("config"), Mapping) or "layers" not in config["config"]:
        raise UserError(f"{path}: is not a model built of layers (Sequential or functional)")
    flat = list(_flat(config))
    code = sorted({layer["class_name"] for layer in flat} & {*_CODE})
    if code:
        names = [_name(layer) for layer in flat if layer["class_name"] in code]
        raise UserError(
            f"{path}: holds code of its own ({', '.join(names)}: {', '.join(code)}), which is not "
            "run; save the network with Keras' layers alone"
        )
    own = config["config"]
    takes, why = _takes(str(own.get("name", "")), flat)
    return Description(
        str(own.get("name", "")),
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
                config = json.loads(archive.read("config.json"))
        else:
            import h5py

            with h5py.File(path) as file:
                config = json.loads(file.attrs["model_config"])
        return dict(config)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file (source_training.from)") from error
        if isinstance(error, KeyError) and path.suffix != ".keras":
            raise UserError(f"{path}: holds weights without a model; save it whole") from error
        raise UserError(f"{path}: cannot be read as a Keras model ({error})") from error


def _flat(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the layers of a model and of those in it, which may be wrapped in other layers."""
    for layer in model["config"]["layers"]:
        inner = layer.get("config", {})
        wrapped = inner.get("layer") if isinstance(inner, Mapping) else None
        for part in (layer, wrapped):
            if isinstance(part, Mapping) and isinstance(part.get("config"), Mapping):
                yield from _flat(part) if "layers" in part["config"] else iter([part])


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer["config"].get("name", layer.get("name", "")))


def _shape(layer: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Returns the shape of one input as an input layer gives it; () for all other layers."""
    config = layer["config"]
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    return tuple(shape[1:]) if shape else ()


def _takes(name: str, layers: list[Mapping[str, Any]]) -> tuple[str | None, str]:
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind in _BEFORE_PIXELS:
            continue
        scale = config.get("scale", 1.0)
        if kind == "Rescaling" and isinstance(scale, float) and scale <= _DIVIDES_PIXELS:
            return "raw", f"it divides its input by {1 / scale:g} itself"
        means = config.get("mean")
        if kind == "Normalization" and means and max(_numbers(means)) > 1:
            return "raw", "it normalises pixels itself"
        if kind in ("Rescaling", "Normalization"):
            return None, ""
        break
    for pattern, takes in _TAKES:
        if re.match(pattern, name.casefold()):
            return takes, f"it is called {name}, as Keras' own"
    return None, ""


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else [0.0]
