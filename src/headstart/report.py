"""Figures, the terminal table and the page, drawn once for DVC, MLflow and HTML alike."""

import base64
import contextlib
import dataclasses
import json
import math
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from headstart import evaluation
from headstart.artefacts import replacing, write_json, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS = ("baseline", "transfer")
# Okabe and Ito's colours can be told apart with any colour vision, and in grey.
COLOURS = {"baseline": "#0072B2", "transfer": "#D55E00", "source": "#009E73"}
# A curve of more points than this looks no different on paper or screen.
_ROC_POINTS = 200
_NAME_LENGTH = 16
# Label, and cells by arm.
Row = tuple[str, dict[str, str]]
_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "figure.dpi": 110,
    "font.size": 10,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "lines.linewidth": 1.8,
    # A dollar in a class name is a dollar.
    "text.parse_math": False,
}


def learning_curves(history: Sequence[Mapping[str, Any]]) -> "Figure":
    """Returns loss and accuracy by epoch, both arms on one chart, validation solid.

    Args:
        history: rows of metrics/history.csv, numbers or text; arms other than the two are left out.
    """
    from matplotlib.ticker import MaxNLocator

    with _figure(9, 3.8) as figure:
        for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for arm in ARMS:
                rows = [row for row in history if row["arm"] == arm]
                epochs = [int(row["epoch"]) for row in rows]
                for column, line, label in (
                    (metric, "--", "training"),
                    (f"val_{metric}", "-", "validation"),
                ):
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


def confusion_matrices(
    actual: np.ndarray, baseline: np.ndarray, transfer: np.ndarray, *, classes: Sequence[str]
) -> "Figure":
    """Returns both arms' confusion matrices side by side, with counts.

    Args:
        actual: classes from 0, int (n,); so are the answers of both arms.
        baseline: see above.
        transfer: see above.
        classes: names by number.
    """
    size, names = len(classes), [_short(name) for name in classes]
    panel = max(3.0, 0.62 * size + 1.2)
    with _figure(2 * panel + 1, panel + 0.6) as figure:
        for axes, arm, answered in zip(
            figure.subplots(1, 2), ARMS, (baseline, transfer), strict=True
        ):
            counts = np.zeros((size, size), dtype=np.int64)
            np.add.at(counts, (np.asarray(actual), np.asarray(answered)), 1)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
            for (row, column), count in np.ndenumerate(counts):
                axes.text(
                    column,
                    row,
                    f"{count}",
                    ha="center",
                    va="center",
                    color="white" if shares[row, column] > 0.55 else "black",
                )
            right = int(np.trace(counts))
            axes.set_title(f"{arm}: {right} of {counts.sum()} right", color=COLOURS[arm])
            axes.set_xticks(range(size), names, rotation=45 if size > 3 else 0)
            axes.set_yticks(range(size), names)
            axes.set(xlabel="answered", ylabel="actual")
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
    return figure


def roc(
    actual: np.ndarray, baseline_probabilities: np.ndarray, transfer_probabilities: np.ndarray
) -> "Figure":
    """Returns both arms' ROC curves, whole and enlarged at the upper left corner.

    Three or more classes: the macro mean of one-vs-rest. An undefined curve is named as such.

    Args:
        actual: classes from 0, int (n,).
        baseline_probabilities: float (n,), (n, 1) or (n, k); so are the other arm's.
        transfer_probabilities: see above.
    """
    arms = zip(ARMS, (baseline_probabilities, transfer_probabilities), strict=True)
    with _figure(8.4, 4.4) as figure:
        panels = figure.subplots(1, 2)
        for arm, probabilities in arms:
            area = evaluation.auc(actual, probabilities)
            false, true = _thinned(*evaluation.roc_curve(actual, probabilities))
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


