"""Normalises the raw images, splits them, and cuts them into source and target task.

Reads data/raw/<dataset>/; writes data/prepared/{source,target}/ and data/prepared/classes.json.
"""

from pathlib import Path

import _checkout  # noqa: F401

from headstart import artefacts, datasets, params, tasks
from headstart.errors import reported, warn
from headstart.parts import Part

PREPARED = Path("data/prepared")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    dataset = datasets.DATASETS[settings.dataset.name]
    source, target = tasks.source_and_target(
        dataset.classes,
        dataset.aliases,
        target_classes=settings.tasks.target_classes,
        source_classes=settings.tasks.source_classes,
    )
    published = datasets.load(dataset, Path("data/raw") / dataset.name)
    sizes = settings.dataset
    tasks.check_sizes(
        train_size=sizes.train_size,
        valid_size=sizes.valid_size,
        test_size=sizes.test_size,
        published_train=len(published[0]),
        published_test=len(published[2]),
    )
    parts = tasks.split(
        published,
        train_size=sizes.train_size,
        valid_size=sizes.valid_size,
        test_size=sizes.test_size,
    )
    classes = {}
    for role, task in {"source": source, "target": target}.items():
        counts = {}
        for name, part in parts.items():
            cut = tasks.cut(part, task)
            for warning in tasks.check_classes(cut, task, where=f"{role} {name}"):
                warn(warning)
            images = datasets.normalise(cut.images)
            artefacts.write_part(PREPARED / role, name, Part(images, cut.labels))
            counts[name] = len(cut.labels)
        classes[role] = {"numbers": task.numbers, "names": task.names}
        sums = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{role} task: {', '.join(task.names)}: {sums}")
    artefacts.write_json(PREPARED / "classes.json", classes)


if __name__ == "__main__":
    with reported():
        main()
