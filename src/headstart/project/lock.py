"""headstart.lock: what the installed headstart does in each stage of a project, for DVC to watch.

A project of `headstart init` has no copy of the library, and DVC passes over a stage whose declared
dependencies are as they were. So each stage depends on its line here. A checkout has no such file:
its stages depend on the folders of the library themselves.

The project's scripts in stages/ are copies. Those that nobody has edited follow an update.
"""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.core import code
from headstart.core.artefacts import replacing
from headstart.core.errors import UserError, warn
from headstart.params import yaml_text

FILE = "headstart.lock"
_HEAD = """\
# What the installed headstart does in each stage; `headstart run` and `headstart check` write it.
# Keep it in git: DVC runs a stage again when its line has changed.
"""


def template() -> Path:
    """Returns the folder with headstart's own stages/ and dvc.yaml: the wheel's, or the checkout's.

    Raises:
        UserError: The installation lacks them.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "template", here.parents[2]):
        if (folder / "stages/evaluate.py").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"{here}: this installation lacks its stages; install headstart again")


def write(root: Path) -> None:
    """Brings headstart.lock and the scripts of the project at `root` up to date.

    A checkout of headstart has no lock and is left alone. A script that was edited here stays, with
    a warning where headstart's own is another.
    """
    if (root / "src/headstart").is_dir():
        return
    path = root / FILE
    originals = _update_scripts(root, _locked(path).get("scripts") or {})
    scripts = sorted(path for path in (root / "stages").glob("*.py") if path.name[0] != "_")
    lines = {"version": importlib.metadata.version("headstart")}
    lines |= {script.stem: _digest(script) for script in scripts}
    text = _HEAD + "".join(f"{key}: '{value}'\n" for key, value in lines.items())
    text += "scripts:\n" + "".join(f"  {name}: '{sha}'\n" for name, sha in originals.items())
    # Unchanged it keeps its date, and DVC need not look into it.
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")


def verify(root: Path, script: Path) -> None:
    """Checks that the headstart.lock at `root`, if any, tells the code that runs `script`.

    Raises:
        UserError: It tells another headstart, whose results DVC would take for those of this one.
    """
    locked = _locked(root / FILE)
    if locked and locked.get(script.stem) != _digest(script):
        raise UserError(
            f"{FILE}: was written by another headstart ({locked.get('version')}) than the one that "
            "runs here; start the pipeline with `headstart run`, which writes it anew"
        )


def _locked(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return yaml_text.parameters(text, FILE) or {}


def _update_scripts(root: Path, originals: Mapping[str, str]) -> dict[str, str]:
    """Writes anew what nobody edited since `originals`; returns the hashes to keep, by name."""
    hashes = {}
    for ours in sorted((template() / "stages").glob("*.py")):
        theirs = root / "stages" / ours.name
        if not theirs.is_file():
            continue
        lying, new = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (theirs, ours))
        last = originals.get(ours.name, new)
        hashes[ours.name] = new
        if lying == last != new:
            with replacing(theirs) as part:
                shutil.copyfile(ours, part)
        elif lying != new:
            hashes[ours.name] = last
            warn(
                f"stages/{ours.name}: was edited here and stays; that of the installed headstart "
                f"is another, see {ours}"
            )
    return hashes


def _digest(script: Path) -> str:
    """Returns the hash of what the library does behind a script."""
    hashes = code.hashes(code.reached(script))
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
