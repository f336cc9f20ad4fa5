"""What the pipeline costs beside the notebook's steps as one plain script, and where its time goes.

    python benchmarks/pipeline.py [--rounds 3] [--write]      alone on the machine; minutes

In one sitting and in turn, several times: the plain script, a cold `dvc repro` with tracking
(raw files on disk, empty cache, empty store), a no-op `dvc repro`, `dvc repro` after an edit of
`transfer.*`, every stage on its own, and one more cold `dvc repro` that is watched
(benchmarks/phases.py).
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import phases, sittings
from headstart.params import yaml_text
from headstart.reporting import style

SCRIPT = ROOT / "benchmarks/notebook.py"
PICTURE = ROOT / "docs/images/pipeline-profile.png"
PLAIN, COLD, NO_OP = "the notebook's steps, plain script", "cold dvc repro", "no-op dvc repro"
EDITED = "dvc repro after a transfer edit"
LIMITS = {COLD: 1.1, NO_OP: 0.05, EDITED: 0.5}
STAGES = ("download", "prepare", "train_a", "train_b", "transfer", "evaluate")
START = "start of Python, TensorFlow and Keras"
# Okabe and Ito's colours, and greys for what every program has.
_COLOURS = (
    "#DDDDDD", "#BBBBBB", "#56B4E9", "#F0E442", "#CC79A7",
    "#009E73", "#000000", "#E69F00", "#0072B2", "#888888",
)  # fmt: skip

Figures = dict[str, list[float]]


def run(*command: str, folder: Path, **added: str) -> tuple[Figures, str]:
    """Runs a command to its end; returns its figures and what it said.

    The figures, one each: wall and processor seconds, and its largest process in MB, as the kernel
    tells them of it and its descendants.
    """
    dropped = ("MLFLOW_", "DVC_", "HEADSTART_", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | added
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{said[-3000:]}")
    figures = wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    names = ("seconds", "processor", "megabytes")
    return {name: [round(value, 2)] for name, value in zip(names, figures, strict=True)}, said


def checkout(folder: Path, raw: Path) -> None:
    """Makes a checkout with the raw files on disk, an empty cache and an empty store."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    for file in raw.iterdir():
        if file.suffix == "" and file.name != ".gitignore":
            target = folder / "data/raw/fashion_mnist" / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    # Bytecode is there before the first run, as after `make setup`.
    subprocess.run([sys.executable, "-m", "compileall", "-q", "src"], cwd=folder, check=True)


def watched(folder: Path) -> dict[str, dict[str, float]]:
    """Returns where the seconds of a cold `dvc repro` go, by stage and phase; DVC is a stage."""
    site, lines = folder / "site", folder / "phases"
    site.mkdir()
    begin = f"import sys\nsys.path.append({str(Path(phases.__file__).parent)!r})\n"
    (site / "sitecustomize.py").write_text(f"{begin}import phases\nphases.begin()\n")
    added = {"PYTHONPATH": str(site), phases.RESULTS: str(lines)}
    figures, _ = run("dvc", "repro", folder=folder, **added)
    found = {
        line["stage"]: {phase: round(took, 3) for phase, took in line["seconds"].items() if took}
        for line in map(json.loads, lines.read_text().splitlines())
    }
    inside = sum(sum(seconds.values()) for seconds in found.values())
    return {stage: found[stage] for stage in STAGES} | {
        "DVC": {"rest": round(figures["seconds"][0] - inside, 3)}
    }


