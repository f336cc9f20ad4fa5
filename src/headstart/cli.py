"""The command `headstart`: does transfer help, by how much, at what cost?"""

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import typer.core

from headstart import serving, tracking
from headstart.core import artefacts, runtime
from headstart.core.errors import UserError, reported, warn
from headstart.core.masking import masked
from headstart.data import images as image_files
from headstart.judging import metrics, verdict
from headstart.params import reading
from headstart.project import dvc, dvc_plots, lock, outcome, published, same_bytes
from headstart.reporting import terminal
from headstart.study import commands as study
from headstart.study import parameters, stage


class _Commands(typer.core.TyperGroup):
    """Commands whose errors that a user can mend are one message and exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        with reported():
            try:
                return super().invoke(ctx)
            except typer.BadParameter as error:
                raise UserError(error.format_message()) from error


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


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.add_typer(study.commands, name="study")
app.add_typer(published.commands, name="networks")


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
            metavar="CLASS...", help="Names or numbers, or all. A --dataset has its own default."
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS...", help="Names or numbers; else all others."),
    ] = None,
    source_model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|keras:NAME",
            help="Instead of one trained here; `headstart networks` lists them.",
        ),
    ] = None,
    layer: Annotated[
        str, typer.Option(help="Where the source model is cut; auto: before a head.")
    ] = "auto",
    preprocessing: Annotated[
        str, typer.Option(help="What it takes: tf, torch, caffe, raw, or [BLACK, WHITE].")
    ] = "auto",
    input_size: Annotated[
        int | None, typer.Option(help="Pixels a side that it sees; else as it was made for.")
    ] = None,
) -> None:
    """Write a small project for your own images: then `headstart run` there."""
    from headstart.project import init
    from headstart.study import default_grid

    lines = init.create(
        folder,
        data=data,
        dataset=dataset,
        target=target or [],
        source=source or [],
        source_model=source_model,
        layer=layer,
        preprocessing=preprocessing,
        input_size=input_size,
        study=default_grid.text,
    )
    terminal.tell(lines)


@app.command()
def check(
    cache: Annotated[
        bool, typer.Option("--cache", help="Also hash every file in DVC's cache.")
    ] = False,
    only_bytes: Annotated[
        bool, typer.Option("--bytes", help="Only compare results with those that are committed.")
    ] = False,
    of_study: Annotated[
        bool,
        typer.Option("--study", help="Also measure how long the study would take, arm by arm."),
    ] = False,
    cheaper: Annotated[
        bool, typer.Option("--cheaper", help="With --study: write a grid that takes less.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure nothing, and so tell no time and memory.")
    ] = False,
) -> None:
    """Say what a run will do and what would go wrong; trains nothing."""
    from headstart.project import check

    root = Path.cwd()
    if cheaper and not of_study:
        raise UserError("--cheaper is a word of --study; give both")
    if quick and of_study:
        raise UserError("--study measures; leave out --quick")
    if only_bytes:
        typer.echo("\n".join(same_bytes.compared(root)))
        return
    report = check.check(root, quick=quick)
    if not report.problems:
        lock.write(root)
    if cache:
        count, damaged = same_bytes.damaged(root)
        report.lines.append(f"DVC's cache: {count} files, {len(damaged)} damaged")
        report.problems += damaged
    terminal.tell(report.lines)
    report.heed()
    if (root / stage.PARAMETERS).is_file() and report.data and not quick:
        from headstart.study import native

        typer.echo(native.savings(parameters.load(root / stage.PARAMETERS), report.data.shape))
    if of_study and report.data:
        from headstart.study import default_grid

        settings = reading.load(root / "params.yaml")
        terminal.tell(
            default_grid.outlook(root / stage.PARAMETERS, settings, report.data, cheaper=cheaper)
        )
    typer.echo("nothing stands in the way of `headstart run`")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context) -> None:
    """Run the pipeline, and end with lab book, table and verdict; words go on to `dvc repro`."""
    from headstart.project import check

    root = _root()
    check.surroundings(root).heed()
    lock.write(root)
    with tempfile.NamedTemporaryFile(prefix="headstart-") as shown:
        # evaluate notes there that it printed the table, so that it is not printed twice.
        status = dvc.run_shown(root, "repro", *context.args, HEADSTART_SHOWN=shown.name)
        printed = bool(Path(shown.name).read_bytes())
    judged = (root / "metrics/metrics.json").is_file()  # not before the first evaluate
    if status or not judged or "--dry" in context.args:
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


@app.command()
def show() -> None:
    """Print the table and the verdict of the workspace, from what lies in git."""
    terminal.summary(outcome.read(_root()))


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files.", metavar="IMAGE...")],
    arm: Annotated[
        Literal["baseline", "transfer"] | None,
        typer.Option(help="Without it the one that the verdict names."),
    ] = None,
) -> None:
    """Classify image files with the target model of the workspace: class and probability."""
    root = _root()
    record = None if arm else metrics.read(root / "metrics/metrics.json")
    served = verdict.arm_to_serve(record.comparison.verdict) if record else arm
    classes = artefacts.read_json(root / "data/prepared/classes.json")["target"]["names"]
    classifier = serving.Classifier(root / f"models/{served}.keras", classes)
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
    typer.echo(dvc_plots.page(_root(), revs or []).as_uri())


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
    root = _root()
    if every and rev is not None:
        raise UserError("--all and --rev exclude each other; give one of them")
    if every:
        for name, done in tracking.publish_all(root).items():
            typer.echo(f"{name}: nothing to publish" if isinstance(done, str) else f"{name}:")
            terminal.tell([f"({done})"] if isinstance(done, str) else done.lines)
    elif if_changed and rev is None and tracking.published(root):
        typer.echo("nothing changed since the last publication")
    else:
        terminal.tell(tracking.publish(root, rev=rev).lines)
    _tell_store(root)


@app.command()
def register(
    force: Annotated[
        bool, typer.Option("--force", help="Move the alias champion whatever the comparison says.")
    ] = False,
) -> None:
    """Put the target classifier of the committed state into MLflow's model registry."""
    root = _root()
    with runtime.quick_imports():
        from headstart.tracking import registry
    done = registry.register(root, force=force)
    state = "registered" if done.new else "was registered already"
    typer.echo(f"{registry.NAME} version {done.version} ({done.arm}) {state}")
    moved = "is now this version" if done.champion else "stays where it is"
    typer.echo(f"alias {registry.CHAMPION} {moved}: {done.reason}")
    _tell_store(root)


def _root() -> Path:
    return tracking.project_root(Path.cwd())


def _tell_store(root: Path) -> None:
    typer.echo(f"MLflow: {masked(tracking.address(root))}")


if __name__ == "__main__":
    app()
