"""The report as one HTML page that needs nothing else."""

import base64
import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.artefacts import replacing
from headstart.judging import verdict

if TYPE_CHECKING:
    pass
from headstart.reporting.tables import (
    arms_in,
    cost_rows,
    gain_sentence,
    score_rows,
    verdict_sentence,
)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG for the page, with a heading and what it shows in words."""

    title: str
    png: bytes
    alt: str

    @property
    def base64(self) -> str:
        """The PNG as text."""
        return base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """The width in pixels."""
        return int(struct.unpack(">I", self.png[16:20])[0])

    @property
    def height(self) -> int:
        """The height in pixels."""
        return int(struct.unpack(">I", self.png[20:24])[0])


def page(
    record: Mapping[str, Any],
    *,
    reason: str,
    question: str,
    test_images: Mapping[str, int],
    confidence: float,
    pictures: Sequence[Picture],
    parameters: Mapping[str, Any],
    hashes: Mapping[str, str],
    commands: Sequence[str],
    unfair: Sequence[str] = (),
) -> str:
    """Returns the report as one HTML page that needs no network, script or other file.

    Everything is escaped. The same arguments give the same page: hand in no clock time,
    commit or machine name.

    Args:
        record: what metrics/metrics.json holds.
        reason: the prose behind the verdict.
        question: what was asked, in a sentence.
        test_images: how many, by arm (baseline, transfer, source).
        confidence: of the intervals.
        pictures: as `draw` returns them.
        parameters: what params.yaml holds; nested keys are joined by dots.
        hashes: by file.
        commands: that make all this again, a line each.
        unfair: the differences between the arms, from `evaluation.fairness`.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("headstart.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    comparison = record["comparison"]
    warnings = list(unfair)
    if not comparison.get("fair", True) and not warnings:
        warnings = ["the record does not say in what the arms differ"]
    return environment.get_template("report.html").render(
        verdict=comparison["verdict"],
        sentence=verdict_sentence(comparison["verdict"]),
        question=question,
        reason=reason,
        gain=gain_sentence(comparison, confidence=confidence),
        warnings=warnings,
        arms=arms_in(record),
        scores=score_rows(record, test_images=test_images, confidence=confidence),
        cost=cost_rows(record),
        pictures=pictures,
        parameters=[
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in verdict.leaves(parameters)
        ],
        hashes=list(hashes.items()),
        commands="\n".join(commands),
    )


def write_page(path: Path, text: str) -> None:
    """Writes the page to `path`, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
