"""headstart.lock: what the installed headstart does in each stage of a project, for DVC to watch.

A project of `headstart init` has no copy of the library, and DVC passes over a stage whose declared
dependencies are as they were. So each stage depends on its line here. A checkout has no such file:
its stages depend on the folders of the library themselves.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path

from headstart.core import code
from headstart.core.artefacts import replacing
from headstart.core.errors import UserError
from headstart.params import yaml_text

FILE = "headstart.lock"
_HEAD = """\
# What the installed headstart does in each stage; `headstart run` and `headstart check` write it.
# Keep it in git: DVC runs a stage again when its line has changed.
"""


def write(root: Path) -> None:
    """Brings the headstart.lock of the project at `root` up to date, where it is to have one."""
    if (root / "src/headstart").is_dir():
        return
    scripts = sorted(path for path in (root / "stages").glob("*.py") if path.name[0] != "_")
    version = importlib.metadata.version("headstart")
    lines = [f"version: '{version}'", *(f"{k}: '{v}'" for k, v in _digests(scripts).items())]
    text = _HEAD + "\n".join(lines) + "\n"
    path = root / FILE
    # Unchanged it keeps its date, and DVC need not look into it.
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")


def verify(root: Path, script: Path) -> None:
    """Checks that the headstart.lock at `root`, if any, tells the code that runs `script`.

    Raises:
        UserError: It tells another headstart, whose results DVC would take for those of this one.
    """
    path = root / FILE
    if not path.is_file():
        return
    locked = yaml_text.parameters(path.read_text(encoding="utf-8"), FILE) or {}
    if locked.get(script.stem) != _digests([script])[script.stem]:
        raise UserError(
            f"{FILE}: was written by another headstart ({locked.get('version')}) than the one that "
            "runs here; start the pipeline with `headstart run`, which writes it anew"
        )


def _digests(scripts: Sequence[Path]) -> dict[str, str]:
    """Returns the hash of what the library does behind each script, by the script's name."""
    files = {script.stem: code.reached(script) for script in scripts}
    hashes = code.hashes(set().union(*files.values()))
    return {
        stage: hashlib.sha256(
            json.dumps({path: hashes[path] for path in sorted(paths)}).encode()
        ).hexdigest()
        for stage, paths in files.items()
    }
