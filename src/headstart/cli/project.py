"""The commands on a project as a folder: make it, check it."""

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
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where: a new or empty folder.")],
    data: Annotated[
        Path | None,
        typer.Option(help="FOLDER/CLASS/IMAGE.png or .jpg, or FILE.npz; copied into the project."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Instead: digits, fashion_mnist, mnist or kmnist.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS...", help="Names or numbers; else the last two."),
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
    """Write a small project for your own images: then `dvc repro` there."""
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
        from headstart.project import check, same_bytes

        root = Path.cwd()
        if only_bytes:
            typer.echo("\n".join(same_bytes.compared(root)))
            return
        report = check.check(root)
        if cache:
            count, damaged = check.damaged(root)
            report.lines.append(f"DVC's cache: {count} files, {len(damaged)} damaged")
            report.problems += damaged
        tell(report.lines)
        for warning in report.warnings:
            warn(warning)
        if report.problems:
            raise UserError("\n  ".join(report.problems))
        typer.echo("nothing stands in the way of `dvc repro`")
