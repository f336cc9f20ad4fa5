"""Gets the published files of the dataset, decompressed and verified.

Reads the sources in params.yaml; writes data/raw/<dataset>/.
"""

import os
from pathlib import Path

import _checkout  # noqa: F401

from headstart import datasets, params, tasks
from headstart.errors import reported


def main() -> None:
    settings = params.load(Path("params.yaml"))
    dataset = datasets.DATASETS[settings.dataset.name]
    # What no data could mend is refused before anything is fetched.
    tasks.source_and_target(
        dataset.classes,
        dataset.aliases,
        target_classes=settings.tasks.target_classes,
        source_classes=settings.tasks.source_classes,
    )
    arrivals = datasets.download(
        dataset,
        settings.dataset.sources,
        Path("data/raw", dataset.name),
        environment=os.environ,
    )
    for file in arrivals:
        origin = f"from {file.source}" if file.source else "already there"
        print(f"{file.name:<24} {file.bytes / 1e6:6.2f} MB  verified, {origin}")


if __name__ == "__main__":
    with reported():
        main()
