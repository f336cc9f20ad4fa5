"""Normalises the raw images, splits them, and cuts them into source and target task.

Reads data/raw/<dataset>/; writes data/prepared/{source,target}/ and data/prepared/classes.json.
"""

from pathlib import Path

import _checkout  # noqa: F401
import numpy as np

from headstart.core import artefacts
from headstart.core.errors import reported, warn
from headstart.core.parts import Part
from headstart.data import raw_data, selection, tasks
from headstart.params import reading

PREPARED = Path("data/prepared")


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    raw, parts = selection.select(settings.dataset)
    source, target = selection.source_and_target(settings.tasks, raw.classes, raw.aliases)
    classes = {}
    for role, task in {"source": source, "target": target}.items():
        counts = {}
        for name, drawn in parts.items():
            part = raw.parts[drawn.raw]
            positions, labels = tasks.positions(np.asarray(part.labels[drawn.rows]), task)
            rows = drawn.rows[positions]
            for warning in tasks.check_classes(Part(labels, labels), task, where=f"{role} {name}"):
                warn(warning)
            artefacts.write_blocks(
                PREPARED / role / f"{name}_images.npy",
                raw_data.normalised(part.images, rows, white=raw.white),
                shape=(len(labels), *part.images.shape[1:]),
                dtype=np.float32,
            )
            artefacts.write_array(PREPARED / role / f"{name}_labels.npy", labels)
            files = {"files": selection.files(raw, drawn.raw, rows)}
            artefacts.write_json(PREPARED / role / f"{name}_files.json", files)
            counts[name] = len(labels)
        classes[role] = {"numbers": task.numbers, "names": task.names}
        sums = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{role} task: {', '.join(task.names) or 'none'}: {sums}")
    artefacts.write_json(PREPARED / "classes.json", classes)


if __name__ == "__main__":
    with reported():
        main()
