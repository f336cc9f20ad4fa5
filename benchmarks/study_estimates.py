"""How long `headstart check --study` says that a study will take, beside what it takes.

    python benchmarks/study_estimates.py [--photographs 180] [--seeds 10] [--write]    alone on the
    machine; minutes

Three projects of `headstart init`, each from nothing: scikit-learn's digits with arms of their own
networks; photographs with a small network from a file; the same with MobileNetV2_0.35 of 96
pixels. The photographs are made here, and the networks are untrained: neither changes a time.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import estimates, pipeline, sittings
from headstart.params import yaml_text

NAME, SIDE = "MobileNetV2_0.35", 96
TOLD = (
    "import json; from pathlib import Path; from headstart.params import reading\n"
    "from headstart.project import check; from headstart.study import default_grid\n"
    "if __name__ == '__main__':\n"
    "    report = check.check(Path('.'))\n"
    "    assert not report.problems and report.data, report.problems\n"
    "    settings = reading.load(Path('params.yaml'))\n"
    "    own = Path('study/params.yaml').read_text()\n"
    "    spent, _ = default_grid.measured(own, settings, report.data)\n"
    "    print(json.dumps([spent, default_grid.whole(spent)]))\n"
)
LABELS = "[5 a class, 20 a class, all]"


def small_network(path: Path) -> None:
    """Writes a small convolutional network of 64 pixels."""
    import keras

    keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="small",
    ).save(path)


def measured(folder: Path, options: list[str], edits: dict[str, str], mirror: Path) -> Any:
    """Makes a project in `folder`, asks what its study takes, and has it trained."""
    ours = {"PYTHONPATH": str(ROOT / "src"), "HEADSTART_MIRROR": str(mirror)}
    headstart = sys.executable, "-m", "headstart.cli"
    init = *headstart, "init", str(folder), *options
    pipeline.run(*init, folder=folder.parent, **ours)
    path = folder / "study/params.yaml"
    path.write_text(yaml_text.edited(path.read_text(), edits))
    script = folder.parent / "told.py"
    # A file, since measuring starts a process of its own, which reads it again.
    script.write_text(TOLD)
    began = time.perf_counter()
    _, said = pipeline.run(sys.executable, str(script), folder=folder, **ours)
    checking = time.perf_counter() - began
    spent, told = json.loads(said.splitlines()[-1])
    figures, _ = pipeline.run(*headstart, "study", "run", folder=folder, **ours)
    return {
        "by arm": {arm: round(seconds, 2) for arm, seconds in spent.items()},
        "told": round(told, 2),
        "check": round(checking, 2),
        "taken": figures["seconds"][0],
    }


def measure(count: int, seeds: int) -> dict[str, Any]:
    """Returns the figures of all three projects."""
    common = {"grid.seeds": str(seeds), "grid.labels": LABELS, "grid.splits": "1"}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        estimates.photographs(here / "photographs", count)
        # In a process of its own, since TensorFlow stays.
        code = (
            "import sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path\n"
            "from headstart.core import runtime; runtime.fix(0)\n"
            "from benchmarks import estimates, study_estimates\n"
            f"estimates.untrained({NAME!r}, {SIDE}, Path(sys.argv[3]))\n"
            "study_estimates.small_network(Path(sys.argv[3]) / 'small.keras')"
        )
        paths = str(ROOT), str(ROOT / "src"), str(here)
        pipeline.run(sys.executable, "-c", code, *paths, folder=ROOT)
        photos = ["--data", str(here / "photographs"), "--target", *estimates.CLASSES[:2]]
        rates = {"grid.learning_rates": "[0.0001, 0.001, 0.01]", "grid.search_seeds": "3"}
        one = {"grid.learning_rates": "[0.001]"}
        file = ["--source-model", str(here / "small.keras")]
        published = ["--source-model", f"keras:{NAME}", "--input-size", str(SIDE)]
        projects = {
            "digits, networks of its own, three rates": (["--dataset", "digits"], rates),
            "photographs, a network from a file": ([*photos, *file], one),
            f"photographs, {NAME} of {SIDE} pixels": ([*photos, *published], one),
        }
        for number, (title, (options, edits)) in enumerate(projects.items()):
            found[title] = measured(here / f"own-{number}", options, common | edits, here)
            print(title, found[title], flush=True)
    return {"photographs": count, "seeds": seeds, "projects": found}


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    """Returns the table as Markdown."""
    projects = sitting.measured["projects"]
    ratios = {name: own["taken"] / own["told"] for name, own in projects.items()}
    worst = max(max(ratio, 1 / ratio) for ratio in ratios.values())
    rows = [
        (
            name,
            ", ".join(f"{arm} {seconds:.0f}" for arm, seconds in own["by arm"].items()),
            f"{own['told']:.0f}",
            f"{own['taken']:.0f}",
            f"{ratios[name]:.2f}",
            f"{own['check']:.0f}",
        )
        for name, own in projects.items()
    ]
    head = ("study", "told by arm, s", "told, s", "taken, s", "taken by told", "the check, s")
    asked = f"{sitting.measured['seeds']} seeds, {sitting.measured['photographs']} photographs"
    off = f"The worst is off by a factor of {worst:.2f}; {estimates.LIMIT:g} is what one may be off"
    around = "A whole study is told some seconds more than its arms, to start, judge and draw"
    lines = [f"{sitting.opening}. {asked}.", sittings.table(head, rows), f"{around}. {off}."]
    return {"study-estimates": "\n\n".join(lines) + "\n"}


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--photographs", type=int, default=180, help="how many are made")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    found = measure(options.photographs, options.seeds)
    sittings.finish("study_estimates", found, parts, write=options.write)


if __name__ == "__main__":
    main()
