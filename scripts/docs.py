"""Writes the numbers of README.md and docs/ from committed files.

    python scripts/docs.py

A number stands between `<!-- NAME: start -->` and `<!-- NAME: end -->`. What NAME shows is written
from metrics/ here, or by `parts` of a benchmark from its file in benchmarks/results/.
tests/house/test_docs.py holds pages and files together.
"""

import importlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.core import artefacts
from headstart.judging import metrics, scores
from headstart.params import reading
from headstart.reporting import words


def result() -> str:
    """Returns the table and the verdict of metrics/metrics.json as Markdown."""
    record = metrics.read(ROOT / "metrics/metrics.json")
    confidence = reading.load(ROOT / "params.yaml").evaluate.confidence
    images = len(artefacts.read_table(ROOT / "metrics/predictions.csv"))
    arms = record.baseline, record.transfer
    costs = record.cost.baseline, record.cost.transfer

    def interval(arm: metrics.Scores) -> str:
        right = round((arm.accuracy or 0.0) * images)
        low, high = scores.wilson(right, images, confidence=confidence)
        return f"{right / images:.4f} ({low:.4f} to {high:.4f})"

    rows = [
        ("accuracy on the test images (95 % interval)", *map(interval, arms)),
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
    gain = words.gain_sentence(record.comparison, confidence=confidence)
    verdict = record.comparison.verdict
    return "\n".join([*lines, "", f"{gain}.", "", f"**Verdict: {verdict}.**", ""])


def study() -> str:
    """Returns the answers of metrics/study/grid/ as a Markdown list."""
    record = artefacts.read_json(ROOT / "metrics/study/grid/study.json")
    return "\n".join(f"- {sentence}" for sentence in record["answer"]) + "\n"


# Who measures what the pages show, by the name of the place.
BENCHMARKS = {
    "scale": "scale",
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACE = re.compile(r"<!-- ([a-z-]+): start -->\n(.*?)<!-- \1: end -->\n", re.DOTALL)


def measured(place: str) -> str:
    """Returns a part of what a benchmark measured, or how to measure it."""
    benchmark = BENCHMARKS[place]
    sitting = sittings.read(benchmark)
    if sitting is None:
        return f"Not measured yet: `python benchmarks/{benchmark}.py --write`.\n"
    return str(importlib.import_module(f"benchmarks.{benchmark}").parts(sitting)[place])


def page(text: str) -> str:
    """Returns a page with the numbers put in their places."""

    def place(match: re.Match[str]) -> str:
        name = match[1]
        if name in BENCHMARKS:
            made = measured(name)
        elif name in PARTS:
            made = PARTS[name]()
        else:
            return match[0]
        return f"<!-- {name}: start -->\n\n{made}\n<!-- {name}: end -->\n"

    return PLACE.sub(place, text)


PARTS = {"result": result, "study": study}

if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path.read_text()))
