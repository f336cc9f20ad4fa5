"""The figures of a run, drawn once for DVC, MLflow and HTML alike."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.judging import calibration, scores
from headstart.judging.answers import ARMS, Answers, per_class
from headstart.reporting.style import COLOURS, Picture, new_figure, write_png
from headstart.reporting.tables import thinned
from headstart.reporting.words import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME_LENGTH = 16
_FILE_LENGTH = 28
_IMAGES_A_ROW = 4


def learning_curves(history: Sequence[Mapping[str, Any]]) -> "Figure":
    """Returns loss and accuracy by epoch, both arms on one chart, validation solid.

    `history` are rows of metrics/history.csv, numbers or text; other arms are left out.
    """
    from matplotlib.ticker import MaxNLocator

    with new_figure(9, 3.8) as figure:
        for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for arm in ARMS:
                rows = [row for row in history if row["arm"] == arm]
                epochs = [int(row["epoch"]) for row in rows]
                parts = (metric, "--", "training"), (f"val_{metric}", "-", "validation")
                for column, line, label in parts:
                    axes.plot(
                        epochs,
                        [_float(row[column]) for row in rows],
                        line,
                        color=COLOURS[arm],
                        # One epoch makes no line: the marker is all that shows.
                        marker="o" if len(rows) < 20 else None,
                        markersize=3.5,
                        label=f"{arm}, {label}",
                    )
            axes.set(xlabel="epoch", title=f"{metric} of the target task")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.25)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def confusion_matrices(answers: Answers, *, classes: Sequence[str]) -> "Figure":
    """Returns both arms' confusion matrices side by side, with counts."""
    from sklearn.metrics import confusion_matrix

    size, names = len(classes), [_short(name) for name in classes]
    panel = max(3.0, 0.62 * size + 1.2)
    with new_figure(2 * panel + 1, panel + 0.6) as figure:
        for axes, arm in zip(figure.subplots(1, 2), ARMS, strict=True):
            counts = confusion_matrix(answers.actual, answers.classes[arm], labels=range(size))
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", color=colour)
            right = int(np.trace(counts))
            axes.set_title(f"{arm}: {right} of {counts.sum()} right", color=COLOURS[arm])
            axes.set_xticks(range(size), names, rotation=45 if size > 3 else 0)
            axes.set_yticks(range(size), names)
            axes.set(xlabel="answered", ylabel="actual")
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
    return figure


def accuracy_by_class(answers: Answers, *, classes: Sequence[str], confidence: float) -> "Figure":
    """Returns both arms' accuracy on the images of each class, with Wilson intervals."""
    counts = _by_class(answers, classes)
    with new_figure(8.4, 0.45 * len(classes) + 1.6) as figure:
        axes = figure.subplots()
        for offset, (arm, pairs) in zip((-0.13, 0.13), counts.items(), strict=True):
            # A class without test images has a line of its own, and nothing on it.
            for place, (right, total) in enumerate(pairs):
                if total:
                    ends = scores.wilson(right, total, confidence=confidence)
                    axes.plot(ends, [place + offset] * 2, color=COLOURS[arm])
                    axes.plot(right / total, place + offset, "o", color=COLOURS[arm])
            axes.plot([], [], "o-", color=COLOURS[arm], label=arm)
        totals = [total for _, total in counts[ARMS[0]]]
        names = [f"{_short(name)} ({total})" for name, total in zip(classes, totals, strict=True)]
        axes.set_yticks(range(len(classes)), names)
        # The first class on top, as in the confusion matrices.
        axes.set(ylim=(len(classes) - 0.5, -0.5), xlabel=f"accuracy, {confidence:.0%} interval")
        axes.grid(axis="x", alpha=0.25)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def reliability(answers: Answers, *, confidence: float) -> "Figure":
    """Returns both arms' reliability diagrams: bins of equal counts, with Wilson intervals.

    Below each stand the images of its bins.
    """
    with new_figure(8.4, 4.6) as figure:
        panels = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[4, 1])
        for (axes, below), arm in zip(panels.T, ARMS, strict=True):
            binned = calibration.bins(answers.actual, answers.probabilities[arm])
            error = number(calibration.calibration_error(binned), "{:.4f}")
            axes.axline((1, 1), slope=1, linestyle=":", color="grey", linewidth=1)
            for own in binned:
                ends = scores.wilson(own.right, own.images, confidence=confidence)
                axes.plot([own.confidence] * 2, ends, color=COLOURS[arm], linewidth=1)
                axes.plot(own.confidence, own.right / own.images, "o", color=COLOURS[arm])
                below.plot([own.confidence] * 2, [0, own.images], color=COLOURS[arm], linewidth=3)
            axes.set_title(f"{arm}: calibration error {error}", color=COLOURS[arm])
            axes.grid(alpha=0.25)
            below.set_xlabel("how sure: probability of the answer")
        panels[0, 0].set_ylabel(f"share right, {confidence:.0%} interval")
        panels[1, 0].set(ylabel="images", ylim=(0, None))
    return figure


