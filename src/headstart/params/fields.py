"""Single values of the files of parameters, checked; nothing here changes a result."""

import math
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from headstart.core.errors import WrongValue

# Bounds that no honest run reaches: they catch a slip of the keyboard before it costs a day.
_MOST_EPOCHS = 100_000
MOST_IMAGES = 100_000_000
_MOST_UNITS = 65_536
_MOST_LAYERS = 64
_MOST_SIDE = 4096
_HIGHEST_RATE = 1000


def _a_number(value: Any) -> Any:
    """Refuses text such as 1e-3 (text to PyYAML, a number to DVC) and true (1 to Python)."""
    if isinstance(value, str):
        raise ValueError("is text; write a plain decimal number without quotes, such as 0.001")
    if isinstance(value, bool):
        raise ValueError("is true or false; a number is expected")
    return value


def distinct_classes(values: Any) -> tuple[int | str, ...]:
    """Returns the classes of a task, as pydantic's validators do."""
    if not isinstance(values, tuple):
        raise ValueError("is not a list of class names or numbers")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"holds {value!r}, which is neither a class name nor a class number")
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    if len(values) < 2:
        raise ValueError("names fewer than two classes; a task tells at least two apart")
    return values


def others_or_classes(values: Any) -> str | tuple[int | str, ...]:
    """Returns the classes of a source task, as pydantic's validators do."""
    if values in ("others", "none"):
        return str(values)
    if isinstance(values, str):
        raise ValueError(
            "is not allowed; allowed are others, or a list of two or more classes, or none where "
            "source_training.from names a network"
        )
    return distinct_classes(values)


def sources(values: Any) -> Any:
    """Returns the sources as they are, or raises what is wrong with them."""
    if values == "published":
        return values
    if not isinstance(values, tuple):
        raise ValueError("is not allowed; allowed are published, or a list of one or more sources")
    if not values:
        raise ValueError("has too few entries (0); at least 1 needed")
    for value in values:
        if not isinstance(value, str) or not value:
            raise ValueError(f"holds {value!r}, which is not text")
    return values


def learning_rates(value: Any) -> Any:
    """Returns a learning rate, or several to choose from, or raises what is wrong with them."""
    rates = value if isinstance(value, tuple) else (value,)
    for rate in rates:
        rate = _a_number(rate)
        if not isinstance(rate, int | float) or not 0 < rate <= _HIGHEST_RATE:
            raise ValueError(
                f"is not allowed; allowed are a number above 0 and up to {_HIGHEST_RATE}, or a "
                "list of two or more of which the best on the validation images is taken"
            )
    if isinstance(value, tuple) and (len(value) < 2 or len(set(value)) < len(value)):
        raise ValueError("names fewer than two learning rates, or one twice")
    return tuple(map(float, rates)) if isinstance(value, tuple) else float(value)


def image_size(value: Any) -> Any:
    """Returns the size as it is, or raises what is wrong with it."""
    if value == "auto":
        return value
    sides = value if isinstance(value, tuple) else ()
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or not all(1 <= side <= _MOST_SIDE for side in sides):
        raise ValueError(
            f"is not allowed; allowed are auto, or [height, width] in pixels, 1 to {_MOST_SIDE}"
        )
    return value


