"""Walks docs/tour.md command by command and writes into it what they print.

    python scripts/tour.py [--write]      after the download stage; trains, some minutes

The walk goes through a copy of the working tree, committed as a clone would be. Hashes of
experiments and the copy's path are masked: all else that the tour shows follows from the tree, on
any x86-64 processor from AVX2 up. tests/pipeline/test_guides.py walks once more and compares.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import sittings

# Where the page shows what a command printed: how the command begins, and the lines that are shown.
SHOWN = {
    "tour-run": ("make run", r""),
    "tour-params": ("dvc params diff", r""),
    "tour-metrics": (
        "dvc metrics diff",
        r"^Path|\.accuracy |comparison\.accuracy_gain |cost\.\w+\.flops ",
    ),
    "tour-experiments": ("dvc exp show", r""),
    "tour-register": ("headstart register", r""),
    "tour-predict": ("headstart predict", r""),
    "tour-publish": ("headstart publish", r""),
}
# `git clone` stands before the walk, and servers stay until they are stopped.
_COMMANDS = (
    r"^    (make run|(?:git (?!clone)|dvc |headstart ).*|python - <<'END'\n(?:.*\n)*?    END)$"
)
# Its environment is there already; what a run prints at its end is what `show` prints.
_INSTEAD = {"make run": "headstart run >/dev/null && headstart show"}


def main() -> None:
    import mutate  # Which writes into a page as well.

    asked = sittings.parser(__doc__).parse_args()
    dropped = ("HEADSTART_", "MLFLOW_", "DVC_", "GIT_", "PYTHON")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "headstart"
        mutate.copy_tree(root)
        # Results of this tree, whether they are committed by now or not.
        subprocess.run(["headstart", "run"], cwd=root, env=environment, check=True)
        for command in ("add -A", "commit -q -m Run", "branch -M main"):
            subprocess.run(["git", *command.split()], cwd=root, env=environment, check=True)
        printed = walk(root, Path(folder), environment)
    sittings.finish("tour", printed, parts, write=asked.write)


def commands(page: str) -> list[str]:
    """Returns what the page tells to type, save for what fetches or serves."""
    found = re.findall(_COMMANDS, page, re.MULTILINE)
    return [re.sub(r"^    ", "", command, flags=re.MULTILINE) for command in found]


def walk(root: Path, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Types the tour into a clone at `root`; returns what is shown, by place, masked.

    The images of step 6 go into `folder` in place of /tmp.
    """
    printed = {}
    for command in commands((root / "docs/tour.md").read_text(encoding="utf-8")):
        script = _INSTEAD.get(command, command).replace("/tmp/", f"{folder}/")  # noqa: S108
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise SystemExit(f"error: {command} ended with {done.returncode}:\n{done.stdout}")
        output = done.stdout.replace(str(root), "...").replace(f"{folder}/", "/tmp/")  # noqa: S108
        # An experiment's hash holds its time.
        output = re.sub(r"\b[0-9a-f]{7}(?= \[)", "1a2b3c4", output)
        for place, (begin, _) in SHOWN.items():
            if command.startswith(begin):
                printed[place] = output
    return printed


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    return {place: shortened(sitting.measured[place], shown) for place, (_, shown) in SHOWN.items()}


def shortened(output: str, shown: str) -> str:
    """Returns a block of Markdown: the lines that match `shown`, and `...` for those between."""
    lines = [line.rstrip() if re.search(shown, line) else "..." for line in output.splitlines()]
    kept = [line for at, line in enumerate(lines) if line != "..." or lines[at - 1 : at] != ["..."]]
    return "\n".join(f"    {line}".rstrip() for line in kept).strip("\n") + "\n"


if __name__ == "__main__":
    main()