def roc(answers: Answers) -> "Figure":
    """Returns both arms' ROC curves, whole and enlarged at the upper left corner.

    Three or more classes: the macro mean of one-vs-rest. An undefined curve is named as such.
    """
    with new_figure(8.4, 4.4) as figure:
        panels = figure.subplots(1, 2)
        for arm, probabilities in answers.probabilities.items():
            area = scores.auc(answers.actual, probabilities)
            false, true = thinned(*scores.roc_curve(answers.actual, probabilities))
            label = f"{arm} (area {area:.4f})" if area is not None else f"{arm} (undefined)"
            for axes in panels:
                axes.plot(false, true, color=COLOURS[arm], label=label)
        for axes in panels:
            axes.plot([0, 1], [0, 1], ":", color="grey", linewidth=1, label="chance")
            axes.set(xlabel="false positive rate", ylabel="true positive rate")
            axes.grid(alpha=0.25)
        panels[0].set(title="ROC on the test images", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        panels[1].set(title="its upper left corner", xlim=(-0.004, 0.2), ylim=(0.8, 1.004))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def mistakes(answers: Answers, *, limit: int) -> np.ndarray:
    """Returns the images to show, int64 indices: both arms wrong first, then one, by index."""
    wrong = np.sum([own != answers.actual for own in answers.classes.values()], axis=0)
    places = [np.flatnonzero(wrong == count) for count in (2, 1)]
    return np.concatenate(places)[:limit].astype(np.int64)


def misclassified(
    images: np.ndarray,
    answers: Answers,
    *,
    chosen: np.ndarray,
    classes: Sequence[str],
    files: Sequence[str] = (),
) -> "Figure":
    """Returns the chosen images with file, actual class and what both arms answered.

    `images` are (n, height, width) or (n, height, width, channels), float in [0, 1]; `chosen` are
    the indices of those to show, as `mistakes` gives them; `files` are what the images were, none
    where they were no files.
    """
    if not len(chosen):
        with new_figure(9, 1.2) as figure:
            figure.text(0.5, 0.5, "Both arms answer every test image right.", ha="center")
        return figure
    rows = math.ceil(len(chosen) / _IMAGES_A_ROW)
    height, size = (3.4, 9) if files else (3.1, 10)
    with new_figure(9, height * rows) as figure:
        panels = figure.subplots(rows, _IMAGES_A_ROW, squeeze=False).reshape(-1)
        for axes in panels[len(chosen) :]:
            axes.set_axis_off()
        for axes, index in zip(panels, chosen, strict=False):
            axes.set(xticks=[], yticks=[])
            # Unseen: it reserves the room for the two answers below the image.
            axes.set_xlabel("x\nx\nx", color="none")
            axes.spines[:].set_visible(False)
            image = np.asarray(images[index])
            grey = image.ndim == 2 or image.shape[-1] == 1
            pixels = image.reshape(image.shape[:2]) if grey else image
            axes.imshow(pixels, cmap="gray" if grey else None, vmin=0, vmax=1)
            title = f"actual: {_short(classes[answers.actual[index]])}"
            axes.set_title(f"{_file(files[index])}\n{title}" if files else title, fontsize=size)
            for line, (arm, probabilities) in enumerate(answers.probabilities.items()):
                answer = answers.classes[arm][index]
                sure = float(per_class(probabilities[index : index + 1])[0, answer])
                wrong = answer != answers.actual[index]
                mark, weight = ("✗", "bold") if wrong else ("✓", "normal")
                text = f"{mark} {arm}: {_short(classes[answer])} {number(sure, '{:.0%}')}"
                look = {"color": COLOURS[arm], "fontsize": 9, "fontweight": weight}
                place = {"ha": "center", "va": "top", "transform": axes.transAxes}
                axes.text(0.5, -0.06 - 0.12 * line, text, **look, **place)
    return figure


def draw(
    folder: Path,
    history: Sequence[Mapping[str, Any]],
    images: np.ndarray,
    answers: Answers,
    *,
    classes: Sequence[str],
    confidence: float,
    files: Sequence[str] = (),
    limit: int = 12,
) -> list[Picture]:
    """Writes the figures as PNG into `folder` and returns them with their words.

    The files: learning_curves.png, confusion_matrices.png, accuracy_by_class.png, roc.png,
    reliability.png, misclassified.png. At most `limit` misclassified `images` are shown; the other
    arguments are those of the figures.
    """
    chosen = mistakes(answers, limit=limit)
    areas = ", ".join(
        f"{arm} {number(scores.auc(answers.actual, own), '{:.4f}')}"
        for arm, own in answers.probabilities.items()
    )
    drawn = {
        "learning_curves": ("Learning curves", learning_curves(history), _curves_in_words(history)),
        "confusion_matrices": (
            "Confusion matrices",
            confusion_matrices(answers, classes=classes),
            " ".join(_mistakes_in_words(arm, answers, classes) for arm in ARMS),
        ),
        "accuracy_by_class": (
            "Accuracy by class",
            accuracy_by_class(answers, classes=classes, confidence=confidence),
            _classes_in_words(answers, classes),
        ),
        "roc": ("ROC curves", roc(answers), f"ROC curves. Area under the curve: {areas}."),
        "reliability": (
            "Reliability",
            reliability(answers, confidence=confidence),
            " ".join(_sureness_in_words(arm, answers) for arm in ARMS),
        ),
        "misclassified": (
            "Misclassified images",
            misclassified(images, answers, chosen=chosen, classes=classes, files=files),
            _chosen_in_words(chosen, answers, classes, files),
        ),
    }
    captions = {
        "reliability": "Answers in bins of equal counts, by how sure the model was. On the dotted "
        "line it is right as often as it says; above it, more often. Below: the images in a bin.",
    }
    if files:
        captions["misclassified"] = "metrics/mistakes.csv lists all of them with their files."
    pictures = []
    for name, (title, figure, alt) in drawn.items():
        path = folder / f"{name}.png"
        write_png(path, figure)
        pictures.append(Picture(title, path.read_bytes(), alt, captions.get(name, "")))
    return pictures


def _curves_in_words(history: Sequence[Mapping[str, Any]]) -> str:
    ends = {row["arm"]: row for row in history if row["arm"] in ARMS}
    return "Loss and accuracy by epoch. Validation accuracy at the end: " + ", ".join(
        f"{arm} {number(_float(row['val_accuracy']), '{:.4f}')} at epoch {row['epoch']}"
        for arm, row in ends.items()
    )


def _mistakes_in_words(arm: str, answers: Answers, classes: Sequence[str]) -> str:
    actual, answered = np.asarray(answers.actual), answers.classes[arm]
    right = int((answered == actual).sum())
    text = f"{arm.capitalize()}: {right} of {len(actual)} right"
    if right == len(actual):
        return f"{text}."
    wrong = np.flatnonzero(answered != actual)
    pairs, counts = np.unique(
        np.stack([actual[wrong], answered[wrong]], axis=1), axis=0, return_counts=True
    )
    commonest = int(np.argmax(counts))
    is_, taken_for = (classes[number] for number in pairs[commonest])
    return f"{text}; the commonest mistake, {counts[commonest]} times: {is_} taken for {taken_for}."


def _by_class(answers: Answers, classes: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    return {
        arm: scores.right_by_class(answers.actual, own, classes=len(classes))
        for arm, own in answers.classes.items()
    }


def _classes_in_words(answers: Answers, classes: Sequence[str]) -> str:
    counts = _by_class(answers, classes)
    return "Accuracy by class. " + " ".join(
        f"{name}: "
        + ", ".join(f"{arm} {own[at][0]} of {own[at][1]} right" for arm, own in counts.items())
        + "."
        for at, name in enumerate(classes)
    )


def _sureness_in_words(arm: str, answers: Answers) -> str:
    binned = calibration.bins(answers.actual, answers.probabilities[arm])
    if not binned:
        return f"{arm.capitalize()}: probabilities that are no numbers."
    images, right = len(answers.actual), sum(own.right for own in binned)
    sure = math.fsum(own.images * own.confidence for own in binned) / images
    return (
        f"{arm.capitalize()}: right in {right / images:.1%} of its answers, and on average "
        f"{sure:.1%} sure; calibration error {calibration.calibration_error(binned):.4f}."
    )


def _chosen_in_words(
    chosen: np.ndarray, answers: Answers, classes: Sequence[str], files: Sequence[str]
) -> str:
    if not len(chosen):
        return "Both arms answer every test image right."
    baseline, transfer = answers.classes.values()
    return f"{len(chosen)} test images that at least one arm misses. " + " ".join(
        f"A {classes[answers.actual[index]]}{f' ({files[index]})' if files else ''}: "
        f"baseline says {classes[baseline[index]]}, transfer says {classes[transfer[index]]}."
        for index in chosen
    )


def _short(name: str) -> str:
    """Returns a class name that leaves room for the figure."""
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def _file(path: str) -> str:
    """Returns the end of a file's path, which tells most, as far as it fits above an image."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in path
    )
    return shown if len(shown) <= _FILE_LENGTH else f"…{shown[1 - _FILE_LENGTH :]}"


def _float(value: Any) -> float:
    return math.nan if value in (None, "") else float(value)
