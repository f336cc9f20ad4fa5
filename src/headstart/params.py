"""`params.yaml` as typed, validated values. Holds no default: every value stands in the file."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from headstart.errors import UserError

# Bounds that no honest run reaches: they catch a slip of the keyboard before it costs a day.
_MOST_EPOCHS = 100_000
_MOST_IMAGES = 100_000_000
_MOST_UNITS = 65_536
_MOST_LAYERS = 64
_MOST_SIDE = 4096


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


def _sources(values: Any) -> Any:
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


def _image_size(value: Any) -> Any:
    if value == "auto":
        return value
    sides = value if isinstance(value, tuple) else ()
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or not all(1 <= side <= _MOST_SIDE for side in sides):
        raise ValueError(
            f"is not allowed; allowed are auto, or [height, width] in pixels, 1 to {_MOST_SIDE}"
        )
    return value


def _class_names(value: Any) -> Any:
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
    if isinstance(value, int) and 1 <= value <= _MOST_IMAGES:
        return value
    if isinstance(value, float) and 0 < value <= 1:
        return value
    raise ValueError(
        f"must be 1 or more and at most {_MOST_IMAGES} images, or a fraction with a decimal point, "
        "above 0.0 and up to 1.0"
    )


def _own_path(value: Any) -> Any:
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


def _own_network(value: Any) -> Any:
    if value is None:
        return value
    path = PurePosixPath(value) if isinstance(value, str) else PurePosixPath()
    if path.parts[:2] != ("models", "own") or path.suffix != ".keras" or ".." in path.parts:
        raise ValueError(
            "is not a .keras file below models/own/, where DVC sees that it changed; copy it "
            "there, or write null to train the source network"
        )
    return value


Whole = Annotated[int, BeforeValidator(_a_number)]
Number = Annotated[float, BeforeValidator(_a_number), Field(allow_inf_nan=False)]
Epochs = Annotated[Whole, Field(ge=1, le=_MOST_EPOCHS)]
BatchSize = Annotated[Whole, Field(ge=1, le=_MOST_IMAGES)]
Images = Annotated[Whole, Field(ge=1, le=_MOST_IMAGES)]
Size = Annotated[int | float, PlainValidator(_size)]
LearningRate = Annotated[Number, Field(gt=0, le=1000)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Units = Annotated[Whole, Field(ge=1, le=_MOST_UNITS)]
Widths = Annotated[tuple[Units, ...], Field(max_length=_MOST_LAYERS)]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Optimizer = Literal["sgd", "adam"]
Activation = Literal["selu", "relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Classes = Annotated[tuple[int | str, ...], PlainValidator(distinct_classes)]


Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """Keys of a file of parameters: all there, no others, of the very type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


class Dataset(Section):
    """A published dataset in its published order, as the study takes it."""

    name: Literal["fashion_mnist"]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    train_size: Images
    valid_size: Images
    test_size: Images


class ProjectDataset(Section):
    """Which images, where they come from, and how many go into each part."""

    name: Literal["fashion_mnist", "mnist", "kmnist", "digits", "own"]
    path: Annotated[str | None, PlainValidator(_own_path)]
    classes: Annotated[Literal["auto"] | tuple[str, ...], PlainValidator(_class_names)]
    image_size: Annotated[Literal["auto"] | tuple[int, int], PlainValidator(_image_size)]
    sources: Annotated[Literal["published"] | tuple[str, ...], PlainValidator(_sources)]
    split: Literal["published", "stratified", "folders"]
    split_seed: Seed
    train_size: Size
    valid_size: Size
    test_size: Size
    max_duplicates: Annotated[Whole, Field(ge=0, le=_MOST_IMAGES)]

    @model_validator(mode="after")
    def _own_data_has_a_path(self) -> Self:
        if self.name == "own" and self.path is None:
            raise Refused("dataset.path", None, "data/own/FOLDER or data/own/FILE.npz")
        if self.name != "own" and self.path is not None:
            raise Refused("dataset.path", self.path, f"null, since dataset.name is {self.name}")
        if self.name != "own" and self.image_size != "auto":
            raise Refused("dataset.image_size", self.image_size, "auto: only own images are sized")
        return self


class Tasks(Section):
    """Which classes make the target task, and which the source task."""

    target_classes: Classes
    source_classes: Annotated[
        Literal["others", "none"] | tuple[int | str, ...], PlainValidator(others_or_classes)
    ]


class Mlp(Section):
    """A multilayer perceptron: flatten, then dense layers."""

    name: Literal["mlp"]
    units: Annotated[Widths, Field(min_length=1)]
    activation: Activation


class Cnn(Section):
    """3x3 convolutions with 2x2 max pooling after each, flatten, then dense layers."""

    name: Literal["cnn"]
    filters: Annotated[Widths, Field(min_length=1)]
    dense: Widths
    activation: Activation


class Training(Section):
    """The budget and the optimiser of one training."""

    epochs: Epochs
    batch_size: BatchSize
    optimizer: Optimizer
    learning_rate: LearningRate


