"""The dvc.yaml of a project and of its study, made of headstart's own."""

import json
from collections.abc import Sequence
from typing import Any

from headstart.params import yaml_text
from headstart.project import lock

_LIBRARY = "src/headstart/"
# A folder for what is a user's own; headstart's own pipeline watches it whole.
_OWN = "data/own"
_HEAD = "# What {} reads and writes; the library is the installed headstart.\n"
_GRID = "grid"


def of_project(text: str, own_files: Sequence[str]) -> str:
    """Returns headstart's dvc.yaml for a project.

    Each stage depends on its line in headstart.lock in place of the library's folders, and on the
    user's own images in place of the folder for them. That for networks stays: one may be swapped
    for another (`-S source_training.from=`).
    """
    document = yaml_text.round_trip(text)
    document.ca.comment = None
    for name, stage in document["stages"].items():
        _locked(stage, name)
        deps: list[Any] = stage["deps"]
        if _OWN in deps:
            at = deps.index(_OWN)
            deps[at : at + 1] = [path for path in own_files if path.startswith(_OWN)]
    return _HEAD.format("each stage") + yaml_text.as_text(document)


def study_of_project(text: str) -> str:
    """Returns headstart's study/dvc.yaml for a project, whose study has the section grid alone."""
    document = yaml_text.round_trip(text)
    # What the sections share stands in the first of them.
    grid = {key: value for key, value in document["stages"][_GRID].items() if key != "vars"}
    _locked(grid, "study")
    plain = json.loads(json.dumps(grid).replace("${section}", _GRID))
    made = {"vars": list(document["vars"]), "stages": {_GRID: plain}}
    return _HEAD.format("the study") + yaml_text.as_text(made)


def _locked(stage: dict[str, Any], script: str) -> None:
    """Has a stage depend on the line of its script in headstart.lock, not on the library."""
    deps: list[Any] = stage["deps"]
    for at in reversed(range(len(deps))):
        if deps[at].startswith(_LIBRARY):
            del deps[at]
    stage["params"].append({lock.FILE: [script]})
