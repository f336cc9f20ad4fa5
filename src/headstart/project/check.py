"""What a run will do and what would go wrong, said before anything is trained."""

import math
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from headstart.core.errors import UserError, located
from headstart.core.parts import Part
from headstart.data import catalogue, digits, own, raw_data, selection, tasks
from headstart.judging import power
from headstart.learning import features
from headstart.params import reading, sections
from headstart.project import source_network, trainings
from headstart.project.report import Data, Report

# Images that a network from elsewhere is tried on.
_SHOWN_TO_NETWORK = 32
# Of the better model, for what can be seen of a difference: nobody knows it yet.
_ACCURACIES = (0.99, 0.9, 0.7)


def check(root: Path, *, quick: bool = False) -> Report:
    """Returns what the parameters, the data and the environment in `root` come to.

    A `quick` one measures nothing: no time and memory are told, and a network from elsewhere is
    judged by its name or file alone.
    """
    report = surroundings(root)
    first = shutil.which("python")
    if first is None or not Path(first).parent.samefile(Path(sys.executable).parent):
        other = f"the first python on PATH is {first}" if first else "no python is on PATH"
        report.warnings.append(
            f"{other}, this command's is {sys.executable}: a plain `dvc repro` would not start its "
            "stages with that, `headstart run` does"
        )
    settings = report.attempt(reading.load, root / "params.yaml")
    if settings is None:
        return report
    data = report.attempt(_data, root, settings, report)
    if data is None:
        return report
    report.data = data
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
            if not task.names:
                continue
            if not data.counted:
                report.lines.append(f"{where}: about {len(cut)} images")
                continue
            counts = np.bincount(cut, minlength=len(task.names)).tolist()
            shares = ", ".join(f"{n}: {c}" for n, c in zip(task.names, counts, strict=True))
            report.lines.append(f"{where}: {len(cut)} images ({shares})")
            warned = report.attempt(tasks.check_classes, Part(cut, cut), task, where=where)
            report.warnings += warned or []
    _test_images(images["target", "test"], settings.evaluate, report)
    began = time.perf_counter()
    shown = report.attempt(_shown, settings, data, root)
    decoding = time.perf_counter() - began
    _source_network(settings, report, data=data, root=root)
    _budgets(settings, report)
    _disk(report, pixels=math.prod(data.shape), images=sum(images.values()), root=root)
    task_names = zip(("source", "target"), both, strict=True)
    trainings.tell(
        settings,
        report,
        shape=data.shape,
        images=images,
        classes={role: len(task.names) for role, task in task_names},
        shown=shown,
        decoding=decoding,
        root=root,
        measure=not quick,
    )
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


def _data(root: Path, settings: sections.Params, report: Report) -> Data:
    chosen = settings.dataset
    if chosen.path is not None:
        with located("params.yaml: dataset."):
            survey = own.survey(root / chosen.path, classes=chosen.classes)
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
    return Data(classes, aliases, labels, shape, counted)


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


def _shown(settings: sections.Params, data: Data, root: Path) -> np.ndarray | None:
    """Returns some images (n, ...) float32 in [0, 1], None where none are there yet.

    All photographs of one's own are decoded for that, so that damaged ones are told.
    """
    chosen = settings.dataset
    if chosen.path is not None:
        total = sum(map(len, data.labels.values()))
        images = own.sample(
            root / chosen.path, shape=data.shape, images=total, count=_SHOWN_TO_NETWORK
        )
        return raw_data.normalise(images)
    if not (root / selection.RAW / chosen.name).exists():
        return None
    raw = selection.read(chosen, root / selection.RAW)
    images = next(iter(raw.parts.values())).images
    return raw_data.normalise(np.asarray(images[:_SHOWN_TO_NETWORK]), white=raw.white)


def _source_network(settings: sections.Params, report: Report, *, data: Data, root: Path) -> None:
    """Tells what a network from elsewhere is like, as far as its name or file says."""
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


def _budgets(settings: sections.Params, report: Report) -> None:
    baseline, transfer = settings.arms
    if unfair := [key for key in baseline if baseline[key] != transfer[key]]:
        report.warnings.append(
            f"not a fair comparison: {', '.join(unfair)} differ between the arms"
        )


def _disk(report: Report, *, pixels: int, images: int, root: Path) -> None:
    needed, free = 4 * pixels * images / 1e6, shutil.disk_usage(root).free / 1e6
    report.lines.append(f"prepared images take {needed:,.0f} MB on disk, and as much in the cache")
    # The prepared arrays and DVC's copy of them.
    if free < 2 * needed:
        report.problems.append(
            f"{root.resolve()}: {free:,.0f} MB are free, up to {2 * needed:,.0f} MB are needed; "
            "free some disk space"
        )
