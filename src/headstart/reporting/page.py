"""The report, and the study's page, as one HTML file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core.artefacts import flat
from headstart.judging.metrics import Outcome
from headstart.reporting import render, words
from headstart.reporting.style import Picture, data_uri


def page(
    outcome: Outcome,
    *,
    taught: Sequence[str],
    classes: Sequence[str],
    pictures: Sequence[Picture],
    parameters: Mapping[str, Any],
    hashes: Mapping[str, str],
    commands: Sequence[str],
) -> str:
    """Returns the report as one HTML page that needs no network, script or other file.

    Everything is escaped. The same arguments give the same page: hand in no clock time, commit
    or machine name. `taught` are the classes of the source task; nested keys of
    `parameters` are joined by dots; `hashes` are by file; `commands` make all this again.
    """
    comparison, compared = outcome.record.comparison, outcome.compared
    return render.text(
        "report.html",
        verdict=comparison.verdict,
        sentence=words.verdict_sentence(comparison, compared),
        question=words.question(compared, taught=taught, classes=classes),
        arms=[("baseline", compared.baseline), ("transfer", compared.transfer)],
        reason=outcome.reason,
        gain=words.gain_sentence(comparison, compared, confidence=outcome.confidence),
        unfair=words.differences(outcome),
        warnings=outcome.warnings,
        models=list(outcome.record.scores),
        scores=words.score_rows(outcome),
        cost=[*words.cost_rows(outcome.record), *words.image_rows(outcome)],
        pictures=pictures,
        parameters=[
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in flat(parameters).items()
        ],
        hashes=list(hashes.items()),
        commands="\n".join(commands),
    )


def from_markdown(path: Path, source: Path) -> None:
    """Writes the Markdown file `source` as HTML to `path`, its pictures inside.

    Raw HTML in the Markdown is escaped: class names are the user's.
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(source.read_text(encoding="utf-8"))
    for token in (child for block in tokens for child in block.children or []):
        if token.type == "image":
            png = (source.parent / str(token.attrs["src"])).read_bytes()
            token.attrs["src"] = data_uri(png)
    headings = (tokens[at + 1].content for at, token in enumerate(tokens) if token.tag == "h1")
    options: Any = reader.options
    # The renderer has escaped what it was given.
    body = Markup(reader.renderer.render(tokens, options, {}))  # noqa: S704
    title = next(headings, "study")
    render.write(path, render.text("study.html", title=title, body=body))
