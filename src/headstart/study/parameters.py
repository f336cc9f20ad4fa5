"""`study/params.yaml` as typed, validated values. Holds no default: every value stands there.

What stands there as `project` is taken from `params.yaml`, so that a study follows the pipeline.
"""

import functools
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from headstart.core.errors import UserError
from headstart.params import fields, reading
from headstart.params.fields import (
    BatchSize,
    Fraction,
    LearningRate,
    Number,
    Optimizer,
    Section,
    Whole,
)
from headstart.params.networks import Network
from headstart.params.sections import Elsewhere, Params, TrainingSettings
from headstart.params.strategies import ARMS, BASELINE, named, of_arm
from headstart.study.budget import Budget

ALL = "all"
ALL_PAIRS = "all_pairs"
PROJECT = "project"
TRAINED = "trained"
"""Stands in `sources` for the networks that the study trains itself."""
SECTIONS = ("grid", "claims", "pretrained")
_A_CLASS = re.compile(r"([1-9][0-9]{0,8}) a class")

# Beyond these a slip of the keyboard is likelier than a wish.
_MOST_SEEDS = 10_000
_MOST_REPLICAS = 1024
_MOST_SPLITS = 100

Classes = tuple[int | str, ...]


def _arm(value: Any) -> str:
    if isinstance(value, str) and value in ARMS:
        return value
    try:
        strategy = named(value)
    except ValueError:
        strategy = None
    # Not last:0, which is another name of frozen.
    if strategy is None or strategy.name != value:
        raise ValueError(
            f"is not allowed; allowed are {', '.join(map(repr, ARMS))}, and of networks from "
            "elsewhere 'scratch_same' and 'last:N' with N from 1"
        )
    return strategy.name


Arm = Annotated[str, PlainValidator(_arm)]


def _target_tasks(value: Any) -> tuple[Classes, ...] | str:
    if value == ALL_PAIRS:
        return ALL_PAIRS
    if isinstance(value, str) or not isinstance(value, list | tuple) or not value:
        raise ValueError(
            "is not allowed; allowed are a list of classes, a list of such lists, all_pairs, or "
            "project"
        )
    single = not any(isinstance(entry, list | tuple) for entry in value)
    tasks = [tuple(value)] if single else [_as_tuple(entry) for entry in value]
    checked = tuple(fields.distinct_classes(task) for task in tasks)
    twice = [task for task in checked if checked.count(task) > 1]
    if twice:
        raise ValueError(f"names the task {list(twice[0])} more than once")
    return checked


def _shifted_tasks(value: Any) -> tuple[Classes, ...] | str:
    if value == ALL:
        return ALL
    if isinstance(value, str):
        raise ValueError("is not allowed; allowed are a list of tasks, or all")
    return _target_tasks(value)


