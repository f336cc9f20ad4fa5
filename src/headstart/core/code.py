"""The library's own code: the order of its floors, what a script reaches, the hash of what acts.

One walk over the real imports serves three readers: a test compares it with `dvc.yaml`, the study
keeps its trainings under it, and a project of `headstart init` knows by it of a new library.
"""

import ast
import functools
import hashlib
from collections.abc import Container, Iterable
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]
"""The folder `headstart` that this code runs from."""

FLOORS = (
    "cli", "study", "tracking", "project", "serving", "reporting", "judging", "transfer",
    "learning", "data", "params", "core",
)  # fmt: skip
"""The folders and files of the library from the top; each imports only what stands below it."""

CANNOT_ACT = {
    "tracking": "writes to MLflow alone",
    "params/fields.py": "checks single values, and changes none",
    "params/reading.py": "reads and refuses; DVC watches the values one by one",
    "params/yaml_text.py": "reads and refuses, like reading.py",
}
"""What a script reaches and no output depends on, with the reason."""


def imported(path: Path) -> set[str]:
    """Returns the dotted names of all modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import name`: the name may be a module.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def file_of(name: str, library: Path = LIBRARY) -> Path | None:
    """Returns the file of the library's module `name`, None where it is none of ours."""
    first, *rest = name.split(".")
    if first != "headstart":
        return None
    place = library.joinpath(*rest)
    for file in (place / "__init__.py", place.with_suffix(".py") if rest else place):
        if file.is_file():
            return file
    return None


def reached(*scripts: Path, library: Path = LIBRARY, idle: Container[str] = ()) -> set[str]:
    """Returns the library's files that scripts import, directly or through others, and that act.

    Paths are relative to `library`, with `/`. What stands in CANNOT_ACT is left out; of a folder
    there, and of the files in `idle`, what only they import too.
    """
    found: set[str] = set()
    ahead = [name for script in scripts for name in imported(script)]
    while ahead:
        file = file_of(ahead.pop(), library)
        if file is None:
            continue
        path = file.relative_to(library).as_posix()
        if path not in found and path not in idle and path.split("/")[0] not in CANNOT_ACT:
            found.add(path)
            ahead += imported(file)
    # A package's own file is run with each of its modules; ours hold words alone.
    return {path for path in found - CANNOT_ACT.keys() if not path.endswith("__init__.py")}


def declared(paths: Iterable[str]) -> set[str]:
    """Returns how `dvc.yaml` names the files of `reached`: their folders, relative to the library.

    Of `params` the files that act are named one by one, since its others only check.
    """
    return {path if path.startswith("params/") else path.split("/")[0] for path in paths}


def hashes(paths: Iterable[str], library: Path = LIBRARY) -> dict[str, str]:
    """Returns the hash of what each file of the library does, by its path."""
    return {at: hash_of((library / at).read_text(encoding="utf-8")) for at in sorted(set(paths))}


@functools.cache
def hash_of(text: str) -> str:
    """Returns the hash of what Python code does: comments, docstrings and layout do not count.

    Nor does what an error says: of `raise Error(...)` the kind alone counts.
    """
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node):
            node.body[0] = ast.Pass()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
