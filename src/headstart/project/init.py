"""A fresh project for data at hand: what `headstart init` chooses for it and writes.

A project is the pipeline without the library, its parameters, git and DVC.
"""

import contextlib
import functools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headstart.core.errors import UserError, located
from headstart.data import catalogue, digits, own, tasks, weights
from headstart.data.survey import Survey
from headstart.learning import model_file
from headstart.params import reading, yaml_text
from headstart.params.sections import Params
from headstart.project import dvc, lock, pipelines, source_network

STAGES = ("download", "prepare", "train_a", "train_b", "transfer", "evaluate")
_HERE = Path(__file__).resolve().parent
# What lies there is not for git: DVC keeps it.
_IGNORES = {
    "models/own/.gitignore": "*\n!*/\n!.gitignore\n!*.dvc\n",
    "data/raw/.gitignore": "/networks\n",
}

# Larger images are brought to this: a few minutes on two cores instead of hours.
_SIDE = 64
# Small grey images need no convolutions.
_PLAIN_PIXELS = 32 * 32
# Filters of a CNN's blocks, each of which halves the image. In a large one the first cost most: a
# network from elsewhere may ask for 224 pixels, and its baseline is not to cost more than it.
_SMALL, _LARGE = (16, 32, 64), (8, 16, 32, 64, 64)
_UPDATES = 500
_BATCH = 32
# Stands for every class.
_ALL = "all"
# JSON is YAML on one line.
_yaml = functools.partial(json.dumps, ensure_ascii=False)
_read = functools.partial(Path.read_text, encoding="utf-8")


class Study(Protocol):
    """Gives study/params.yaml, changed from `template` to fit a project: a floor above makes it."""

    def __call__(
        self, template: str, settings: Params, survey: Survey, /, *, size: tuple[int, int]
    ) -> str:
        """Returns the text; `size` is the height and width of images."""


@dataclass(frozen=True)
class _Images:
    """The images that a project is made for; one's own have a path in it, and may be resized."""

    name: str
    label: str
    survey: Survey
    path: str | None = None
    size: tuple[int, int] | None = None


def create(
    folder: Path | None,
    *,
    data: Path | None,
    dataset: str | None,
    target: Sequence[str],
    source: Sequence[str],
    source_model: str | Path | None,
    layer: str,
    preprocessing: str = "auto",
    input_size: int | None = None,
    study: Study,
) -> list[str]:
    """Writes a project into `folder` and returns what it chose, as lines for a person.

    It is made for `data`, a folder of images or an `.npz` file that is copied, or a `dataset` that
    headstart knows. `target` and `source` are names or numbers of classes; empty they stand for a
    dataset's last two, and for all others. `source_model` is `keras:NAME`, or a `.keras`, `.h5` or
    `.hdf5` file, copied too, which is cut at `layer`; `preprocessing` and `input_size` (pixels a
    side) are what it is given, where it is not to be chosen from what the network tells. `study`
    gives study/params.yaml.

    Raises:
        UserError: The folder is in use, or the data or the classes cannot make a project. Nothing
            is left behind.
    """
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is in use; name a folder that is empty or does not exist")
    if (data is None) == (dataset is None):
        raise UserError("give either --data FOLDER (or FILE.npz), or --dataset NAME")
    network, seen = source_network.asked_for(source_model)
    size = (input_size, input_size) if input_size else seen.size if seen else None
    sees = size or ((model_file.SMALLEST_SIDE,) * 2 if network else None)
    images = _own(data, sees) if data is not None else _known(str(dataset))
    survey, classes = images.survey, images.survey.classes
    if folder is None:
        raise UserError(_without_folder(survey, [*target, *source]))
    target_classes = _target(images, target)
    few = network is not None and len(classes) - len(target_classes) < 2
    source_classes = _named(source, survey) or ("none" if few else "others")
    with located("", target_classes="--target", source_classes="--source"):
        try:
            source_task, target_task = tasks.source_and_target(
                classes,
                survey.aliases,
                target_classes=target_classes,
                source_classes=source_classes,
            )
        except tasks.NoSourceTask as error:
            raise error.instead("bring a network with --source-model") from error
    values = _values(images, target_task, source_task) | {
        "tasks.target_classes": _yaml(target_task.names),
        "tasks.source_classes": _yaml(source_task.names) if source else str(source_classes),
        "source_training.from": _yaml(network),
        "source_training.layer": _yaml(layer),
        "source_training.input_size": str([input_size] * 2) if input_size else "auto",
        "source_training.preprocessing": source_network.preprocessing(network, seen, preprocessing),
    }
    source_names = ", ".join(source_task.names)
    words = {
        "title": folder.resolve().name,
        "source": source_names or _brought(network),
        "target": " and ".join(target_task.names),
        "data": f"The images are {images.label}.",
    }
    own_files = {}
    if images.path and data:
        own_files[images.path] = data
        words["data"] = f"`{images.path}` holds the images: add one and `headstart run` runs again."
    if network:
        values["source_training.epochs"] = "5"
    if network and not weights.named(network):
        own_files[network] = Path(str(source_model))
    height, width = images.size or survey.sizes[0]
    # Refused before anything is written or fetched.
    settings = reading.parse(_parameters(values), "params.yaml")
    grid = study(_read(_HERE / "study.yaml"), settings, survey, size=(height, width))
    with tempfile.TemporaryDirectory(prefix="headstart-") as fetched:
        if network and (sum_ := source_network.unpublished_sum(network, input_size, Path(fetched))):
            values["source_training.sha256"] = _yaml(sum_)
        _write(folder, values, own_files, words, study=grid, brought=Path(fetched))
    sums = ", ".join(f"{count} {part}" for part, count in survey.totals.items())
    return [
        f"{images.label}: {len(classes)} classes, images: {sums}",
        f"images of {height} x {width} pixels, {'grey' if survey.channels == 1 else 'colour'}",
        f"source task: {source_names or 'none'}",
        *([source_network.summary(network, seen, values, size)] if network and seen else []),
        f"target task: {', '.join(target_task.names)}",
        f"network: {values['network']}",
        f"written to {folder}; next: cd {folder} && headstart run",
        "how many labels does the source save: headstart check --study, then headstart study run",
    ]


