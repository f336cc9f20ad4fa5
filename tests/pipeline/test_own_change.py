"""README.md's "Try your own change", command by command."""

import re
from pathlib import Path

import pytest
from projects import ROOT, Project


@pytest.mark.timeout(600)
def test_own_change_on_a_branch_can_be_tried_and_compared(full: Project, tmp_path: Path) -> None:
    project = full.clone_to(tmp_path / "project")
    text = (ROOT / "README.md").read_text()
    block = re.search(r"```sh\n(git switch -c longer\n.*?)```", text, re.DOTALL)
    assert block
    lines = block[1].strip().splitlines()
    # `make ui` stays until it is stopped; tests/tracking/test_browser.py opens it.
    assert lines[-1] == "make ui"
    printed = project.run("bash", "-euc", "\n".join(lines[:-1]))
    assert project.run("git", "log", "-1", "--format=%s").strip() == "Train longer"
    assert "baseline.accuracy" in printed
    assert (project.root / "dvc_plots/index.html").is_file()
    assert "epochs: 10" in project.read("params.yaml")
