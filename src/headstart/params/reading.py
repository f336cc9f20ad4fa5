"""Files of parameters, read strictly and refused in words."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from headstart.core.errors import UserError, WrongValue
from headstart.params import yaml_text
from headstart.params.fields import shown
from headstart.params.networks import KINDS
from headstart.params.sections import Params

Model = TypeVar("Model", bound=BaseModel)


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
    text: str,
    name: str,
    model: type[Model],
    explain: Callable[[dict[str, Any]], str],
    *,
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Model:
    """Returns the YAML `text` as a `model`; `name` stands for the file in messages.

    `explain` gives a line for each of pydantic's errors, `complete` takes the values as they stand
    in the file and gives those that are checked.

    Raises:
        UserError: It is not YAML, or holds a key or value that is not allowed.
    """
    values = yaml_text.parameters(text, name)
    if not isinstance(values, dict):
        raise UserError(f"{name}: holds no keys; expected sections such as {_allowed(model)}")
    try:
        return model.model_validate(complete(values))
    except ValidationError as error:
        errors: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
        # A list of which an entry is refused counts to pydantic as one without it.
        around = {item["loc"][:end] for item in errors for end in range(len(item["loc"]))}
        lines = [
            explain(item)
            for item in errors
            if item["type"] != "too_short" or item["loc"] not in around
        ]
        head = f"{name}: " if len(lines) == 1 else f"{name}: {len(lines)} values are refused:\n  "
        raise UserError(head + "\n  ".join(lines)) from error


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
        return unknown_key(error, key, Params)
    if kind == "value_error" and isinstance(context.get("error"), WrongValue):
        return str(context["error"])
    said = {
        "greater_than": "must be greater than {gt:g}",
        "greater_than_equal": "must be {ge:g} or more",
        "less_than": "must be less than {lt:g}",
        "less_than_equal": "must be {le:g} or less",
        "literal_error": "is not allowed; allowed are {expected}",
        "union_tag_invalid": "has the name {tag}; allowed are {expected_tags}",
        "union_tag_not_found": f"has no name; allowed are {', '.join(map(repr, KINDS))}",
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


def unknown_key(error: dict[str, Any], key: str, model: type[BaseModel]) -> str:
    """Returns one line for a key, called `key`, that the section it stands in does not know."""
    section = model
    for step in error["loc"][:-1]:
        # A kind of network stands there by its name, and a place in a list is nobody's key.
        if step in KINDS:
            section = KINDS[step]
        elif step in section.model_fields:
            section = next(_sections(section.model_fields[step].annotation))
    value = shown(error["input"])
    return f"{key}: is not a known key (value {value}); allowed are {_allowed(section)}"


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _allowed(section: type[BaseModel]) -> str:
    return ", ".join(field.alias or name for name, field in section.model_fields.items())
