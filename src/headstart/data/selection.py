"""What params.yaml takes of the raw data: the one entrance of the pipeline and the study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import located, warn
from headstart.core.parts import Drawn
from headstart.data import quality, raw_data, splits, tasks
from headstart.params import sections

RAW = Path("data/raw")
_SECTION = "params.yaml: dataset."


def select(settings: sections.Dataset, folder: Path = RAW) -> tuple[raw_data.Raw, dict[str, Drawn]]:
    """Returns the raw data, and which of its images train, validate and test, by these names.

    Warns of what spoils comparisons. `folder` holds the folders of the datasets.

    Raises:
        UserError: The data are damaged, cannot be divided so, or hold too many duplicates.
    """
    raw = read(settings, folder)
    rows = draw(settings, {name: part.labels for name, part in raw.parts.items()})
    with located(_SECTION):
        warnings = quality.check(raw, rows, max_duplicates=settings.max_duplicates)
    for warning in warnings:
        warn(warning)
    return raw, rows


def read(settings: sections.Dataset, folder: Path = RAW) -> raw_data.Raw:
    """Returns all of the raw data.

    Raises:
        UserError: A file is missing or damaged, or the classes are not as many as were named.
    """
    with located(_SECTION):
        return raw_data.read(settings.name, folder / settings.name, classes=settings.classes)


def draw(settings: sections.Dataset, labels: Mapping[str, np.ndarray]) -> dict[str, Drawn]:
    """Returns which images train, validate and test, from labels (n,) by raw part.

    Raises:
        UserError: The data cannot be divided so.
    """
    with located(_SECTION):
        return splits.draw(
            labels,
            how=settings.split,
            train_size=settings.train_size,
            valid_size=settings.valid_size,
            test_size=settings.test_size,
            seed=settings.split_seed,
        )


def files(raw: raw_data.Raw, part: str, rows: np.ndarray) -> list[str]:
    """Returns the files that the images at `rows` (k,) of a raw part were; [] where they had none.

    Paths are relative to the folder of images.
    """
    path = raw.folder / raw_data.FILES if raw.folder else None
    if path is None or not path.is_file():
        return []
    names = artefacts.read_json(path)[part]
    return [names[row] for row in rows]


def source_and_target(
    settings: sections.Tasks, classes: Sequence[str], aliases: Mapping[str, str]
) -> tuple[tasks.Task, tasks.Task]:
    """Returns the source and the target task among the classes of the data.

    Raises:
        UserError: As `tasks.source_and_target`; says what else would do.
    """
    with located("params.yaml: tasks."):
        try:
            return tasks.source_and_target(
                classes,
                aliases,
                target_classes=settings.target_classes,
                source_classes=settings.source_classes,
            )
        except tasks.NoSourceTask as error:
            raise error.instead(
                "bring a network (source_training.from, with tasks.source_classes: none)"
            ) from error
