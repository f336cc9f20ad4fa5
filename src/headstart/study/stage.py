"""What the two stages of the study do: they differ in the section of study/params.yaml."""

import functools
from pathlib import Path

from headstart.data import catalogue, idx
from headstart.study import outputs, parameters, ray, run, store

PARAMETERS = Path("study/params.yaml")
METRICS = Path("metrics/study")


def prepared(section: str) -> tuple[run.Prepared, store.Store, parameters.Study]:
    """Returns the checked grid of a section, and the store of its finished groups."""
    study = parameters.load(PARAMETERS)
    dataset = catalogue.DATASETS[study.dataset.name]
    published = idx.load(dataset, Path("data/raw") / dataset.name)
    grid: parameters.Grid = getattr(study, section)
    ready = run.prepare(study, grid, dataset, published)
    arrays = [array for part in ready.parts.values() for array in (part.images, part.labels)]
    kept = store.Store(
        store.project(Path.cwd()) / store.FOLDER,
        store.common(arrays=arrays, threads=study.replicas.threads),
    )
    return ready, kept, study


def runner(section: str) -> tuple[run.Runner, parameters.Study]:
    """Returns what trains the grid of a section, and the parameters."""
    ready, kept, study = prepared(section)
    begin = functools.partial(run.start, study.replicas.threads)
    engine = ray.outcomes if study.engine == "ray" else run.local
    return run.Runner(ready, kept, _say, begin, engine), study


def answer(section: str) -> None:
    """Trains what is missing of a section, writes its tables and pictures, prints the answer."""
    trains, study = runner(section)
    folder = METRICS / section
    for line in outputs.write(folder, trains.run(), trains.prepared.grid, study.statistics):
        print(line)


def _say(line: str) -> None:
    print(line, flush=True)
