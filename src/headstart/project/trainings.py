"""What is told of a run's trainings beforehand: sizes, operations, and how long they take here."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from headstart.judging import cost
from headstart.learning.calls import Call, in_sequence
from headstart.params import networks
from headstart.params.sections import Params
from headstart.project import estimate, source_network, timing
from headstart.project.report import Report
from headstart.reporting import words


def tell(
    settings: Params,
    report: Report,
    *,
    shape: tuple[int, ...],
    images: Mapping[tuple[str, str], int],
    classes: Mapping[str, int],
    shown: np.ndarray | None,
    decoding: float,
    root: Path,
    measure: bool,
) -> None:
    """Adds to `report` what each training is, and what all of them take on this machine.

    Where nothing else stands in the way, steps are measured if asked, which takes some seconds.

    Args:
        settings: Of the project at `root`.
        report: What was found so far.
        shape: Of an image.
        images: Number by task and part, as in ("target", "train").
        classes: Number by task.
        shown: Some images, float32 in [0, 1], for a network from elsewhere.
        decoding: Seconds that decoding all photographs takes.
    """
    layers: dict[str, list[networks.Layer]] = {"source": [], "baseline": [], "transfer": []}
    for name in ["baseline"] if settings.source_training.from_ else layers:
        units = networks.output_units(classes["source" if name == "source" else "target"])
        built = report.attempt(networks.layers, settings.network, shape, units=units)
        if built is None:
            return
        layers[name] = [layer for layer in built if layer.parameters]
    calls: dict[str, Sequence[Call]] = {name: in_sequence(own) for name, own in layers.items()}
    trained = {role: images[role, "train"] for role in ("source", "target")}
    works = report.attempt(cost.works, settings, calls=calls, images=trained)
    if works is None:
        return
    found = None
    if measure and not report.problems:
        found = _measured(
            settings, report, shape=shape, images=trained, classes=classes, shown=shown, root=root
        )
    measured = found.networks if found else {}
    calls |= {name: network.calls for name, network in measured.items()}
    works = cost.works(settings, calls=calls, images=trained)
    for name in filter(works.__contains__, layers):
        counts = None
        if name in measured:
            counts = measured[name].parameters
        elif layers[name]:
            parts = works[name].phases[-1].parts(layers[name])[1], layers[name]
            trains, every = (sum(layer.parameters for layer in some) for some in parts)
            counts = trains, every
        report.lines.append(_training(name, works[name], settings, counts, measured.get(name)))
    if not found:
        return
    report.expected = expected = estimate.estimate(
        settings, found, works, images=images, pixels=math.prod(shape), decoding=decoding
    )
    parts_told = ", ".join(
        f"{part} {duration(seconds)}"
        for part, seconds in expected.seconds.items()
        if seconds >= 0.5
    )
    memory = expected.memory
    most = "" if memory is None else f", up to {memory / 1e6:,.0f} MB of memory"
    report.lines.append(
        f"expected: about {duration(expected.total)} on this machine, without downloads "
        f"({parts_told}){most}"
    )


def _measured(
    settings: Params,
    report: Report,
    *,
    shape: tuple[int, ...],
    images: Mapping[str, int],
    classes: Mapping[str, int],
    shown: np.ndarray | None,
    root: Path,
) -> timing.Found | None:
    """Measures the trainings on this machine; None where that is not possible, with a reason."""
    chosen = settings.source_training
    here = chosen.from_ is None or source_network.weights_are_there(chosen, root)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        first = Path(folder) / "first.npy"
        if shown is not None and chosen.from_ is not None and here:
            np.save(first, shown)
        asked = timing.Asked(
            root=root.resolve(),
            shape=shape,
            classes=dict(classes),
            images=dict(images),
            first=first if first.is_file() else None,
            untrained=not here,
        )
        try:
            found = report.attempt(timing.measure, asked)
        except RuntimeError as error:
            report.warnings.append(f"how long a run takes could not be measured: {error}")
            return None
    if found and found.warning:
        report.warnings.append(found.warning)
    return found


def _training(
    name: str,
    work: cost.Work,
    settings: Params,
    counts: tuple[int, int] | None,
    measured: timing.Measured | None,
) -> str:
    """Returns what there is to say of one training: parameters, updates, operations, seconds."""
    how = f"; {settings.transfer.strategy.words}" if name == "transfer" else ""
    if counts is None:
        return f"{name}: {work.updates:,} updates on top of {settings.source_training.from_}{how}"
    trainable, total = counts
    image = work.per_image
    line = (
        f"{name}: {trainable:,} trainable of {total:,} parameters, {work.updates:,} updates{how}; "
        f"one image: {words.large(image.forward)} FLOPs forward, {words.large(image.step)} in a "
        "training step"
    )
    if measured is None:
        return line
    batch = min(work.batch_size, work.images)
    steps = ", then ".join(_brief(phase.step) for phase in measured.phases)
    return f"{line}; on this machine {steps} a step, {_brief(batch * measured.forward)} forward"


def _brief(seconds: float) -> str:
    value, unit = (seconds, "s") if seconds >= 1 else (1000 * seconds, "ms")
    # Two digits, and no power of ten.
    return f"{float(f'{value:.2g}'):g} {unit}"


def duration(seconds: float) -> str:
    """Returns a time in words, as roughly as it is known."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} second{'s' * (round(seconds) != 1)}"
