"""What a run will do and what would go wrong, said before anything is trained."""

import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from headstart.core.errors import UserError, located
from headstart.core.parts import Part
from headstart.data import catalogue, digits, own, selection, tasks
from headstart.judging import cost, power
from headstart.learning import features
from headstart.learning.calls import in_sequence
from headstart.params import networks, reading, sections
from headstart.project import source_network

Given = ParamSpec("Given")
Made = TypeVar("Made")

# Measured on two cores: to start a stage with TensorFlow, an update, and a forward-backward's
# arithmetic. The sum tells minutes from hours, not more.
_STAGE_SECONDS = 6.0
_UPDATE_SECONDS = 0.0007
_FLOPS_A_SECOND = 2e10
_STAGES_WITH_TENSORFLOW = 4
# Images of one's own that a network from elsewhere is tried on.
_SHOWN_TO_NETWORK = 32
# Of the better model, for what can be seen of a difference: nobody knows it yet.
_ACCURACIES = (0.99, 0.9, 0.7)


@dataclass
class Report:
    """What there is to say: facts, warnings, and what stops a run; and the shape of an image."""

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = ()

    def attempt(
        self, function: Callable[Given, Made], *arguments: Given.args, **options: Given.kwargs
    ) -> Made | None:
        """Returns what `function` does; what it refuses becomes a problem and None."""
        try:
            with located("params.yaml: "):
                return function(*arguments, **options)
        except UserError as error:
            self.problems.append(str(error))
        except OSError as error:
            self.problems.append(f"{error.filename or ''}: {error.strerror or error}")
        return None


def check(root: Path) -> Report:
    """Returns what the parameters, the data and the environment in `root` come to."""
    report = surroundings(root)
    first = shutil.which("python")
    if first is None or not Path(first).parent.samefile(Path(sys.executable).parent):
        report.warnings.append(
            f"the first python on PATH is {first}, not that of this command ({sys.executable}): a "
            "plain `dvc repro` would start its stages with it; `headstart run` does not"
        )
    settings = report.attempt(reading.load, root / "params.yaml")
    if settings is None:
        return report
    data = report.attempt(_data, root, settings, report)
    if data is None:
        return report
    report.shape = data.shape
    both = report.attempt(selection.source_and_target, settings.tasks, data.classes, data.aliases)
    drawn = report.attempt(selection.draw, settings.dataset, data.labels)
    if both is None or drawn is None:
        return report
    images = {}
    for role, task in zip(("source", "target"), both, strict=True):
        for name, some in drawn.items():
            _, cut = tasks.positions(np.asarray(data.labels[some.raw][some.rows]), task)
            where = f"{role} {name}"
            images[role, name] = len(cut)
            if not data.counted:
                report.lines.append(f"{where}: about {len(cut)} images")
                continue
            counts = np.bincount(cut, minlength=len(task.names)).tolist()
            shares = ", ".join(f"{n}: {c}" for n, c in zip(task.names, counts, strict=True))
            report.lines.append(f"{where}: {len(cut)} images ({shares or 'none'})")
            warned = report.attempt(tasks.check_classes, Part(cut, cut), task, where=where)
            report.warnings += warned or []
    _test_images(images["target", "test"], settings.evaluate, report)
    _images_and_network(settings, report, data=data, root=root)
    source, target = (len(task.names) for task in both)
    classes = {"source": source, "baseline": target, "transfer": target}
    _trainings(settings, report, shape=data.shape, images=images, classes=classes, root=root)
    if disk_use := features.disk_use(root):
        report.lines.append(disk_use)
    return report


def surroundings(root: Path) -> Report:
    """Returns what is amiss around the project: git, and folders that cannot be written to."""
    report = Report()
    if shutil.which("git") is None:
        report.warnings.append("git is not installed: results cannot be compared with others")
    for name in ("data", "models", "metrics"):
        folder = root / name
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            report.problems.append(f"{folder}: cannot be written to; make it writable (chmod)")
    return report


