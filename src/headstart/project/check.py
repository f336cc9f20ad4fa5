"""What a run will do and what would go wrong, said before anything is trained."""

import math
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError, located
from headstart.core.parts import Part
from headstart.data import catalogue, digits, own, selection, tasks
from headstart.params import networks, reading, sections
from headstart.project import cache
from headstart.transfer import strategies

# Measured on two cores: to start a stage with TensorFlow, an update, and a forward-backward's
# arithmetic. The sum tells minutes from hours, not more.
_STAGE_SECONDS = 6.0


_UPDATE_SECONDS = 0.0007


_FLOPS_A_SECOND = 2e10


_STAGES_WITH_TENSORFLOW = 4


@dataclass
class Report:
    """What there is to say: facts, warnings, and what stops a run."""

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def attempt(self, function: Any, *arguments: Any, **options: Any) -> Any:
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
    report = Report()
    settings = report.attempt(reading.load, root / "params.yaml")
    if settings is None:
        return report
    _environment(root, report)
    found = report.attempt(_data, root, settings, report)
    if found is None:
        return report
    classes, aliases, labels, shape = found
    both = report.attempt(selection.source_and_target, settings.tasks, classes, aliases)
    drawn = report.attempt(selection.draw, settings.dataset, labels)
    if both is None or drawn is None:
        return report
    images = {}
    for role, task in zip(("source", "target"), both, strict=True):
        for name, some in drawn.items():
            _, cut = tasks.positions(np.asarray(labels[some.raw][some.rows]), task)
            counts = np.bincount(cut, minlength=len(task.names)).tolist()
            shares = ", ".join(f"{n}: {c}" for n, c in zip(task.names, counts, strict=True))
            report.lines.append(f"{role} {name}: {len(cut)} images ({shares or 'none'})")
            images[role, name] = len(cut)
            where = f"{role} {name}"
            warned = report.attempt(tasks.check_classes, Part(cut, cut), task, where=where)
            report.warnings += warned or []
    sizes = [len(task.names) for task in both]
    _trainings(settings, report, shape=shape, images=images, classes=sizes, root=root)
    return report


def _environment(root: Path, report: Report) -> None:
    if shutil.which("git") is None:
        report.warnings.append("git is not installed: results cannot be compared with others")
    for name in ("data", "models", "metrics"):
        folder = root / name
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            report.problems.append(f"{folder}: cannot be written to; make it writable (chmod)")
    python = shutil.which("python")
    if python is None or not Path(python).parent.samefile(Path(sys.executable).parent):
        report.warnings.append(
            f"the first python on PATH is {python}, not that of this command ({sys.executable}): "
            "DVC's stages would use it; activate the environment"
        )


def _data(
    root: Path, settings: sections.Params, report: Report
) -> tuple[Sequence[str], Mapping[str, str], Mapping[str, np.ndarray], tuple[int, ...]]:
    """Returns classes, aliases, labels by raw part, and the shape of an image."""
    chosen = settings.dataset
    folder = root / selection.RAW / chosen.name
    if chosen.path is not None:
        with located("params.yaml: dataset."):
            seen = own.survey(root / chosen.path)
        if chosen.classes != "auto" and sorted(chosen.classes) != sorted(seen.classes):
            raise UserError(
                f"params.yaml: dataset.classes: {', '.join(chosen.classes)}; {chosen.path} has "
                f"{', '.join(seen.classes)}"
            )
        classes = seen.classes if chosen.classes == "auto" else list(chosen.classes)
        if len(seen.sizes) > 1 and chosen.image_size == "auto":
            raise UserError(
                f"params.yaml: dataset.image_size: auto, but {chosen.path} has images of "
                f"{len(seen.sizes)} sizes; write [height, width]"
            )
        size = seen.sizes[0] if chosen.image_size == "auto" else chosen.image_size
        shape = (*size, *([] if seen.channels == 1 else [seen.channels]))
        order = np.array([classes.index(name) for name in seen.classes])
        labels = {part: order[numbers] for part, numbers in seen.labels().items()}
        aliases = seen.aliases
    elif folder.exists():
        raw = selection.read(chosen, root / selection.RAW)
        classes, aliases = list(raw.classes), raw.aliases
        labels = {name: part.labels for name, part in raw.parts.items()}
        shape = next(iter(raw.parts.values())).images.shape[1:]
    else:
        if chosen.name == digits.NAME:
            seen = digits.survey()
        else:
            known = catalogue.DATASETS[chosen.name]
            seen = known.survey()
            size_mb = sum(file.bytes for file in known.files) / 1e6
            report.lines.append(f"{chosen.name} is not there yet: {size_mb:.0f} MB will be fetched")
        classes, aliases, labels = list(seen.classes), seen.aliases, seen.labels()
        shape = seen.sizes[0]
    total = sum(map(len, labels.values()))
    pixels = " x ".join(map(str, shape))
    report.lines.append(f"data: {chosen.name}, {total} images of {pixels}, {len(classes)} classes")
    return classes, aliases, labels, shape


