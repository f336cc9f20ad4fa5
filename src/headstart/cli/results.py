"""The commands on results: to MLflow, to the registry, to the terminal, for images at hand."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.output import tell
from headstart.core.errors import UserError, reported

app = typer.Typer()


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
                tell([f"({done})"] if isinstance(done, str) else done.lines)
        elif if_changed and rev is None and tracking.published(root):
            typer.echo("nothing changed since the last publication")
        else:
            tell(tracking.publish(root, rev=rev).lines)
        typer.echo(f"MLflow: {where}")


@app.command()
def register(
    force: Annotated[
        bool, typer.Option("--force", help="Move the alias champion whatever the comparison says.")
    ] = False,
) -> None:
    """Put the target classifier of the committed state into MLflow's model registry."""
    with reported():
        from headstart import tracking
        from headstart.core import runtime

        root = tracking.project_root(Path.cwd())
        with runtime.quick_imports():
            # In this order: the lab book sets what MLflow reads when it is imported.
            from headstart.tracking import labbook, registry  # noqa: F401
        done = registry.register(root, force=force)
        state = "registered" if done.new else "was registered already"
        typer.echo(f"{registry.NAME} version {done.version} ({done.arm}) {state}")
        moved = "is now this version" if done.champion else "stays where it is"
        typer.echo(f"alias {registry.CHAMPION} {moved}: {done.reason}")
        typer.echo(f"MLflow: {tracking.masked(tracking.address(root))}")


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files.", metavar="IMAGE...")],
    arm: Annotated[
        str | None,
        typer.Option(help="baseline or transfer; without it the one that the verdict names."),
    ] = None,
) -> None:
    """Classify image files with the target model of the workspace: class and probability."""
    with reported():
        from headstart import serving, tracking
        from headstart.core import artefacts
        from headstart.data import images as image_files
        from headstart.judging import metrics, verdict

        root = tracking.project_root(Path.cwd())
        if arm not in (None, "baseline", "transfer"):
            raise UserError(f"--arm: {arm!r} is neither baseline nor transfer")
        if arm is None:
            record = metrics.read(root / "metrics/metrics.json")
            arm = verdict.arm_to_serve(record.comparison.verdict)
        classes = artefacts.read_json(root / "data/prepared/classes.json")["target"]["names"]
        classifier = serving.Classifier(root / f"models/{arm}.keras", classes)
        failed = False
        for path in images:
            try:
                image = image_files.read(path, shape=classifier.shape)
            except UserError as error:
                failed = True
                typer.echo(f"error: {error}", err=True)
                continue
            (answer,) = classifier.classify(image)
            typer.echo(f"{path}: {answer.name} (probability {answer.probability:.4f})")
        if failed:
            raise typer.Exit(1)


@app.command()
def plots(
    revs: Annotated[
        list[str] | None,
        typer.Argument(help="Commits, branches, tags, experiments.", metavar="[REV...]"),
    ] = None,
) -> None:
    """Write `dvc plots diff` as one page that needs no network: dvc_plots/index.html."""
    with reported():
        from headstart import tracking
        from headstart.project import dvc_plots

        typer.echo(dvc_plots.page(tracking.project_root(Path.cwd()), revs or []).as_uri())


@app.command()
def show() -> None:
    """Print the table and the verdict of the workspace, from what lies in git."""
    with reported():
        from headstart import tracking
        from headstart.project import outcome
        from headstart.reporting import terminal

        terminal.summary(outcome.read(tracking.project_root(Path.cwd())))
