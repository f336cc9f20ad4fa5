"""`params.yaml` as typed, validated values. Holds no default: every value stands in the file."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from headstart.params.fields import (
    MOST_IMAGES,
    BatchSize,
    Classes,
    Epochs,
    Fraction,
    LearningRate,
    LearningRates,
    Number,
    Optimizer,
    Refused,
    Section,
    Seed,
    Size,
    Whole,
    class_names,
    image_size,
    others_or_classes,
    own_path,
    preprocessing,
    source_network,
    sources,
)
from headstart.params.networks import Network, output_activation
from headstart.params.strategies import Strategy, named

PUBLISHED_SIDE = 224
"""The pixels a side that `keras:NAME` sees where `source_training.input_size` is auto."""


class Dataset(Section):
    """Which images, where they come from, and how many go into each part."""

    name: Literal["fashion_mnist", "mnist", "kmnist", "digits", "own"]
    path: Annotated[str | None, PlainValidator(own_path)]
    classes: Annotated[Literal["auto"] | tuple[str, ...], PlainValidator(class_names)]
    image_size: Annotated[Literal["auto"] | tuple[int, int], PlainValidator(image_size)]
    sources: Annotated[Literal["published"] | tuple[str, ...], PlainValidator(sources)]
    split: Literal["published", "stratified", "folders"]
    split_seed: Seed
    train_size: Size
    valid_size: Size
    test_size: Size
    max_duplicates: Annotated[Whole, Field(ge=0, le=MOST_IMAGES)]

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


CHOSEN = "chosen by the validation log loss"
"""What stands for a learning rate that was chosen, where two arms are compared."""


def rates(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """Returns the learning rates to choose from that a parameter names, one or several."""
    return value if isinstance(value, tuple) else (value,)


class TrainingSettings(Section):
    """The budget and the optimiser of one training."""

    epochs: Epochs
    batch_size: BatchSize
    optimizer: Optimizer
    learning_rate: LearningRate

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to choose from: one, unless there is a list."""
        return rates(self.learning_rate)


class TargetTrainingSettings(TrainingSettings):
    """The same of an arm, whose learning rate may be chosen from a list."""

    learning_rate: LearningRates  # type: ignore[assignment]  # wider: `rates` takes both


class Elsewhere(Section):
    """A network that exists, cut, and what it is to be given; none where `from` is null."""

    key: ClassVar[str] = ""
    """Where this stands, as refusals name it."""

    from_: Annotated[str | None, PlainValidator(source_network), Field(alias="from")]
    layer: Annotated[str, Field(min_length=1)]
    input_size: Annotated[Literal["auto"] | tuple[int, int], PlainValidator(image_size)]
    input_range: tuple[Number, Number]
    preprocessing: Annotated[str | tuple[float, float], PlainValidator(preprocessing)]
    sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")]

    @property
    def published(self) -> bool:
        """Whether the network is one of Keras' own."""
        return self.from_ is not None and self.from_.startswith("keras:")

    @model_validator(mode="after")
    def _one_key_says_what_the_network_takes(self) -> Self:
        if self.input_range != (0.0, 1.0) and (self.published or self.preprocessing != "auto"):
            raise Refused(
                f"{self.key}input_range",
                self.input_range,
                f"[0.0, 1.0], since {self.key}preprocessing says what the network takes",
            )
        if self.sha256 is not None and not self.published:
            raise Refused(
                f"{self.key}sha256",
                self.sha256,
                "null: DVC keeps the hash of a file of one's own",
            )
        return self


class SourceTrainingSettings(Elsewhere, TrainingSettings):
    """How the source network comes about: trained here, or a network that exists, cut."""

    key = "source_training."


class Overrides(Section):
    """What one arm does differently on purpose; an absent key means as in `target_training`."""

    epochs: Epochs | None = None
    batch_size: BatchSize | None = None
    optimizer: Optimizer | None = None
    learning_rate: LearningRates | None = None

    def applied_to(self, training: TrainingSettings) -> TrainingSettings:
        """Returns `training` with the values that are overridden here."""
        return training.model_copy(update=self.model_dump(exclude_none=True))


class TrainB(Section):
    """The baseline: the target task learned from scratch."""

    output_activation: Literal["auto", "sigmoid", "softmax"]
    overrides: Overrides


class Transfer(Section):
    """How the trained backbone is put to use on the target task."""

    # A row of the table; its name in files.
    strategy: Annotated[
        Strategy,
        PlainValidator(named),
        PlainSerializer(lambda row: row.name),
    ]
    frozen_fraction: Fraction
    unfrozen_learning_rate: LearningRates
    batch_normalization: Literal["auto", "inference", "training"]
    overrides: Overrides

    @property
    def inference(self) -> bool:
        """Whether a network from elsewhere goes by the statistics that it has while it trains.

        One that starts from scratch has none.
        """
        if self.batch_normalization == "auto":
            return self.strategy.from_source
        return self.batch_normalization == "inference"


class Evaluate(Section):
    """What counts as a difference and what as none, and how wide intervals are."""

    alpha: Fraction
    confidence: Fraction
    margin: Annotated[Number, Field(ge=0, lt=1)]