class SourceTraining(Training):
    """How the source network comes about: trained here, or a network that exists, cut."""

    from_: Annotated[str | None, PlainValidator(_own_network), Field(alias="from")]
    layer: Annotated[str, Field(min_length=1)]
    input_range: tuple[Number, Number]


class Overrides(Section):
    """What one arm does differently on purpose; an absent key means as in `target_training`."""

    epochs: Epochs | None = None
    batch_size: BatchSize | None = None
    optimizer: Optimizer | None = None
    learning_rate: LearningRate | None = None

    def applied_to(self, training: Training) -> Training:
        """Returns `training` with the values that are overridden here."""
        return training.model_copy(update=self.model_dump(exclude_none=True))


class TrainB(Section):
    """The baseline: the target task learned from scratch."""

    output_activation: Literal["auto", "sigmoid", "softmax"]
    overrides: Overrides


class Transfer(Section):
    """How the trained backbone is put to use on the target task."""

    strategy: Literal["frozen", "finetune", "gradual", "random_frozen"]
    frozen_fraction: Fraction
    unfrozen_learning_rate: LearningRate
    overrides: Overrides


class Evaluate(Section):
    """What counts as a difference, and how intervals are made."""

    alpha: Fraction
    confidence: Fraction
    bootstrap_samples: Annotated[Whole, Field(ge=100, le=1_000_000)]


