"""Writes the numbers of README.md and docs/ from committed files.

    python scripts/docs.py

A number stands in a place, between `<!-- NAME: start -->` and `<!-- NAME: end -->`. What NAME shows
is made here from dvc.lock and metrics/, or by `parts` of what measured it from its file in
benchmarks/results/. tests/house/test_docs.py holds pages and files together.
"""

import importlib
import itertools
import math
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import tour

from benchmarks import sittings
from headstart.core import artefacts
from headstart.judging import metrics, scores
from headstart.judging.compared import compared
from headstart.params import reading
from headstart.params.strategies import BASELINE, OF
from headstart.reporting import render, study_tables, words
from headstart.reporting.study_tables import AreaRow, CellRow, RateRow
from headstart.study import parameters, rates
from headstart.study.answer import slight


def result() -> str:
    """Returns the table and the verdict of metrics/metrics.json as Markdown."""
    record = metrics.read(ROOT / "metrics/metrics.json")
    settings = reading.load(ROOT / "params.yaml")
    confidence = settings.evaluate.confidence
    images = len(artefacts.read_table(ROOT / "metrics/predictions.csv"))
    arms = record.baseline, record.transfer
    costs = record.cost.baseline, record.cost.transfer

    def interval(arm: metrics.Scores) -> str:
        right = round((arm.accuracy or 0.0) * images)
        low, high = scores.wilson(right, images, confidence=confidence)
        return f"{right / images:.4f} ({low:.4f} to {high:.4f})"

    rows = [
        ("accuracy on the test images (95 % interval)", *map(interval, arms)),
        ("log loss (lower is better)", *(words.number(arm.log_loss, "{:.4f}") for arm in arms)),
        ("trainable parameters", *(f"{cost.trainable_parameters:,}" for cost in costs)),
        ("updates", *(f"{cost.updates:,}" for cost in costs)),
        ("floating-point operations", *(words.large(cost.flops) for cost in costs)),
        ("as the notebook ran it", *(words.large(cost.flops_as_notebook) for cost in costs)),
        (
            "with the source's training",
            words.large(record.cost.baseline.flops),
            words.large(record.cost.transfer.flops_with_source),
        ),
    ]
    lines = ["| | baseline, from scratch | frozen transfer |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    arms_in_words = compared(settings)
    gain = words.gain_sentence(record.comparison, arms_in_words, confidence=confidence)
    verdict = words.verdict_sentence(record.comparison, arms_in_words)
    return "\n".join([*lines, "", f"{gain}.", "", f"**{verdict}**", ""])


def study() -> str:
    """Returns the answers of metrics/study/grid/, and what they rest on, as a Markdown list."""
    folder = ROOT / "metrics/study/grid"
    told = artefacts.read_json(folder / "study.json")["answer"]
    cells = study_tables.read(folder / "cells.csv", CellRow)
    rows = study_tables.read(folder / "rates.csv", RateRow)
    hanging = rates.hanging(rows, study_tables.read(folder / "areas.csv", AreaRow))
    verdicts = [own for arms in hanging.values() for arm in arms.values() for own in arm.values()]
    labels = sorted({row.labels for row in rows})
    notebook = [
        row
        for row in rows
        if (row.arm, row.training, row.labels) == ("frozen", "epochs=5", labels[-1])
    ]
    before, after = sorted(notebook, key=lambda row: row.chosen)
    chosen = sum(row.chosen for row in cells)
    settings = parameters.load(ROOT / "study/params.yaml").statistics
    less = f", by less than {100 * settings.margin:g} points" if slight(after, settings) else ""
    own_arm = (
        f"The notebook's own arm (frozen layers, 5 epochs, all {labels[-1]} labels): "
        f"{after.verdict}{less}: {100 * after.gain:+.2f} points of accuracy (95 % interval "
        f"{100 * after.gain_low:+.2f} to {100 * after.gain_high:+.2f}, corrected p "
        f"{after.p_adjusted:.2g}); without a search for learning rates {before.verdict}, "
        f"{100 * before.gain:+.2f} points."
    )
    hangs = (
        f"What hangs on the learning rate: {sum(own.hangs for own in verdicts)} of all "
        f"{len(verdicts)} verdicts are others without a search."
    )
    rests_on = (
        f"What it rests on: {rows[0].seeds} paired seeds a point, {len(labels)} label "
        f"budgets, {len({row.arm for row in rows})} arms and "
        f"{len({row.training for row in rows})} training budgets; {chosen} trainings at the "
        f"rates chosen, {len(cells) - chosen} more at those of no search, and the searches."
    )
    return "".join(f"{render.listed(text)}\n" for text in [*told, own_arm, hangs, rests_on])


# Of seeds, by task, label budget and arm.
Accuracies = dict[tuple[str, int, str], dict[int, float]]
PRETRAINED = ROOT / "metrics/study/pretrained"


def pretrained() -> str:
    """Returns what the networks of metrics/study/pretrained/ give, as Markdown tables."""
    accuracies = _accuracies()
    labels = sorted({budget for _, budget, _ in accuracies})
    lines = []
    for task in _tasks(accuracies):
        lines += [*_table(accuracies, [task], labels, _sources(accuracies)), ""]
    told = artefacts.read_json(PRETRAINED / "study.json")["answer"]
    return "\n".join([*lines, *map(render.listed, told), ""])


def pretrained_in_short() -> str:
    """Returns the same of the first network, with the fewest, some and the most labels."""
    accuracies = _accuracies()
    labels = sorted({budget for _, budget, _ in accuracies})
    few = [labels[0], labels[len(labels) // 2 + 1], labels[-1]]
    table = _table(accuracies, _tasks(accuracies), few, _sources(accuracies)[:1])
    return "\n".join([*table, "", _lowered(few), ""])


def _lowered(labels: Sequence[int]) -> str:
    """Returns what the search for rates took from a baseline that is shown, a point or more."""
    rows = [
        row
        for row in study_tables.read(PRETRAINED / "rates.csv", RateRow)
        if row.arm == BASELINE and row.labels in labels
    ]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    told = [
        f"{before.labels} labels of {' and '.join(study_tables.classes_of(before.task))}: "
        f"{before.mean:.3f}"
        for before, after in pairs
        if before.mean - after.mean > 0.01
    ]
    searched = "Rates were chosen by log loss, which need not give the highest accuracy"
    if told:
        searched += f"; without a search the baseline has more with {', and '.join(told)}"
    return f"Frozen less untrained: paired by seed, ± its standard error. {searched}."


def _accuracies() -> Accuracies:
    found: Accuracies = {}
    for row in study_tables.read(PRETRAINED / "cells.csv", CellRow):
        if row.chosen:
            found.setdefault((row.task, row.labels, row.arm), {})[row.seed] = row.accuracy
    return found


def _tasks(accuracies: Accuracies) -> list[str]:
    return list(dict.fromkeys(task for task, _, _ in accuracies))


def _sources(accuracies: Accuracies) -> list[str]:
    return list(dict.fromkeys(arm.partition(OF)[2] for _, _, arm in accuracies if OF in arm))


def _table(
    accuracies: Accuracies, tasks: Sequence[str], labels: Sequence[int], sources: Sequence[str]
) -> list[str]:
    """Returns lines of Markdown: mean accuracies over seeds, by task and label budget.

    What a network gives over its untrained control is paired by seed, with its standard error.
    """
    head = ["task", "labels", "baseline"]
    for source in sources:
        head += [f"frozen {source}", f"untrained {source}", "frozen less untrained"]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head))]
    for task, budget in itertools.product(tasks, labels):
        shown = [" and ".join(study_tables.classes_of(task)), str(budget)]
        shown.append(f"{_mean(accuracies[task, budget, BASELINE]):.3f}")
        for source in sources:
            learned, drawn = (
                accuracies[task, budget, f"{arm}{OF}{source}"]
                for arm in ("frozen", "random_frozen")
            )
            gains = {seed: accuracy - drawn[seed] for seed, accuracy in learned.items()}
            error = statistics.stdev(gains.values()) / math.sqrt(len(gains))
            shown += [f"{_mean(learned):.3f}", f"{_mean(drawn):.3f}"]
            shown.append(f"{_mean(gains):+.3f} ± {error:.3f}")
        lines.append(f"| {' | '.join(shown)} |")
    return lines


