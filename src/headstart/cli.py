"""The command `headstart`."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.errors import reported

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


@app.callback()
def _headstart() -> None:
    """Does transfer help, by how much, at what cost?"""


@app.command()
def publish(
    rev: Annotated[str | None, typer.Option(help="A commit, branch or tag, read from git.")] = None,
) -> None:
    """Write to MLflow what the workspace, or a commit, has and the store does not."""
    with reported():
        from headstart import tracking

        root = tracking.project_root(Path.cwd())
        summary = tracking.publish(root, rev=rev)
        for name in summary.killed:
            typer.echo(f"marked as killed  {name}")
        for name in summary.written:
            typer.echo(f"written           {name}")
        for name in summary.present:
            typer.echo(f"there already     {name}")
        typer.echo(f"MLflow: {tracking.masked(tracking.address(root))}")


if __name__ == "__main__":
    app()
