"""The command `headstart`: does transfer help, by how much, at what cost?"""

import importlib.metadata
from typing import Annotated

import typer

from headstart.cli import project, results, study

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _group in (project, results):
    app.add_typer(_group.app)
app.add_typer(study.app, name="study")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headstart {importlib.metadata.version('headstart')}")
        raise typer.Exit


@app.callback()
def _headstart(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and end.")
    ] = False,
) -> None:
    """Does transfer help, by how much, at what cost?"""