def misclassified(
    images: np.ndarray,
    actual: np.ndarray,
    baseline_probabilities: np.ndarray,
    transfer_probabilities: np.ndarray,
    *,
    chosen: np.ndarray,
    classes: Sequence[str],
) -> "Figure":
    """Returns the chosen images with the actual class and what both arms answered.

    Args:
        images: (n, height, width) or (n, height, width, channels), float in [0, 1].
        actual: classes from 0, int (n,).
        baseline_probabilities: float (n,), (n, 1) or (n, k); so are the other arm's.
        transfer_probabilities: see above.
        chosen: indices of the images to show, as `evaluation.misclassified` gives them.
        classes: names by number.
    """
    columns = 4
    rows = max(1, math.ceil(len(chosen) / columns))
    if not len(chosen):
        with _figure(9, 1.2) as figure:
            figure.text(0.5, 0.5, "Both arms answer every test image right.", ha="center")
        return figure
    with _figure(9, 3.1 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
        for axes in panels[len(chosen) :]:
            axes.set_axis_off()
        for axes, index in zip(panels, chosen, strict=False):
            axes.set(xticks=[], yticks=[])
            # Unseen: it reserves the room for the two answers below the image.
            axes.set_xlabel("x\nx\nx", color="none")
            axes.spines[:].set_visible(False)
            image = np.asarray(images[index])
            grey = image.ndim == 2 or image.shape[-1] == 1
            axes.imshow(
                image.reshape(image.shape[:2]) if grey else image,
                cmap="gray" if grey else None,
                vmin=0,
                vmax=1,
            )
            axes.set_title(f"actual: {_short(classes[actual[index]])}", fontsize=10)
            for line, (arm, probabilities) in enumerate(
                zip(ARMS, (baseline_probabilities, transfer_probabilities), strict=True)
            ):
                answer, probability = _answer(probabilities, int(index))
                wrong = answer != actual[index]
                axes.text(
                    0.5,
                    -0.06 - 0.12 * line,
                    f"{'✗' if wrong else '✓'} {arm}: {_short(classes[answer])} "
                    f"{_text(probability, '{:.0%}')}",
                    color=COLOURS[arm],
                    fontsize=9,
                    fontweight="bold" if wrong else "normal",
                    ha="center",
                    va="top",
                    transform=axes.transAxes,
                )
    return figure


def write_png(path: Path, figure: "Figure") -> None:
    """Writes `figure` to `path`; equal figures give equal bytes."""
    with _style(), replacing(path) as part, warnings.catch_warnings():
        # A class name in letters that the font lacks is drawn as boxes; the page has it in words.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        # Left in, the name and version of the library would change the bytes with it.
        figure.savefig(part, format="png", metadata={"Software": None})


def write_tables(
    folder: Path,
    *,
    record: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    actual: np.ndarray,
    baseline_probabilities: np.ndarray,
    transfer_probabilities: np.ndarray,
) -> None:
    """Writes metrics.json, history.csv, predictions.csv and roc.csv into `folder`.

    Args:
        folder: made if missing.
        record: what metrics.json holds.
        history: rows of history.csv.
        actual: classes from 0, int (n,).
        baseline_probabilities: float (n,), (n, 1) or (n, k); so are the other arm's.
        transfer_probabilities: see above.
    """
    arms = baseline_probabilities, transfer_probabilities
    write_json(folder / "metrics.json", record)
    write_table(folder / "history.csv", history)
    write_table(folder / "predictions.csv", evaluation.prediction_rows(actual, *arms))
    write_table(folder / "roc.csv", roc_rows(actual, *arms))


def roc_rows(
    actual: np.ndarray, baseline_probabilities: np.ndarray, transfer_probabilities: np.ndarray
) -> list[dict[str, Any]]:
    """Returns the rows of metrics/roc.csv, at most 200 an arm, rates to six digits.

    An arm whose curve is undefined (a class without test images) has one row without rates.
    """
    rows: list[dict[str, Any]] = []
    for arm, probabilities in zip(
        ARMS, (baseline_probabilities, transfer_probabilities), strict=True
    ):
        false, true = _thinned(*evaluation.roc_curve(actual, probabilities))
        points: list[tuple[float | None, float | None]] = [
            (round(float(x), 6), round(float(y), 6)) for x, y in zip(false, true, strict=True)
        ]
        rows += [
            {"arm": arm, "false_positive_rate": x, "true_positive_rate": y}
            for x, y in points or [(None, None)]
        ]
    return rows


def summary(
    record: Mapping[str, Any],
    *,
    reason: str,
    test_images: Mapping[str, int],
    confidence: float,
    unfair: Sequence[str] = (),
    file: TextIO | None = None,
) -> None:
    """Prints the record as a short table, warnings, and the verdict in a sentence.

    Fits 80 columns, and any terminal, pipe or encoding: what cannot be encoded is escaped.

    Args:
        record: what metrics/metrics.json holds.
        reason: the prose behind the verdict.
        test_images: how many, by arm (baseline, transfer, source).
        confidence: of the intervals.
        unfair: the differences between the arms, from `evaluation.fairness`.
        file: where to print, standard output if None.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = file if file is not None else sys.stdout
    console = Console(file=out, highlight=False, soft_wrap=False)

    def say(text: str, style: str = "") -> None:
        console.print(Text(encodable(text), style=style))

    def encodable(text: str) -> str:
        encoding = getattr(out, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    arms = arms_in(record)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("on the test images")
    for arm in arms:
        table.add_column(arm, justify="right")
    scores = score_rows(record, test_images=test_images, confidence=confidence)
    for label, cells in [*scores, *cost_rows(record)]:
        table.add_row(encodable(label), *(encodable(cells.get(arm, "")) for arm in arms))
    console.print(table)
    say(gain_sentence(record["comparison"], confidence=confidence))
    for difference in unfair:
        say(f"warning: not a fair comparison: {difference}", "bold yellow")
    if not record["comparison"].get("fair", True) and not unfair:
        say("warning: not a fair comparison", "bold yellow")
    console.print()
    say(verdict_sentence(record["comparison"]["verdict"]), "bold")
    say(reason)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG for the page, with a heading and what it shows in words."""

    title: str
    png: bytes
    alt: str

    @property
    def base64(self) -> str:
        """The PNG as text."""
        return base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """The width in pixels."""
        return int(struct.unpack(">I", self.png[16:20])[0])

    @property
    def height(self) -> int:
        """The height in pixels."""
        return int(struct.unpack(">I", self.png[20:24])[0])


def draw(
    folder: Path,
    *,
    history: Sequence[Mapping[str, Any]],
    images: np.ndarray,
    actual: np.ndarray,
    baseline_probabilities: np.ndarray,
    transfer_probabilities: np.ndarray,
    classes: Sequence[str],
    limit: int = 12,
) -> list[Picture]:
    """Writes the four figures as PNG into `folder` and returns them with their words.

    The files: learning_curves.png, confusion_matrices.png, roc.png, misclassified.png.

    Args:
        folder: made if missing.
        history: rows of metrics/history.csv.
        images: test images, (n, height, width) or (n, height, width, channels), in [0, 1].
        actual: classes from 0, int (n,).
        baseline_probabilities: float (n,), (n, 1) or (n, k); so are the other arm's.
        transfer_probabilities: see above.
        classes: names by number.
        limit: how many misclassified images are shown at most.
    """
    baseline = evaluation.answers(baseline_probabilities)
    transfer = evaluation.answers(transfer_probabilities)
    chosen = evaluation.misclassified(actual, baseline, transfer, limit=limit)
    probabilities = (baseline_probabilities, transfer_probabilities)
    drawn = {
        "learning_curves": (
            "Learning curves",
            learning_curves(history),
            _curves_in_words(history),
        ),
        "confusion_matrices": (
            "Confusion matrices",
            confusion_matrices(actual, baseline, transfer, classes=classes),
            " ".join(
                _mistakes_in_words(arm, actual, answered, classes)
                for arm, answered in zip(ARMS, (baseline, transfer), strict=True)
            ),
        ),
        "roc": (
            "ROC curves",
            roc(actual, *probabilities),
            "ROC curves. Area under the curve: "
            + ", ".join(
                f"{arm} {_text(evaluation.auc(actual, given), '{:.4f}')}"
                for arm, given in zip(ARMS, probabilities, strict=True)
            )
            + ".",
        ),
        "misclassified": (
            "Misclassified images",
            misclassified(images, actual, *probabilities, chosen=chosen, classes=classes),
            _chosen_in_words(chosen, actual, baseline, transfer, classes),
        ),
    }
    pictures = []
    for name, (title, figure, alt) in drawn.items():
        path = folder / f"{name}.png"
        write_png(path, figure)
        pictures.append(Picture(title=title, png=path.read_bytes(), alt=alt))
    return pictures


def page(
    record: Mapping[str, Any],
    *,
    reason: str,
    question: str,
    test_images: Mapping[str, int],
    confidence: float,
    pictures: Sequence[Picture],
    parameters: Mapping[str, Any],
    hashes: Mapping[str, str],
    commands: Sequence[str],
    unfair: Sequence[str] = (),
) -> str:
    """Returns the report as one HTML page that needs no network, script or other file.

    Everything is escaped. The same arguments give the same page: hand in no clock time,
    commit or machine name.

    Args:
        record: what metrics/metrics.json holds.
        reason: the prose behind the verdict.
        question: what was asked, in a sentence.
        test_images: how many, by arm (baseline, transfer, source).
        confidence: of the intervals.
        pictures: as `draw` returns them.
        parameters: what params.yaml holds; nested keys are joined by dots.
        hashes: by file.
        commands: that make all this again, a line each.
        unfair: the differences between the arms, from `evaluation.fairness`.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("headstart"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    comparison = record["comparison"]
    warnings = list(unfair)
    if not comparison.get("fair", True) and not warnings:
        warnings = ["the record does not say in what the arms differ"]
    return environment.get_template("report.html").render(
        verdict=comparison["verdict"],
        sentence=verdict_sentence(comparison["verdict"]),
        question=question,
        reason=reason,
        gain=gain_sentence(comparison, confidence=confidence),
        warnings=warnings,
        arms=arms_in(record),
        scores=score_rows(record, test_images=test_images, confidence=confidence),
        cost=cost_rows(record),
        pictures=pictures,
        parameters=[
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in evaluation.leaves(parameters)
        ],
        hashes=list(hashes.items()),
        commands="\n".join(commands),
    )


def write_page(path: Path, text: str) -> None:
    """Writes the page to `path`, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def arms_in(record: Mapping[str, Any]) -> list[str]:
    """Returns the arms that the record tells of: baseline, transfer and, where there, source."""
    return [arm for arm in (*ARMS, "source") if arm in record]


def score_rows(
    record: Mapping[str, Any], *, test_images: Mapping[str, int], confidence: float
) -> list[Row]:
    """Returns the accuracies, their intervals and the other scores in `record` as text."""
    arms = arms_in(record)

    def score(key: str) -> dict[str, str]:
        return {arm: _text(record[arm].get(key), "{:.4f}") for arm in arms}

    def interval(arm: str) -> str:
        total, accuracy = test_images.get(arm), record[arm].get("accuracy")
        if not total or accuracy is None:
            return "unknown"
        low, high = evaluation.wilson(round(accuracy * total), total, confidence=confidence)
        return f"{low:.4f} to {high:.4f}"

    return [
        ("accuracy", score("accuracy")),
        (f"  {confidence:.0%} interval", {arm: interval(arm) for arm in arms}),
        ("balanced accuracy", score("balanced_accuracy")),
        ("always the commonest", score("majority_rate")),
        ("loss", score("loss")),
        ("log loss of answers", score("log_loss")),
        ("area under ROC", score("auc")),
    ]


def cost_rows(record: Mapping[str, Any]) -> list[Row]:
    """Returns what each arm cost, as text; rows of which the record tells nothing are left out."""
    cost: Mapping[str, Any] = record.get("cost") or {}

    def spent(key: str, show: Callable[[Any], str]) -> dict[str, str]:
        return {
            arm: show(cost[arm][key])
            for arm in arms_in(record)
            if isinstance(cost.get(arm), Mapping) and key in cost[arm]
        }

    def whole(value: Any) -> str:
        return _text(value, "{:,}")

    rows = [
        ("trainable parameters", spent("trainable_parameters", whole)),
        ("total parameters", spent("total_parameters", whole)),
        ("updates", spent("updates", whole)),
        ("FLOPs", spent("flops", in_words)),
        ("  with the source's", spent("flops_with_source", in_words)),
        ("FLOPs as notebook", spent("flops_as_notebook", in_words)),
        ("  with the source's", spent("flops_as_notebook_with_source", in_words)),
    ]
    return [(label, cells) for label, cells in rows if cells]


def gain_sentence(comparison: Mapping[str, Any], *, confidence: float) -> str:
    """Returns the gain in accuracy with its interval and the McNemar p-value."""
    gain, low, high = (
        _text(comparison.get(f"accuracy_gain{end}"), "{:+.4f}") for end in ("", "_low", "_high")
    )
    p = _text(comparison.get("mcnemar_p"), "{:.3g}")
    return (
        f"Gain in accuracy by transfer: {gain} ({confidence:.0%} interval {low} to {high}), "
        f"McNemar p = {p}"
    )


def verdict_sentence(verdict: str) -> str:
    """Returns the verdict with what it means."""
    meanings = {
        evaluation.TRANSFER_BETTER: "what the source task taught gives a head start.",
        evaluation.BASELINE_BETTER: "training from scratch beats transfer on this target task.",
        evaluation.NO_DIFFERENCE: "the test answers do not tell the two models apart.",
        evaluation.INVALID: "at least one model is broken, so its accuracy proves nothing.",
    }
    return f"Verdict: {verdict}: {meanings[verdict]}"


def in_words(number: float | None) -> str:
    """Returns a large number as people say it, "213 billion"; None is "unknown"."""
    if number is None:
        return "unknown"
    for size, word in (
        (1e15, "quadrillion"),
        (1e12, "trillion"),
        (1e9, "billion"),
        (1e6, "million"),
    ):
        if abs(number) >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,}"