def measure(rounds: int, raw: Path) -> dict[str, Any]:
    """Runs everything so many times; returns the figures of every round."""
    runs: dict[str, Figures] = defaultdict(lambda: defaultdict(list))
    steps: Figures = defaultdict(list)
    profiles: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(name: str, *command: str, folder: Path) -> str:
        figures, said = run(*command, folder=folder)
        for what, value in figures.items():
            runs[name][what] += value
        return said

    fix = "import sys; sys.path[0] = 'src'; from headstart.core.runtime import fix; fix(0)"
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "cold"
            checkout(folder, raw)
            said = add(PLAIN, sys.executable, str(SCRIPT), str(raw), folder=ROOT)
            for name, seconds in re.findall(r"^step (\w+) ([\d.]+)$", said, re.MULTILINE):
                steps[name].append(float(seconds))
            for name in (COLD, NO_OP):
                add(name, "dvc", "repro", folder=folder)
            path = folder / "params.yaml"
            edit = {"transfer.overrides.learning_rate": "0.002"}
            path.write_text(yaml_text.edited(path.read_text(), edit))
            said = add(EDITED, "dvc", "repro", folder=folder)
            ran = re.findall(r"^Running stage '(\w+)'", said, re.MULTILINE)
            assert ran == ["transfer", "evaluate"]
            for stage in STAGES:
                add(stage, "python", f"stages/{stage}.py", folder=folder)
            add(START, "python", "-c", fix, folder=folder)
            checkout(Path(temporary) / "watched", raw)
            for stage, seconds in watched(Path(temporary) / "watched").items():
                for phase in phases.PHASES:
                    profiles[stage][phase].append(seconds.get(phase, 0.0))
        print(f"round {number + 1} of {rounds}", flush=True)
    yardstick = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()
    found = {"yardstick": yardstick, "runs": runs, "steps": steps, "profile": profiles}
    # Plain dictionaries, as they are read again.
    return dict(json.loads(json.dumps(found)))


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    runs, steps = sitting.measured["runs"], sitting.measured["steps"]
    profile = _medians(sitting)
    script = median(runs[PLAIN]["seconds"])
    commands = [
        [
            f"{name} (`benchmarks/notebook.py`, SHA-256 `{sitting.measured['yardstick'][:16]}...`)"
            if name == PLAIN
            else name,
            sittings.spread(runs[name]["seconds"]),
            f"{median(runs[name]['seconds']) / script:.3f}",
            f"{LIMITS.get(name, '')}",
            f"{median(runs[name]['processor']):.1f}",
            f"{median(runs[name]['megabytes']):.0f} MB",
        ]
        for name in (PLAIN, *LIMITS)
    ]
    alone = [
        [
            name,
            sittings.spread(runs[name]["seconds"]),
            f"{median(runs[name]['processor']):.1f}",
            f"{median(runs[name]['megabytes']):.0f} MB",
        ]
        for name in (*STAGES, START)
    ]
    whole = sum(sum(seconds.values()) for seconds in profile.values())
    used = [phase for phase in phases.PHASES if any(row[phase] for row in profile.values())]
    rows = [
        [stage, *(f"{row[phase]:.2f}" if row[phase] else "" for phase in used),
         f"{sum(row.values()):.2f}"]
        for stage, row in profile.items()
    ]  # fmt: skip
    sums = {phase: sum(row[phase] for row in profile.values()) for phase in used}
    rows.append(["all", *(f"{took:.2f}" for took in sums.values()), f"{whole:.2f}"])
    spent = ", ".join(f"{name} {median(seconds):.2f} s" for name, seconds in steps.items())
    rounds = f"{len(runs[PLAIN]['seconds'])} rounds"
    head = ["seconds", "processor seconds", "largest process"]
    beside = sittings.table(
        ["command", "seconds", "ratio to the script", "limit", *head[1:]], commands
    )
    return {
        "pipeline": f"{sitting.opening}. {rounds} in turn; medians, with minimum and maximum.\n\n"
        f"{beside}\nWhere the script's time goes: {spent}.\n\n"
        f"Each stage on its own, outside DVC:\n\n{sittings.table(['stage', *head], alone)}",
        "pipeline-profile": f"{sitting.opening}. Seconds, medians of {rounds}.\n\n"
        f"{sittings.table(['stage', *used, 'all'], rows)}\n"
        f"![Where the seconds of a cold pipeline go](images/{PICTURE.name})\n",
    }


def _medians(sitting: sittings.Sitting) -> dict[str, dict[str, float]]:
    """Returns the profile's median seconds by stage and phase."""
    return {
        stage: {phase: median(seconds) for phase, seconds in found.items()}
        for stage, found in sitting.measured["profile"].items()
    }


def draw(sitting: sittings.Sitting, path: Path) -> None:
    """Draws the profile: a bar for each stage, cut into its phases."""
    profile = _medians(sitting)
    with style.new_figure(9, 4) as figure:
        axes = figure.subplots()
        ends = dict.fromkeys(profile, 0.0)
        for phase, colour in zip(phases.PHASES, _COLOURS, strict=True):
            widths = [row[phase] for row in profile.values()]
            axes.barh(list(profile), widths, left=list(ends.values()), color=colour, label=phase)
            ends = {stage: ends[stage] + row[phase] for stage, row in profile.items()}
        axes.invert_yaxis()
        axes.set(xlabel="seconds", title="Where the seconds of a cold pipeline go")
        axes.grid(axis="x", alpha=0.25)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    style.write_png(path, figure)


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--raw", type=Path, default=ROOT / "data/raw/fashion_mnist")
    asked = parser.parse_args()
    if not (asked.raw / "train-images-idx3-ubyte").is_file():
        raise SystemExit(f"error: {asked.raw} lacks the published files; `make run` gets them")
    measured = measure(asked.rounds, asked.raw)
    sittings.finish("pipeline", measured, parts, write=asked.write)
    if asked.write and (sitting := sittings.read("pipeline")):
        draw(sitting, PICTURE)


if __name__ == "__main__":
    main()
