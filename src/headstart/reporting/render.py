"""The one template environment: every page, HTML and Markdown, comes from `templates/`."""

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import artefacts

if TYPE_CHECKING:
    from jinja2 import Environment


def text(template: str, **values: Any) -> str:
    """Returns a template of `templates/` with the values put in, escaped where it is HTML.

    Raises:
        jinja2.UndefinedError: The template names a value that is not given.
    """
    return _environment().get_template(template).render(**values)


def write(path: Path, page: str) -> None:
    """Writes a page to `path`, whole or not at all."""
    with artefacts.replacing(path) as part:
        part.write_text(page, encoding="utf-8")


def markdown(text: str) -> str:
    """Returns text that shows as it is in Markdown, in a table too: class names are the user's."""
    # An underscore within a word is one to Markdown too.
    escaped = re.sub(r"[\\`*\[\]<>|~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
    return " ".join(escaped.split())


def listed(text: str) -> str:
    """Returns an answer as an item of a Markdown list, its further lines as items below it.

    What such a line concludes, up to its first colon, stands out.
    """
    first, *others = (markdown(line) for line in text.split("\n"))
    parts = (line.partition(": ") for line in others)
    return "".join((f"- {first}", *(f"\n  - **{head}**{sep}{rest}" for head, sep, rest in parts)))


@functools.cache
def _environment() -> "Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("headstart.reporting"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = markdown
    environment.filters["listed"] = listed
    return environment
