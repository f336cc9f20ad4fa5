"""The command `headstart`: does transfer help, by how much, at what cost?"""

import importlib.metadata
import tempfile
from collections.abc import Iterable
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
from headstart.params.strategies import BASELINE
from headstart.project import dvc, dvc_plots, lock, outcome, published, same_bytes
from headstart.reporting import study_tables, terminal
from headstart.reporting.page import from_markdown
from headstart.reporting.study_tables import SummaryRow
from headstart.study import interim, outputs, parameters, stage


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
study = typer.Typer(no_args_is_help=True, help="The study: many seeds, many label budgets.")
app.add_typer(study, name="study")
app.add_typer(published.commands, name="networks")

Section = Annotated[Literal["grid", "claims"], typer.Option(help="Of study/params.yaml.")]


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
        typer.Option(metavar="FILE|keras:NAME", help="In place of a source network trained here."),
    ] = None,
    layer: Annotated[
        str, typer.Option(help="Where the source model is cut; auto: all but its head.")
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
    )
    _tell(lines)


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
    from headstart.project import check

    root = Path.cwd()
    if only_bytes:
        typer.echo("\n".join(same_bytes.compared(root)))
        return
    report = check.check(root)
    if not report.problems:
        lock.write(root)
    if cache:
        count, damaged = same_bytes.damaged(root)
        report.lines.append(f"DVC's cache: {count} files, {len(damaged)} damaged")
        report.problems += damaged
    _tell(report.lines)
    _heed(report)
    if (root / stage.PARAMETERS).is_file() and report.shape:
        from headstart.study import native

        typer.echo(native.savings(parameters.load(root / stage.PARAMETERS), report.shape))
    typer.echo("nothing stands in the way of `headstart run`")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context) -> None:
    """Run the pipeline, and end with lab book, table and verdict; words go on to `dvc repro`."""
    from headstart.project import check

    root = _root()
    _heed(check.surroundings(root))
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
            _tell([f"({done})"] if isinstance(done, str) else done.lines)
    elif if_changed and rev is None and tracking.published(root):
        typer.echo("nothing changed since the last publication")
    else:
        _tell(tracking.publish(root, rev=rev).lines)
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


@study.command()
def export(
    cell: Annotated[
        str, typer.Argument(help="Such as sandal_shirt/mlp/steps=2000/labels=10/frozen/seed=0.")
    ],
    to: Annotated[Path, typer.Option(help="The file to write.")] = Path("cell.npz"),
    section: Section = "grid",
) -> None:
    """Write a cell's initial weights, subset and order, for anyone to check with other code."""
    from headstart.study import export

    trains, _ = stage.runner(section)
    export.export(trains, cell, to)
    typer.echo(f"{to}: {cell}")


@study.command()
def page(section: Section = "grid") -> None:
    """Draw study.md from a section's tables: the answer, verdicts, labels saved, pictures.

    The same page as HTML, in one file, goes to reports/study-SECTION.html. Before the stage has
    ended, an interim page goes there: what there is so far, without any judgement.
    """
    asked, tables = parameters.load(stage.PARAMETERS), stage.METRICS / section
    if progress := interim.unfinished(section, getattr(asked, section), tables):
        typer.echo(f"interim: {progress.done} of {progress.asked} networks")
        written = interim.write_page(progress)
    else:
        written = outputs.write_page(tables, asked.statistics)
    html = Path(f"reports/study-{section}.html")
    from_markdown(html, written)
    typer.echo(f"{written}\n{html}")


@study.command()
def claims() -> None:
    """Write docs/claims.md, the notebook's claims answered, from the tables of `claims`."""
    from headstart.study import claims

    settings, path = parameters.load(stage.PARAMETERS), Path("docs/claims.md")
    claims.write(path, stage.METRICS / "claims", settings.claims, settings.statistics)
    typer.echo(path)


@study.command()
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
        _tell(terminal.aligned(rows))


@study.command()
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
    """Say how many labels each arm saves on learning curves of your own."""
    from headstart.study import saved

    table = saved.rows(file, baseline=baseline, confidence=confidence)
    typer.echo("\n".join(terminal.aligned(table)))


@study.command("publish")
def publish_study(section: Section = "grid") -> None:
    """Write the study's run to MLflow: parameters, curves, tables, pictures."""
    root = _root()
    from headstart.tracking import publication

    run_id, new = publication.publish_study(root, section)
    typer.echo(f"study {section}: {'written' if new else 'there already'}, run {run_id}")
    _tell_store(root)


def _root() -> Path:
    return tracking.project_root(Path.cwd())


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(f"  {line}")


def _tell_store(root: Path) -> None:
    typer.echo(f"MLflow: {masked(tracking.address(root))}")


def _heed(report: Any) -> None:
    """Prints the warnings of a check, and ends where there are problems."""
    for warning in report.warnings:
        warn(warning)
    if report.problems:
        raise UserError("\n  ".join(report.problems))


if __name__ == "__main__":
    app()
