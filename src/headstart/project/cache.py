"""Whether what lies in DVC's cache is what its name says.

DVC trusts a cached file whose date is unchanged: `dvc status`, `checkout` and `pull` hand out a
damaged one unnoticed. Only hashing shows it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from headstart.core.artefacts import md5
from headstart.params import yaml_text
from headstart.project import dvc

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
    files = root / dvc.run(root, "cache", "dir").strip() / "files/md5"
    names = _outputs(root, files)
    damages, count = [], 0
    for path in sorted(files.glob("[0-9a-f][0-9a-f]/*")):
        count += 1
        name = path.parent.name + path.name
        if md5(path) != name.removesuffix(_DIR):
            damages.append(Damage(path, tuple(names.get(name, ()))))
    return damages, count


def _outputs(root: Path, files: Path) -> dict[str, list[str]]:
    """Returns the paths that dvc.lock names for each hash, down into folders."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return {}
    paths: dict[str, list[str]] = {}
    for stage in yaml_text.written_by_dvc(lock.read_text(), "dvc.lock")["stages"].values():
        for out in stage.get("outs", []):
            paths.setdefault(out["md5"], []).append(out["path"])
            if out["md5"].endswith(_DIR):
                listing = files / out["md5"][:2] / out["md5"][2:]
                for entry in _entries(listing):
                    paths.setdefault(entry["md5"], []).append(f"{out['path']}/{entry['relpath']}")
    return paths


def _entries(listing: Path) -> list[dict[str, str]]:
    try:
        return list(json.loads(listing.read_text()))
    except (OSError, ValueError):
        # Missing, or damaged itself, which the caller finds.
        return []
