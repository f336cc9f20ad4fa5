"""Writes the results that README.md shows, from the committed runs in metrics/."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from headstart.core import artefacts
from headstart.judging import scores
from headstart.params import reading
from headstart.reporting import tables


def result() -> str:
    """Returns the table and the verdict of metrics/metrics.json as Markdown."""
    record = artefacts.read_json(ROOT / "metrics/metrics.json")
    settings = reading.load(ROOT / "params.yaml")
    confidence = settings.evaluate.confidence
    images = len(artefacts.read_table(ROOT / "metrics/predictions.csv"))

    def interval(arm: str) -> str:
        right = round(record[arm]["accuracy"] * images)
        low, high = scores.wilson(right, images, confidence=confidence)
        return f"{record[arm]['accuracy']:.4f} ({low:.4f} to {high:.4f})"

    cost = record["cost"]
    rows = [
        ("accuracy on the test images (95 % interval)", interval("baseline"), interval("transfer")),
        *(
            (label, f"{cost['baseline'][key]:,}", f"{cost['transfer'][key]:,}")
            for label, key in (
                ("trainable parameters", "trainable_parameters"),
                ("updates", "updates"),
            )
        ),
        *(
            (label, *(tables.in_words(cost[arm].get(key)) for arm in ("baseline", "transfer")))
            for label, key in (
                ("floating-point operations", "flops"),
                ("as the notebook ran it", "flops_as_notebook"),
            )
        ),
        (
            "with the source's training",
            tables.in_words(cost["baseline"]["flops"]),
            tables.in_words(cost["transfer"]["flops_with_source"]),
        ),
    ]
    lines = ["| | baseline, from scratch | frozen transfer |", "| --- | --- | --- |"]
    lines += [f"| {label} | {baseline} | {transfer} |" for label, baseline, transfer in rows]
    comparison = record["comparison"]
    gain = tables.gain_sentence(comparison, confidence=confidence)
    return "\n".join([*lines, "", f"{gain}.", "", f"**Verdict: {comparison['verdict']}.**", ""])


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
