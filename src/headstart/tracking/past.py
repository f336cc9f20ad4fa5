"""Parameters of any commit, read as they were: no commit is held to a schema that came after it."""

import copy
import typing
import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from headstart.core.errors import UserError
from headstart.params import sections
from headstart.params.strategies import Strategy, named

MEANT = {
    "dataset.path": None,
    "dataset.classes": "auto",
    "dataset.image_size": "auto",
    "dataset.split": "published",
    "dataset.split_seed": 0,
    "dataset.max_duplicates": 0,
    "evaluate.margin": 0.0,
    "source_training.from": None,
    "source_training.layer": "auto",
    "source_training.input_range": [0.0, 1.0],
    "source_training.input_size": "auto",
    "source_training.preprocessing": "auto",
    "source_training.sha256": None,
    "transfer.batch_normalization": "auto",
}
"""What was done before `params.yaml` had a key, by key. Whoever adds a parameter adds its line."""


def acting(stage: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters that act on a training, as `sections.acting` does for today's.

    Args:
        stage: train_a, train_b or transfer.
        values: All of a `params.yaml`, of whatever day. Keys that are unknown today are passed
            over, missing ones are taken from `MEANT`.

    Raises:
        UserError: A key is missing that `MEANT` does not know either.
    """
    values = completed(values)
    try:
        return sections.acting(
            stage, sections.Params.model_validate(values, extra="ignore", by_alias=True)
        )
    except ValidationError:
        # Allowed then, refused today.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
            return sections.acting(stage, _unchecked(sections.Params, values))


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters with what the keys that they lack meant before they came."""
    filled = copy.deepcopy(dict(values))
    for key, value in MEANT.items():
        *parents, name = key.split(".")
        place: Any = filled
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.setdefault(name, value)
    return filled


def _unchecked(section: type[BaseModel], values: Any) -> Any:
    """Returns `values` as a section whose values nobody has checked."""
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        key = field.alias or name
        if isinstance(values, Mapping) and key in values:
            kinds = [
                kind
                for kind in typing.get_args(field.annotation) or (field.annotation,)
                if isinstance(kind, type) and issubclass(kind, BaseModel)
            ]
            value = values[key]
            if kinds:
                # Of several sections the one whose keys are there.
                shared = [len(kind.model_fields.keys() & set(value or ())) for kind in kinds]
                value = _unchecked(kinds[shared.index(max(shared))], value)
            elif field.annotation is Strategy:
                # One that was given up is a row of no table.
                try:
                    value = named(value)
                except ValueError:
                    value = Strategy(str(value), "", from_source=True, trains=(None,))
            fields[name] = tuple(value) if isinstance(value, list) else value
        elif field.is_required():
            raise UserError(f"{key}: is missing, and its meaning before it came is not known")
    return section.model_construct(None, **fields)