def class_names(value: Any) -> Any:
    """Returns the names as they are, or raises what is wrong with them."""
    if value == "auto":
        return value
    if not isinstance(value, tuple):
        raise ValueError("is not allowed; allowed are auto, or a list of class names")
    for name in value:
        if not isinstance(name, str) or not name:
            raise ValueError(f"holds {name!r}, which is not a name; put names in quotes")
    folded = [name.casefold() for name in value]
    twice = sorted({name for name in value if folded.count(name.casefold()) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    if len(value) < 2:
        raise ValueError("names fewer than two classes")
    return value


def _size(value: Any) -> Any:
    value = _a_number(value)
    if isinstance(value, int) and 1 <= value <= MOST_IMAGES:
        return value
    if isinstance(value, float) and 0 < value <= 1:
        return value
    raise ValueError(
        f"must be 1 or more and at most {MOST_IMAGES} images, or a fraction with a decimal point, "
        "above 0.0 and up to 1.0"
    )


def own_path(value: Any) -> Any:
    """Returns the path as it is, or raises what is wrong with it."""
    if value is None:
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("is not a path; write the folder or .npz file, or null for none")
    path = PurePosixPath(value)
    if path.parts[:2] != ("data", "own") or len(path.parts) < 3 or ".." in path.parts:
        raise ValueError(
            "is not below data/own/, where DVC sees that an image came or went; copy it there"
        )
    return value


APPLICATIONS = (
    "MobileNetV2_0.35", "MobileNetV2_0.5", "MobileNetV2_0.75", "MobileNetV2", "MobileNetV2_1.3",
    "MobileNetV2_1.4", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ResNet50",
    "ResNet50V2", "DenseNet121", "ConvNeXtTiny",
)  # fmt: skip
"""The networks of `data.weights`, which stands above this."""

PREPROCESSINGS = ("auto", "tf", "torch", "caffe", "raw")
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")


def source_network(
    value: Any,
    *,
    folders: Collection[str] = ("own",),
    otherwise: str = ", or write null to train the source network",
) -> Any:
    """Returns the path or name as it is, or raises what is wrong with it.

    `folders` are those in `models` where a file may lie, `otherwise` what else could be written.
    """
    if value is None:
        return value
    text = value if isinstance(value, str) else ""
    if text.startswith("keras:"):
        if text.removeprefix("keras:") not in APPLICATIONS:
            raise ValueError(
                f"is not among the published networks; there are {', '.join(APPLICATIONS)} "
                "(headstart networks)"
            )
        return value
    path = PurePosixPath(text)
    inside = path.parts[:1] == ("models",) and path.parts[1:2] and path.parts[1] in folders
    if not inside or path.suffix not in MODEL_SUFFIXES or ".." in path.parts:
        raise ValueError(
            "is neither keras:NAME (headstart networks lists the names) nor a "
            f"{', '.join(MODEL_SUFFIXES)} file below models/own/, where DVC sees that it changed; "
            f"copy it there{otherwise}"
        )
    return value


def one_line(name: str) -> str:
    """Returns a name with single blanks, as tables and sentences have it."""
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise ValueError(f"{name!r} is no name; write some letters, or leave the line out")
    return name


def preprocessing(value: Any) -> Any:
    """Returns the preprocessing as it is, or raises what is wrong with it."""
    if isinstance(value, tuple):
        numbers = all(type(end) in (int, float) and math.isfinite(end) for end in value)
        if len(value) == 2 and numbers and value[0] != value[1]:
            return value
    elif isinstance(value, str) and value in PREPROCESSINGS:
        return value
    raise ValueError(
        f"is not allowed; allowed are {', '.join(PREPROCESSINGS)}, or [BLACK, WHITE]: what the "
        "network takes for them"
    )


Whole = Annotated[int, BeforeValidator(_a_number)]
Number = Annotated[float, BeforeValidator(_a_number), Field(allow_inf_nan=False)]
Epochs = Annotated[Whole, Field(ge=1, le=_MOST_EPOCHS)]
BatchSize = Annotated[Whole, Field(ge=1, le=MOST_IMAGES)]
Size = Annotated[int | float, PlainValidator(_size)]
LearningRate = Annotated[Number, Field(gt=0, le=_HIGHEST_RATE)]
LearningRates = Annotated[float | tuple[float, ...], PlainValidator(learning_rates)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Units = Annotated[Whole, Field(ge=1, le=_MOST_UNITS)]
Widths = Annotated[tuple[Units, ...], Field(max_length=_MOST_LAYERS)]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Optimizer = Literal["sgd", "adam"]
Activation = Literal["selu", "relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Classes = Annotated[tuple[int | str, ...], PlainValidator(distinct_classes)]


def known(name: Any, names: Collection[str]) -> str:
    """Returns `name`, one of `names`, as pydantic's validators do."""
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"is not allowed; allowed are {', '.join(map(repr, names))}")
    return name


class Section(BaseModel):
    """Keys of a file of parameters: all there, no others, of the very type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


class Refused(WrongValue):
    """A value that only another value makes impossible."""

    def __init__(self, key: str, value: Any, allowed: str) -> None:
        super().__init__(key, f"{shown(value)} is not allowed here; expected {allowed}")


def shown(value: Any) -> str:
    """Returns a value as messages show it, cut where it is long."""
    text = repr(value if not isinstance(value, tuple) else list(value))
    return text if len(text) <= 60 else text[:57] + "..."