def _source_classes(value: Any) -> str | tuple[int | str, ...]:
    if isinstance(value, str) and value not in ("others", "none"):
        raise ValueError(
            "is not allowed; allowed are others, a list of two or more classes, none, or project"
        )
    return fields.others_or_classes(value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _labels(value: Any) -> tuple[int | str, ...]:
    if not isinstance(value, tuple) or not value:
        raise ValueError("is not a list of label budgets: numbers of labels, N a class, or all")
    for entry in value:
        if entry == ALL or a_class(entry):
            continue
        if isinstance(entry, bool) or not isinstance(entry, int) or entry < 1:
            raise ValueError(
                f"holds {entry!r}, which is neither a number of labels nor all, nor such as "
                "5 a class"
            )
    twice = [entry for entry in value if value.count(entry) > 1]
    if twice:
        raise ValueError(f"names {twice[0]} more than once")
    return value


def a_class(entry: int | str) -> int:
    """Returns the labels a class that a budget such as `5 a class` names; 0 for any other."""
    named = _A_CLASS.fullmatch(entry) if isinstance(entry, str) else None
    return int(named[1]) if named else 0


def _network(value: Any) -> Any:
    """Returns the path or name of a network from elsewhere, which a stage of the study watches."""
    if value is None:
        raise ValueError(f"is no network; write {TRAINED} in place of the entry for those of ours")
    return fields.source_network(value, folders=("own", "pretrained"), otherwise="")


class Source(Elsewhere):
    """A network from elsewhere that arms start from; a key that is absent is as in a fresh file."""

    name: Annotated[str, AfterValidator(fields.one_line), Field(max_length=60)] | None = None
    from_: Annotated[str, PlainValidator(_network), Field(alias="from")]
    layer: Annotated[str, Field(min_length=1)] = "auto"
    input_size: Annotated[Literal["auto"] | tuple[int, int], PlainValidator(fields.image_size)] = (
        "auto"
    )
    input_range: tuple[Number, Number] = (0.0, 1.0)
    preprocessing: Annotated[str | tuple[float, float], PlainValidator(fields.preprocessing)] = (
        "auto"
    )
    sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None

    @property
    def label(self) -> str:
        """What tables call it: its own name, that of its file, or keras:NAME."""
        return self.name or (self.from_ if self.published else PurePosixPath(self.from_).stem)


def _source(value: Any) -> str | Source:
    if value == TRAINED:
        return TRAINED
    if not isinstance(value, dict):
        network = value if isinstance(value, str) and value else "keras:MobileNetV2"
        raise ValueError(
            f"is no entry of sources; write {{from: {network}}} for a network from elsewhere, or "
            f"{TRAINED} for those that the study trains"
        )
    # Its errors keep their places, which those of a union's branches would not.
    return Source.model_validate(value)


class Replicas(Section):
    """How networks are trained: how many together, on how much, with which instructions."""

    group_size: Annotated[Whole, Field(ge=1, le=_MOST_REPLICAS)]
    threads: Annotated[Whole, Field(ge=1, le=_MOST_REPLICAS)]
    instructions: Literal["avx2", "native"]


class Statistics(Section):
    """How intervals, tests and verdicts are made."""

    alpha: Fraction
    confidence: Fraction
    # Accuracies that differ by less are equivalent.
    margin: Fraction
    bootstrap_samples: Annotated[Whole, Field(ge=100, le=1_000_000)]
    target_accuracies: Annotated[
        tuple[Annotated[Number, Field(gt=0, lt=1)], ...], Field(min_length=1)
    ]


class Grid(Section):
    """One grid of trainings: everything that `headstart.study` trains and compares."""

    target_tasks: Annotated[
        tuple[tuple[int | str, ...], ...] | Literal["all_pairs"], PlainValidator(_target_tasks)
    ]
    source_classes: Annotated[
        Literal["others", "none"] | tuple[int | str, ...], PlainValidator(_source_classes)
    ]
    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    # TRAINED, and networks from elsewhere: each has the arms beside the baseline.
    sources: Annotated[
        tuple[Annotated[Literal["trained"] | Source, PlainValidator(_source)], ...],
        Field(min_length=1),
    ]
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    labels: Annotated[tuple[int | str, ...], PlainValidator(_labels)]
    seeds: Annotated[Whole, Field(ge=1, le=_MOST_SEEDS)]
    # Train and test drawn anew, each crossed with all seeds: see headstart.study.splits.
    splits: Annotated[Whole, Field(ge=1, le=_MOST_SPLITS)]
    training: Annotated[tuple[Budget, ...], Field(min_length=1)]
    shifts: Annotated[tuple[Annotated[Whole, Field(ge=0, le=64)], ...], Field(min_length=1)]
    # The others stay where they are.
    shifted_tasks: Annotated[tuple[Classes, ...] | Literal["all"], PlainValidator(_shifted_tasks)]
    batch_size: BatchSize
    optimizer: Optimizer
    # More than one are searched, for each row by the same rule: see headstart.study.rates.
    learning_rates: Annotated[tuple[LearningRate, ...], Field(min_length=1)]
    validation_share: Fraction
    # Always the first ones, so that more seeds never search again.
    search_seeds: Annotated[Whole, Field(ge=1, le=_MOST_SEEDS)]
    frozen_fraction: Fraction
    source_training: TrainingSettings

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for key in ("networks", "arms", "training", "shifts", "learning_rates"):
            values = getattr(self, key)
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise fields.Refused(key, str(twice[0]), "each entry once")
        if BASELINE not in self.arms:
            raise fields.Refused(
                "arms", self.arms, "baseline among them, since gains are differences to it"
            )
        labels = [source.label for source in self.elsewhere]
        twice = [label for label in labels if labels.count(label) > 1]
        if self.sources.count(TRAINED) > 1 or twice:
            raise fields.Refused(
                "sources", (twice or [TRAINED])[0], "each entry once, with a name of its own"
            )
        elsewhere_alone = [arm for arm in self.arms if arm not in ARMS]
        if elsewhere_alone and not self.elsewhere:
            raise fields.Refused(
                "arms",
                elsewhere_alone[0],
                f"one of {', '.join(ARMS)}, or a network from elsewhere among sources: of those "
                "that are trained here there is no such arm",
            )
        started = [arm for arm in self.arms if of_arm(arm).from_source]
        if started and TRAINED in self.sources and self.source_classes == "none":
            raise fields.Refused(
                "source_classes",
                "none",
                f"others or a list of classes: {started[0]} starts from a network trained on them",
            )
        divided = [arm for arm in self.arms if of_arm(arm).two_phases]
        if divided and any(budget.amount < 2 for budget in self.training):
            raise fields.Refused(
                "training", "1", f"at least 2 epochs or steps, since {divided[0]} divides them"
            )
        return self

    @property
    def elsewhere(self) -> tuple[Source, ...]:
        """The networks from elsewhere among the sources."""
        return tuple(source for source in self.sources if isinstance(source, Source))

    @property
    def searched(self) -> bool:
        """Whether learning rates are searched; one alone is taken as it is."""
        return len(self.learning_rates) > 1

    @property
    def reference_rate(self) -> float:
        """The rate taken where none is searched: nearest to the source's own, lower of equals."""
        own = self.source_training.learning_rate
        # Logarithms that should be equal differ in their last digits.
        away = {rate: round(abs(math.log(rate / own)), 9) for rate in self.learning_rates}
        return min(away, key=lambda rate: (away[rate], rate))


class Study(Section):
    """All of `study/params.yaml`. A project of `headstart init` has the section `grid` alone."""

    engine: Literal["local", "ray"]
    replicas: Replicas
    statistics: Statistics
    grid: Grid
    claims: Grid | None = None
    pretrained: Grid | None = None

    @model_validator(mode="after")
    def _claims_have_one_split(self) -> Self:
        if self.claims and self.claims.splits > 1:
            raise fields.Refused(
                "claims.splits", self.claims.splits, "1, since claims are judged over seeds"
            )
        return self

    @model_validator(mode="after")
    def _pretrained_alone_takes_what_its_stage_brings(self) -> Self:
        for name, grid in (("grid", self.grid), ("claims", self.claims)):
            for source in grid.elsewhere if grid else ():
                if source.from_.startswith("models/pretrained/"):
                    allowed = "one below models/own/, where DVC sees that it changed; copy it there"
                    raise fields.Refused(f"{name}.sources", source.from_, allowed)
        return self

    def section(self, name: str) -> Grid:
        """Returns the grid of a section.

        Raises:
            UserError: There is no such section.
        """
        grid: Grid | None = getattr(self, name)
        if grid is None:
            raise UserError(
                f"study/params.yaml: {name}: is missing; --section grid is the study that is there"
            )
        return grid


def load(path: Path) -> Study:
    """Returns the validated parameters in the file `path`, and in `params.yaml` above its folder.

    Raises:
        UserError: A file is missing, is not YAML, or holds a key or value that is not allowed.
    """
    project = functools.partial(reading.load, path.parents[1] / "params.yaml")
    return parse(reading.read(path), str(path), project=project)


def parse(text: str, name: str, *, project: Callable[[], Params] | None = None) -> Study:
    """Returns the validated parameters in the YAML `text`; `name` stands for it in messages.

    `project` gives those of `params.yaml`, and is asked where `project` stands in the text.
    """

    def complete(values: dict[str, Any]) -> dict[str, Any]:
        asking = {key for key in SECTIONS if _asks(values.get(key))}
        if not (asking and project):
            return values
        settings = project()
        sections = {
            name: getattr(settings, name).model_dump(by_alias=True)
            for name in ("tasks", "network", "source_training")
        }
        return values | {key: of_project(values[key], sections) for key in asking}

    explain = functools.partial(_explained, name=name)
    return reading.validated(text, name, Study, explain, complete=complete)


def of_project(grid: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a grid, those that are `project` taken from `params.yaml`'s sections.

    `sections` has `tasks`, `network` and `source_training`.
    """
    # Asked for one by one: what a study of old was answered with has those alone that it took.
    taken = {
        "target_tasks": lambda: sections["tasks"]["target_classes"],
        "source_classes": lambda: sections["tasks"]["source_classes"],
        "networks": lambda: [sections["network"]],
        "sources": lambda: [PROJECT],
        "source_training": lambda: {
            key: sections["source_training"][key] for key in TrainingSettings.model_fields
        },
    }
    complete = {
        key: taken[key]() if value == PROJECT and key in taken else value
        for key, value in grid.items()
    }
    if isinstance(beside := complete.get("sources"), list) and PROJECT in beside:
        training = sections["source_training"]
        source = {key: value for key, value in training.items() if key in _ELSEWHERE}
        own = TRAINED if training["from"] is None else source
        complete["sources"] = [own if entry == PROJECT else entry for entry in beside]
    return complete


_ELSEWHERE = frozenset({"from", *(Elsewhere.model_fields.keys() - {"from_"})})


def _asks(grid: Any) -> bool:
    """Tells whether anything of a grid is to be taken from `params.yaml`."""
    if not isinstance(grid, dict):
        return False
    sources = grid.get("sources")
    return PROJECT in grid.values() or (isinstance(sources, list) and PROJECT in sources)


def _explained(error: dict[str, Any], name: str) -> str:
    """Returns one line for one pydantic error: the key, the value, what is allowed."""
    steps = [str(step) for step in error["loc"]]
    if error["type"] == "extra_forbidden":
        return reading.unknown_key(error, ".".join(steps), Study)
    if error["type"] == "missing":
        return f"{'.'.join(steps)}: is missing; every value stands in {name}"
    context = error.get("ctx", {})
    if isinstance(context.get("error"), fields.Refused):
        return ".".join([*steps, str(context["error"])])
    return reading.explained(error)
