"""Gets the published files of the dataset, decompressed and verified, into data/raw/."""

import os
import sys
from pathlib import Path

# The library of this checkout, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from headstart import datasets, params
from headstart.errors import reported


def main() -> None:
    """Downloads what is missing and prints what came from where."""
    p = params.load(Path("params.yaml"))
    dataset = datasets.DATASETS[p.dataset.name]
    arrivals = datasets.download(
        dataset,
        p.dataset.sources,
        Path("data/raw", dataset.name),
        environment=os.environ,
    )
    for file in arrivals:
        origin = f"from {file.source}" if file.source else "already there"
        print(f"{file.name:<24} {file.bytes / 1e6:6.2f} MB  verified, {origin}")


if __name__ == "__main__":
    with reported():
        main()
