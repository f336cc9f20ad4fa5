"""README.md: its numbers are those of the committed run, and its commands work."""

import re
import sys
from pathlib import Path

import pytest
from projects import ROOT, Project

sys.path.insert(0, str(ROOT / "scripts"))

import readme

TEXT = (ROOT / "README.md").read_text()


def test_results_are_those_of_the_committed_run() -> None:
    assert readme.page(TEXT) == TEXT


@pytest.mark.timeout(600)
def test_own_change_on_a_branch_can_be_tried_and_compared(full: Project, tmp_path: Path) -> None:
    project = full.clone_to(tmp_path / "project")
    block = re.search(r"```sh\n(git switch -c longer\n.*?)```", TEXT, re.DOTALL)
    assert block
    lines = block[1].strip().splitlines()
    # `make ui` stays until it is stopped; tests/test_browser.py opens it.
    assert lines[-1] == "make ui"
    said = project.run("bash", "-euc", "\n".join(lines[:-1]))
    assert project.run("git", "log", "-1", "--format=%s").strip() == "Train longer"
    assert "baseline.accuracy" in said
    assert (project.root / "dvc_plots/index.html").is_file()
    assert "epochs: 10" in project.read("params.yaml")


@pytest.mark.parametrize("place", sorted(set(re.findall(r"\]\(([\w./]+)\)", TEXT))))
def test_links_lead_somewhere(place: str) -> None:
    assert (ROOT / place).exists()


def test_the_two_commands_are_targets_of_make() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.MULTILINE):
        assert target in targets
