"""The command `headstart`."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.errors import UserError, reported

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


@app.callback()
def _headstart() -> None:
    """Does transfer help, by how much, at what cost?"""


@app.command()
def publish(
    rev: Annotated[
        str | None, typer.Option(help="Publish this commit, branch or tag instead, read from git.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Publish every branch and tag, read from git.")
    ] = False,
    if_changed: Annotated[
        bool, typer.Option(help="Do nothing where nothing changed since the last time.")
    ] = False,
) -> None:
    """Write to MLflow what the workspace has and the store has not."""
    with reported():
        from headstart import tracking

        root = tracking.project_root(Path.cwd())
        where = tracking.masked(tracking.address(root))
        if every and rev is not None:
            raise UserError("--all and --rev exclude each other; give one of them")
        if every:
            for name, done in tracking.publish_all(root).items():
                typer.echo(f"{name}: nothing to publish" if isinstance(done, str) else f"{name}:")
                _tell([f"({done})"] if isinstance(done, str) else done.lines)
        elif if_changed and rev is None and tracking.published(root):
            typer.echo("nothing changed since the last publication")
        else:
            _tell(tracking.publish(root, rev=rev).lines)
        typer.echo(f"MLflow: {where}")


def _tell(lines: list[str]) -> None:
    for line in lines:
        typer.echo(f"  {line}")


if __name__ == "__main__":
    app()
