"""Normalises the raw images, splits them, and cuts them into source and target task.

Reads data/raw/<dataset>/; writes data/prepared/{source,target}/ and data/prepared/classes.json.
"""

from pathlib import Path

import _checkout  # noqa: F401
import numpy as np

from headstart.core import artefacts
from headstart.core.errors import reported, warn
from headstart.core.parts import Part
from headstart.data import quality, raw_data, splits, tasks
from headstart.params import reading

PREPARED = Path("data/prepared")


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    chosen = settings.dataset
    raw = raw_data.read(chosen.name, Path("data/raw") / chosen.name, classes=chosen.classes)
    source, target = tasks.source_and_target(
        raw.classes,
        raw.aliases,
        target_classes=settings.tasks.target_classes,
        source_classes=settings.tasks.source_classes,
    )
    parts = splits.draw(
        {name: part.labels for name, part in raw.parts.items()},
        how=chosen.split,
        train_size=chosen.train_size,
        valid_size=chosen.valid_size,
        test_size=chosen.test_size,
        seed=chosen.split_seed,
    )
    for warning in quality.check(raw, parts, max_duplicates=chosen.max_duplicates):
        warn(warning)
    classes = {}
    for role, task in {"source": source, "target": target}.items():
        counts = {}
        for name, drawn in parts.items():
            part = raw.parts[drawn.raw]
            positions, labels = tasks.positions(np.asarray(part.labels[drawn.rows]), task)
            for warning in tasks.check_classes(Part(labels, labels), task, where=f"{role} {name}"):
                warn(warning)
            artefacts.write_blocks(
                PREPARED / role / f"{name}_images.npy",
                raw_data.normalised(part.images, drawn.rows[positions], white=raw.white),
                shape=(len(labels), *part.images.shape[1:]),
                dtype=np.float32,
            )
            artefacts.write_array(PREPARED / role / f"{name}_labels.npy", labels)
            counts[name] = len(labels)
        classes[role] = {"numbers": task.numbers, "names": task.names}
        sums = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{role} task: {', '.join(task.names) or 'none'}: {sums}")
    artefacts.write_json(PREPARED / "classes.json", classes)


if __name__ == "__main__":
    with reported():
        main()