def _curves_in_words(history: Sequence[Mapping[str, Any]]) -> str:
    ends = {row["arm"]: row for row in history if row["arm"] in ARMS}
    return "Loss and accuracy by epoch. Validation accuracy at the end: " + ", ".join(
        f"{arm} {_text(_float(row['val_accuracy']), '{:.4f}')} at epoch {row['epoch']}"
        for arm, row in ends.items()
    )


def _mistakes_in_words(
    arm: str, actual: np.ndarray, answered: np.ndarray, classes: Sequence[str]
) -> str:
    right = int((answered == actual).sum())
    text = f"{arm.capitalize()}: {right} of {len(actual)} right"
    if right == len(actual):
        return f"{text}."
    wrong = np.flatnonzero(answered != actual)
    pairs, counts = np.unique(
        np.stack([np.asarray(actual)[wrong], answered[wrong]], axis=1), axis=0, return_counts=True
    )
    commonest = int(np.argmax(counts))
    is_, said = (classes[number] for number in pairs[commonest])
    return f"{text}; the commonest mistake, {counts[commonest]} times: {is_} taken for {said}."


def _chosen_in_words(
    chosen: np.ndarray,
    actual: np.ndarray,
    baseline: np.ndarray,
    transfer: np.ndarray,
    classes: Sequence[str],
) -> str:
    if not len(chosen):
        return "Both arms answer every test image right."
    return f"{len(chosen)} test images that at least one arm misses. " + " ".join(
        f"A {classes[actual[index]]}: baseline says {classes[baseline[index]]}, "
        f"transfer says {classes[transfer[index]]}."
        for index in chosen
    )


