"""The declared dependencies of the stages against the real imports, and the order of the house."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from projects import ROOT

LIBRARY = ROOT / "src/headstart"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# What a stage imports and dvc.yaml leaves out, since it cannot change an output.
LEFT_OUT = {
    "headstart": "a docstring",
    "errors": "words on the terminal",
    "params": "checks values, which DVC watches one by one; holds no default",
    "tracking": "writes to MLflow alone",
}
# Also left out, in one stage only.
LEFT_OUT_OF = {("download", "tasks"): "refuses impossible tasks, writes nothing"}

# From the top; a module imports only what stands below it.
HOUSE = [
    "cli",
    "checking",
    "starting",
    "charts",
    "cache",
    "tracking",
    "serving",
    "report",
    "study",
    "replicas",
    "grafting",
    "training",
    "networks",
    "adopting",
    "evaluation",
    "cost",
    "tasks",
    "gathering",
    "sources",
    "datasets",
    "catalogue",
    "artefacts",
    "parts",
    "params",
    "runtime",
    "seeds",
    "errors",
]
# Only these import TensorFlow, so that everything else starts in a moment.
WITH_TENSORFLOW = {
    "adopting.py",
    "grafting.py",
    "networks.py",
    "replicas.py",
    "runtime.py",
    "study/subspace.py",
    "training.py",
}


def files_of(module: str) -> list[Path]:
    """The files of a module or package of the library."""
    if module == "headstart":
        return [LIBRARY / "__init__.py"]
    package = LIBRARY / module
    return sorted(package.rglob("*.py")) if package.is_dir() else [LIBRARY / f"{module}.py"]


def imported(path: Path) -> tuple[set[str], set[str]]:
    """The library's modules and the other top-level packages that a file imports anywhere."""
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "headstart":
            ours |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            first, *rest = node.module.split(".")
            (ours if first == "headstart" else others).add(rest[0] if rest else first)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                (ours if first == "headstart" else others).add(rest[0] if rest else first)
    return ours, others


def reached(path: Path) -> set[str]:
    """The library's modules that a file imports, directly or through others."""
    found: set[str] = set()
    ahead = imported(path)[0]
    while ahead:
        module = ahead.pop()
        if module in found or not files_of(module)[0].exists():
            continue
        found.add(module)
        # What is left out cannot change an output, nor can what only it imports.
        if module not in LEFT_OUT:
            for file in files_of(module):
                ahead |= imported(file)[0]
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_declared_dependencies_are_the_modules_a_stage_really_uses(stage: str) -> None:
    paths = STAGES[stage]["deps"]
    modules = [dep for dep in paths if re.fullmatch(r"src/headstart/\w+(\.py)?", dep)]
    declared = {Path(dep).stem for dep in modules}
    left_out = set(LEFT_OUT) | {module for where, module in LEFT_OUT_OF if where == stage}
    assert declared == reached(ROOT / f"stages/{stage}.py") - left_out
    assert f"stages/{stage}.py" in STAGES[stage]["deps"]


def test_evaluate_depends_on_the_page_template() -> None:
    templates = sorted(str(path.relative_to(ROOT)) for path in LIBRARY.glob("templates/*"))
    assert [dep for dep in STAGES["evaluate"]["deps"] if "templates" in dep] == templates


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
    known = {path.stem for path in LIBRARY.glob("*.py")} | {
        path.parent.name for path in LIBRARY.glob("*/__init__.py")
    }
    assert known - {"__init__"} == set(HOUSE), "a module has no place in the house"
    for place, module in enumerate(HOUSE):
        for file in files_of(module):
            up = imported(file)[0] & set(HOUSE[:place])
            assert not up, f"{file.name} imports {up} from above"


def test_only_tracking_knows_mlflow_and_only_networks_know_tensorflow() -> None:
    for module in HOUSE:
        for file in files_of(module):
            others = imported(file)[1]
            assert module == "tracking" or "mlflow" not in others
            if str(file.relative_to(LIBRARY)) not in WITH_TENSORFLOW:
                assert not others & {"keras", "tensorflow"}
            assert "dvc" not in others
