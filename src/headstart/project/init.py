"""A fresh project for data at hand: what `headstart init` writes."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError, located
from headstart.data import catalogue, digits, own, tasks
from headstart.params import reading, yaml_text

STAGES = ("download", "prepare", "train_a", "train_b", "transfer", "evaluate")
# Larger images are brought to this: a few minutes on two cores instead of hours.
_SIDE = 64
# Small grey images need no convolutions.
_PLAIN_PIXELS = 32 * 32
_UPDATES = 500
_BATCH = 32

_HEAD_OF_PARAMS = "# Every value that a stage uses stands here; the code holds no default."

_IGNORED = """\
__pycache__/
# The lab book is a projection: it is made again from what DVC and git keep.
/mlflow.db
/mlflow.db-*
/mlartifacts/
/mlruns/
/.headstart/
"""

_README = """\
# {title}

Does a network trained on **{source}** have a head start on telling **{target}** apart, by how much,
and at what cost? Made by `headstart init`; the pipeline is that of headstart.

    headstart check     # what a run will do, and what would go wrong
    dvc repro           # from the images to the verdict; a second time it runs what changed
    dvc metrics show    # the record: metrics/metrics.json
    headstart publish   # the lab book; `mlflow ui --backend-store-uri sqlite:///mlflow.db`

- `params.yaml` holds every choice: classes, sizes of train, valid and test, network, budgets. Edit
  it and run `dvc repro` again: only what the edit changes is computed.
- {data}
- `reports/index.html` is the report, `metrics/` its numbers and pictures.
- `stages/` is what DVC runs; `dvc.yaml` says what each stage reads and writes.

Commit after a run (`git add -A && git commit`): git then holds parameters, hashes and results, and
`dvc metrics diff HEAD~1` tells what a change has brought. After an update of headstart itself run
`dvc repro --force`.
"""


@dataclass(frozen=True)
class _Data:
    """What a project is made for."""

    name: str
    path: str | None
    classes: Sequence[str]
    aliases: Mapping[str, str]
    parts: Mapping[str, int]
    shape: tuple[int, int, int]
    image_size: tuple[int, int] | None
    label: str


def create(
    folder: Path,
    *,
    data: Path | None,
    dataset: str | None,
    target: Sequence[str],
    source: Sequence[str],
    source_model: Path | None,
    layer: str,
) -> list[str]:
    """Writes a project into `folder` and returns what it chose, as lines for a person.

    Args:
        folder: Where; it must be empty or not exist.
        data: A folder of images or an `.npz` file, copied into the project.
        dataset: Instead, the name of a dataset that headstart knows.
        target: Names or numbers of the target classes; the last two if empty.
        source: Those of the source classes; all others if empty.
        source_model: A `.keras` file to take instead of training the source network, copied.
        layer: Where it is cut.

    Raises:
        UserError: The folder is in use, or the data or the classes cannot make a project. Nothing
            is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is in use; name a folder that is empty or does not exist")
    if (data is None) == (dataset is None):
        raise UserError("give either --data FOLDER (or FILE.npz), or --dataset NAME")
    if source_model is not None and (source_model.suffix != ".keras" or not source_model.is_file()):
        raise UserError(f"{source_model}: is no .keras file")
    found = _own(data) if data is not None else _known(str(dataset))
    wanted = _named(target, found) or [len(found.classes) - 2, len(found.classes) - 1]
    sources: Any = _named(source, found)
    if not sources:
        few = len(found.classes) - len(wanted) < 2
        sources = "none" if source_model is not None and few else "others"
    with located("", target_classes="--target", source_classes="--source"):
        try:
            source_task, target_task = tasks.source_and_target(
                found.classes, found.aliases, target_classes=wanted, source_classes=sources
            )
        except tasks.NoSourceTask as error:
            raise error.instead("bring a network with --source-model") from error
    values = _values(found, target_task, source_task, sources, source_model, layer)
    with _fresh(folder) as new:
        template = _template()
        _, ours = (template / "params.yaml").read_text(encoding="utf-8").split("\n", 1)
        text = f"{_HEAD_OF_PARAMS}\n{yaml_text.edited(ours, values)}"
        reading.parse(text, "params.yaml")
        _write(new / "params.yaml", text)
        _write(new / "dvc.yaml", _pipeline(template, found.path, source_model))
        for stage in ("_checkout", *STAGES):
            script = (template / f"stages/{stage}.py").read_text(encoding="utf-8")
            _write(new / f"stages/{stage}.py", script)
        about = f"`{found.path}` holds the images: add one, and `dvc repro` runs again."
        readme = _README.format(
            title=folder.resolve().name,
            source=", ".join(source_task.names) or "another task (a network of your own)",
            target=" and ".join(target_task.names),
            data=about if found.path else f"The images are {found.label}.",
        )
        _write(new / "README.md", readme)
        _write(new / ".gitignore", _IGNORED)
        if data is not None and found.path is not None:
            _copied(data, new / found.path)
        if source_model is not None:
            _copied(source_model, new / "models/own" / source_model.name)
        _initialise(new, template, [found.path, values["source_training.from"]])
    sums = ", ".join(f"{count} {part}" for part, count in found.parts.items())
    height, width, channels = found.shape
    return [
        f"{found.label}: {len(found.classes)} classes, images: {sums}",
        f"images of {height} x {width} pixels, {'grey' if channels == 1 else 'colour'}",
        f"source task: {', '.join(source_task.names) or 'none'}",
        f"target task: {', '.join(target_task.names)}",
        f"network: {values['network']}",
        f"written to {folder}; next: cd {folder} && dvc repro",
    ]