def _brought(network: str | None) -> str:
    """Returns what a network from elsewhere was trained on, for the README."""
    return f"ImageNet ({network})" if weights.named(network) else f"another task ({network})"


def _without_folder(survey: Survey, words: Sequence[str]) -> str:
    """Returns what to say where options have swallowed the folder, or none was named."""
    known = {*survey.classes, *survey.aliases, *map(str, range(len(survey.classes))), _ALL}
    folders = [word for word in words if word not in known and word.casefold() not in known]
    if not folders:
        return "name the folder to make, before the options: headstart init DIR --data ..."
    return (
        f"{folders[-1]}: is no class ({', '.join(survey.classes)}); if it is the folder to make, "
        f"name it before the options: headstart init {folders[-1]} ..."
    )


def _target(images: _Images, words: Sequence[str]) -> list[int | str]:
    classes = images.survey.classes
    if list(words) == [_ALL] and _ALL not in classes:
        return list(classes)
    if words:
        return _named(words, images.survey)
    if images.path is None:
        return [len(classes) - 2, len(classes) - 1]
    raise UserError(
        f"{images.label}: has the classes {', '.join(classes)}; which are to be told apart? "
        f"--target {' '.join(classes[-2:])}, say, or --target all with --source-model"
    )


def _own(path: Path, network: tuple[int, int] | None) -> _Images:
    with located("", path="--data"):
        survey = own.survey(path)
    size = _size_with(network, survey.sizes) if network else _size(survey.sizes)
    return _Images("own", str(path), survey, f"data/own/{path.resolve().name}", size)


def _size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Returns the height and width to bring images of such `sizes` to; None: as they are."""
    sides = [side for size in sizes for side in size]
    if len(sizes) > 1:
        side = max(min(_SIDE, *sides), 8)
        return side, side
    if max(sides) <= _SIDE:
        return None
    height, width = (max(round(side * _SIDE / max(sides)), 8) for side in sides)
    return height, width


def _size_with(
    network: tuple[int, int], sizes: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """Returns the same where a network sees them in its own size: none of its pixels is lost."""
    most = [max(side, _SIDE) for side in network]
    if len(sizes) > 1:
        # What is smaller than the others is enlarged, here or in the network.
        largest = (max(sides) for sides in zip(*sizes, strict=True))
        height, width = (max(min(pair), 8) for pair in zip(most, largest, strict=True))
        return height, width
    share = max(wanted / side for wanted, side in zip(most, sizes[0], strict=True))
    if share >= 1:
        return None
    height, width = (round(side * share) for side in sizes[0])
    return height, width


def _known(name: str) -> _Images:
    if name == digits.NAME:
        return _Images(name, "scikit-learn's handwritten digits", digits.survey())
    if name not in catalogue.DATASETS:
        known = ", ".join([digits.NAME, *catalogue.DATASETS])
        raise UserError(f"--dataset: there is no {name}; there are {known}")
    return _Images(name, name, catalogue.DATASETS[name].survey())


def _named(words: Sequence[str], survey: Survey) -> list[int | str]:
    """Returns the classes as params.yaml names them: a number where it is no class's name."""
    names = {name.casefold() for name in survey.classes} | set(survey.aliases)
    return [
        int(word) if word.casefold() not in names and word.isdecimal() else word for word in words
    ]