def _mean(by_seed: Mapping[int, float]) -> float:
    return statistics.fmean(by_seed.values())


def runs() -> str:
    """Returns how MLflow calls the committed runs, as a Markdown list."""
    from headstart.tracking import entries, states
    from headstart.tracking.revisions import Workspace

    state = states.read(Workspace(ROOT), finished=True)
    names = [entries.training(run).name for run in state.trainings.values()]
    names.append(
        entries.comparison(state, runs=dict.fromkeys(state.trainings, ""), experiment="").name
    )
    return "".join(f"- `{name}`\n" for name in names)


COMMITTED = {
    "result": result,
    "study": study,
    "pretrained": pretrained,
    "pretrained-in-short": pretrained_in_short,
    "runs": runs,
}
# What measures the rest, by the name of the place.
MEASURED = {
    "claims": "benchmarks.claims",
    "estimates": "benchmarks.estimates",
    "fuzz": "scripts.fuzz",
    "photographs": "benchmarks.photographs",
    "replicas": "benchmarks.replicas",
    **dict.fromkeys(("pipeline", "pipeline-profile"), "benchmarks.pipeline"),
    "plain-keras": "benchmarks.plain_keras",
    "revisions": "benchmarks.revisions",
    "scale": "benchmarks.scale",
    "study-estimates": "benchmarks.study_estimates",
    "splits": "benchmarks.splits",
    **dict.fromkeys(("study-grid", "study-ray", "study-machines"), "benchmarks.study"),
    **dict.fromkeys(tour.SHOWN, "scripts.tour"),
    **dict.fromkeys(("verdict", "learned"), "benchmarks.verdict"),
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACE = re.compile(r"<!-- ([a-z-]+): start -->\n(.*?)<!-- \1: end -->\n", re.DOTALL)


def shown(place: str) -> str | None:
    """Returns the Markdown of a place; None where it belongs to another script."""
    if place in COMMITTED:
        return COMMITTED[place]()
    if place not in MEASURED:
        return None
    module = MEASURED[place]
    sitting = sittings.read(module.partition(".")[2])
    if sitting is None:
        return f"Not measured yet: `python {module.replace('.', '/')}.py --write`.\n"
    return str(importlib.import_module(module).parts(sitting)[place])


def page(text: str) -> str:
    """Returns a page with all places filled."""

    def filled(match: re.Match[str]) -> str:
        made = shown(match[1])
        return match[0] if made is None else place(match[1], made)

    return PLACE.sub(filled, text)


def place(name: str, made: str) -> str:
    """Returns a place with what it shows."""
    return f"<!-- {name}: start -->\n\n{made}\n<!-- {name}: end -->\n"


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