@dataclass(frozen=True)
class _Data:
    """The images of a project, as far as is known before they are prepared.

    `labels` is by raw part. Where they are not `counted`, only their number is right.
    """

    classes: Sequence[str]
    aliases: Mapping[str, str]
    labels: Mapping[str, np.ndarray]
    shape: tuple[int, ...]
    counted: bool


def _data(root: Path, settings: sections.Params, report: Report) -> _Data:
    chosen = settings.dataset
    if chosen.path is not None:
        with located("params.yaml: dataset."):
            survey = own.survey(root / chosen.path)
        if chosen.classes != "auto" and sorted(chosen.classes) != sorted(survey.classes):
            raise UserError(
                f"params.yaml: dataset.classes: {', '.join(chosen.classes)}; {chosen.path} has "
                f"{', '.join(survey.classes)}"
            )
        if len(survey.sizes) > 1 and chosen.image_size == "auto":
            raise UserError(
                f"params.yaml: dataset.image_size: auto, but {chosen.path} has images of "
                f"{len(survey.sizes)} sizes; write [height, width]"
            )
        classes = survey.classes if chosen.classes == "auto" else list(chosen.classes)
        order = np.array([classes.index(name) for name in survey.classes])
        labels = {part: order[numbers] for part, numbers in survey.labels().items()}
        size = survey.sizes[0] if chosen.image_size == "auto" else chosen.image_size
        shape = (*size, *([] if survey.channels == 1 else [survey.channels]))
        aliases, counted = survey.aliases, True
    elif (root / selection.RAW / chosen.name).exists():
        raw = selection.read(chosen, root / selection.RAW)
        classes, aliases, counted = list(raw.classes), raw.aliases, True
        labels = {name: part.labels for name, part in raw.parts.items()}
        shape = next(iter(raw.parts.values())).images.shape[1:]
    else:
        published = catalogue.DATASETS.get(chosen.name)
        survey = published.survey() if published else digits.survey()
        if published:
            megabytes = sum(file.limit for file in published.files) / 1e6
            report.lines.append(f"{chosen.name} is not there yet: {megabytes:.0f} MB to fetch")
        classes, aliases, labels = list(survey.classes), survey.aliases, survey.labels()
        shape, counted = survey.sizes[0], survey.counts is not None
    if not counted:
        report.lines.append("how many images each class has is known once `download` has run")
    total = sum(map(len, labels.values()))
    pixels = " x ".join(map(str, shape))
    report.lines.append(f"data: {chosen.name}, {total} images of {pixels}, {len(classes)} classes")
    return _Data(classes, aliases, labels, shape, counted)


def _test_images(images: int, rules: sections.Evaluate, report: Report) -> None:
    """Tells what the verdict can see with so many test images, before anything is trained."""
    if not images:
        return
    seen = {
        accuracy: power.visible_difference(images, accuracy=accuracy, alpha=rules.alpha)
        for accuracy in _ACCURACIES
    }
    told = ", ".join(
        f"{'none' if least is None else f'{least:.3f}'} at {accuracy:g}"
        for accuracy, least in seen.items()
    )
    report.lines.append(
        f"{images} target test images: the least difference that the verdict sees in "
        f"{power.POWER:.0%} of all cases, by the accuracy of the better model: {told} (errors that "
        "fall independently)"
    )
    if not rules.margin or rules.alpha >= 0.5:
        return
    within = f"`equivalent` (evaluate.margin {rules.margin:g})"
    most = power.most_discordant(images, alpha=rules.alpha, margin=rules.margin)
    if most is None:
        fewest = power.fewest_images(alpha=rules.alpha, margin=rules.margin)
        report.lines.append(
            f"{within} cannot be reached: it takes {fewest} test images or more, and models that "
            "are right and wrong on the same ones"
        )
    else:
        report.lines.append(
            f"{within} can be reached: with at most {most} answers, evenly split, that one model "
            "alone has right"
        )