def _values(images: _Images, target: tasks.Task, source: tasks.Task) -> dict[str, str]:
    """Returns what the images ask for in params.yaml, as YAML by dotted key."""
    survey, parts = images.survey, images.survey.totals
    split, train, valid, test = "stratified", 0.6, 0.2, 0.2
    if "valid" in parts:
        split, train, valid, test = "folders", 1.0, 1.0, 1.0
    elif "test" in parts:
        train, valid, test = 0.8, 0.2, 1.0
    values = {
        "dataset.name": images.name,
        "dataset.path": _yaml(images.path),
        "dataset.classes": _yaml(survey.classes) if images.path else "auto",
        "dataset.image_size": str(list(images.size)) if images.size else "auto",
        "dataset.sources": "published",
        "dataset.split": split,
        "dataset.train_size": str(train),
        "dataset.valid_size": str(valid),
        "dataset.test_size": str(test),
        "network": _network(*(images.size or survey.sizes[0]), survey.channels),
    }
    trained = parts.get("all", parts.get("train", 0)) * train
    for section, task in (("source_training", source), ("target_training", target)):
        images_of_task = max(trained * len(task.names) / len(survey.classes), 1)
        epochs = min(max(math.ceil(_UPDATES * _BATCH / images_of_task), 5), 20)
        values |= {f"{section}.epochs": str(epochs), f"{section}.optimizer": "adam"}
    return values


def _network(height: int, width: int, channels: int) -> str:
    """Returns a network that fits the images, as YAML on one line."""
    side = min(height, width)
    # The last pooling leaves four pixels a side where there are enough.
    halvings = min(max(int(math.log2(max(side, 4) / 4)), 1), len(_LARGE))
    if (channels == 1 and height * width <= _PLAIN_PIXELS) or side < 2**halvings:
        return "{name: mlp, units: [100, 50], activation: relu}"
    filters = (_LARGE if side > _SIDE else _SMALL)[:halvings]
    return f"{{name: cnn, filters: {list(filters)}, dense: [64], activation: relu}}"


def _parameters(values: Mapping[str, str]) -> str:
    """Returns the text of params.yaml: headstart's own with `values`."""
    _, ours = (lock.template() / "params.yaml").read_text(encoding="utf-8").split("\n", 1)
    head = "# Every value that a stage uses stands here; the code holds no default.\n"
    return head + yaml_text.edited(ours, values)


def _write(
    folder: Path,
    values: Mapping[str, str],
    own_files: dict[str, Path],
    words: Mapping[str, str],
    *,
    study: str,
    brought: Path,
) -> None:
    """Writes a project into `folder`, all of it or nothing.

    `values` are those of params.yaml that differ from headstart's own, `own_files` the user's files
    and folders by where they go, `words` those of the README, `study` is the text of
    study/params.yaml, and in `brought` lie the weights that were fetched.
    """
    template = lock.template()
    files = {
        "params.yaml": _parameters(values),
        "dvc.yaml": pipelines.of_project(_read(template / "dvc.yaml"), list(own_files)),
        "study/params.yaml": study,
        "study/dvc.yaml": pipelines.study_of_project(_read(template / "study/dvc.yaml")),
        "README.md": _read(_HERE / "readme.md").format(**words),
        **_IGNORES,
    }
    scripts = [f"stages/{stage}.py" for stage in ("_checkout", *STAGES, "study")]
    copies = {".gitignore": _HERE / "gitignore", **{name: template / name for name in scripts}}
    with _made_whole(folder) as new:
        for name, text in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text, encoding="utf-8")
        shutil.copytree(brought, new / weights.FOLDER)
        for name, original in (copies | own_files).items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if original.is_dir():
                # Links within the folder become the files that they lead to; none leads out
                # (surveyed).
                shutil.copytree(original, new / name, ignore=shutil.ignore_patterns(".*"))
            else:
                shutil.copyfile(original, new / name)
        lock.write(new)
        _initialise(new, template, list(own_files))


@contextlib.contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """Yields a folder beside `folder` that becomes it when all went well, and else goes."""
    folder = folder.absolute()
    new = folder.with_name(f".{folder.name}-{os.getpid()}")
    new.mkdir(parents=True)
    try:
        yield new
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _initialise(folder: Path, template: Path, own_files: Sequence[str]) -> None:
    """Makes `folder` a git repository under DVC, with own files added to DVC."""
    git = shutil.which("git") is not None
    if git:
        dvc.git(folder, "init", "-q", "-b", "main")
    dvc.run(folder, "init", "-q", *([] if git else ["--no-scm"]))
    shutil.copyfile(template / ".dvc/config", folder / ".dvc/config")
    if not git:
        dvc.run(folder, "config", "core.no_scm", "true")
    shutil.copytree(template / ".dvc/plots", folder / ".dvc/plots", dirs_exist_ok=True)
    if own_files:
        dvc.run(folder, "add", "-q", *own_files)
    if git:
        dvc.git(folder, "add", "-A")
        # Without a name and an address git refuses; the first commit is then the user's.
        with contextlib.suppress(UserError):
            dvc.git(folder, "commit", "-q", "--no-verify", "-m", "Begin")
