"""What the two stages of the study do: they differ in the section of study/params.yaml."""

from pathlib import Path

from headstart.core.errors import located, warn
from headstart.data import selection
from headstart.params import reading
from headstart.study import (
    interim,
    outputs,
    parameters,
    prepare,
    ray,
    run,
    sources,
    splits,
    store,
)

PARAMETERS = Path("study/params.yaml")
METRICS = Path("metrics/study")
# What a grid calls the keys that the pipeline's parts are refused by.
_KEYS = {"target_classes": "target_tasks", "network.filters": "networks"}


def runner(section: str) -> tuple[run.Runner, parameters.Study]:
    """Returns what trains the grid of a section, and the parameters.

    Raises:
        UserError: The parameters and the data do not make a study.
    """
    study = parameters.load(PARAMETERS)
    dataset = reading.load(Path("params.yaml")).dataset
    raw, rows = selection.select(dataset)
    grid = study.section(section)
    # What validates is looked at in a search alone.
    parts = ("train", "valid", "test") if grid.searched else ("train", "test")
    data = raw.drawn({name: rows[name] for name in parts})
    with located(f"{PARAMETERS}: {section}.", **_KEYS):
        prepared = prepare.prepare(grid, study.replicas, data)
        if grid.splits > 1:
            for line in splits.check(raw, rows, grid.splits, max_duplicates=dataset.max_duplicates):
                warn(line)
        for source in grid.elsewhere:
            sources.fetch(source, Path())
    kept = store.Store(
        store.project(Path.cwd()) / store.FOLDER,
        store.common(data, instructions=study.replicas.instructions),
    )
    engine = ray.outcomes if study.engine == "ray" else run.local
    return run.Runner(prepared, kept, _say, engine), study


def answer(section: str) -> None:
    """Trains what is missing of a section, writes its tables and pictures, prints the answer."""
    trains, study = runner(section)
    folder = METRICS / section
    grid, settings = trains.prepared.grid, study.statistics
    with (
        located(f"{PARAMETERS}: {section}."),
        interim.kept(section, grid, confidence=settings.confidence) as trains.progress,
    ):
        cells, unsearched = splits.run(trains)
        answer = outputs.write(
            folder,
            cells,
            grid,
            settings,
            unsearched=unsearched,
            instructions=study.replicas.instructions,
        )
    for line in answer:
        print(line)


def _say(line: str) -> None:
    print(line, flush=True)