def _thinned(false: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most 200 of the points, evenly along the curve and with both ends."""
    if len(false) <= _ROC_POINTS:
        return false, true
    # City blocks, not straight lines: a curve from corner to corner has the length 2.
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(false)) + np.abs(np.diff(true)))])
    kept = np.searchsorted(along, np.linspace(0, along[-1], _ROC_POINTS))
    # The ends first: the last point may not be the first to reach the whole length.
    kept = np.unique(np.append(kept[:-1], len(false) - 1))
    return false[kept], true[kept]


def _answer(probabilities: np.ndarray, index: int) -> tuple[int, float]:
    """Returns the class answered for one image and the probability given to that class."""
    one = np.asarray(probabilities)[index : index + 1]
    answer = int(evaluation.answers(one)[0])
    probability = float(evaluation.answered_probabilities(one)[0])
    # A single unit tells the probability of class 1.
    single = one.ndim == 1 or one.shape[1] == 1
    return answer, 1 - probability if single and answer == 0 else probability


def _short(name: str) -> str:
    """Returns a class name that leaves room for the figure."""
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def _float(value: Any) -> float:
    return math.nan if value in (None, "") else float(value)


def _text(value: float | None, pattern: str) -> str:
    return "unknown" if value is None or math.isnan(value) else pattern.format(value)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Draws in our style whatever the user's matplotlibrc says, and leaves no trace."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@contextlib.contextmanager
def _figure(width: float, height: float) -> "Iterator[Figure]":
    """Yields an empty figure, in inches, outside pyplot's global state."""
    from matplotlib.figure import Figure

    with _style():
        yield Figure(figsize=(width, height), layout="constrained")
