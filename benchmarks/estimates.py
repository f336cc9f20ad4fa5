"""How long and how large `headstart check` says that runs will be, beside what they are.

    python benchmarks/estimates.py [--photographs 400] [--write]      alone on the machine; minutes

Three projects, each from nothing: the notebook's; photographs with MobileNetV2 (frozen, 224
pixels); the same with MobileNetV2_0.35 of 96 pixels, fine-tuned. The photographs are made here and
the networks' weights are those of an untrained network, brought by a mirror: neither changes a
time. Each is checked twice, before and after its weights are there, and then run.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np
from PIL import Image

from benchmarks import pipeline, sittings
from headstart.data import verify, weights
from headstart.params import yaml_text

CHECK = (
    "import dataclasses, json; from pathlib import Path; from headstart.project import check\n"
    "report = check.check(Path('.'))\n"
    "assert not report.problems, report.problems\n"
    "print(json.dumps(dataclasses.asdict(report.expected)))"
)
NOTEBOOK = "the notebook's"
# Name, network, pixels that it sees, strategy.
PHOTOGRAPHS = (
    ("photographs, MobileNetV2, frozen", "MobileNetV2", None, "frozen"),
    ("photographs, MobileNetV2_0.35 of 96 pixels, finetune", "MobileNetV2_0.35", 96, "finetune"),
)
CLASSES = ("ant", "bee", "cat")
# Says by how much an estimate may be off.
LIMIT = 1.5


def photographs(folder: Path, count: int) -> None:
    """Writes JPEGs of 300 to 800 pixels a side, whose classes differ in their colour."""
    draw = np.random.default_rng(0)
    for number in range(count):
        kind = number % len(CLASSES)
        coarse = draw.integers(0, 160, (16, 16, 3))
        coarse[..., kind] += 80
        path = folder / CLASSES[kind] / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = draw.integers(300, 801, 2).tolist()
        picture = Image.fromarray(coarse.astype(np.uint8)).resize((width, height))
        grain = draw.integers(-12, 13, (height, width, 1))
        pixels = (np.asarray(picture) + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=90)


def untrained(name: str, side: int | None, folder: Path) -> None:
    """Writes weights as Keras publishes them, of a network that nobody trained, and their sum."""
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    network = weights.NETWORKS[name]
    size = (side, side) if side else "auto"
    shape = (network.side(size), network.side(size), 3)
    model = getattr(keras.applications, network.application)(
        weights=None, include_top=False, input_shape=shape, **network.options
    )
    path = folder / network.published(size).name
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    path.with_name(f"{path.name}.sha256").write_text(f"{verify.sha256(path)}  {path.name}\n")


def checked(folder: Path) -> tuple[dict[str, Any], float]:
    """Returns what a check says of the project in `folder`, and the seconds that it took."""
    began = time.perf_counter()
    _, said = pipeline.run(sys.executable, "-c", CHECK, folder=folder, PYTHONPATH=str(ROOT / "src"))
    return json.loads(said.splitlines()[-1]), round(time.perf_counter() - began, 2)


def measured(folder: Path, mirror: Path | None = None) -> dict[str, Any]:
    """Checks the project in `folder`, runs it, and returns what was told and taken."""
    before, checking = checked(folder)
    added = {"HEADSTART_MIRROR": str(mirror)} if mirror else {}
    figures, _ = pipeline.run(
        sys.executable, "-m", "headstart.cli", "run",
        folder=folder, PYTHONPATH=str(ROOT / "src"), **added,
    )  # fmt: skip
    # As a check tells it once the weights are there.
    after, _ = checked(folder) if mirror else (before, checking)
    return {
        "told": {part: round(seconds, 2) for part, seconds in before["seconds"].items()},
        "told after": round(sum(after["seconds"].values()), 2),
        "memory": round((before["memory"] or 0) / 2**20),
        "check": checking,
        "taken": figures["seconds"][0],
        "largest": figures["megabytes"][0],
    }


def measure(count: int, raw: Path) -> dict[str, Any]:
    """Returns the figures of all projects."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        pipeline.checkout(here / "notebook", raw)
        found[NOTEBOOK] = measured(here / "notebook")
        photographs(here / "photographs", count)
        for number, (title, name, side, strategy) in enumerate(PHOTOGRAPHS):
            mirror, folder = here / f"mirror-{number}", here / f"own-{number}"
            mirror.mkdir()
            # In a process of its own, since TensorFlow stays.
            code = (
                "import sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path\n"
                "from headstart.core import runtime; runtime.fix(0)\n"
                "from benchmarks import estimates\n"
                f"estimates.untrained({name!r}, {side!r}, Path(sys.argv[3]))"
            )
            paths = str(ROOT), str(ROOT / "src"), str(mirror)
            pipeline.run(sys.executable, "-c", code, *paths, folder=ROOT)
            size = ["--input-size", str(side)] if side else []
            pipeline.run(
                sys.executable, "-m", "headstart.cli", "init", str(folder), "--data",
                str(here / "photographs"), "--target", "all", "--source-model", f"keras:{name}",
                *size, folder=here, PYTHONPATH=str(ROOT / "src"), HEADSTART_MIRROR="/nowhere",
            )  # fmt: skip
            path = folder / "params.yaml"
            edit = {"transfer.strategy": strategy, "target_training.epochs": "10"}
            path.write_text(yaml_text.edited(path.read_text(), edit))
            found[title] = measured(folder, mirror)
            print(title, found[title], flush=True)
    return {"photographs": count, "projects": found}


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    """Returns the table as Markdown."""
    projects = sitting.measured["projects"]
    rows = []
    for name, figures in projects.items():
        told = sum(figures["told"].values())
        rows.append(
            (
                name,
                f"{told:.0f}",
                f"{figures['told after']:.0f}",
                f"{figures['taken']:.0f}",
                f"{figures['taken'] / told:.2f}",
                f"{figures['memory']}",
                f"{figures['largest']:.0f}",
                f"{figures['check']:.0f}",
            )
        )
    ratios = [float(row[4]) for row in rows]
    worst = max(max(ratio, 1 / ratio) for ratio in ratios)
    head = (
        "project", "told, s", "told with the weights there, s", "taken, s", "taken by told",
        "told, MB", "largest process, MB", "the check, s",
    )  # fmt: skip
    lines = [
        f"{sitting.opening}. {sitting.measured['photographs']} photographs, 10 epochs.",
        sittings.table(head, rows),
        f"The worst is off by a factor of {worst:.2f}; {LIMIT:g} is what an estimate may be off.",
    ]
    return {"estimates": "\n\n".join(lines) + "\n"}


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--photographs", type=int, default=400, help="how many are made")
    parser.add_argument("--raw", type=Path, default=ROOT / "data/raw/fashion_mnist")
    options = parser.parse_args()
    measured_ = measure(options.photographs, options.raw)
    sittings.finish("estimates", measured_, parts, write=options.write)


if __name__ == "__main__":
    main()
