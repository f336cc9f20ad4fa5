"""Time and memory of every stage on Fashion-MNIST and on eight times as much of it.

    python benchmarks/scale.py [--write] [--rounds 3]      after the download stage; minutes

Seconds, and the peak of the anonymous memory (RssAnon) of the stage's own process. What is mapped
from files is no part of it: the system takes that back.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.data import idx, selection
from headstart.data.catalogue import FASHION_MNIST
from headstart.params import yaml_text
from headstart.project import init
from headstart.study import default_grid

TIMES = (1, 8)
VALUES = {
    "dataset.split": "published",
    "dataset.train_size": "0.4",
    "dataset.valid_size": "0.1",
    "dataset.test_size": "0.5",
    "dataset.max_duplicates": "1000000",
    "network": "{name: mlp, units: [300, 100, 50, 50, 50], activation: selu}",
    "source_training.epochs": "1",
    "target_training.epochs": "1",
}


def project(raw: Path, folder: Path, times: int) -> Path:
    arrays = idx.load(FASHION_MNIST, raw)
    names = ("x_train", "y_train", "x_test", "y_test")
    repeated = {
        name: np.concatenate([array] * times) for name, array in zip(names, arrays, strict=True)
    }
    np.savez(folder / "many.npz", **repeated)  # type: ignore[arg-type]
    init.create(
        folder / "project",
        data=folder / "many.npz",
        dataset=None,
        target=["5", "6"],
        source=[],
        source_model=None,
        layer="auto",
        study=default_grid.text,
    )
    path = folder / "project/params.yaml"
    path.write_text(yaml_text.edited(path.read_text(), VALUES))
    return folder / "project"


def measured(root: Path, stage: str) -> tuple[float, float]:
    """Runs a stage; returns its seconds and its peak anonymous megabytes."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, f"stages/{stage}.py"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            break
        lines = [line for line in status.splitlines() if line.startswith("RssAnon:")]
        peak = max([peak, *(int(line.split()[1]) for line in lines)])
        time.sleep(0.01)
    assert process.wait() == 0
    return time.monotonic() - start, peak / 1000


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, dict[str, dict[str, list[float]]]] = {
        stage: {what: {str(times): [] for times in TIMES} for what in ("seconds", "megabytes")}
        for stage in init.STAGES
    }
    for _ in range(asked.rounds):
        for times in TIMES:
            with tempfile.TemporaryDirectory() as folder:
                root = project(ROOT / selection.RAW / FASHION_MNIST.name, Path(folder), times)
                for stage, figures in found.items():
                    for what, value in zip(figures, measured(root, stage), strict=True):
                        figures[what][str(times)].append(round(value, 2))
    sittings.finish("scale", found, parts, write=asked.write)


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    one, many = map(str, TIMES)
    rows = []
    for stage, figures in sitting.measured.items():
        row = [stage]
        for what, form, unit, digits in (("seconds", ".1f", "s", 1), ("megabytes", ".0f", "MB", 2)):
            few, more = (median(figures[what][times]) for times in (one, many))
            row += [f"{few:{form}} {unit}", f"{more:{form}} {unit}", f"{more / few:.{digits}f}"]
        rows.append(row)
    rounds = len(sitting.measured["evaluate"]["seconds"][one])
    images = ["60,000", "480,000", "times"]
    return {
        "scale": f"{sitting.opening}. Medians of {rounds} rounds.\n\n"
        + sittings.table(["stage", *images, *images], rows)
    }


if __name__ == "__main__":
    main()
