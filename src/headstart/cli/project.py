"""The commands on a project as a folder: make it, check it, run it."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from headstart.cli.output import tell
from headstart.core.errors import UserError, reported, warn

app = typer.Typer()


class _SeveralWords(typer.core.TyperCommand):
    """A command whose list options take words up to the next option: `--target cat dog`."""

    lists = ("--target", "--source")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats the option before each of its words, which is what click understands."""
        spread: list[str] = []
        option = ""
        for word in args:
            if word.startswith("--"):
                option = word if word in self.lists else ""
                spread += [] if option else [word]
            else:
                spread += [option, word] if option else [word]
        return super().parse_args(ctx, spread)


@app.command(cls=_SeveralWords)
def init(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where: a new or empty folder.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="FOLDER/CLASS/IMAGE.png or .jpg, or FILE.npz; copied into the project."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Instead: digits, fashion_mnist, mnist or kmnist.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS...",
            help="Names or numbers, or all. A --dataset has its own default.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS...", help="Names or numbers; else all others."),
    ] = None,
    source_model: Annotated[
        Path | None, typer.Option(help="A .keras file in place of a source network trained here.")
    ] = None,
    layer: Annotated[
        str, typer.Option(help="Where the source model is cut; auto: before its last layer.")
    ] = "auto",
) -> None:
    """Write a small project for your own images: then `headstart run` there."""
    with reported():
        from headstart.project import init

        tell(
            init.create(
                folder,
                data=data,
                dataset=dataset,
                target=target or [],
                source=source or [],
                source_model=source_model,
                layer=layer,
            )
        )


@app.command()
def check(
    cache: Annotated[
        bool, typer.Option("--cache", help="Also hash every file in DVC's cache.")
    ] = False,
    only_bytes: Annotated[
        bool, typer.Option("--bytes", help="Only compare results with those that are committed.")
    ] = False,
) -> None:
    """Say what a run will do and what would go wrong; trains nothing."""
    with reported():
        from headstart.project import check, lock, same_bytes

        root = Path.cwd()
        if only_bytes:
            typer.echo("\n".join(same_bytes.compared(root)))
            return
        report = check.check(root)
        if not report.problems:
            lock.write(root)
        if cache:
            count, damaged = check.damaged(root)
            report.lines.append(f"DVC's cache: {count} files, {len(damaged)} damaged")
            report.problems += damaged
        tell(report.lines)
        _heed(report)
        typer.echo("nothing stands in the way of `headstart run`")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context) -> None:
    """Run the pipeline, and end with lab book, table and verdict; words go on to `dvc repro`."""
    with reported():
        from headstart import tracking
        from headstart.project import check, dvc, dvc_plots, lock, outcome
        from headstart.reporting import terminal

        root = tracking.project_root(Path.cwd())
        report = check.Report()
        check.surroundings(root, report)
        _heed(report)
        lock.write(root)
        with tempfile.NamedTemporaryFile(prefix="headstart-") as shown:
            # evaluate notes there that it printed the table, so that it is not printed twice.
            status = dvc.run_shown(root, "repro", *context.args, HEADSTART_SHOWN=shown.name)
            printed = bool(Path(shown.name).read_bytes())
        if status or "--dry" in context.args:
            raise typer.Exit(min(status, 1))
        try:
            # DVC skips a cached stage whole, its lines to MLflow included.
            if not tracking.published(root):
                tracking.publish(root)
        except UserError as error:
            warn(f"MLflow lacks this state: {error}; later, `headstart publish` sends it")
        # What the pages of `dvc plots` load from here instead of from the web.
        dvc_plots.vega(root)
        if not printed:
            terminal.summary(outcome.read(root))


def _heed(report: Any) -> None:
    """Prints the warnings of a check, and ends where there are problems."""
    for warning in report.warnings:
        warn(warning)
    if report.problems:
        raise UserError("\n  ".join(report.problems))
