"""A fresh project for data at hand: what `headstart init` chooses for it."""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError, located
from headstart.data import catalogue, digits, own, tasks
from headstart.project import scaffold

# Larger images are brought to this: a few minutes on two cores instead of hours.
_SIDE = 64
# Small grey images need no convolutions.
_PLAIN_PIXELS = 32 * 32
_UPDATES = 500
_BATCH = 32
# Stands for every class.
_ALL = "all"
# JSON is YAML on one line.
_yaml = functools.partial(json.dumps, ensure_ascii=False)


@dataclass(frozen=True)
class _Images:
    """The images that a project is made for."""

    name: str
    path: str | None
    classes: Sequence[str]
    aliases: Mapping[str, str]
    parts: Mapping[str, int]
    shape: tuple[int, int, int]
    image_size: tuple[int, int] | None
    label: str


def create(
    folder: Path | None,
    *,
    data: Path | None,
    dataset: str | None,
    target: Sequence[str],
    source: Sequence[str],
    source_model: Path | None,
    layer: str,
) -> list[str]:
    """Writes a project into `folder` and returns what it chose, as lines for a person.

    Args:
        folder: Where; it must be empty or not exist. None: the command's words name none.
        data: A folder of images or an `.npz` file, copied into the project.
        dataset: Instead, the name of a dataset that headstart knows.
        target: Names or numbers of the target classes, or `all`. Of a `dataset` its last two if
            empty.
        source: Those of the source classes; all others if empty.
        source_model: A `.keras` file to take instead of training the source network, copied.
        layer: Where it is cut.

    Raises:
        UserError: The folder is in use, or the data or the classes cannot make a project. Nothing
            is left behind.
    """
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is in use; name a folder that is empty or does not exist")
    if (data is None) == (dataset is None):
        raise UserError("give either --data FOLDER (or FILE.npz), or --dataset NAME")
    if source_model is not None and (source_model.suffix != ".keras" or not source_model.is_file()):
        raise UserError(f"{source_model}: is no .keras file")
    images = _own(data) if data is not None else _known(str(dataset))
    if folder is None:
        raise UserError(_without_folder(images, [*target, *source]))
    target_classes = _target(images, target)
    source_classes: Any = _named(source, images)
    if not source_classes:
        few = len(images.classes) - len(target_classes) < 2
        source_classes = "none" if source_model is not None and few else "others"
    with located("", target_classes="--target", source_classes="--source"):
        try:
            source_task, target_task = tasks.source_and_target(
                images.classes,
                images.aliases,
                target_classes=target_classes,
                source_classes=source_classes,
            )
        except tasks.NoSourceTask as error:
            raise error.instead("bring a network with --source-model") from error
    values = _values(images, target_task, source_task, source_classes, source_model, layer)
    source_names = ", ".join(source_task.names)
    scaffold.write(
        folder,
        values=values,
        copies={
            path: original
            for path, original in (
                (images.path, data),
                (_own_network(source_model), source_model),
            )
            if path is not None and original is not None
        },
        words={
            "title": folder.resolve().name,
            "source": source_names or "another task (a network of your own)",
            "target": " and ".join(target_task.names),
            "data": f"`{images.path}` holds the images: add one, and `headstart run` runs again."
            if images.path
            else f"The images are {images.label}.",
        },
    )
    sums = ", ".join(f"{count} {part}" for part, count in images.parts.items())
    height, width, channels = images.shape
    return [
        f"{images.label}: {len(images.classes)} classes, images: {sums}",
        f"images of {height} x {width} pixels, {'grey' if channels == 1 else 'colour'}",
        f"source task: {source_names or 'none'}",
        f"target task: {', '.join(target_task.names)}",
        f"network: {values['network']}",
        f"written to {folder}; next: cd {folder} && headstart run",
    ]


def _without_folder(images: _Images, words: Sequence[str]) -> str:
    """Returns what to say where options have swallowed the folder, or none was named."""
    known = {*images.classes, *images.aliases, *map(str, range(len(images.classes))), _ALL}
    folders = [word for word in words if word not in known and word.casefold() not in known]
    if not folders:
        return "name the folder to make, before the options: headstart init DIR --data ..."
    return (
        f"{folders[-1]}: is no class ({', '.join(images.classes)}); if it is the folder to make, "
        f"name it before the options: headstart init {folders[-1]} ..."
    )


