"""The record on the terminal: a short table, warnings, the verdict."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    pass
from headstart.reporting.tables import (
    arms_in,
    cost_rows,
    gain_sentence,
    score_rows,
    verdict_sentence,
)


def summary(
    record: Mapping[str, Any],
    *,
    reason: str,
    test_images: Mapping[str, int],
    confidence: float,
    unfair: Sequence[str] = (),
    file: TextIO | None = None,
) -> None:
    """Prints the record as a short table, warnings, and the verdict in a sentence.

    Fits 80 columns, and any terminal, pipe or encoding: what cannot be encoded is escaped.

    Args:
        record: what metrics/metrics.json holds.
        reason: the prose behind the verdict.
        test_images: how many, by arm (baseline, transfer, source).
        confidence: of the intervals.
        unfair: the differences between the arms, from `evaluation.fairness`.
        file: where to print, standard output if None.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = file if file is not None else sys.stdout
    console = Console(file=out, highlight=False, soft_wrap=False)

    def say(text: str, style: str = "") -> None:
        console.print(Text(encodable(text), style=style))

    def encodable(text: str) -> str:
        encoding = getattr(out, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    arms = arms_in(record)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("on the test images")
    for arm in arms:
        table.add_column(arm, justify="right")
    scores = score_rows(record, test_images=test_images, confidence=confidence)
    for label, cells in [*scores, *cost_rows(record)]:
        table.add_row(encodable(label), *(encodable(cells.get(arm, "")) for arm in arms))
    console.print(table)
    say(gain_sentence(record["comparison"], confidence=confidence))
    for difference in unfair:
        say(f"warning: not a fair comparison: {difference}", "bold yellow")
    if not record["comparison"].get("fair", True) and not unfair:
        say("warning: not a fair comparison", "bold yellow")
    console.print()
    say(verdict_sentence(record["comparison"]["verdict"]), "bold")
    say(reason)
