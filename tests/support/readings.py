"""Which parameters a stage really reads: its script, run with parameters that write it down."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

from projects import ROOT, Project
from pydantic import BaseModel


class Recorded:
    """Parameters that note the dotted key of every value that is asked for."""

    def __init__(self, section: BaseModel, read: set[str], prefix: str = "") -> None:
        self._section, self._read, self._prefix = section, read, prefix

    # `isinstance` takes it for the section.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._section)

    def __getattr__(self, name: str) -> Any:
        fields = type(self._section).model_fields
        if name not in fields:
            made = getattr(type(self._section), name)
            # What a section works out reads its keys through this object too.
            return made.__get__(self) if callable(made) else made.fget(self)
        key = self._prefix + (fields[name].alias or name)
        value = getattr(self._section, name)
        if isinstance(value, BaseModel):
            return Recorded(value, self._read, f"{key}.")
        self._read.add(key)
        return value

    def model_dump(self, **options: Any) -> Any:
        """What the section's own does, which reads all that is not excluded."""
        told = self._section.model_dump(
            **(options | {"by_alias": True, "exclude_none": False, "exclude_unset": False})
        )
        self._read |= {f"{self._prefix}{key}" for key in _leaves(told)}
        return self._section.model_dump(**options)

    def model_copy(self, **options: Any) -> Any:
        """A copy, which reads all that it does not replace."""
        replaced = options.get("update", {})
        for name in type(self._section).model_fields.keys() - replaced.keys():
            getattr(self, name)
        return self._section.model_copy(**options)


def _leaves(values: dict[str, Any], prefix: str = "") -> set[str]:
    leaves: set[str] = set()
    for key, value in values.items():
        if isinstance(value, dict) and value:
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves.add(f"{prefix}{key}")
    return leaves


def read_by(project: Project, script: str, *, loader: str = "headstart.params.reading") -> set[str]:
    """Returns the dotted keys that a stage's script asks for when it runs in `project`.

    Args:
        project: Has all that the stage reads.
        script: Of the stage, such as "stages/prepare.py".
        loader: The module whose `load` gives the script its parameters.
    """
    note = project.root / "read.json"
    # A process of its own: TensorFlow takes its threads once.
    project.run(
        sys.executable, str(Path(__file__)), script, loader, str(note),
        PYTHONPATH=f"{project.root / 'src'}:{ROOT / 'src'}:{ROOT / 'tests/support'}",
        HEADSTART_RECORDER="off",
    )  # fmt: skip
    keys: list[str] = json.loads(note.read_text())
    note.unlink()
    return set(keys)


def main(script: str, loader: str, note: str) -> None:
    """Runs the script and writes down what it read."""
    import importlib

    module: Any = importlib.import_module(loader)
    load, read = module.load, set[str]()
    module.load = lambda path: Recorded(load(path), read)
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")
    Path(note).write_text(json.dumps(sorted(read)))


if __name__ == "__main__":
    main(*sys.argv[1:])