def _target(images: _Images, words: Sequence[str]) -> list[int | str]:
    if list(words) == [_ALL] and _ALL not in images.classes:
        return list(images.classes)
    if words:
        return _named(words, images)
    if images.path is None:
        return [len(images.classes) - 2, len(images.classes) - 1]
    raise UserError(
        f"{images.label}: has the classes {', '.join(images.classes)}; which are to be told apart? "
        f"--target {' '.join(images.classes[-2:])}, say, or --target all with --source-model"
    )


def _own(path: Path) -> _Images:
    with located("", path="--data"):
        survey = own.survey(path)
    heights, widths = zip(*survey.sizes, strict=True)
    largest = max(heights + widths)
    size: tuple[int, int] | None = None
    if len(survey.sizes) > 1:
        side = max(min(_SIDE, *heights, *widths), 8)
        size = (side, side)
    elif largest > _SIDE:
        size = tuple(max(round(side * _SIDE / largest), 8) for side in survey.sizes[0])
    return _Images(
        name="own",
        path=f"data/own/{path.resolve().name}",
        classes=survey.classes,
        aliases={},
        parts=survey.totals,
        shape=(*(size or survey.sizes[0]), survey.channels),
        image_size=size,
        label=str(path),
    )


def _known(name: str) -> _Images:
    if name not in (digits.NAME, *catalogue.DATASETS):
        known = ", ".join([digits.NAME, *catalogue.DATASETS])
        raise UserError(f"--dataset: there is no {name}; there are {known}")
    label = "scikit-learn's handwritten digits" if name == digits.NAME else name
    survey = digits.survey() if name == digits.NAME else catalogue.DATASETS[name].survey()
    return _Images(
        name, None, survey.classes, survey.aliases, survey.totals,
        (*survey.sizes[0], survey.channels), None, label,
    )  # fmt: skip


def _named(classes: Sequence[str], images: _Images) -> list[int | str]:
    """Returns the classes as params.yaml names them: a number where it is no class's name."""
    names = {name.casefold() for name in images.classes} | set(images.aliases)
    return [
        int(entry) if entry.casefold() not in names and entry.isdecimal() else entry
        for entry in classes
    ]


def _own_network(source_model: Path | None) -> str | None:
    return f"models/own/{source_model.name}" if source_model else None


def _values(
    images: _Images,
    target: tasks.Task,
    source: tasks.Task,
    sources: Any,
    source_model: Path | None,
    layer: str,
) -> dict[str, str]:
    """Returns the values that differ from headstart's own params.yaml, as YAML by dotted key."""
    parts = images.parts
    split, train, valid, test = "stratified", 0.6, 0.2, 0.2
    if "valid" in parts:
        split, train, valid, test = "folders", 1.0, 1.0, 1.0
    elif "test" in parts:
        train, valid, test = 0.8, 0.2, 1.0
    trained = parts.get("all", parts.get("train", 0)) * train
    budget = {
        task: min(max(math.ceil(_UPDATES * _BATCH / max(trained * share, 1)), 5), 20)
        for task, share in (
            ("source_training", len(source.names) / len(images.classes)),
            ("target_training", len(target.names) / len(images.classes)),
        )
    }
    if source_model is not None:
        budget["source_training"] = 5
    names = _yaml(list(images.classes))
    values = {
        "dataset.name": images.name,
        "dataset.path": _yaml(images.path),
        "dataset.classes": names if images.path else "auto",
        "dataset.image_size": str(list(images.image_size)) if images.image_size else "auto",
        "dataset.sources": "published",
        "dataset.split": split,
        "dataset.train_size": str(train),
        "dataset.valid_size": str(valid),
        "dataset.test_size": str(test),
        "tasks.target_classes": _yaml(list(target.names)),
        "tasks.source_classes": sources if isinstance(sources, str) else _yaml(list(source.names)),
        "network": _network(images.shape),
        "source_training.from": _yaml(_own_network(source_model)),
        "source_training.layer": _yaml(layer),
    }
    for task, epochs in budget.items():
        values |= {f"{task}.epochs": str(epochs), f"{task}.optimizer": "adam"}
    return values


def _network(shape: tuple[int, int, int]) -> str:
    """Returns a network that fits the images, as YAML on one line."""
    height, width, channels = shape
    if channels == 1 and height * width <= _PLAIN_PIXELS:
        return "{name: mlp, units: [100, 50], activation: relu}"
    # The last pooling leaves four pixels a side where there are enough.
    halvings = min(max(int(math.log2(max(min(height, width), 4) / 4)), 1), 3)
    if min(height, width) < 2**halvings:
        return "{name: mlp, units: [100, 50], activation: relu}"
    return f"{{name: cnn, filters: {[16, 32, 64][:halvings]}, dense: [64], activation: relu}}"
