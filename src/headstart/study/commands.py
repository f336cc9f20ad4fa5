"""The commands `headstart study ...`."""

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from headstart import tracking
from headstart.core import artefacts
from headstart.core.masking import masked
from headstart.params.strategies import BASELINE
from headstart.project import dvc, lock
from headstart.reporting import study_tables, terminal
from headstart.reporting.page import from_markdown
from headstart.reporting.study_tables import CellRow, SummaryRow
from headstart.study import interim, outputs, parameters, stage

commands = typer.Typer(
    no_args_is_help=True,
    help="How many labels does transfer save? Many seeds and label budgets tell.",
)

Section = Annotated[
    Literal["grid", "claims", "pretrained"], typer.Option(help="Of study/params.yaml.")
]


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context, section: Section = "grid") -> None:
    """Train what is missing of the study: its answer, its page, its run in MLflow.

    `headstart check --study` says beforehand how long it takes. Killed, it goes on where it was
    when it is run again. What the study needs of the pipeline, the images, is made before it. Other
    words go on to `dvc repro`.
    """
    from headstart.project import check

    root = tracking.project_root(Path.cwd())
    check.surroundings(root).heed()
    lock.write(root)
    # Refused here in one line, where DVC would add its own.
    parameters.load(root / stage.PARAMETERS).section(section)
    target = f"study/dvc.yaml:{section}"
    with tempfile.NamedTemporaryFile(prefix="headstart-") as shown:
        # The stage notes there that it told the answer and wrote to MLflow.
        status = dvc.run_shown(root, "repro", target, *context.args, HEADSTART_SHOWN=shown.name)
        told = bool(Path(shown.name).read_bytes())
    if status or "--dry" in context.args:
        raise typer.Exit(min(status, 1))
    with contextlib.chdir(root):
        if not told:
            for line in artefacts.read_json(stage.METRICS / section / "study.json")["answer"]:
                typer.echo(line)
            tracking.publish_study(root, section)
        page(section)


@commands.command()
def export(
    cell: Annotated[
        str, typer.Argument(help="Such as sandal_shirt/mlp/steps=2000/labels=10/frozen/seed=0.")
    ],
    to: Annotated[Path, typer.Option(help="The file to write.")] = Path("cell.npz"),
    section: Section = "grid",
    learning_rate: Annotated[
        float | None, typer.Option(help="Of several; else the one that the search chose.")
    ] = None,
    split: Annotated[int, typer.Option(help="Of several.")] = 0,
) -> None:
    """Write a cell's initial weights, subset and order, for anyone to check with other code.

    Where learning rates were searched it is the cell of the tables, at the rate chosen for it.
    Before there are any, it is the one at the rate of no search.
    """
    from headstart.study import export

    trains, _ = stage.runner(section)
    table = stage.METRICS / section / "cells.csv"
    rows = study_tables.read(table, CellRow) if table.is_file() else []
    rate = export.export(trains, cell, to, trained=rows, learning_rate=learning_rate, split=split)
    typer.echo(f"{to}: {cell}, learning rate {rate:g}")


@commands.command()
def page(section: Section = "grid") -> None:
    """Draw study.md from a section's tables: the answer, verdicts, labels saved, pictures.

    The same page as HTML, in one file, goes to reports/study-SECTION.html. Before the stage has
    ended, an interim page goes there: what there is so far, without any judgement.
    """
    asked, tables = parameters.load(stage.PARAMETERS), stage.METRICS / section
    if progress := interim.unfinished(section, asked.section(section), tables):
        typer.echo(f"interim: {progress.done} of {progress.asked} networks")
        written = interim.write_page(progress)
    else:
        written = outputs.write_page(tables, asked.statistics)
    html = Path(f"reports/study-{section}.html")
    from_markdown(html, written)
    typer.echo(f"{written}\n{html}")


@commands.command()
def claims() -> None:
    """Write docs/claims.md, the notebook's claims answered, from the tables of `claims`."""
    from headstart.study import claims

    settings, path = parameters.load(stage.PARAMETERS), Path("docs/claims.md")
    claims.write(path, stage.METRICS / "claims", settings.section("claims"), settings.statistics)
    typer.echo(path)


@commands.command()
def power(
    gain: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="In accuracy: 0.005 is half a point.")
    ],
    section: Section = "grid",
) -> None:
    """Say how many seeds show a gain with 80 % power, by arm and label budget.

    By the spread over seeds that the committed study saw; in brackets corrected for all
    comparisons of the same task, network and training budget.
    """
    from headstart.study import answer, power

    settings = parameters.load(stage.PARAMETERS).statistics
    summary = study_tables.read(stage.METRICS / section / "summary.csv", SummaryRow)
    for setting, arms in power.seeds(summary, gain, settings).items():
        labels = [str(budget) for budget in next(iter(arms.values()))]
        rows = [("labels", *labels), *((arm, *own.values()) for arm, own in arms.items())]
        typer.echo(f"{answer.place(setting)}: seeds for a gain of {100 * gain:g} points")
        terminal.tell(terminal.aligned(rows))


@commands.command()
def saved(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv", help="Columns: labels, arm, accuracy or error, perhaps seed."
        ),
    ],
    baseline: Annotated[str, typer.Option(help="The arm that others are held against.")] = BASELINE,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of intervals.")] = 0.95,
) -> None:
    """Say how many labels each arm saves on learning curves of your own.

    That labels are saved, or cost, is concluded from six seeds on (at 95 %): fewer cannot tell.
    """
    from headstart.study import saved

    table = saved.rows(file, baseline=baseline, confidence=confidence)
    typer.echo("\n".join(terminal.aligned(table)))


@commands.command("publish")
def publish_study(section: Section = "grid") -> None:
    """Write the study's run to MLflow: parameters, curves, tables, pictures."""
    root = tracking.project_root(Path.cwd())
    from headstart.tracking import publication

    run_id, new = publication.publish_study(root, section)
    typer.echo(f"study {section}: {'written' if new else 'there already'}, run {run_id}")
    typer.echo(f"MLflow: {masked(tracking.address(root))}")
