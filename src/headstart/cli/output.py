"""How the commands print."""

from collections.abc import Iterable

import typer


def tell(lines: Iterable[str]) -> None:
    """Prints indented lines."""
    for line in lines:
        typer.echo(f"  {line}")