class Params(Section):
    """All of `params.yaml`."""

    seed: Seed
    dataset: ProjectDataset
    tasks: Tasks
    network: Annotated[Mlp | Cnn, Field(discriminator="name")]
    source_training: SourceTraining
    target_training: Training
    train_b: TrainB
    transfer: Transfer
    evaluate: Evaluate

    @model_validator(mode="after")
    def _output_fits_the_task(self) -> Self:
        if self.train_b.output_activation == "sigmoid" and len(self.tasks.target_classes) > 2:
            raise Refused(
                "train_b.output_activation",
                "sigmoid",
                "auto or softmax, since tasks.target_classes names three or more classes",
            )
        return self

    @model_validator(mode="after")
    def _source_network_comes_from_somewhere(self) -> Self:
        adopted = self.source_training.from_ is not None
        if adopted and self.transfer.strategy == "random_frozen":
            raise Refused(
                "transfer.strategy",
                "random_frozen",
                "frozen, finetune or gradual with source_training.from: it is the control for a "
                "source network that was trained here",
            )
        if self.tasks.source_classes == "none" and self.source_training.from_ is None:
            raise Refused(
                "tasks.source_classes",
                "none",
                "others or a list of classes, since source_training.from names no network",
            )
        return self

    @property
    def baseline_training(self) -> Training:
        """The baseline's budget and optimiser, overrides applied."""
        return self.train_b.overrides.applied_to(self.target_training)

    @property
    def transfer_training(self) -> Training:
        """The transfer's budget and optimiser, overrides applied."""
        return self.transfer.overrides.applied_to(self.target_training)

    @property
    def arms(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What has to be equal in baseline and transfer for a fair comparison, by setting."""
        baseline, transfer = (
            self.baseline_training.model_dump(),
            self.transfer_training.model_dump(),
        )
        if self.transfer.strategy == "gradual":
            key = "learning_rate after unfreezing"
            baseline[key] = baseline["learning_rate"]
            transfer[key] = self.transfer.unfrozen_learning_rate
        return baseline, transfer


class Refused(ValueError):
    """A value that only another value makes impossible."""

    def __init__(self, key: str, value: Any, allowed: str) -> None:
        super().__init__(f"{key}: {shown(value)} is not allowed here; expected {allowed}")


def output_activation(classes: int, asked: str = "auto") -> str:
    """Returns the output activation: `asked`, or what fits the number of classes."""
    if asked != "auto":
        return asked
    return "sigmoid" if classes == 2 else "softmax"


def acting(stage: str, params: Params) -> dict[str, Any]:
    """Returns the parameters that act on the model a training stage makes, flat, by dotted name.

    Two runs whose acting parameters, data and model agree are the same training.
    """
    training = {
        "train_a": params.source_training,
        "train_b": params.baseline_training,
        "transfer": params.transfer_training,
    }[stage]
    found: dict[str, Any] = {"seed": params.seed}
    found |= {f"network.{key}": value for key, value in params.network.model_dump().items()}
    found |= _training(training)
    if stage == "train_b":
        found["output_activation"] = output_activation(
            len(params.tasks.target_classes), params.train_b.output_activation
        )
    if stage == "transfer":
        found["strategy"] = params.transfer.strategy
        if params.transfer.strategy == "gradual":
            found["frozen_fraction"] = params.transfer.frozen_fraction
            found["unfrozen_learning_rate"] = params.transfer.unfrozen_learning_rate
    return {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}


def _training(training: Training) -> dict[str, Any]:
    if not isinstance(training, SourceTraining):
        return training.model_dump()
    if training.from_ is None:
        return training.model_dump(exclude={"from_", "layer", "input_range"})
    # Nothing is trained: the file is named by its hash among the data.
    return training.model_dump(include={"from_", "layer", "input_range"}, by_alias=True)


def load(path: Path) -> Params:
    """Returns the validated parameters in the file `path`.

    Raises:
        UserError: The file is missing, is not YAML, or holds a key or value that is not allowed.
    """
    return parse(read(path), str(path))


def parse(text: str, name: str) -> Params:
    """Returns the validated parameters in the YAML `text`; `name` stands for it in messages."""
    return validated(text, name, Params, explained)


def read(path: Path) -> str:
    """Returns the text of a file of parameters.

    Raises:
        UserError: The file is missing, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: there is no such file; run the command in the project's top folder"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def validated(
    text: str, name: str, model: type[Model], explain: Callable[[dict[str, Any]], str]
) -> Model:
    """Returns the YAML `text` as a `model`.

    Args:
        text: YAML, duplicate keys and yes/no refused.
        name: Stands for the file in messages.
        model: All of the file.
        explain: Gives a line for each of pydantic's errors.

    Raises:
        UserError: It is not YAML, or holds a key or value that is not allowed.
    """
    try:
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 (_Loader is a SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(_syntax(error, name)) from error
    except RecursionError as error:
        raise UserError(f"{name}: is nested too deeply to be parameters") from error
    if not isinstance(values, dict):
        raise UserError(f"{name}: holds no keys; expected sections such as {_allowed(model)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [explain(dict(item)) for item in error.errors(include_url=False)]
        head = f"{name}: " if len(lines) == 1 else f"{name}: {len(lines)} values are refused:\n  "
        raise UserError(head + "\n  ".join(lines)) from error


class _Loader(yaml.SafeLoader):
    """YAML as PyYAML's safe loader reads it, with duplicate keys and yes/no refused.

    PyYAML keeps the last of two equal keys in silence, and reads yes, no, on and off as
    true and false (YAML 1.1) where DVC reads text (YAML 1.2).
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands here a second time", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> bool:
        if node.value.lower() not in ("true", "false"):
            raise yaml.constructor.ConstructorError(
                None, None, f"'{node.value}' means different things to YAML readers; write true, "
                "false or text in quotes", node.start_mark
            )  # fmt: skip
        return super().construct_yaml_bool(node)


_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_yaml_bool)


def _syntax(error: yaml.YAMLError, name: str) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
    problem = getattr(error, "problem", None) or str(error)
    if "'\\t'" in problem:
        problem = "a tab stands where YAML allows only spaces; indent with spaces"
    return f"{where}: {problem}"


def explained(error: dict[str, Any]) -> str:
    """Returns one line for one pydantic error: the key, the value, what is allowed."""
    location = error["loc"]
    # The union of networks puts the name of its branch into the location.
    place = location[:1] + location[2:] if location[:1] == ("network",) else location
    steps = [str(step) for step in place]
    key, value, context = ".".join(steps), error["input"], error.get("ctx", {})
    kind = error["type"]
    if kind == "missing":
        return f"{key}: is missing; every value stands in params.yaml"
    if kind == "extra_forbidden":
        section = _section(steps[:-1], location)
        return f"{key}: is not a known key (value {shown(value)}); allowed are {_allowed(section)}"
    if kind == "value_error" and isinstance(context.get("error"), Refused):
        return str(context["error"])
    said = {
        "greater_than": "must be greater than {gt:g}",
        "greater_than_equal": "must be {ge:g} or more",
        "less_than": "must be less than {lt:g}",
        "less_than_equal": "must be {le:g} or less",
        "literal_error": "is not allowed; allowed are {expected}",
        "union_tag_invalid": "has the name {tag}; allowed are {expected_tags}",
        "union_tag_not_found": "has no name; allowed are 'mlp', 'cnn'",
        "too_short": "has too few entries ({actual_length}); at least {min_length} needed",
        "too_long": "has too many entries ({actual_length}); at most {max_length} allowed",
        "value_error": "{error}",
        "int_type": "is not a whole number",
        "float_type": "is not a number",
        "string_type": "is not text",
        "tuple_type": "is not a list",
        "finite_number": "is not a finite number",
        "model_type": "is not a section with keys",
        "model_attributes_type": "is not a section with keys",
    }.get(kind)
    text = said.format(**context) if said else error["msg"]
    return f"{key}: {shown(value)} {text}"


def _section(steps: list[str], location: tuple[Any, ...]) -> type[BaseModel]:
    section: type[BaseModel] = Params
    for step in steps:
        if step == "network":
            section = Cnn if "cnn" in location else Mlp
        else:
            annotation = section.model_fields[step].annotation
            assert isinstance(annotation, type)  # noqa: S101 (only sections hold keys)
            section = annotation
    return section


def _allowed(section: type[BaseModel]) -> str:
    return ", ".join(field.alias or name for name, field in section.model_fields.items())


def shown(value: Any) -> str:
    """Returns a value as messages show it, cut where it is long."""
    text = repr(value if not isinstance(value, tuple) else list(value))
    return text if len(text) <= 60 else text[:57] + "..."
