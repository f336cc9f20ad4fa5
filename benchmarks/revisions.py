"""Times `make run` of two or more states of the repository, in turn, on this machine.

    python benchmarks/revisions.py [--write] [REVISION ...]

Each state is cloned and set up beforehand. Cold: nothing but the environment and, in a folder
named by HEADSTART_MIRROR, the published files. Unchanged: `make run` once more.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import sittings

ROUNDS = 3
# The last state before the registry, serving and offline charts.
PIPELINE = "1910788"
LIMIT = 1.1


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("revisions", nargs="*", default=[PIPELINE, "HEAD"])
    asked = parser.parse_args()
    states: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="headstart-revisions-") as folder:
        clones = [Path(folder) / str(number) for number in range(len(asked.revisions))]
        for revision, clone in zip(asked.revisions, clones, strict=True):
            run(ROOT, "git", "clone", "-q", str(ROOT), str(clone))
            run(clone, "git", "checkout", "-q", revision)
            commit = run(clone, "git", "rev-parse", "--short", "HEAD").strip()
            states.append({"state": revision, "commit": commit, "cold": [], "unchanged": []})
            run(clone, "make", "setup")
        for _ in range(ROUNDS):
            for state, clone in zip(states, clones, strict=True):
                run(clone, "git", "clean", "-xdfq", "--exclude=.venv")
                run(clone, "git", "checkout", "-q", ".")
                for which in ("cold", "unchanged"):
                    state[which].append(seconds(clone))
    sittings.finish("revisions", states, parts, write=asked.write)


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    states = sitting.measured
    first = median(states[0]["cold"])
    rows = [
        (
            state["state"]
            if state["state"] == state["commit"]
            else f"{state['state']} ({state['commit']})",
            f"{sittings.spread(state['cold'], '.1f')} s",
            f"{median(state['cold']) / first:.2f}",
            f"{sittings.spread(state['unchanged'], '.1f')} s",
        )
        for state in states
    ]
    return {
        "revisions": f"{sitting.opening}. {len(states[0]['cold'])} rounds in turn; medians, with "
        f"minimum and maximum. The limit for the ratio is {LIMIT}.\n\n"
        + sittings.table(["state", "cold", "ratio", "unchanged"], rows)
    }


def run(where: Path, *command: str) -> str:
    environment = os.environ | {"HEADSTART_MIRROR": str(ROOT / "data/raw/fashion_mnist")}
    done = subprocess.run(
        command,
        cwd=where,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{command} in {where} failed:\n{done.stdout}")
    return done.stdout


def seconds(clone: Path) -> float:
    began = time.monotonic()
    run(clone, "make", "run")
    return round(time.monotonic() - began, 2)


if __name__ == "__main__":
    main()
