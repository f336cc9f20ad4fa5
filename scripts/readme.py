"""Writes the results that README.md shows, from the committed runs in metrics/."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

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


def page(text: str) -> str:
    """Returns README.md with the results put in their places."""
    for name, made in (("result", result()), ("study", study())):
        start, end = f"<!-- {name}: start -->\n", f"<!-- {name}: end -->\n"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n{made}\n{end}{after}"
    return text


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(page(path.read_text()))