def _own(path: Path) -> _Data:
    with located("", path="--data"):
        seen = own.survey(path)
    heights, widths = zip(*seen.sizes, strict=True)
    largest = max(heights + widths)
    size: tuple[int, int] | None = None
    if len(seen.sizes) > 1:
        side = max(min(_SIDE, *heights, *widths), 8)
        size = (side, side)
    elif largest > _SIDE:
        size = tuple(max(round(side * _SIDE / largest), 8) for side in seen.sizes[0])
    return _Data(
        name="own",
        path=f"data/own/{path.resolve().name}",
        classes=seen.classes,
        aliases={},
        parts=seen.totals,
        shape=(*(size or seen.sizes[0]), seen.channels),
        image_size=size,
        label=str(path),
    )


def _known(name: str) -> _Data:
    if name not in (digits.NAME, *catalogue.DATASETS):
        known = ", ".join([digits.NAME, *catalogue.DATASETS])
        raise UserError(f"--dataset: there is no {name}; there are {known}")
    label = "scikit-learn's handwritten digits" if name == digits.NAME else name
    seen = digits.survey() if name == digits.NAME else catalogue.DATASETS[name].survey()
    return _Data(
        name, None, seen.classes, seen.aliases, seen.totals, (*seen.sizes[0], seen.channels),
        None, label,
    )  # fmt: skip


def _named(classes: Sequence[str], data: _Data) -> list[int | str]:
    """Returns the classes as params.yaml names them: a number where it is no class's name."""
    names = {name.casefold() for name in data.classes} | set(data.aliases)
    return [
        int(entry) if entry.casefold() not in names and entry.isdecimal() else entry
        for entry in classes
    ]


def _values(
    data: _Data,
    target: tasks.Task,
    source: tasks.Task,
    sources: Any,
    source_model: Path | None,
    layer: str,
) -> dict[str, str]:
    """Returns the values that differ from headstart's own params.yaml, as YAML by dotted key."""
    parts = data.parts
    split, train, valid, test = "stratified", 0.6, 0.2, 0.2
    if "valid" in parts:
        split, train, valid, test = "folders", 1.0, 1.0, 1.0
    elif "test" in parts:
        train, valid, test = 0.8, 0.2, 1.0
    images = parts.get("all", parts.get("train", 0)) * train
    budget = {
        task: min(max(math.ceil(_UPDATES * _BATCH / max(images * share, 1)), 5), 20)
        for task, share in (
            ("source_training", len(source.names) / len(data.classes)),
            ("target_training", len(target.names) / len(data.classes)),
        )
    }
    if source_model is not None:
        budget["source_training"] = 5
    names = json.dumps(list(data.classes), ensure_ascii=False)
    values = {
        "dataset.name": data.name,
        "dataset.path": json.dumps(data.path, ensure_ascii=False),
        "dataset.classes": names if data.path else "auto",
        "dataset.image_size": str(list(data.image_size)) if data.image_size else "auto",
        "dataset.sources": "published",
        "dataset.split": split,
        "dataset.train_size": str(train),
        "dataset.valid_size": str(valid),
        "dataset.test_size": str(test),
        "tasks.target_classes": json.dumps(list(target.names), ensure_ascii=False),
        "tasks.source_classes": sources
        if isinstance(sources, str)
        else json.dumps(list(source.names), ensure_ascii=False),
        "network": _network(data.shape),
        "source_training.from": json.dumps(
            f"models/own/{source_model.name}" if source_model else None, ensure_ascii=False
        ),
        "source_training.layer": json.dumps(layer, ensure_ascii=False),
    }
    for task, epochs in budget.items():
        values |= {f"{task}.epochs": str(epochs), f"{task}.optimizer": "adam"}
    return values


