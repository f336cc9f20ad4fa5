"""The files of a fresh project: the pipeline without the library, parameters, git and DVC."""

import contextlib
import importlib.resources
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError
from headstart.params import reading, yaml_text
from headstart.project import dvc, lock

STAGES = ("download", "prepare", "train_a", "train_b", "transfer", "evaluate")
_LIBRARY = "src/headstart/"
# Folders for what is a user's own; headstart's own pipeline watches them whole.
_OWN = ("data/own", "models/own")

_PARAMETERS = "# Every value that a stage uses stands here; the code holds no default."
_PIPELINE = "# What each stage reads and writes; the library is the installed headstart."
_IGNORED = """\
__pycache__/
# The lab book is a projection: it is made again from what DVC and git keep.
/mlflow.db
/mlflow.db-*
/mlartifacts/
/mlruns/
/.headstart/
/dvc_plots/
"""


def write(
    folder: Path,
    *,
    values: Mapping[str, str],
    copies: Mapping[str, Path],
    words: Mapping[str, str],
) -> None:
    """Writes a project into `folder`, all of it or nothing.

    Args:
        folder: Where; it must be empty or not exist.
        values: Of params.yaml, as YAML by dotted key, where they differ from headstart's own.
        copies: Files and folders of the user's, by where they go.
        words: For the README: title, source, target, data.

    Raises:
        UserError: The installation lacks its stages, or git or DVC refused.
    """
    template = lock.template()
    _, ours = (template / "params.yaml").read_text(encoding="utf-8").split("\n", 1)
    files = {
        "params.yaml": f"{_PARAMETERS}\n{yaml_text.edited(ours, values)}",
        "dvc.yaml": _pipeline((template / "dvc.yaml").read_text(encoding="utf-8"), list(copies)),
        ".gitignore": _IGNORED,
        "README.md": importlib.resources.files(__package__)
        .joinpath("readme.md")
        .read_text(encoding="utf-8")
        .format(**words),
    }
    for stage in ("_checkout", *STAGES):
        script = f"stages/{stage}.py"
        files[script] = (template / script).read_text(encoding="utf-8")
    reading.parse(files["params.yaml"], "params.yaml")
    with _made_whole(folder) as new:
        for name, text in files.items():
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text(text, encoding="utf-8")
        for name, original in copies.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if original.is_dir():
                # Links within the folder become the files that they lead to; none leads out
                # (surveyed).
                shutil.copytree(original, new / name, ignore=shutil.ignore_patterns(".*"))
            else:
                shutil.copyfile(original, new / name)
        lock.write(new)
        _initialise(new, template, list(copies))


def _pipeline(text: str, own: Sequence[str]) -> str:
    """Returns headstart's dvc.yaml for a project.

    Each stage depends on its line in headstart.lock in place of the library's folders, and on the
    paths in `own` in place of the folders for what is one's own.
    """
    document = yaml_text.round_trip(text)
    document.ca.comment = None
    for name, stage in document["stages"].items():
        deps: list[Any] = stage["deps"]
        for at in reversed(range(len(deps))):
            if deps[at].startswith(_LIBRARY):
                del deps[at]
            elif deps[at] in _OWN:
                mine = [path for path in own if path.startswith(deps[at])]
                deps[at : at + 1] = mine
        stage["params"].append({lock.FILE: [name]})
    return f"{_PIPELINE}\n{yaml_text.as_text(document)}"


@contextlib.contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """Yields a folder beside `folder` that becomes it when all went well, and else goes."""
    folder = folder.absolute()
    new = folder.with_name(f".{folder.name}-{os.getpid()}")
    new.mkdir(parents=True)
    try:
        yield new
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _initialise(folder: Path, template: Path, own: Sequence[str]) -> None:
    """Makes `folder` a git repository under DVC, with own files added to DVC."""
    git = shutil.which("git") is not None
    if git:
        dvc.git(folder, "init", "-q", "-b", "main")
    dvc.run(folder, "init", "-q", *([] if git else ["--no-scm"]))
    shutil.copyfile(template / ".dvc/config", folder / ".dvc/config")
    if not git:
        dvc.run(folder, "config", "core.no_scm", "true")
    shutil.copytree(template / ".dvc/plots", folder / ".dvc/plots", dirs_exist_ok=True)
    if own:
        dvc.run(folder, "add", "-q", *own)
    if git:
        dvc.git(folder, "add", "-A")
        # Without a name and an address git refuses; the first commit is then the user's.
        with contextlib.suppress(UserError):
            dvc.git(folder, "commit", "-q", "--no-verify", "-m", "Begin")
