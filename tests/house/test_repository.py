"""What lies beside the code: the citation, hooks, templates, and nothing of one machine."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from projects import ROOT


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("git knows what is committed, and this tree has none")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_citation_is_whole_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == project["version"]
    assert citation["license"] == project["license"]


def test_hooks_are_checks_of_ci() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local", "no hook is fetched from anywhere"
    for hook in local["hooks"]:
        assert hook["entry"] in lines


def test_forms_ask_under_names_of_their_own() -> None:
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        asked = yaml.safe_load(form.read_text())
        if form.name != "config.yml":
            names = [field["id"] for field in asked["body"]]
            assert len(names) == len(set(names)) > 0
            assert asked["name"]
            assert asked["description"]


def test_yaml_can_be_read() -> None:
    files = [path for path in tracked() if path.suffix in {".yaml", ".yml", ".cff", ".lock"}]
    for path in files:
        if path.name != "requirements.lock":
            assert yaml.safe_load(path.read_text()), path


def test_committed_files_name_no_place_on_a_machine() -> None:
    homes = re.compile(rf"(?<![\w.~/-])/(?:{'|'.join(('home', 'Users', 'root', 'work'))})/\w")
    for path in tracked():
        if path.is_file() and b"\0" not in (head := path.read_bytes()):
            place = homes.search(head.decode("utf-8", "replace"))
            assert not place, f"{path}: {place and place[0]}"
