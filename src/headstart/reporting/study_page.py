"""A page of the study as one HTML file that needs nothing else, like the report."""

import base64
from pathlib import Path
from typing import Any

from headstart.core import artefacts


def write(path: Path, page: Path) -> None:
    """Writes the Markdown file `page` as HTML to `path`, its pictures inside.

    Raw HTML in the Markdown is escaped: class names are the user's.
    """
    import jinja2
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(page.read_text(encoding="utf-8"))
    for token in (child for block in tokens for child in block.children or []):
        if token.type == "image":
            picture = page.parent / str(token.attrs["src"])
            data = base64.b64encode(picture.read_bytes()).decode()
            token.attrs["src"] = f"data:image/png;base64,{data}"
    headings = (tokens[at + 1].content for at, one in enumerate(tokens) if one.tag == "h1")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("headstart.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    options: Any = reader.options
    # The renderer has escaped what it was given.
    body = Markup(reader.renderer.render(tokens, options, {}))  # noqa: S704
    text = environment.get_template("study.html").render(title=next(headings, "study"), body=body)
    with artefacts.replacing(path) as part:
        part.write_text(text, encoding="utf-8")
