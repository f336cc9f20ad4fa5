"""The report as one HTML page that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.nested import flat
from headstart.judging.metrics import Outcome
from headstart.reporting import render, words
from headstart.reporting.style import Picture


def page(
    outcome: Outcome,
    *,
    taught: str,
    classes: Sequence[str],
    pictures: Sequence[Picture],
    parameters: Mapping[str, Any],
    hashes: Mapping[str, str],
    commands: Sequence[str],
) -> str:
    """Returns the report as one HTML page that needs no network, script or other file.

    Everything is escaped. The same arguments give the same page: hand in no clock time,
    commit or machine name.

    Args:
        outcome: The record and what is told beside it.
        taught: What the source network was trained on.
        classes: Names of the target classes.
        pictures: As `figures.draw` returns them.
        parameters: What params.yaml holds; nested keys are joined by dots.
        hashes: By file.
        commands: That make all this again, a line each.
    """
    comparison = outcome.record.comparison
    return render.text(
        "report.html",
        verdict=comparison.verdict,
        sentence=words.verdict_sentence(comparison.verdict),
        question=f"Does a network trained on {taught} have a head start on telling "
        f"{' from '.join(classes)}?",
        reason=outcome.reason,
        gain=words.gain_sentence(comparison, confidence=outcome.confidence),
        warnings=words.differences(outcome),
        models=list(outcome.record.scores),
        scores=words.score_rows(outcome),
        cost=words.cost_rows(outcome.record),
        pictures=pictures,
        parameters=[
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in flat(parameters).items()
        ],
        hashes=list(hashes.items()),
        commands="\n".join(commands),
    )
