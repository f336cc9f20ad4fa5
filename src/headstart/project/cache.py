"""Whether what lies in DVC's cache is what its name says.

DVC trusts a cached file whose date is unchanged: `dvc status`, `checkout` and `pull` hand out a
damaged one unnoticed. Only hashing shows it.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from headstart.core.artefacts import md5
from headstart.core.errors import UserError

_DIR = ".dir"


@dataclass(frozen=True)
class Damage:
    """A file in the cache whose bytes are not those of its name, and the outputs that it is."""

    path: Path
    outputs: tuple[str, ...]


def damaged(root: Path) -> tuple[list[Damage], int]:
    """Returns the damaged files of the project's cache, and how many files lie there.

    Raises:
        UserError: DVC does not say where its cache is.
    """
    files = _cache(root) / "files/md5"
    names = _outputs(root, files)
    found, count = [], 0
    for path in sorted(files.glob("[0-9a-f][0-9a-f]/*")):
        count += 1
        name = path.parent.name + path.name
        if md5(path) != name.removesuffix(_DIR):
            found.append(Damage(path, tuple(names.get(name, ()))))
    return found, count


def _cache(root: Path) -> Path:
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`dvc cache dir` failed: {done.stderr.strip()}")
    return root / done.stdout.strip()


def _outputs(root: Path, files: Path) -> dict[str, list[str]]:
    """Returns the paths that dvc.lock names for each hash, down into folders."""
    import yaml

    lock = root / "dvc.lock"
    if not lock.is_file():
        return {}
    found: dict[str, list[str]] = {}
    for stage in yaml.safe_load(lock.read_text())["stages"].values():
        for out in stage.get("outs", []):
            found.setdefault(out["md5"], []).append(out["path"])
            if out["md5"].endswith(_DIR):
                listing = files / out["md5"][:2] / out["md5"][2:]
                for entry in _entries(listing):
                    found.setdefault(entry["md5"], []).append(f"{out['path']}/{entry['relpath']}")
    return found


def _entries(listing: Path) -> list[dict[str, str]]:
    try:
        return list(json.loads(listing.read_text()))
    except (OSError, ValueError):
        # Missing, or damaged itself, which the caller finds.
        return []
