"""Times `make run` of two or more states of the repository, in turn, on this machine.

    python benchmarks/revisions.py pipeline HEAD      (pipeline is a tag)

Each state is cloned and set up beforehand. Cold: nothing but the environment and, in a folder
named by HEADSTART_MIRROR, the published files. Unchanged: `make run` once more.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3


def main() -> None:
    revisions = sys.argv[1:]
    if len(revisions) < 2:
        sys.exit(str(__doc__))
    with tempfile.TemporaryDirectory(prefix="headstart-revisions-") as folder:
        clones = {revision: Path(folder) / f"{n}" for n, revision in enumerate(revisions)}
        for revision, clone in clones.items():
            run(ROOT, "git", "clone", "-q", str(ROOT), str(clone))
            run(clone, "git", "checkout", "-q", revision)
            run(clone, "make", "setup")
        cold: dict[str, list[float]] = {revision: [] for revision in revisions}
        again: dict[str, list[float]] = {revision: [] for revision in revisions}
        for _ in range(ROUNDS):
            for revision, clone in clones.items():
                run(clone, "git", "clean", "-xdfq", "--exclude=.venv")
                run(clone, "git", "checkout", "-q", ".")
                cold[revision].append(seconds(clone))
                again[revision].append(seconds(clone))
    print("| state | cold | ratio | unchanged |\n|---|---|---|---|")
    first = statistics.median(cold[revisions[0]])
    for revision in revisions:
        middle = statistics.median(cold[revision])
        print(
            f"| {revision} | {middle:.1f} s | {middle / first:.2f} | "
            f"{statistics.median(again[revision]):.1f} s |"
        )


def run(where: Path, *command: str) -> None:
    environment = os.environ | {"HEADSTART_MIRROR": str(ROOT / "data/raw/fashion_mnist")}
    done = subprocess.run(
        command, cwd=where, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"{command} in {where} failed:\n{done.stdout.decode()}")


def seconds(clone: Path) -> float:
    began = time.monotonic()
    run(clone, "make", "run")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
