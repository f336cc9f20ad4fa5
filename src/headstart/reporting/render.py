"""The one template environment: every page, HTML and Markdown, comes from `templates/`."""

import functools
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


@functools.cache
def _environment() -> "Environment":
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("headstart.reporting"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
