"""What the pipeline costs beside the notebook's steps as one plain script.

    python benchmarks/pipeline.py [--rounds 5] [--write]

In one sitting and in turn, several times: the plain script, a cold `dvc repro` with tracking
(raw files on disk, empty cache, empty store), a no-op `dvc repro`, and `dvc repro` after an edit
of `transfer.*`. Then every stage on its own, and where the time of a training stage goes. Prints
medians and ratios; --write puts them into docs/benchmarks.md.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from headstart.params import yaml_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/benchmarks.md"
START, END = "<!-- pipeline: start -->\n", "<!-- pipeline: end -->\n"
STAGES = ("download", "prepare", "train_a", "train_b", "transfer", "evaluate")
LIMITS = {"cold dvc repro": 2.0, "no-op dvc repro": 0.1, "dvc repro after a transfer edit": 0.9}


@dataclass(frozen=True)
class Run:
    """One finished command: wall and processor seconds, and its largest process in MB."""

    wall: float
    processor: float
    peak: float
    said: str


def run(*command: str, folder: Path) -> Run:
    """Runs a command to its end; the kernel tells what it and its descendants used."""
    dropped = ("MLFLOW_", "DVC_", "HEADSTART_", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
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
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said)


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


def edit(folder: Path, learning_rate: float) -> None:
    """Gives the transfer a learning rate of its own."""
    path = folder / "params.yaml"
    values = {"transfer.overrides.learning_rate": str(learning_rate)}
    path.write_text(yaml_text.edited(path.read_text(), values))


def machine() -> str:
    """Names the processor, its cores, and the versions that matter."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tensorflow", "keras", "dvc", "mlflow")
    )
    return (
        f"{datetime.date.today().isoformat()}, {model[1] if model else platform.machine()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {versions}"
    )


def median(runs: list[Run], what: str) -> float:
    return statistics.median(getattr(run, what) for run in runs)


def measure(rounds: int, raw: Path) -> str:
    """Runs everything and returns the page's part in Markdown."""
    runs: dict[str, list[Run]] = defaultdict(list)
    steps: dict[str, list[float]] = defaultdict(list)
    stages: dict[str, list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds):
            folder = Path(temporary) / str(number)
            checkout(folder, raw)
            script = run(
                sys.executable, str(ROOT / "benchmarks/notebook.py"), str(raw), folder=ROOT
            )
            runs["the notebook's steps, plain script"].append(script)
            for name, seconds in re.findall(r"^step (\w+) ([\d.]+)$", script.said, re.MULTILINE):
                steps[name].append(float(seconds))
            runs["cold dvc repro"].append(run("dvc", "repro", folder=folder))
            runs["no-op dvc repro"].append(run("dvc", "repro", folder=folder))
            edit(folder, 0.002)
            edited = run("dvc", "repro", folder=folder)
            assert re.findall(r"^Running stage '(\w+)'", edited.said, re.MULTILINE) == [
                "transfer",
                "evaluate",
            ]
            runs["dvc repro after a transfer edit"].append(edited)
            # Enough to see where the time goes.
            for stage in STAGES if number == 0 else ():
                stages[stage].append(run("python", f"stages/{stage}.py", folder=folder))
            fix = "import sys; sys.path[0] = 'src'; from headstart.core.runtime import fix; fix(0)"
            stages["start of Python, TensorFlow and Keras"].append(
                run("python", "-c", fix, folder=folder)
            )
            print(f"round {number + 1} of {rounds}", flush=True)
            shutil.rmtree(folder)
    script_wall = median(runs["the notebook's steps, plain script"], "wall")
    lines = [
        f"Measured {machine()}. {rounds} rounds in turn; medians, with minimum and maximum.",
        "",
        "| command | seconds | ratio to the script | limit | processor seconds | largest process |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, done in runs.items():
        walls = [one.wall for one in done]
        limit = f"{LIMITS[name]}" if name in LIMITS else ""
        lines.append(
            f"| {name} | {median(done, 'wall'):.2f} ({min(walls):.2f} to {max(walls):.2f}) | "
            f"{median(done, 'wall') / script_wall:.2f} | {limit} | "
            f"{median(done, 'processor'):.1f} | {median(done, 'peak'):.0f} MB |"
        )
    lines += ["", "Where the script's time goes: "]
    lines[-1] += ", ".join(
        f"{name} {statistics.median(found):.2f} s" for name, found in steps.items()
    )
    lines[-1] += "."
    lines += [
        "",
        "Each stage on its own, outside DVC:",
        "",
        "| stage | seconds | processor seconds | largest process |",
        "| --- | --- | --- | --- |",
    ]
    for name, done in stages.items():
        lines.append(
            f"| {name} | {median(done, 'wall'):.2f} | {median(done, 'processor'):.1f} | "
            f"{median(done, 'peak'):.0f} MB |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--raw", type=Path, default=ROOT / "data/raw/fashion_mnist")
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/benchmarks.md"
    )
    arguments = parser.parse_args()
    if not (arguments.raw / "train-images-idx3-ubyte").is_file():
        raise SystemExit(f"error: {arguments.raw} lacks the published files; `make run` gets them")
    text = measure(arguments.rounds, arguments.raw)
    print(text)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(START)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{START}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
