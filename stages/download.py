"""Gets the raw data: published files, decompressed and verified, or images of one's own as arrays.

Reads the sources in params.yaml or data/own/; writes data/raw/<dataset>/, and into
data/raw/networks/ the weights that source_training.from names.
"""

import os
import shutil
from pathlib import Path

import _checkout  # noqa: F401

from headstart.core.errors import located, reported
from headstart.data import catalogue, digits, download, own, selection, weights
from headstart.params import reading, sections

TRUSTED = Path("data/checksums.json")


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    with located("params.yaml: dataset."):
        for file in images(settings):
            tell(file)
    chosen = settings.source_training
    with located("params.yaml: source_training."):
        weights_file = weights.keep(
            chosen.from_,
            weights.FOLDER,
            input_size=chosen.input_size,
            sha256=chosen.sha256,
            environment=os.environ,
        )
    if weights_file:
        tell(weights_file)


def images(settings: sections.Params) -> list[download.Arrival]:
    chosen = settings.dataset
    folder = selection.RAW / chosen.name
    if chosen.name not in catalogue.DATASETS:
        shutil.rmtree(folder, ignore_errors=True)
        if chosen.path is None:
            digits.write(folder)
        else:
            own.write(
                Path(chosen.path), folder, classes=chosen.classes, image_size=chosen.image_size
            )
        return []
    dataset = catalogue.DATASETS[chosen.name]
    # What no data could mend is refused before anything is fetched.
    selection.source_and_target(
        settings.tasks,
        dataset.classes if chosen.classes == "auto" else chosen.classes,
        dataset.aliases if chosen.classes == "auto" else {},
    )
    return download.download(
        dataset,
        dataset.sources if chosen.sources == "published" else chosen.sources,
        folder,
        environment=os.environ,
        trusted=TRUSTED,
    )


def tell(file: download.Arrival) -> None:
    origin = f"from {file.source}" if file.source else "already there"
    print(f"{file.name:<24} {file.bytes / 1e6:6.2f} MB  verified, {origin}")


if __name__ == "__main__":
    with reported():
        main()