def _trainings(
    settings: sections.Params,
    report: Report,
    *,
    shape: tuple[int, ...],
    images: Mapping[tuple[str, str], int],
    classes: Sequence[int],
    root: Path,
) -> None:
    flops, updates = 0.0, 0
    adopted = settings.source_training.from_
    if adopted is not None and not (root / adopted).is_file():
        report.problems.append(f"{adopted}: there is no such file (source_training.from)")
    if not adopted and report.attempt(networks.layers, settings.network, shape, units=1) is None:
        return
    for name, training, role, number in (
        ("source", settings.source_training, "source", classes[0]),
        ("baseline", settings.baseline_training, "target", classes[1]),
        ("transfer", settings.transfer_training, "target", classes[1]),
    ):
        if adopted and name == "source":
            report.lines.append(f"source network: {adopted}; what it cost is unknown")
            continue
        steps = training.epochs * math.ceil(images[role, "train"] / training.batch_size)
        if adopted and name == "transfer":
            report.lines.append(f"transfer: {steps} updates on top of {adopted}")
            updates += steps
            continue
        layers = networks.layers(settings.network, shape, units=sections.output_units(number))
        head, whole = layers[-1].parameters, sum(layer.parameters for layer in layers)
        strategy = settings.transfer.strategy
        frozen = name == "transfer" and strategy in ("frozen", "random_frozen")
        if name == "transfer":
            report.attempt(
                strategies.frozen_epochs,
                strategy,
                training.epochs,
                frozen_fraction=settings.transfer.frozen_fraction,
            )
        trainable = head if frozen else whole
        report.lines.append(
            f"{name}: {trainable:,} trainable of {whole:,} parameters, {steps:,} updates"
        )
        updates += steps
        operations = sum(layer.flops for layer in layers)
        flops += operations * images[role, "train"] * (1 if frozen else 3 * training.epochs)
    seconds = (
        _STAGES_WITH_TENSORFLOW * _STAGE_SECONDS
        + updates * _UPDATE_SECONDS
        + flops / _FLOPS_A_SECOND
    )
    unfair = [key for key, value in settings.arms[0].items() if settings.arms[1][key] != value]
    if unfair:
        report.warnings.append(
            f"not a fair comparison: {', '.join(unfair)} differ between the arms"
        )
    needed = 4 * math.prod(shape) * sum(images.values())
    report.lines.append(
        f"expected: about {_duration(seconds)} on two cores, {needed / 1e6:,.0f} MB"
    )
    free = shutil.disk_usage(root).free
    # The prepared arrays and DVC's copy of them.
    if free < 2 * needed:
        report.problems.append(
            f"{root.resolve()}: {free / 1e6:,.0f} MB are free, up to {2 * needed / 1e6:,.0f} MB "
            "are needed; free some disk space"
        )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def damaged(root: Path) -> tuple[int, list[str]]:
    """Returns how many files DVC's cache holds, and what mends each that is damaged.

    DVC names a file by the MD5 of its bytes and does not look again: what a disk damages without
    changing its date is handed out as it is.
    """
    found, count = cache.damaged(root)
    return count, [_mended(root, damage) for damage in found]


def _mended(root: Path, damage: cache.Damage) -> str:
    """Returns what is damaged, and the command that mends it without a chance to lose more."""
    path = shlex.quote(str(damage.path))
    if not damage.outputs:
        return f"{damage.path}: is damaged, a file of another commit: rm -f {path}"
    out = root / damage.outputs[0]
    if out.is_file() and artefacts.md5(out) == damage.path.parent.name + damage.path.name:
        return f"{damage.path}: is damaged, {out} is not: cp -f {shlex.quote(str(out))} {path}"
    return (
        f"{damage.path}: is damaged ({', '.join(damage.outputs)}): rm -f {path}, then `dvc pull` "
        "where a remote has it, else `dvc repro --force`"
    )