def _images_and_network(
    settings: sections.Params, report: Report, *, data: _Data, root: Path
) -> None:
    """Decodes all photographs, looks into a network from elsewhere and shows it some of them."""
    first: list[np.ndarray] = []

    def decode(path: Path) -> None:
        # Spread over all, since they are ordered by file and class.
        every = max(sum(map(len, data.labels.values())) // _SHOWN_TO_NETWORK, 1)
        for number, image in enumerate(own.decoded(path, shape=data.shape)):
            if number % every == 0 and len(first) < _SHOWN_TO_NETWORK:
                first.append(image)

    if settings.dataset.path is not None:
        report.attempt(decode, root / settings.dataset.path)
    chosen = settings.source_training
    if chosen.from_ is None:
        return
    told = report.attempt(source_network.told, chosen, root, data.shape)
    if told is None:
        return
    report.lines += told[0]
    report.warnings += told[1]
    if not source_network.weights_are_there(chosen, root):
        report.lines.append(f"{chosen.from_} is not there yet: `download` fetches it")
        return
    if "keras" not in sys.modules:
        from headstart.core import runtime

        runtime.fix(settings.seed)
    from headstart.learning import pretrained

    adopted = report.attempt(pretrained.adopt_as, chosen, root=root, image_shape=data.shape)
    if adopted and first:
        pixels = np.stack(first).astype(np.float32) / 255
        if amiss := pretrained.features_warning(adopted.backbone, pixels):
            report.warnings.append(f"{chosen.from_}: {amiss}")


def _trainings(
    settings: sections.Params,
    report: Report,
    *,
    shape: tuple[int, ...],
    images: Mapping[tuple[str, str], int],
    classes: Mapping[str, int],
    root: Path,
) -> None:
    adopted = settings.source_training.from_
    layers: dict[str, list[networks.Layer]] = {"source": [], "baseline": [], "transfer": []}
    for name in ["baseline"] if adopted else layers:
        units = networks.output_units(classes[name])
        built = report.attempt(networks.layers, settings.network, shape, units=units)
        if built is None:
            return
        layers[name] = [layer for layer in built if layer.parameters]
    works = report.attempt(
        cost.works,
        settings,
        calls={name: in_sequence(own) for name, own in layers.items()},
        images={role: images[role, "train"] for role in ("source", "target")},
    )
    if works is None:
        return
    for name in filter(works.__contains__, layers):
        work = works[name]
        how = f"; {settings.transfer.strategy.words}" if name == "transfer" else ""
        if not layers[name]:
            report.lines.append(f"{name}: {work.updates:,} updates on top of {adopted}{how}")
            continue
        _, trained = work.phases[-1].parts(layers[name])
        report.lines.append(
            f"{name}: {sum(layer.parameters for layer in trained):,} trainable of "
            f"{sum(layer.parameters for layer in layers[name]):,} parameters, "
            f"{work.updates:,} updates{how}"
        )
    seconds = _STAGES_WITH_TENSORFLOW * _STAGE_SECONDS + sum(
        w.updates * _UPDATE_SECONDS + w.flops / _FLOPS_A_SECOND for w in works.values()
    )
    baseline, transfer = settings.arms
    if unfair := [key for key in baseline if baseline[key] != transfer[key]]:
        report.warnings.append(
            f"not a fair comparison: {', '.join(unfair)} differ between the arms"
        )
    needed = 4 * math.prod(shape) * sum(images.values()) / 1e6
    report.lines.append(f"expected: about {_duration(seconds)} on two cores, {needed:,.0f} MB")
    free = shutil.disk_usage(root).free / 1e6
    # The prepared arrays and DVC's copy of them.
    if free < 2 * needed:
        report.problems.append(
            f"{root.resolve()}: {free:,.0f} MB are free, up to {2 * needed:,.0f} MB are needed; "
            "free some disk space"
        )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
