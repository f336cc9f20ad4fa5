"""The kinds of networks: their keys in a file of parameters, and the layers that come of them.

A kind is one class here and its place in `Network`. What Keras builds, parameters, operations,
memory and labels all follow from its layers; Keras is named and not imported, so that a check
costs no start of TensorFlow.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from headstart.core.errors import WrongValue
from headstart.params.fields import Activation, Section, Widths

HEAD = "head"


@dataclass(frozen=True)
class Layer:
    """A layer as Keras builds it, and what it comes to.

    Attributes:
        keras: The class in `keras.layers`.
        name: The layer's own name, since Keras numbers nameless ones over the life of a process.
        shape: Of its output for one image.
        options: What the class takes.
        parameters: Number of its weights.
        flops: Operations of one image's forward pass. Multiply-adds count 2; biases,
            activations and pooling are left out, as is usual.
    """

    keras: str
    name: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    flops: int = 0


def _dense(name: str, inputs: int, units: int, activation: str) -> Layer:
    options = {"units": units, "activation": activation}
    return Layer("Dense", name, (units,), options, (inputs + 1) * units, 2 * inputs * units)


def _dense_layers(
    shape: tuple[int, ...], widths: Sequence[int], activation: str
) -> Iterator[Layer]:
    """Yields what flattens an input of `shape`, then dense layers."""
    inputs = math.prod(shape)
    yield Layer("Flatten", "flatten", (inputs,))
    for number, units in enumerate(widths, start=1):
        yield _dense(f"dense_{number}", inputs, units, activation)
        inputs = units


class Mlp(Section):
    """A multilayer perceptron: flatten, then dense layers."""

    name: Literal["mlp"]
    units: Annotated[Widths, Field(min_length=1)]
    activation: Activation

    # Its first layer with weights is dense on the pixels, so that few images train in their span.
    on_pixels: ClassVar[bool] = True

    @property
    def widths(self) -> tuple[int, ...]:
        """What labels tell two networks of the kind apart by."""
        return self.units

    def backbone(self, image_shape: tuple[int, ...]) -> Iterator[Layer]:
        """Yields the layers below the head for images (height, width[, channels])."""
        yield from _dense_layers(image_shape, self.units, self.activation)


class Cnn(Section):
    """3x3 convolutions with 2x2 max pooling after each, flatten, then dense layers."""

    name: Literal["cnn"]
    filters: Annotated[Widths, Field(min_length=1)]
    dense: Widths
    activation: Activation

    on_pixels: ClassVar[bool] = False

    @property
    def widths(self) -> tuple[int, ...]:
        """What labels tell two networks of the kind apart by."""
        return self.filters + self.dense

    def backbone(self, image_shape: tuple[int, ...]) -> Iterator[Layer]:
        """Yields the layers below the head for images (height, width[, channels]).

        Raises:
            WrongValue: The images are too small for so many poolings.
        """
        height, width, channels = (*image_shape, 1)[:3]
        smallest = 2 ** len(self.filters)
        if min(height, width) < smallest:
            raise WrongValue(
                "network.filters",
                f"{list(self.filters)} halves the image {len(self.filters)} "
                f"times, and {height} x {width} pixels are too few for that; use fewer filters, "
                f"or images of {smallest} pixels a side",
            )
        if len(image_shape) == 2:
            shape = (height, width, channels)
            yield Layer("Reshape", "channel", shape, {"target_shape": shape})
        for number, filters in enumerate(self.filters, start=1):
            kernel = 9 * channels * filters
            yield Layer(
                "Conv2D",
                f"conv_{number}",
                (height, width, filters),
                {
                    "filters": filters,
                    "kernel_size": 3,
                    "padding": "same",
                    "activation": self.activation,
                },
                parameters=kernel + filters,
                flops=2 * kernel * height * width,
            )
            height, width, channels = height // 2, width // 2, filters
            yield Layer(
                "MaxPooling2D", f"pool_{number}", (height, width, channels), {"pool_size": 2}
            )
        yield from _dense_layers((height, width, channels), self.dense, self.activation)


Network = Annotated[Mlp | Cnn, Field(discriminator="name")]
# By name, for messages.
KINDS = {get_args(kind.model_fields["name"].annotation)[0]: kind for kind in (Mlp, Cnn)}


def layers(
    network: Network, image_shape: tuple[int, ...], *, units: int, activation: str = "sigmoid"
) -> list[Layer]:
    """Returns the layers of `network` under a dense head of `units`.

    `image_shape` is (height, width[, channels]); the head's activation changes no count.

    Raises:
        WrongValue: The images are too small for the network.
    """
    backbone = list(network.backbone(image_shape))
    (features,) = backbone[-1].shape
    return [*backbone, _dense(HEAD, features, units, activation)]


def labels(networks: Sequence[Network]) -> tuple[str, ...]:
    """Returns what tables call the networks: their kind, with widths where that is unclear.

    An activation follows where the widths do not tell two networks apart either.
    """
    kinds = [network.name for network in networks]
    widths = ["_".join(map(str, (network.name, *network.widths))) for network in networks]
    return tuple(
        kind if kinds.count(kind) == 1
        else width if widths.count(width) == 1
        else f"{width}_{network.activation}"
        for kind, width, network in zip(kinds, widths, networks, strict=True)
    )  # fmt: skip


def output_units(classes: int) -> int:
    """Returns the units of the head: one for two classes, as in the notebook, else one a class."""
    return 1 if classes == 2 else classes


def output_activation(classes: int, asked: str = "auto") -> str:
    """Returns the output activation: `asked`, or what fits the number of classes."""
    if asked != "auto":
        return asked
    return "sigmoid" if classes == 2 else "softmax"
