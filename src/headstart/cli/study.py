"""The commands `headstart study ...`."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.core.errors import UserError, reported

app = typer.Typer(no_args_is_help=True, help="The study: many seeds, many label budgets.")

Section = Annotated[str, typer.Option(help="grid or claims, a section of study/params.yaml.")]


@app.command()
def export(
    cell: Annotated[
        str, typer.Argument(help="Such as sandal_shirt/mlp/steps=2000/labels=10/frozen/seed=0.")
    ],
    to: Annotated[Path, typer.Option(help="The file to write.")] = Path("cell.npz"),
    section: Section = "grid",
) -> None:
    """Write a cell's initial weights, subset and order, for anyone to check with other code."""
    with reported():
        from headstart.study import export, stage

        trains, _ = stage.runner(_known(section))
        export.export(trains, cell, to)
        typer.echo(f"{to}: {cell}")


@app.command()
def page(section: Section = "grid") -> None:
    """Draw study.md from a section's tables: the answer, verdicts, labels saved, pictures.

    The same page as HTML, in one file, goes to reports/study-SECTION.html.
    """
    with reported():
        from headstart.reporting.page import from_markdown
        from headstart.study import outputs, parameters, stage

        settings = parameters.load(stage.PARAMETERS).statistics
        page = outputs.write_page(stage.METRICS / _known(section), settings)
        html = Path(f"reports/study-{section}.html")
        from_markdown(html, page)
        typer.echo(f"{page}\n{html}")


@app.command()
def claims() -> None:
    """Write docs/claims.md, the notebook's claims answered, from the tables of `claims`."""
    with reported():
        from headstart.study import claims, parameters, stage

        study = parameters.load(stage.PARAMETERS)
        path = Path("docs/claims.md")
        claims.write(path, stage.METRICS / "claims", study.claims, study.statistics)
        typer.echo(f"{path}")


@app.command("publish")
def publish_study(section: Section = "grid") -> None:
    """Write the study's run to MLflow: parameters, curves, tables, pictures."""
    with reported():
        from headstart import tracking

        root = tracking.project_root(Path.cwd())
        name = _known(section)
        from headstart.tracking import studies

        run_id, new = studies.publish(root, name)
        typer.echo(f"study {name}: {'written' if new else 'there already'}, run {run_id}")
        typer.echo(f"MLflow: {tracking.masked(tracking.address(root))}")


def _known(section: str) -> str:
    """Returns `section`, or refuses it.

    Raises:
        UserError: study/params.yaml has no such section.
    """
    if section not in ("grid", "claims"):
        raise UserError(f"--section {section}: there is no such section; allowed are grid, claims")
    return section
