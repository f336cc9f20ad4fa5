"""The declared dependencies of the stages against the real imports, and the order of the house."""

import ast
from pathlib import Path

import pytest
import yaml
from projects import ROOT

from headstart.core import code

LIBRARY = ROOT / "src/headstart"
FILES = sorted(path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*.py"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STUDY = yaml.safe_load((ROOT / "study/dvc.yaml").read_text())["stages"]
SCRIPTS = {name: stage["cmd"].split()[1] for name, stage in (STAGES | STUDY).items()}

# Only these import TensorFlow, so that everything else starts in a moment.
WITH_TENSORFLOW = (
    "core/runtime.py", "learning/", "project/measuring.py", "study/adopt.py",
    "study/by_fit.py", "study/gpu.py", "study/on_features.py", "study/subspace.py", "transfer/",
)  # fmt: skip


def floor(path: str) -> str:
    """The floor that a file of the library stands on."""
    return path.split("/")[0].removesuffix(".py")


def ours(path: Path) -> set[str]:
    """The library's files that a file imports."""
    found = {code.file_of(name) for name in code.imported(path)}
    return {file.relative_to(LIBRARY).as_posix() for file in found if file is not None}


def others(path: Path) -> set[str]:
    """The other packages that a file imports."""
    return {name.split(".")[0] for name in code.imported(path)} - {"headstart"}


@pytest.mark.parametrize("stage", SCRIPTS)
def test_declared_dependencies_are_the_folders_a_stage_really_uses(stage: str) -> None:
    deps = (STAGES | STUDY)[stage]["deps"]
    head = "src/headstart/"
    declared = {dep.removeprefix(head) for dep in deps if dep.startswith(head)}
    assert declared == code.declared(code.reached(ROOT / SCRIPTS[stage]))
    assert SCRIPTS[stage] in deps


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_that_a_stage_declares_exist(stage: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in STAGES[stage]["params"]:
        node = values
        for step in key.split("."):
            node = node[step]


def test_test_data_reaches_evaluate_alone() -> None:
    for stage in ("train_a", "train_b", "transfer"):
        assert not [dep for dep in STAGES[stage]["deps"] if "/test_" in dep]
        assert "test" not in (ROOT / f"stages/{stage}.py").read_text().replace("latest", "")


def test_imports_point_down_the_house() -> None:
    assert {floor(path) for path in FILES} - {"__init__"} == set(code.FLOORS)
    for path in FILES:
        if path == "__init__.py":
            continue
        above = set(code.FLOORS[: code.FLOORS.index(floor(path))])
        up = {file for file in ours(LIBRARY / path) if floor(file) in above}
        assert not up, f"{path} imports {up} from above"


def test_no_module_imports_itself_through_others() -> None:
    graph = {path: ours(LIBRARY / path) - {path, "__init__.py"} for path in FILES}
    # A package's own file stands for what it is called by, not for a module of it.
    graph = {
        path: {file for file in files if not path.startswith(file.removesuffix("__init__.py"))}
        for path, files in graph.items()
    }
    while leaves := [path for path, files in graph.items() if not files]:
        for path in leaves:
            del graph[path]
        graph = {path: files.difference(leaves) for path, files in graph.items()}
    assert not graph, f"a cycle among {sorted(graph)}"


def test_a_package_holds_words_alone() -> None:
    """`core.code` leaves their own files out of what acts; tracking cannot act at all."""
    for path in FILES:
        if path.endswith("__init__.py") and path != "tracking/__init__.py":
            assert len(ast.parse((LIBRARY / path).read_text()).body) == 1, path


def test_the_house_shows_few_names_and_no_long_files() -> None:
    assert len([p for p in LIBRARY.iterdir() if not p.name.startswith("__")]) <= 14
    long = {p: len((LIBRARY / p).read_text().splitlines()) for p in FILES}
    assert not {path: lines for path, lines in long.items() if lines > 400}


def test_only_tracking_knows_mlflow_and_only_networks_know_tensorflow() -> None:
    for path in FILES:
        packages = others(LIBRARY / path)
        assert path.startswith("tracking/") or "mlflow" not in packages
        assert path.startswith(WITH_TENSORFLOW) or not packages & {"keras", "tensorflow"}
        assert "dvc" not in packages


@pytest.mark.parametrize("folder", ["tests"])
def test_no_test_imports_another(folder: str) -> None:
    for path in (ROOT / folder).rglob("test_*.py"):
        imported = {name.split(".")[0] for name in code.imported(path)}
        assert not [name for name in imported if name.startswith("test_")], path
