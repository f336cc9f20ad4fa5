"""A page of the study as one HTML file that needs nothing else, like the report."""

from pathlib import Path
from typing import Any

from headstart.reporting import render
from headstart.reporting.style import data_uri


def write(path: Path, page: Path) -> None:
    """Writes the Markdown file `page` as HTML to `path`, its pictures inside.

    Raw HTML in the Markdown is escaped: class names are the user's.
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(page.read_text(encoding="utf-8"))
    for token in (child for block in tokens for child in block.children or []):
        if token.type == "image":
            png = (page.parent / str(token.attrs["src"])).read_bytes()
            token.attrs["src"] = data_uri(png)
    headings = (tokens[at + 1].content for at, token in enumerate(tokens) if token.tag == "h1")
    options: Any = reader.options
    # The renderer has escaped what it was given.
    body = Markup(reader.renderer.render(tokens, options, {}))  # noqa: S704
    title = next(headings, "study")
    render.write(path, render.text("study.html", title=title, body=body))
