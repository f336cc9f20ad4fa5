"""What photographs take of disk, time and memory with a network from elsewhere.

    python benchmarks/photographs.py [--write] [--images 1500] [--rounds 1]    after the download
    stage; minutes

The photographs are made here: Fashion-MNIST's images, tinted, on crops of scikit-learn's two
photographs, JPEG of 150 to 800 pixels a side. The network is MobileNetV2 with its initial weights,
in a file: what is measured here does not depend on their values. Of each size the stages up to
`transfer` run once, and `transfer` a second time, when the features are there. Memory is the peak
of the anonymous memory (RssAnon) of a stage's own process.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import scale, sittings
from headstart.core import runtime
from headstart.data import idx, selection
from headstart.data.catalogue import FASHION_MNIST
from headstart.learning import features
from headstart.params import yaml_text
from headstart.project import dvc, init
from headstart.study import default_grid

SIZES = (96, 224)
# Pixels of a side; of the shorter one, how much the piece of clothing takes.
_SIDES, _SHARE = (150, 800), (0.4, 0.9)
_QUALITY = 90
_DISK = {
    "photographs, JPEG (data/own)": "data/own",
    "data/raw": "data/raw",
    "data/prepared": "data/prepared",
    "models": "models",
    "DVC's cache": ".dvc/cache",
    f"features ({features.FOLDER})": str(features.FOLDER),
}
_STAGES = ("download", "prepare", "train_a", "transfer")
_AGAIN = "transfer, with the features kept"


def photographs(folder: Path, *, raw: Path, count: int) -> None:
    """Writes `count` photographs below `folder`, a folder a class."""
    clothes, labels, _, _ = idx.load(FASHION_MNIST, raw)
    scenes = [Image.fromarray(scene) for scene in load_sample_images().images]
    random = np.random.default_rng(0)
    # One of each class in turn: there are equally many.
    in_turn = np.argsort(labels, kind="stable").reshape(len(FASHION_MNIST.classes), -1).T.ravel()
    for number, chosen in enumerate(in_turn[:count]):
        width, height = (int(side) for side in random.integers(*_SIDES, 2, endpoint=True))
        scene = scenes[number % len(scenes)]
        # As large a part of the scene as has the photograph's shape, or half of that.
        share = min(scene.width / width, scene.height / height) * random.uniform(0.5, 1)
        part = round(width * share), round(height * share)
        left = int(random.integers(scene.width - part[0] + 1))
        top = int(random.integers(scene.height - part[1] + 1))
        box = (left, top, left + part[0], top + part[1])
        photograph = scene.resize((width, height), box=box)
        side = round(min(width, height) * random.uniform(*_SHARE))
        grey = Image.fromarray(clothes[chosen]).resize((side, side))
        tint = tuple(int(value) for value in random.integers(80, 256, 3))
        at = (int(random.integers(width - side + 1)), int(random.integers(height - side + 1)))
        photograph.paste(ImageOps.colorize(grey, "black", tint), at, mask=grey)
        home = folder / FASHION_MNIST.classes[labels[chosen]]
        home.mkdir(parents=True, exist_ok=True)
        photograph.save(home / f"{number:05}.jpg", quality=_QUALITY)


def network(path: Path, size: int) -> Path:
    """Writes MobileNetV2, alpha 1.0, without a head and as Keras initialises it."""
    import keras

    keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(size, size, 3)
    ).save(path)
    return path


def measured(folder: Path, photos: Path, size: int) -> dict[str, dict[str, float]]:
    """Returns megabytes on disk, seconds and megabytes of memory of one project."""
    root = folder / "project"
    init.create(
        root,
        data=photos,
        dataset=None,
        target=["all"],
        source=[],
        source_model=network(folder / "mobilenet.keras", size),
        layer="auto",
        input_size=size,
        study=default_grid.text,
    )
    path = root / "params.yaml"
    path.write_text(yaml_text.edited(path.read_text(), {"dataset.image_size": f"[{size}, {size}]"}))
    spent = {stage: scale.measured(root, stage) for stage in _STAGES}
    dvc.run(root, "commit", "--force", "--quiet", *_STAGES)
    disk = {name: _megabytes(root / place) for name, place in _DISK.items()}
    spent[_AGAIN] = scale.measured(root, "transfer")
    return {
        "disk": disk,
        "seconds": {stage: seconds for stage, (seconds, _) in spent.items()},
        "memory": {stage: megabytes for stage, (_, megabytes) in spent.items()},
    }


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    os.environ["HEADSTART_RECORDER"] = "off"
    runtime.fix(0)
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory() as made:
        photos = Path(made) / "photographs"
        raw = ROOT / selection.RAW / FASHION_MNIST.name
        photographs(photos, raw=raw, count=asked.images)
        for _ in range(asked.rounds):
            for size in SIZES:
                with tempfile.TemporaryDirectory() as folder:
                    for what, figures in measured(Path(folder), photos, size).items():
                        for name, value in figures.items():
                            rows = found.setdefault(what, {}).setdefault(name, {})
                            rows.setdefault(str(size), []).append(round(value, 2))
    sittings.finish("photographs", {"images": asked.images, **found}, parts, write=asked.write)


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    measured: Mapping[str, Any] = sitting.measured
    sizes = [str(size) for size in SIZES]
    heads = [f"{size} x {size} pixels" for size in sizes]

    def table(what: str, first: str, form: str) -> str:
        return sittings.table(
            [first, *heads],
            (
                [name, *(format(median(row[size]), form) for size in sizes)]
                for name, row in measured[what].items()
            ),
        )

    seconds = measured["seconds"]
    saved = [median(seconds["transfer"][size]) - median(seconds[_AGAIN][size]) for size in sizes]
    rounds = len(seconds["transfer"][sizes[0]])
    return {
        "photographs": f"{sitting.opening}. {measured['images']} photographs, "
        f"{f'medians of {rounds} rounds' if rounds > 1 else 'one round'}.\n\n"
        + table("disk", "on disk, MB", ".1f")
        + "\n"
        + table("seconds", "seconds of the stage", ".1f")
        + "\n"
        + table("memory", "peak anonymous memory of the stage, MB", ".0f")
        + f"\nFeatures that are kept save {saved[0]:.1f} s at {heads[0]} and {saved[1]:.1f} s at "
        f"{heads[1]}, whatever the head's training takes.\n"
    }


if __name__ == "__main__":
    main()
