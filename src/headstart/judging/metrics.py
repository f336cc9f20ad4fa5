"""What `metrics/metrics.json` holds, as frozen values: docs/metrics.md says what each one means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from headstart.core import artefacts, digits
from headstart.core.errors import UserError
from headstart.judging.compared import Compared
from headstart.params import sections
from headstart.params.sections import Params

# What is no ratio of two counts.
Rounded = Annotated[float, AfterValidator(digits.rounded)]


class _Part(BaseModel):
    """Keys in the order of the file; what another version adds to it is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Comparison(_Part):
    """Both arms on the same test images; transfer minus baseline. None: undefined, or unknown."""

    accuracy_gain: float
    accuracy_gain_low: Rounded
    accuracy_gain_high: Rounded
    mcnemar_p: Rounded
    mcnemar_mid_p: Rounded | None = None
    log_loss_gain: Rounded | None = None
    log_loss_gain_low: Rounded | None = None
    log_loss_gain_high: Rounded | None = None
    verdict: str
    fair: bool


class Scores(_Part):
    """How well one model does on its test set; what is undefined or unknown is None.

    `majority_rate` is what always answering the commonest class would give. `loss` is the
    model's own compiled loss, `log_loss` comes from the answered probabilities (nats).
    """

    accuracy: float | None = None
    balanced_accuracy: Rounded | None = None
    majority_rate: float | None = None
    loss: Rounded | None = None
    log_loss: Rounded | None = None
    auc: Rounded | None = None
    brier: Rounded | None = None
    calibration_error: Rounded | None = None


class Cost(_Part):
    """What one training costs, in whole numbers; None where unknown."""

    trainable_parameters: int | None = None
    total_parameters: int | None = None
    updates: int | None = None
    flops: int | None = None
    flops_as_notebook: int | None = None


class TransferCost(Cost):
    """The same with and without the source's share."""

    flops_with_source: int | None = None
    flops_as_notebook_with_source: int | None = None


class Costs(_Part):
    """The cost by model."""

    baseline: Cost
    transfer: TransferCost
    source: Cost


class Record(_Part):
    """All of `metrics/metrics.json`."""

    comparison: Comparison
    baseline: Scores
    transfer: Scores
    source: Scores = Scores()
    cost: Costs
    # By arm and parameter, where there was a list to choose from.
    chosen: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Scores]:
        """The scores by model."""
        return {"baseline": self.baseline, "transfer": self.transfer, "source": self.source}

    @property
    def costs(self) -> dict[str, Cost]:
        """The cost by model."""
        return dict(self.cost)


@dataclass(frozen=True)
class PerImage:
    """Floating-point operations of one image: forward, and in a training step; None: unknown.

    What leaves frozen layers is computed once an image, and no part of a step.
    """

    forward: int | None
    step: int | None


@dataclass(frozen=True)
class Outcome:
    """A run's record, and what is told beside it.

    `compared` is what the arms are, `reason` the prose behind the verdict, `unfair` the differences
    between the arms, a line each, `warnings` what else a reader has to know, `test_images` how many
    by model, without those whose number is unknown, and `per_image` operations by model, where the
    models are there.
    """

    record: Record
    compared: Compared
    reason: str
    unfair: Sequence[str]
    test_images: Mapping[str, int]
    confidence: float
    warnings: Sequence[str] = ()
    per_image: Mapping[str, PerImage] = field(default_factory=dict)


def chosen(settings: Params, history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns the learning rates that were chosen from lists, by arm and parameter.

    `history` are the rows of metrics/history.csv.
    """
    rates = {
        arm: sections.chosen_rates(
            sections.acting(stage, settings), [row for row in history if row["arm"] == arm]
        )
        for arm, stage in (("baseline", "train_b"), ("transfer", "transfer"))
    }
    return {arm: found for arm, found in rates.items() if found}


def write(path: Path, record: Record) -> None:
    """Writes the record to `path`."""
    artefacts.write_json(path, record.model_dump(exclude=None if record.chosen else {"chosen"}))


def read(path: Path) -> Record:
    """Returns the record in `path`.

    Raises:
        UserError: There is none, or it holds something else, with the first key that is wrong.
    """
    try:
        return Record.model_validate(artefacts.read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path}: {key}: {first['msg']}; `dvc repro` makes it again") from error