class Params(Section):
    """All of `params.yaml`."""

    seed: Seed
    dataset: Dataset
    tasks: Tasks
    network: Network
    source_training: SourceTrainingSettings
    target_training: TargetTrainingSettings
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
        strategy, adopted = self.transfer.strategy, self.source_training.from_ is not None
        if strategy.same_network and not adopted:
            raise Refused(
                "transfer.strategy",
                strategy.name,
                "another one without source_training.from: the baseline is the same network from "
                "scratch already",
            )
        if not adopted:
            # Of our own networks each layer with weights is a block.
            strategy.check_blocks(len(self.network.widths))
        if self.tasks.source_classes == "none" and self.source_training.from_ is None:
            raise Refused(
                "tasks.source_classes",
                "none",
                "others or a list of classes, since source_training.from names no network",
            )
        return self

    @property
    def baseline_training(self) -> TrainingSettings:
        """The baseline's budget and optimiser, overrides applied."""
        return self.train_b.overrides.applied_to(self.target_training)

    @property
    def transfer_training(self) -> TrainingSettings:
        """The transfer's budget and optimiser, overrides applied."""
        return self.transfer.overrides.applied_to(self.target_training)

    @property
    def trainings(self) -> dict[str, TrainingSettings]:
        """The budgets and optimisers by model, without that of a source from elsewhere."""
        trainings = {"baseline": self.baseline_training, "transfer": self.transfer_training}
        if self.source_training.from_ is None:
            trainings["source"] = self.source_training
        return trainings

    @property
    def arms(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What has to be equal in baseline and transfer for a fair comparison, by setting.

        Learning rates that were chosen from lists by the one rule count as equal.
        """
        baseline, transfer = (
            self.baseline_training.model_dump(),
            self.transfer_training.model_dump(),
        )
        if self.transfer.strategy.two_phases:
            key = "learning_rate after unfreezing"
            baseline[key] = baseline["learning_rate"]
            transfer[key] = self.transfer.unfrozen_learning_rate
        for arm in (baseline, transfer):
            for key, value in arm.items():
                if isinstance(value, tuple):
                    arm[key] = CHOSEN
        return baseline, transfer


def adopted_in_words(
    source: str, *, layer: str, input_size: Sequence[int] | str
) -> tuple[str, str, str]:
    """Returns a network from elsewhere, where it is cut, and the size that it sees.

    What `auto` comes to in a file only the file tells.
    """
    published = source.startswith("keras:")
    cut = f"layer {layer}"
    if layer == "auto":
        cut = "whole" if published else "without a head"
    if isinstance(input_size, str):
        if not published:
            return source, cut, "the size that it takes"
        input_size = [PUBLISHED_SIDE] * 2
    return source, cut, f"{' x '.join(map(str, input_size))} pixels"


def acting(stage: str, params: Params) -> dict[str, Any]:
    """Returns the parameters that act on the model a training stage makes, flat, by dotted name.

    Two runs whose acting parameters, data and model agree are the same training.
    """
    training = {
        "train_a": params.source_training,
        "train_b": params.baseline_training,
        "transfer": params.transfer_training,
    }[stage]
    values: dict[str, Any] = {"seed": params.seed}
    values |= {f"network.{key}": value for key, value in params.network.model_dump().items()}
    values |= _training(training)
    if stage == "train_b":
        values["output_activation"] = output_activation(
            len(params.tasks.target_classes), params.train_b.output_activation
        )
    if stage == "transfer":
        if params.source_training.from_ is not None:
            # Named for people: the file itself is among the data, by its hash.
            adopted = _training(params.source_training)
            values |= {f"source.{key}": value for key, value in adopted.items()}
            # Our own networks have no batch normalisation.
            unlike_auto = params.transfer.inference != params.transfer.strategy.from_source
            if unlike_auto and not params.transfer.strategy.head_alone:
                values["batch_normalization"] = params.transfer.batch_normalization
        values["strategy"] = params.transfer.strategy.name
        if params.transfer.strategy.two_phases:
            values["frozen_fraction"] = params.transfer.frozen_fraction
            values["unfrozen_learning_rate"] = params.transfer.unfrozen_learning_rate
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def chosen_rates(
    acting: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Returns the learning rates that a training chose from lists, by parameter.

    `acting` are its parameters as `acting` returns them, `epochs` the rows of its history, which
    tell the rate that was chosen; none, where the history is older than that.
    """
    # Of two phases the first has the first epoch, and the second the last.
    tell = {"learning_rate": epochs[:1], "unfrozen_learning_rate": epochs[-1:]}
    return {
        key: row["learning_rate"]
        for key, rows in tell.items()
        for row in rows
        if isinstance(acting.get(key), list) and "learning_rate" in row
    }


def _training(training: TrainingSettings) -> dict[str, Any]:
    if not isinstance(training, SourceTrainingSettings):
        return training.model_dump()
    if training.from_ is None:
        return training.model_dump(include=set(TrainingSettings.model_fields))
    # Nothing is trained: what was made of the file is named by its hash.
    values = training.model_dump(include={"from_", "layer", "input_range"}, by_alias=True)
    fitted = training.model_dump(include={"input_size", "preprocessing"})
    return values | {key: value for key, value in fitted.items() if value != "auto"}
