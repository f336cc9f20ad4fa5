"""The record on the terminal: a short table, warnings, the verdict."""

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from headstart.judging.metrics import Outcome
from headstart.reporting import words


def summary(outcome: Outcome, *, file: TextIO | None = None) -> None:
    """Prints the record as a short table, warnings, and the verdict in a sentence.

    Fits 80 columns, and any terminal, pipe or encoding: what cannot be encoded is escaped.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = file if file is not None else sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    console = Console(file=out, highlight=False, soft_wrap=False)

    def say(text: str, style: str = "") -> None:
        encodable = text.encode(encoding, "backslashreplace").decode(encoding)
        console.print(Text(encodable, style=style))

    record = outcome.record
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("on the test images")
    for model in record.scores:
        table.add_column(model, justify="right")
    for label, cells in [*words.score_rows(outcome), *words.cost_rows(record)]:
        table.add_row(label, *(cells.get(model, "") for model in record.scores))
    console.print(table)
    if outcome.compared.network or outcome.compared.control:
        # Else the head of the page is enough: one architecture, two beginnings.
        say(f"baseline: {outcome.compared.baseline}")
        say(f"transfer: {outcome.compared.transfer}")
    say(words.gain_sentence(record.comparison, outcome.compared, confidence=outcome.confidence))
    unfair = [f"not a fair comparison: {line}" for line in words.differences(outcome)]
    for warning in [*unfair, *outcome.warnings]:
        say(f"warning: {warning}", "bold yellow")
    console.print()
    say(words.verdict_sentence(record.comparison, outcome.compared), "bold")
    say(outcome.reason)


def tell(lines: Iterable[str]) -> None:
    """Prints lines below what was said."""
    for line in lines:
        print(f"  {line}")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns rows of cells as lines in columns, the first to the left, the others to the right.

    Whatever the width of the terminal: a wide table is no use in pieces.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