def _network(shape: tuple[int, int, int]) -> str:
    """Returns a network that fits the images, as YAML on one line."""
    height, width, channels = shape
    if channels == 1 and height * width <= _PLAIN_PIXELS:
        return "{name: mlp, units: [100, 50], activation: relu}"
    # The last pooling leaves four pixels a side where there are enough.
    halvings = min(max(int(math.log2(max(min(height, width), 4) / 4)), 1), 3)
    if min(height, width) < 2**halvings:
        return "{name: mlp, units: [100, 50], activation: relu}"
    return f"{{name: cnn, filters: {[16, 32, 64][:halvings]}, dense: [64], activation: relu}}"


def _template() -> Path:
    """Returns the folder with the stages and dvc.yaml: the wheel's copy, or the checkout's own."""
    package = Path(__file__).resolve().parent
    for folder in (package / "template", package.parents[2]):
        if (folder / "stages/evaluate.py").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"{package}: this installation lacks its stages; install headstart again")


def _pipeline(template: Path, path: str | None, source_model: Path | None) -> str:
    """Returns dvc.yaml with the six stages: without the library's modules, with the data's path."""
    lines = [
        "# What each stage reads and writes; the library behind them is the installed headstart."
    ]
    lines.append("stages:")
    stage = ""
    for line in (template / "dvc.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("  ") and not line.startswith("   ") and line.endswith(":"):
            stage = line.strip(" :")
        elif line and not line.startswith(" "):
            stage = ""
        if stage not in STAGES or "src/headstart/" in line:
            continue
        entry = line.strip()
        if entry == "- data/own":
            line = f"      - {json.dumps(path, ensure_ascii=False)}" if path else ""
        elif entry == "- models/own":
            own = f"models/own/{source_model.name}" if source_model else ""
            line = f"      - {json.dumps(own, ensure_ascii=False)}" if own else ""
        if line or lines[-1]:
            lines.append(line)
    return "\n".join(lines).rstrip() + "\n"


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """Yields a folder beside `folder` that becomes it when all went well, and else goes."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield new
        # mkdtemp makes folders private.
        new.chmod(0o777 & ~_umask())
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copied(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        # Links within the folder become the files that they lead to; none leads out (surveyed).
        shutil.copytree(source, to, ignore=shutil.ignore_patterns(".*"))
    else:
        shutil.copyfile(source, to)


def _initialise(folder: Path, template: Path, own: Sequence[str | None]) -> None:
    """Makes `folder` a git repository under DVC, with own files added to DVC."""
    git = shutil.which("git") is not None
    # The DVC of this Python: there may be another first on PATH, or none.
    dvc = [sys.executable, "-m", "dvc"]
    if git:
        _ran(["git", "init", "-q", "-b", "main"], folder)
    _ran([*dvc, "init", "-q", *([] if git else ["--no-scm"])], folder)
    shutil.copyfile(template / ".dvc/config", folder / ".dvc/config")
    if not git:
        _ran([*dvc, "config", "core.no_scm", "true"], folder)
    shutil.copytree(template / ".dvc/plots", folder / ".dvc/plots", dirs_exist_ok=True)
    for path in own:
        if path and path != "null":
            _ran([*dvc, "add", "-q", json.loads(path) if path.startswith('"') else path], folder)
    if git:
        _ran(["git", "add", "-A"], folder)
        # Without a name and an address git refuses; the first commit is then the user's.
        subprocess.run(
            ["git", "commit", "-q", "--no-verify", "-m", "Begin"],
            cwd=folder,
            env=_environment(),
            capture_output=True,
            check=False,
        )


def _environment() -> dict[str, str]:
    # A git hook or `dvc exp run` around this command would lead git and DVC to another repository.
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT_DIR", "GIT_WORK", "GIT_INDEX", "DVC_"))
    }


def _ran(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UserError(f"{' '.join(command[-3:])} failed: {''.join(said)}")
